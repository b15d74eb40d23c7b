import { systemClock, type Timer } from '../../core/clock.ts'
import { soon } from '../../core/turns.ts'
import type { RedisClient } from './client.ts'
import { Lost, Unsent } from './errors.ts'

export type Command = readonly [name: string, ...args: (string | number)[]]

const promptMs = 4_000
/** For calls that take the server long. All other calls on a dead connection are given up sooner. */
export const slowMs = 15_000

/** For how long a server may say nothing to a call: 4 s, and one second more for every MB of arguments. */
export function timeoutOf(command: Command): number {
  let carried = 0
  for (const arg of command) if (typeof arg === 'string') carried += arg.length
  return promptMs + carried / 1_000
}

/**
 * Sends a command on a connection, once.
 * @param asking sends ASKING first: the slot is being moved to this node of a Cluster
 * @throws Unsent, Lost, or the error that the server replied
 */
export async function callOn(
  client: RedisClient,
  command: Command,
  timeoutMs: number,
  asking = false,
): Promise<unknown> {
  const silence = silenceOf(client)
  const asked = asking ? client.call('ASKING', []) : null
  const called = client.call(command[0], command.slice(1))
  const answer = asked !== null ? Promise.all([called, asked]).then(([answered]) => answered) : called
  const waiting = silence.begin(timeoutMs)
  try {
    return await answer
  } catch (error) {
    const { name: kind, message } = error as Error
    if (kind === 'ReplyError') throw error
    if (message.startsWith("Stream isn't writeable")) throw new Unsent(message, { cause: error })
    throw new Lost(message, { cause: error })
  } finally {
    silence.end(waiting)
  }
}

const silences = new WeakMap<RedisClient, Silence>()

function silenceOf(client: RedisClient): Silence {
  let silence = silences.get(client)
  if (!silence) {
    silence = new Silence(client, () => client.disconnect())
    silences.set(client, silence)
  }
  return silence
}

/** Between the look that finds silence and the one that confirms it. */
const momentMs = 250

/** A call that waits for its answer. */
interface Waiting {
  readonly silentMs: number
  readonly since: number
}

/**
 * Watches over the calls on one connection with one timer: notices that nothing has come for as long as one of them may wait.
 * A large answer on a slow line comes in parts. What came while the event loop was blocked is read first: timers are told
 * before that.
 */
export class Silence {
  readonly #client: RedisClient
  readonly #found: () => void
  readonly #waiting = new Set<Waiting>()
  #timer: Timer | undefined
  #lookAt = Number.POSITIVE_INFINITY
  #bytesBefore: number | undefined
  /** The last look found silence. */
  #isSuspected = false
  #heardAt = 0

  constructor(client: RedisClient, found: () => void) {
    this.#client = client
    this.#found = found
    client.on('end', () => this.#timer?.cancel())
  }

  /** @param silentMs how long nothing may come until `end` */
  begin(silentMs: number): Waiting {
    // What came to earlier calls is no sign of life for this one.
    if (this.#waiting.size === 0) this.#bytesBefore = this.#client.stream?.bytesRead
    const waiting = { silentMs, since: performance.now() }
    this.#waiting.add(waiting)
    if (waiting.since + silentMs < this.#lookAt) this.#lookIn(silentMs)
    return waiting
  }

  end(waiting: Waiting): void {
    this.#waiting.delete(waiting)
  }

  #lookIn(milliseconds: number): void {
    this.#timer?.cancel()
    this.#lookAt = performance.now() + milliseconds
    this.#timer = systemClock.after(milliseconds, () => soon(() => this.#look()))
  }

  #look(): void {
    const now = performance.now()
    const bytes = this.#client.stream?.bytesRead
    if (bytes !== this.#bytesBefore) this.#heardAt = now
    this.#bytesBefore = bytes
    this.#lookAt = Number.POSITIVE_INFINITY
    let leftMs = Number.POSITIVE_INFINITY
    for (const { silentMs, since } of this.#waiting)
      leftMs = Math.min(leftMs, silentMs - (now - Math.max(since, this.#heardAt)))
    // A loop that was blocked has perhaps just sent what is waited for.
    const isSilent = leftMs <= 0
    if (isSilent && this.#isSuspected) this.#found()
    else if (leftMs < Number.POSITIVE_INFINITY) this.#lookIn(isSilent ? momentMs : leftMs)
    this.#isSuspected = isSilent
  }
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
