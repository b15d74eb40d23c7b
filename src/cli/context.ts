import type { Command } from 'commander'
import type { Bus } from '../bus.ts'
import { isTidingsError, TidingsError } from '../errors.ts'
import type { Given } from './command.ts'
import { loadEnvironment, type Target, targetOf } from './environment.ts'
import { Output } from './output.ts'

/** What every command works with. */
export interface Context {
  readonly given: Given
  readonly out: Output
  /** Opens the bus, which is closed when the command is done. Comes after all that can be checked without it. */
  connect(): Promise<Bus>
  /** Where the bus is, and who said so. */
  target(): Target
}

/** Makes the action of a command. */
export function withContext(run: (context: Context, ...args: string[]) => Promise<void>) {
  return async (...received: unknown[]): Promise<void> => {
    const command = received.at(-1) as Command
    const given: Given = command.optsWithGlobals()
    loadEnvironment()
    const target = () => targetOf(given.url, process.env)
    let bus: Bus | undefined
    const connect = async () => {
      bus = await open(target())
      return bus
    }
    try {
      const context = { given, out: new Output(given.json ?? false), connect, target }
      await run(context, ...(command.processedArgs as string[]))
    } finally {
      await bus?.close()
    }
  }
}

async function open({ url, source }: Target): Promise<Bus> {
  const { connect } = await import('../connect.ts')
  try {
    return await connect(url)
  } catch (error) {
    if (!isTidingsError(error) || source === '--url') throw error
    const { code, message, cause, details } = error
    // Where a wrong URL comes from is half of its remedy.
    if (code !== 'CONNECTION_FAILED' && code !== 'URL_INVALID') throw error
    throw new TidingsError(code, message, { cause, details, hint: `${error.hint} (The URL comes from ${source}.)` })
  }
}
