import { Bus } from './bus.ts'
import type { Engine } from './engine.ts'
import { show, TidingsError } from './errors.ts'
import * as option from './options.ts'
import type { Logger } from './queue-access.ts'

export const connectOptions = {
  logger: option.value<Logger, Logger | null>('Takes what Tidings has to say: pino, winston, console.', {
    default: null,
    defaultText: 'silent',
    typeText: 'object with debug, info, warn and error',
    parse: parseLogger,
  }),
} as const
export type ConnectOptions = option.OptionsInput<typeof connectOptions>

/**
 * Opens a bus on a storage.
 * @param url `postgres://…`; `local:./directory` for the PostgreSQL that comes with the package, which is started if
 *   need be; `memory:` for tests. Left out: `local:.tidings`.
 * @throws URL_INVALID, CONNECTION_FAILED with host, port and cause, LOCAL_UNAVAILABLE
 */
export async function connect(url?: string, options?: ConnectOptions): Promise<Bus> {
  const { logger } = option.parseOptions(connectOptions, options, 'connect')
  const engine = await createEngine(url ?? 'local:.tidings')
  await engine.open()
  return new Bus(engine, logger ? { logger } : {})
}

/** The only place that names the engines. Each is loaded when it is asked for. */
async function createEngine(url: string): Promise<Engine> {
  if (typeof url !== 'string') throw option.typeError('url', url, 'a string')
  const scheme = /^([a-z+]+):/i.exec(url)?.[1]?.toLowerCase()
  switch (scheme) {
    case 'postgres':
    case 'postgresql': {
      const { PostgresEngine } = await import('./engines/postgres/postgres.ts')
      return new PostgresEngine({ url })
    }
    case 'local': {
      const [{ ensureLocal }, { PostgresEngine }] = await Promise.all([
        import('./local/local.ts'),
        import('./engines/postgres/postgres.ts'),
      ])
      const directory = url.slice('local:'.length) || '.tidings'
      return new PostgresEngine({ locate: () => ensureLocal(directory) })
    }
    case 'memory': {
      const { MemoryEngine } = await import('./engines/memory/memory.ts')
      return new MemoryEngine()
    }
    default:
      // Without what follows the scheme, which may hold a password.
      throw new TidingsError(
        'URL_INVALID',
        `the URL ${scheme ? `scheme ${show(scheme)}` : 'without a scheme'} is not known`,
      )
  }
}

function parseLogger(value: unknown, path: string): Logger {
  const logger = value as Partial<Logger> | null
  const methods = ['debug', 'info', 'warn', 'error'] as const
  if (typeof logger !== 'object' || logger === null || methods.some((name) => typeof logger[name] !== 'function'))
    throw option.typeError(path, value, 'an object with debug, info, warn and error')
  return value as Logger
}
