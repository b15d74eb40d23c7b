import { closeSync, openSync, readFileSync, writeSync } from 'node:fs'

/** The destination of a message: a queue or a topic, by name. */
export type Destination = { readonly queue: string } | { readonly topic: string }

interface OfMessage {
  readonly queue: string
  readonly uid: string
  readonly id: string
  /** The readCount, which identifies the lease. */
  readonly attempt: number
}

interface OfOffset {
  readonly topic: string
  readonly subscription: string
  readonly offset: number
  readonly uid: string
}

/** One record of a process. A call without an answer in the history may have been carried out or not. */
export type Fact =
  /** Before storing messages, each in all destinations, in this order. Several lanes may send the same message. */
  | {
      readonly event: 'sending'
      /** A lane sends one batch after the other. */
      readonly lane: string
      readonly uids: readonly string[]
      readonly places: readonly Destination[]
      readonly key: string | null
    }
  /** Acknowledged by the storage. `at`: the id in a queue, the offset in a topic. */
  | { readonly event: 'sent'; readonly uid: string; readonly place: Destination; readonly at: string }
  | ({
      readonly event: 'started'
      /** The lease by the storage's clock; null where the storage does not tell. An extension is not included. */
      readonly readAt: number | null
      readonly leasedUntil: number
    } & OfMessage)
  /** The handler has ended; its decision is not stored yet. */
  | ({ readonly event: 'ended'; readonly ok: boolean } & OfMessage)
  | ({ readonly event: 'settled'; readonly as: 'succeeded' | 'retried' | 'deadLettered' } & OfMessage)
  | ({ readonly event: 'leaseLost' } & OfMessage)
  /** The answer to the settlement never came. */
  | ({ readonly event: 'unsettled' } & OfMessage)
  | ({ readonly event: 'received' } & OfOffset)
  | ({ readonly event: 'handled' } & OfOffset)
  /** This process has lost the subscription. */
  | { readonly event: 'superseded'; readonly topic: string; readonly subscription: string }
  | {
      readonly event: 'seeking' | 'sought'
      readonly topic: string
      readonly subscription: string
      readonly offset: number
    }
  /** Recorded by the killing process just before the kill; `target` is killed, and may be that process itself. */
  | { readonly event: 'killing'; readonly target: string }
  /** The storage refused a call or was away; with the code 'ended', a process ended without being asked. */
  | { readonly event: 'trouble'; readonly doing: string; readonly code: string; readonly message: string }

/** A fact with its process and time: milliseconds of the machine's monotonic clock, which all processes share. */
export type Entry = Fact & { readonly process: string; readonly time: number }

export const monotonicMs = (): number => Number(process.hrtime.bigint() / 1_000n) / 1_000

/** The history of one process, in its own file. Each line is written before the next step, so a kill loses none. */
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

/** Records facts. */
export type Teller = Pick<HistoryFile, 'tell'>

/** All entries of several files, by time. An incomplete last line, cut by a kill, is ignored. */
export function readHistories(paths: readonly string[]): Entry[] {
  const entries = paths.flatMap((path) => readFileSync(path, 'utf8').split('\n').slice(0, -1))
  return entries.map((line) => JSON.parse(line) as Entry).sort((a, b) => a.time - b.time)
}
