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
 * Makes the `.ts` modules of a folder importable. A Node that strips types does so itself, unless package.json declares
 * CommonJS (`npm init` does): Node would refuse the imports and exports of such modules.
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

/** @returns the exports of the module, or the problem of loading it */
export async function importModule(file: ModuleFile): Promise<{ exports: Record<string, unknown> } | Problem> {
  try {
    return { exports: await withinTime(import(pathToFileURL(file.realPath).href)) }
  } catch (error) {
    return explain(error, file)
  }
}

/** Limits the time: a top-level await that never resolves would end the process silently. */
async function withinTime<T>(loading: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const timeout = new Promise<never>((_, reject) => {
    const fail = () => reject(new TidingsError('TIMEOUT', `it was still loading after ${loadingTimeoutMs / 1000}s`))
    timer = setTimeout(fail, loadingTimeoutMs)
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
  const location = (stack && locationInStack(stack)) || (await locationOfSyntaxError(error, file.realPath))
  if (!location) return { file: file.shown, reason }
  if (location.file === file.realPath) return { file: file.shown, line: location.line, reason }
  return { file: file.shown, reason: `${reason} (at ${showPath(location.file)}:${location.line})` }
}

function commonJsAdvice(message: string): string {
  return /Unexpected token 'export'|Cannot use import statement outside/.test(message)
    ? ` ("type" in package.json is not "module": change that, or name the file .mjs)`
    : ''
}

interface SourceLocation {
  readonly file: string
  readonly line: number
}

const ownFolder = fileURLToPath(new URL('.', import.meta.url))

/** The first location in the stack outside of Node, packages and this program. */
function locationInStack(stack: string): SourceLocation | undefined {
  // The module controls its stack; no path is longer than this.
  const lines = stack.split('\n').filter((line) => line.length < 5_000)
  for (const text of lines) {
    const [, source, line] =
      /(?:^|\(|at (?:async )?)((?:file:\/\/|\/|[A-Za-z]:\\)[^()]*?):(\d+)(?::\d+)?\)?$/.exec(text) ?? []
    if (source === undefined) continue
    const file = source.startsWith('file:') ? fileURLToPath(source) : source
    if (!file.includes(`${sep}node_modules${sep}`) && !file.startsWith(ownFolder)) return { file, line: Number(line) }
  }
  return undefined
}

/** Node does not tell the location of a JavaScript syntax error, so the file is parsed once more. */
async function locationOfSyntaxError(error: unknown, file: string): Promise<SourceLocation | undefined> {
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
