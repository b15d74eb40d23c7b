import { readFile } from 'node:fs/promises'
import type { LoadHook } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { transformSync } from '@swc/wasm-typescript'

/**
 * A module hook for versions of Node that do not strip types themselves. It uses the stripper that Node is built
 * with, so the result is the same: types become blanks, and every line and column stays where it was.
 */
export const load: LoadHook = async (url, context, nextLoad) => {
  const extension = url.startsWith('file:') ? /\.m?ts$/.exec(new URL(url).pathname)?.[0] : undefined
  if (extension === undefined) return nextLoad(url, context)
  const file = fileURLToPath(url)
  const source = stripTypes(await readFile(file, 'utf8'), file)
  const format = extension === '.ts' && (await packageType(file)) === 'commonjs' ? 'commonjs' : 'module'
  return { format, source, shortCircuit: true }
}

/** What the stripper throws: a plain object. */
interface StripFailure {
  readonly message: string
  readonly startLine: number
  readonly snippet: string
}

function stripTypes(source: string, file: string): string {
  try {
    return transformSync(source, { mode: 'strip-only', filename: file }).code
  } catch (thrown) {
    const { message, startLine, snippet } = thrown as StripFailure
    const error = new SyntaxError(message)
    // The place comes first, as in Node's own.
    error.stack = `${file}:${startLine}\n${snippet}\n${error.stack}`
    throw error
  }
}

/** `type` of the nearest package.json, which decides for files named `.ts`, as it does for `.js`. */
async function packageType(file: string): Promise<unknown> {
  for (let folder = dirname(file); ; folder = dirname(folder)) {
    const text = await readFile(join(folder, 'package.json'), 'utf8').catch(() => undefined)
    if (text !== undefined) return parse(text)?.type
    if (folder === dirname(folder)) return undefined
  }
}

function parse(text: string): { type?: unknown } | undefined {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
