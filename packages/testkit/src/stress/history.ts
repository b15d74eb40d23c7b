import { closeSync, openSync, readFileSync, writeSync } from 'node:fs'

/** Where a message can be: a queue or a topic, by name. */
export type PlaceName = { readonly queue: string } | { readonly topic: string }

interface OfMessage {
  readonly queue: string
  readonly uid: string
  readonly id: string
  /** Its readCount: which of its leases this is about. */
  readonly attempt: number
}

interface OfOffset {
  readonly topic: string
  readonly subscription: string
  readonly offset: number
  readonly uid: string
}

/** What a process tells of itself. Whatever has no answer in the history may have been carried out or not. */
export type Fact =
  /** About to store messages, each in all of the places, in this order. */
  | {
      readonly event: 'sending'
      /** What one lane sends, it sends one after the other. */
      readonly lane: string
      readonly uids: readonly string[]
      readonly places: readonly PlaceName[]
      readonly key: string | null
    }
  /** The storage has said so. `at`: the id in a queue, the offset in a topic. */
  | { readonly event: 'sent'; readonly uid: string; readonly place: PlaceName; readonly at: string }
  | ({ readonly event: 'started' } & OfMessage)
  /** The handler is done; what it decided is still to be stored. */
  | ({ readonly event: 'ended'; readonly ok: boolean } & OfMessage)
  | ({ readonly event: 'settled'; readonly as: 'succeeded' | 'retried' | 'deadLettered' } & OfMessage)
  | ({ readonly event: 'leaseLost' } & OfMessage)
  /** The answer to the settlement never came. */
  | ({ readonly event: 'unsettled' } & OfMessage)
  | ({ readonly event: 'received' } & OfOffset)
  | ({ readonly event: 'handled' } & OfOffset)
  /** The subscription is no longer this process's. */
  | { readonly event: 'superseded'; readonly topic: string; readonly subscription: string }
  | {
      readonly event: 'seeking' | 'sought'
      readonly topic: string
      readonly subscription: string
      readonly offset: number
    }
  /** Told by the process that kills, just before it does; `target` is the one that ends. */
  | { readonly event: 'killing'; readonly target: string }
  /** The storage refused something or was not there. */
  | { readonly event: 'trouble'; readonly doing: string; readonly code: string; readonly message: string }

/** A fact with who told it and when: milliseconds by the machine's monotonic clock, the same for all processes. */
export type Entry = Fact & { readonly process: string; readonly time: number }

export const monotonicMs = (): number => Number(process.hrtime.bigint() / 1_000n) / 1_000

/** What one process tells, in a file of its own. A line is written before the next step, so a kill loses none. */
export class HistoryFile {
  readonly #process: string
  readonly #file: number

  constructor(path: string, processName: string) {
    this.#process = processName
    this.#file = openSync(path, 'a')
  }

  tell(fact: Fact): void {
    writeSync(this.#file, `${JSON.stringify({ time: monotonicMs(), process: this.#process, ...fact })}\n`)
  }

  close(): void {
    closeSync(this.#file)
  }
}

/** Takes what is told. */
export type Teller = Pick<HistoryFile, 'tell'>

/** All entries of several files, by time. A last line that a kill cut short counts as not told. */
export function readHistories(paths: readonly string[]): Entry[] {
  const entries = paths.flatMap((path) => readFileSync(path, 'utf8').split('\n').slice(0, -1))
  return entries.map((line) => JSON.parse(line) as Entry).sort((a, b) => a.time - b.time)
}
