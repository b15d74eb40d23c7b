import { readFile } from 'node:fs/promises'
import type { LoadHook } from 'node:module'
import { fileURLToPath } from 'node:url'
import { transformSync } from '@swc/wasm-typescript'

/**
 * A module hook for a Node that does not strip types itself, or that would take the modules for CommonJS. It uses the same
 * stripper as Node: types become blanks, and every line and column keeps its position. `.ts` is always an ES module,
 * regardless of package.json.
 */
export const load: LoadHook = async (url, context, nextLoad) => {
  if (!url.startsWith('file:') || !/\.m?ts$/.test(new URL(url).pathname)) return nextLoad(url, context)
  const file = fileURLToPath(url)
  return { format: 'module', source: stripTypes(await readFile(file, 'utf8'), file), shortCircuit: true }
}

/** The stripper's error, a plain object. */
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
    // The location comes first, as in Node's own errors.
    error.stack = `${file}:${startLine}\n${snippet}\n${error.stack}`
    throw error
  }
}
