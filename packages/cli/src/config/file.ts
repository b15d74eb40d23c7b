import { existsSync, statSync } from 'node:fs'
import { readFile, realpath } from 'node:fs/promises'
import { extname, join } from 'node:path'
import { TidingsError } from 'tidings/internal/core/errors'
import { decodeText, parseJson } from 'tidings/internal/core/json'
import { distrust } from 'tidings/internal/core/trust'
import { showPath } from '../handlers/files.ts'
import { importModule } from '../handlers/import.ts'

const readers: Readonly<Record<string, (file: File) => Promise<unknown>>> = {
  '.js': readModule,
  '.mjs': readModule,
  '.json': readJson,
  '.toml': readToml,
}

/** In the order of messages to people. */
const configFileNames = Object.keys(readers).map((extension) => `tidings.config${extension}`)

interface File {
  readonly path: string
  readonly shown: string
}

/** @returns the configuration file of a folder, if it has one. @throws CONFIG_INVALID if it has several */
export function findConfigFile(folder: string): string | null {
  const found = configFileNames.map((name) => join(folder, name)).filter((path) => existsSync(path))
  if (found.length > 1)
    throw new TidingsError(
      'CONFIG_INVALID',
      `there are several configuration files: ${found.map(showPath).join(', ')}`,
      {
        hint: 'Keep one of them, or name one with --config.',
      },
    )
  return found[0] ?? null
}

/**
 * Reads a configuration file, without checking its settings.
 * @throws CONFIG_INVALID if there is no such file, or with its line if it is malformed or throws
 */
export async function readConfigFile(path: string): Promise<unknown> {
  const shown = showPath(path)
  const read = readers[extname(path)]
  if (!read)
    throw new TidingsError('USAGE', `the configuration file '${shown}' has an unknown extension`, {
      hint: `Name it ${configFileNames.join(', ').replace(/, (?=\S+$)/, ' or ')}.`,
    })
  try {
    if (!statSync(path).isFile()) throw new TidingsError('USAGE', `the configuration file '${shown}' is not a file`)
  } catch (error) {
    throw unreadable(shown, error)
  }
  return read({ path, shown })
}

function unreadable(shown: string, error: unknown): TidingsError {
  if (error instanceof TidingsError) return error
  const { code, message } = error as NodeJS.ErrnoException
  const isThere = code !== 'ENOENT' && code !== 'ENOTDIR'
  return new TidingsError(
    'USAGE',
    `the configuration file '${shown}' cannot be read: ${isThere ? message : 'there is none'}`,
    {
      hint: isThere ? 'Grant this user the right to read it.' : '`tidings init` writes one.',
    },
  )
}

async function readModule({ path, shown }: File): Promise<unknown> {
  const realPath = await realpath(path)
  const doubt = distrust(statSync(realPath))
  if (doubt) throw malformed(shown, undefined, `it ${doubt.why} (${doubt.remedy})`)
  const loaded = await importModule({ shown, realPath })
  if ('reason' in loaded) throw malformed(loaded.file, loaded.line, loaded.reason)
  if (!('default' in loaded.exports)) throw malformed(shown, undefined, 'it has no default export')
  return loaded.exports.default
}

async function readJson({ path, shown }: File): Promise<unknown> {
  const text = await readText(path, shown)
  try {
    JSON.parse(text)
  } catch (error) {
    const { message } = error as Error
    const position = /at position (\d+)/.exec(message)?.[1]
    const end = /end of JSON/.test(message) ? text.length : Number(position ?? Number.NaN)
    const line = Number.isNaN(end) ? undefined : text.slice(0, end).split('\n').length
    throw malformed(shown, line, message.replace(/ in JSON at position.*| at position.*/, ''))
  }
  try {
    return parseJson(text, 'it', '')
  } catch (error) {
    // A duplicate name.
    throw malformed(shown, undefined, (error as Error).message)
  }
}

async function readToml({ path, shown }: File): Promise<unknown> {
  const { parse, TomlError } = await import('smol-toml')
  const text = await readText(path, shown)
  try {
    return parse(text)
  } catch (error) {
    if (!(error instanceof TomlError)) throw error
    const [what] = error.message.replace(/^Invalid TOML document: /, '').split('\n')
    throw malformed(shown, error.line, what ?? '')
  }
}

async function readText(path: string, shown: string): Promise<string> {
  const bytes = await readFile(path).catch((error) => {
    throw unreadable(shown, error)
  })
  try {
    return decodeText(bytes, 'it')
  } catch (error) {
    throw malformed(shown, undefined, (error as Error).message)
  }
}

const malformed = (shown: string, line: number | undefined, why: string) =>
  new TidingsError('CONFIG_INVALID', `${line === undefined ? shown : `${shown}:${line}`}: ${why}`, {
    details: { file: shown, ...(line === undefined ? {} : { line }) },
    hint: '',
  })
