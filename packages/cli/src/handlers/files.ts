import type { Dirent } from 'node:fs'
import { readdir, realpath, stat } from 'node:fs/promises'
import { basename, join, relative, sep } from 'node:path'
import { nearest, show, TidingsError } from 'tidings/internal/core/errors'
import { checkQueueName } from 'tidings/internal/core/names'
import { distrust } from 'tidings/internal/core/trust'

/** A module to load, checked as far as possible without running it. */
export interface ModuleFile {
  /** For people: relative to the working directory if it is below that. */
  readonly shown: string
  /** Without symbolic links, so that the checked file is the loaded file. */
  readonly realPath: string
}

export interface HandlerFile extends ModuleFile {
  readonly queue: string
}

/** The problem of one module. */
export interface Problem {
  readonly file: string
  readonly line?: number
  readonly reason: string
}

const handlerName = /^(.+)\.(?:ts|mts|js|mjs)$/
const notHandlers = /^\.|\.d\.m?ts$|\.(?:test|spec)\.m?[tj]s$/

interface FoundFile {
  readonly path: string
  /** The folder that it must not lead out of. */
  readonly root: string
}

/**
 * The handler modules in some folders, not those in folders below them. Other files, hidden files, declarations and
 * tests are left alone.
 * @param queues only their modules; null for all
 * @throws HANDLERS_INVALID if a folder itself cannot be used, or none has a module for one of `queues`
 */
export async function findHandlerFiles(
  folders: readonly string[],
  queues: ReadonlySet<string> | null,
): Promise<{ files: HandlerFile[]; problems: Problem[] }> {
  const groups = new Map<string, FoundFile[]>()
  // The same folder may be given twice, by different paths.
  const opened = new Map<string, string>()
  for (const folder of folders) {
    const { root, entries } = await openFolder(folder)
    if (opened.has(root)) continue
    opened.set(root, folder)
    for (const [queue, names] of groupByQueue(entries)) {
      const found = names.map((name) => ({ path: join(folder, name), root }))
      groups.set(queue, [...(groups.get(queue) ?? []), ...found])
    }
  }
  for (const queue of queues ?? []) if (!groups.has(queue)) throw noModule(queue, [...opened.values()], groups.keys())
  const files: HandlerFile[] = []
  const problems: Problem[] = []
  for (const [queue, found] of groups) {
    if (queues && !queues.has(queue)) continue
    const [{ path, root }] = found as [FoundFile, ...FoundFile[]]
    const shown = showPath(path)
    const reason = found.length > 1 ? severalModules(found) : whyNotAQueue(queue)
    const checked = reason ?? (await checkFile(path, root))
    if (typeof checked === 'string') problems.push({ file: shown, reason: checked })
    else files.push({ queue, shown, realPath: checked.realPath })
  }
  return { files, problems }
}

function severalModules(found: readonly FoundFile[]): string {
  const isOneFolder = found.every(({ root }) => root === found[0]!.root)
  const names = found.map(({ path }) => (isOneFolder ? basename(path) : showPath(path)))
  return `the queue has more than one module: ${names.join(', ')}`
}

async function openFolder(folder: string): Promise<{ root: string; entries: Dirent[] }> {
  const shown = showPath(folder)
  const unusable = (why: string, hint?: string, cause?: unknown) =>
    new TidingsError('HANDLERS_INVALID', `the handlers folder '${shown}' ${why}`, { hint, cause })
  try {
    const info = await stat(folder)
    if (!info.isDirectory()) throw unusable('is a file', 'Name the folder that the handler modules are in.')
    const doubt = distrust(info)
    if (doubt) throw unusable(doubt.why, `Take that right away: ${doubt.remedy} ${shown}`)
    return { root: await realpath(folder), entries: await readdir(folder, { withFileTypes: true }) }
  } catch (error) {
    switch ((error as NodeJS.ErrnoException).code) {
      case 'ENOENT':
      case 'ENOTDIR':
        throw unusable('does not exist', `Create it, with one module a queue that exports handle(message, context).`)
      case 'EACCES':
      case 'EPERM':
        throw unusable('cannot be read', `Grant this user the right to read it.`, error)
      default:
        throw error
    }
  }
}

function groupByQueue(entries: readonly Dirent[]): Map<string, string[]> {
  const groups = new Map<string, string[]>()
  for (const entry of entries.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
    const queue = handlerName.exec(entry.name)?.[1]
    if (queue === undefined || notHandlers.test(entry.name) || entry.isDirectory()) continue
    groups.set(queue, [...(groups.get(queue) ?? []), entry.name])
  }
  return groups
}

/** For people: 'a', 'b'. */
export const showFolders = (folders: readonly string[]) => folders.map((folder) => `'${showPath(folder)}'`).join(', ')

function noModule(queue: string, folders: readonly string[], others: Iterable<string>): TidingsError {
  const meant = nearest(queue, others)
  return new TidingsError('HANDLERS_INVALID', `no handler for queue ${show(queue)} in ${showFolders(folders)}`, {
    hint: meant ? `Did you mean '${meant}'?` : `Create ${showPath(join(folders[0]!, `${queue}.ts`))}.`,
  })
}

function whyNotAQueue(name: string): string | undefined {
  try {
    checkQueueName(name)
    return undefined
  } catch (error) {
    return (error as TidingsError).message
  }
}

/** @returns why the file cannot be used, as text */
async function checkFile(path: string, root: string): Promise<string | { realPath: string }> {
  try {
    const realPath = await realpath(path)
    if (!realPath.startsWith(root + sep)) return `it is a link to '${realPath}', outside of the folder`
    const info = await stat(realPath)
    if (!info.isFile()) return 'it is not a regular file'
    const doubt = distrust(info)
    return doubt ? `it ${doubt.why} (${doubt.remedy})` : { realPath }
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    return code === 'ENOENT' ? 'it is a link to nothing' : message
  }
}

/** Relative to the working directory if that is shorter. */
export function showPath(path: string): string {
  const fromHere = relative(process.cwd(), path)
  return fromHere === '' ? '.' : fromHere.startsWith('..') ? path : fromHere
}
