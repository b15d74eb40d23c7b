import { dirname, resolve } from 'node:path'
import { isTidingsError, TidingsError } from 'tidings/internal/core/errors'
import { showPath } from '../handlers/files.ts'
import { checkConfig, checkSchedules } from './check.ts'
import { findConfigFile, readConfigFile } from './file.ts'
import type { Config } from './settings.ts'

/** A configuration file that was read and checked. */
export interface CheckedConfig {
  /** For people; null if there is no file. */
  readonly file: string | null
  /** The valid part, with absolute paths. */
  readonly config: Config
  readonly problems: readonly TidingsError[]
}

/**
 * @param explicitPath the path after `--config`; without it the file of the working directory, if there is one
 * @throws USAGE if there is no such file, CONFIG_INVALID if there are several
 */
export async function readConfig(explicitPath: string | undefined): Promise<CheckedConfig> {
  const path = explicitPath === undefined ? findConfigFile(process.cwd()) : resolve(explicitPath)
  if (path === null) return { file: null, config: {}, problems: [] }
  const file = showPath(path)
  try {
    const { config, problems } = checkConfig(await readConfigFile(path))
    const all = [...problems, ...(await checkSchedules(config))]
    return { file, config: seenFrom(dirname(path), config), problems: all }
  } catch (error) {
    if (!isTidingsError(error, 'CONFIG_INVALID')) throw error
    return { file, config: {}, problems: [error] }
  }
}

/** @throws USAGE and CONFIG_INVALID, with every problem */
export async function loadConfig(explicitPath: string | undefined): Promise<CheckedConfig> {
  const checked = await readConfig(explicitPath)
  const { file, problems } = checked
  if (problems.length === 0) return checked
  const lines = problems.map(({ message }) => (message.startsWith(`${file}:`) ? message : `${file}: ${message}`))
  throw new TidingsError('CONFIG_INVALID', lines.join('\n'), {
    details: { file, problems: problems.map((problem) => problem.toJSON()) },
    hint: problems.length === 1 ? problems[0]!.hint : '`tidings validate-config` says more.',
  })
}

/** Resolves the paths in the file from the file's folder. */
function seenFrom(folder: string, config: Config): Config {
  const { url, handlers, sentinel, serve } = config
  const secretFile = sentinel?.webhook?.secretFile
  const directory = url === undefined ? undefined : /^local:(.+)$/i.exec(url)?.[1]
  return {
    ...config,
    ...(directory === undefined ? {} : { url: `local:${resolve(folder, directory)}` }),
    ...(handlers === undefined ? {} : { handlers: resolve(folder, handlers) }),
    ...(sentinel?.webhook === undefined || secretFile === undefined
      ? {}
      : { sentinel: { ...sentinel, webhook: { ...sentinel.webhook, secretFile: resolve(folder, secretFile) } } }),
    ...(serve === undefined
      ? {}
      : { serve: { ...serve, ...pathsFrom(folder, serve, ['tokenFile', 'tlsCert', 'tlsKey']) } }),
  }
}

function pathsFrom<K extends string>(folder: string, settings: { readonly [N in K]?: string | undefined }, names: K[]) {
  const resolved = names.flatMap((name) =>
    settings[name] === undefined ? [] : [[name, resolve(folder, settings[name])]],
  )
  return Object.fromEntries(resolved) as { [N in K]?: string }
}
