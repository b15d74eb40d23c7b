import { readFile } from 'node:fs/promises'
import { register } from 'node:module'
import { dirname, join, sep } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { isTidingsError, TidingsError } from 'tidings/internal/core/errors'
import { describeError } from 'tidings/internal/core/message-error'
import { type ModuleFile, type Problem, showPath } from './files.ts'

const loadingTimeoutMs = 30_000

let hooked = false

/**
 * Sees to it that the `.ts` modules of a folder can be imported. Where Node strips types itself that is left to it,
 * unless package.json calls the modules CommonJS (`npm init` does): Node would refuse their imports and exports.
 */
export async function allowTypeScript(folder: string): Promise<void> {
  if (hooked || (stripsTypes() && (await packageType(folder)) !== 'commonjs')) return
  hooked = true
  register(new URL('./strip-types.js', import.meta.url))
}

const stripsTypes = () => Boolean((process.features as { typescript?: unknown }).typescript)

/** `type` of the nearest package.json. */
async function packageType(folder: string): Promise<unknown> {
  const text = await readFile(join(folder, 'package.json'), 'utf8').catch(() => undefined)
  if (text === undefined) return folder === dirname(folder) ? undefined : packageType(dirname(folder))
  try {
    return (JSON.parse(text) as { type?: unknown } | null)?.type
  } catch {
    return undefined
  }
}

/** @returns what the module exports, or what went wrong while it was loaded */
export async function importModule(file: ModuleFile): Promise<{ exports: Record<string, unknown> } | Problem> {
  try {
    return { exports: await withinTime(import(pathToFileURL(file.realPath).href)) }
  } catch (error) {
    return explain(error, file)
  }
}

/** A top-level await that never ends would end the process without a word. */
async function withinTime<T>(loading: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const timeout = new Promise<never>((_, reject) => {
    const late = () => reject(new TidingsError('TIMEOUT', `it was still loading after ${loadingTimeoutMs / 1000}s`))
    timer = setTimeout(late, loadingTimeoutMs)
  })
  try {
    return await Promise.race([loading, timeout])
  } finally {
    clearTimeout(timer)
  }
}

async function explain(error: unknown, file: ModuleFile): Promise<Problem> {
  const { message, stack } = describeError(error)
  const reason = (message.split('\n')[0] ?? '') + commonJsAdvice(message)
  if (isTidingsError(error, 'TIMEOUT')) return { file: file.shown, reason }
  const place = (stack && placeInStack(stack)) || (await placeOfSyntaxError(error, file.realPath))
  if (!place) return { file: file.shown, reason }
  if (place.file === file.realPath) return { file: file.shown, line: place.line, reason }
  return { file: file.shown, reason: `${reason} (at ${showPath(place.file)}:${place.line})` }
}

function commonJsAdvice(message: string): string {
  return /Unexpected token 'export'|Cannot use import statement outside/.test(message)
    ? ` ("type" in package.json is not "module": change that, or name the file .mjs)`
    : ''
}

interface Place {
  readonly file: string
  readonly line: number
}

const ownFolder = fileURLToPath(new URL('.', import.meta.url))

/** The first place in the stack that is neither Node's, nor a package's, nor ours. */
function placeInStack(stack: string): Place | undefined {
  // Message and stack are what the module made them; a path is no longer.
  const lines = stack.split('\n').filter((line) => line.length < 5_000)
  for (const text of lines) {
    const [, where, line] =
      /(?:^|\(|at (?:async )?)((?:file:\/\/|\/|[A-Za-z]:\\)[^()]*?):(\d+)(?::\d+)?\)?$/.exec(text) ?? []
    if (where === undefined) continue
    const file = where.startsWith('file:') ? fileURLToPath(where) : where
    if (!file.includes(`${sep}node_modules${sep}`) && !file.startsWith(ownFolder)) return { file, line: Number(line) }
  }
  return undefined
}

/** Node keeps the place of a JavaScript syntax error to itself, so the file is parsed once more. */
async function placeOfSyntaxError(error: unknown, file: string): Promise<Place | undefined> {
  if (!(error instanceof SyntaxError)) return undefined
  const { transformSync } = await import('@swc/wasm-typescript')
  try {
    transformSync(await readFile(file, 'utf8'), { mode: 'strip-only', module: true })
    return undefined
  } catch (thrown) {
    const line = (thrown as { startLine?: unknown }).startLine
    return typeof line === 'number' ? { file, line } : undefined
  }
}
