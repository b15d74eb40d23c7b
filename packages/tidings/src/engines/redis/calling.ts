import { systemClock, type Timer } from '../../core/clock.ts'
import type { RedisClient } from './client.ts'
import { Lost, Unsent } from './errors.ts'

export type Command = readonly [name: string, ...args: (string | number)[]]

const promptMs = 4_000
/** For calls that take the server long. All other calls on a dead connection are given up sooner. */
export const slowMs = 15_000

/** For how long a server may say nothing to a call: 4 s, and one second more for every MB of arguments. */
export function timeoutOf(command: Command): number {
  const carried = command.reduce<number>((sum, arg) => sum + (typeof arg === 'string' ? arg.length : 0), 0)
  return promptMs + carried / 1_000
}

/**
 * Sends a command on a connection, once.
 * @param asking sends ASKING first: the slot is being moved to this node of a Cluster
 * @throws Unsent, Lost, or the error that the server replied
 */
export async function callOn(
  client: RedisClient,
  [name, ...args]: Command,
  timeoutMs: number,
  asking = false,
): Promise<unknown> {
  const sent = asking ? [client.call('ASKING', []), client.call(name, args)] : [client.call(name, args)]
  const timer = afterSilence(client, timeoutMs, () => client.disconnect())
  try {
    return (await Promise.all(sent)).at(-1)
  } catch (error) {
    const { name: kind, message } = error as Error
    if (kind === 'ReplyError') throw error
    if (message.startsWith("Stream isn't writeable")) throw new Unsent(message, { cause: error })
    throw new Lost(message, { cause: error })
  } finally {
    timer.cancel()
  }
}

/** Calls `found` when nothing has come for so long. A large answer on a slow line comes in parts. */
function afterSilence(client: RedisClient, silentMs: number, found: () => void): Timer {
  let before = client.stream?.bytesRead
  const look = () => {
    const now = client.stream?.bytesRead
    if (now === before) return found()
    before = now
    timer = systemClock.after(silentMs, look)
  }
  let timer = systemClock.after(silentMs, look)
  return { cancel: () => timer.cancel() }
}

/** From a list of names and values in turn. */
export const pairsOf = (list: readonly string[]): [name: string, value: string][] =>
  Array.from({ length: list.length / 2 }, (_, at) => [list[2 * at]!, list[2 * at + 1]!])

export const toMap = (list: readonly string[]): ReadonlyMap<string, string> => new Map(pairsOf(list))

/** The fields of an answer of INFO. */
export function parseInfo(text: string): ReadonlyMap<string, string> {
  const lines = text.split('\r\n').filter((line) => line.includes(':'))
  return new Map(lines.map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1)]))
}
