import type { JsonObject } from '../core/json.ts'
import type { Milestone } from './correlation.ts'

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
  /** What the message belongs to for fairness and limits. Left out: none. Only with 'limits'. */
  readonly group?: string | null
  /** Tells a second message of this id within the window from the first, whatever became of that. */
  readonly dedup: Dedup | null
  /** Refuses a second message for this target while the first is in this queue, be it ready, delayed or leased. */
  readonly uniqueTarget: string | null
  /**
   * Keeps `data` alone as the stored body and meta beside it, for readers that know no envelope. Makes no difference
   * where the storage has no body format that others read.
   */
  readonly bare: boolean
  /** Makes the message a task of a correlation. Left out: it is none. */
  readonly tracked?: Tracked
  /** For the seam round the port, see `telemetry.ts`; no engine stores it. */
  readonly origin?: object
}

export interface Dedup {
  readonly id: string
  /** Null: as long as nobody has read the message that has the id. */
  readonly windowMs: number | null
  /**
   * Left out: a second message is a duplicate. Otherwise, while nobody has read the first (its read count is 0), data, meta
   * and headers of the second take the place of the first's, which keeps its id, time of sending, priority, ordering key,
   * group, target and task, and no further message is stored. In one step: the first is read as it was, and the second is a new
   * message that takes the id, or it is replaced before anybody reads it. Comes without a target and a task of its own.
   */
  readonly replace?: Replace
}

export interface Replace {
  /** The first becomes ready when the second would, and the window begins anew. */
  readonly extend: boolean
  /** With `extend`: at the latest so long after the first was sent. Null: whenever. */
  readonly atMostMs: number | null
}

export interface Tracked {
  readonly correlationId: string
  /** The queue that is told of milestones; that of the first task that names one counts, with what it is told of. */
  readonly completionQueue: string | null
  /** Of what it is told. Left out: `usualMilestones`. */
  readonly milestones?: readonly Milestone[]
}

/** What a batch must keep to. */
export interface SendTerms {
  /**
   * How many messages the queue may hold with it, ready, delayed and leased ones; the archive and duplicates do not
   * count. Otherwise QUEUE_FULL. Holds among all who send with it at the same time, of whatever engine; what comes
   * without it, published or moved, is not held up, but counts. Left out: any number.
   */
  readonly maxLength?: number
  /**
   * 'fsync': it is on the disk of the storage when the answer is given, so that a power cut does not take it away. Where
   * that cannot be had, or not be known, DURABILITY_UNAVAILABLE. Left out: as the storage is set up.
   */
  readonly durability?: 'fsync'
}

export interface SendResult {
  /** The id of the message, or of the first one if this is a duplicate or replaced that one's data. */
  readonly id: string
  /** True if nothing was stored. */
  readonly duplicate: boolean
  /** True if a message that nobody had read has these data now. */
  readonly replaced?: true
}

/** An open transaction, cut down to what Tidings needs. Parameters are scalars, `$1` is the first. */
export interface Transaction {
  query(text: string, values: readonly unknown[]): Promise<{ rows: readonly Record<string, unknown>[] }>
}

export interface Finding {
  readonly level: 'ok' | 'warning' | 'problem'
  /** What was looked at: 'durability'. */
  readonly check: string
  readonly message: string
  /** What to do; empty if nothing. */
  readonly remedy: string
}

/**
 * - due: what time asks for. Removes expired dedup ids, moves due messages into their queues, trims topics.
 * - archive: removes archived messages for good, those first that were archived first
 */
export type MaintainRequest =
  | { readonly kind: 'due' }
  | ({ readonly kind: 'archive'; readonly queue: string } & PruneRequest)

/** Which archived messages are to go; each reason is enough. Null: not for this reason. */
export interface PruneRequest {
  /** Those that were archived longer ago than this. */
  readonly archivedForMs: number | null
  /** Those beyond this number. */
  readonly keep: number | null
  /** At most so many in one call. */
  readonly limit: number
}
