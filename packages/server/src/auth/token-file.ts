import { readFileSync, statSync } from 'node:fs'
import { isTidingsError, TidingsError } from 'tidings/internal/core/errors'
import { distrust } from 'tidings/internal/core/trust'
import { parseToken, type Token } from './token.ts'

/**
 * Reads a file with one token a line, as JSON; empty lines and those that begin with '#' count for nothing.
 * @throws CONFIG_INVALID with the line
 */
export function readTokenFile(path: string): Token[] {
  const text = read(path)
  return text.split('\n').flatMap((line, index) => {
    if (line.trim() === '' || line.trimStart().startsWith('#')) return []
    return [parseLine(line, `${path}:${index + 1}`)]
  })
}

function parseLine(line: string, at: string): Token {
  let value: unknown
  try {
    value = JSON.parse(line)
  } catch {
    // What the parser says would show parts of the line.
    throw new TidingsError('CONFIG_INVALID', `${at} is not JSON`, {
      hint: '`tidings token create` prints whole lines.',
    })
  }
  try {
    return parseToken(value, 'the token')
  } catch (error) {
    throw isTidingsError(error) ? error.within(at) : error
  }
}

function read(path: string): string {
  try {
    const doubt = distrust(statSync(path))
    if (doubt)
      throw new TidingsError('CONFIG_INVALID', `the token file '${path}' ${doubt.why}`, {
        hint: `${doubt.remedy} '${path}'`,
      })
    return readFileSync(path, 'utf8')
  } catch (error) {
    if (isTidingsError(error)) throw error
    throw new TidingsError('CONFIG_INVALID', `the token file '${path}' cannot be read: ${(error as Error).message}`, {
      cause: error,
      hint: `\`tidings token create --token-file ${path} …\` makes one.`,
    })
  }
}
