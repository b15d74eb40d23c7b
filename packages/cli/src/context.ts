import type { Command } from 'commander'
import type { Bus } from 'tidings/internal/bus/bus'
import { isTidingsError, TidingsError } from 'tidings/internal/core/errors'
import type { Logger } from 'tidings/internal/core/logger'
import type { FlagValues } from './command.ts'
import { type CheckedConfig, loadConfig } from './config/load.ts'
import type { Config } from './config/settings.ts'
import { loadEnvironment, localByDefault, type Target, targetOf, tokenOf } from './environment.ts'
import { Output } from './output.ts'

/** The context of every command. */
export interface Context {
  readonly flagValues: FlagValues
  readonly out: Output
  /** Opens the bus, which is closed after the command. Called after all checks that need no bus. */
  connect(logger?: Logger): Promise<Bus>
  /** The URL of the storage, and its source. */
  target(): Promise<Target>
  /** The configuration. Commands that do not call this work beside a broken file. */
  config(): Promise<CheckedConfig>
}

/** Makes the action of a command. */
export function withContext(run: (context: Context, ...args: string[]) => Promise<void>) {
  return async (...received: unknown[]): Promise<void> => {
    const command = received.at(-1) as Command
    const flagValues: FlagValues = command.optsWithGlobals()
    loadEnvironment()
    let loaded: Promise<CheckedConfig> | undefined
    const config = () => (loaded ??= loadConfig(flagValues.config))
    const target = async () => targetOf(flagValues.url, process.env, urlOf(await config()))
    let bus: Bus | undefined
    const out = new Output(flagValues.json ?? false)
    const connect = async (logger?: Logger) => {
      const { url, source } = await target()
      // The user may have meant another storage, by a variable that is not set here.
      if (source === localByDefault.source)
        out.note(`storage: ${url}, the local PostgreSQL, since nothing names another`)
      bus = await open({ url, source }, (await config()).config, logger)
      return bus
    }
    try {
      const context = { flagValues, out, connect, target, config }
      await run(context, ...(command.processedArgs as string[]))
    } finally {
      await bus?.close()
    }
  }
}

export function urlOf({ file, config: { url } }: CheckedConfig): Target | undefined {
  return url === undefined || file === null ? undefined : { url, source: file }
}

async function open(
  target: Target,
  { queues = {}, pool, idle, telemetry }: Config,
  logger: Logger | undefined,
): Promise<Bus> {
  const { url, source } = target
  const token = tokenOf(target, process.env)
  const [{ connect }, { queuePart }] = await Promise.all([
    import('tidings/internal/connect'),
    import('./config/settings.ts'),
  ])
  const options = Object.entries(queues).map(([name, settings]) => [name, queuePart(settings)])
  try {
    return await connect(url, { queues: Object.fromEntries(options), logger, token, pool, idle, telemetry })
  } catch (error) {
    if (!isTidingsError(error) || source === '--url') throw error
    const { code, message, cause, details } = error
    // The source of a wrong URL is half of its remedy.
    if (code !== 'CONNECTION_FAILED' && code !== 'URL_INVALID') throw error
    throw new TidingsError(code, message, { cause, details, hint: `${error.hint} (The URL comes from ${source}.)` })
  }
}
