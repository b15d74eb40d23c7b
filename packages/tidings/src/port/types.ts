import type { JsonObject } from '../core/json.ts'

export interface NewMessage {
  /** JSON text. */
  readonly data: string
  /** In the names of the wire format (snake_case). */
  readonly meta: JsonObject
  readonly headers: JsonObject
  /** Becomes ready this long after it is stored… */
  readonly delayMs: number
  /** …or at this time, if not null. */
  readonly notBefore: number | null
  /** Higher is read first; 0 for most. */
  readonly priority: number
  /**
   * Messages of one key are read one after the other, in the order in which they were sent: a message can be claimed
   * when no earlier one of its key is in the queue, be it ready, delayed or leased.
   */
  readonly orderingKey: string | null
  /** Refuses a second message of this id within the window, whatever became of the first. */
  readonly dedup: { readonly id: string; readonly windowMs: number } | null
  /** Refuses a second message for this target while the first is in this queue, be it ready, delayed or leased. */
  readonly uniqueTarget: string | null
  /**
   * Keeps `data` alone as the stored body and meta beside it, for readers that know no envelope. Makes no difference
   * where the storage has no body format that others read.
   */
  readonly bare: boolean
  /** Makes the message a task of a correlation. Left out: it is none. */
  readonly tracked?: Tracked
}

export interface Tracked {
  readonly correlationId: string
  /** The queue that is told when all tasks are over; that of the first task that names one counts. */
  readonly completionQueue: string | null
}

/** An open transaction, cut down to what Tidings needs. Parameters are scalars, `$1` is the first. */
export interface Transaction {
  query(text: string, values: readonly unknown[]): Promise<{ rows: readonly Record<string, unknown>[] }>
}
