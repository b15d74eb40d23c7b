import type { JsonObject } from '../core/json.ts'
import type { CorrelationState } from './correlation.ts'
import type { HistoryStore } from './history.ts'
import type { Limits } from './limits.ts'
import type { Listener, Listening } from './listening.ts'
import type { ProcessInfo } from './processes.ts'
import type { ScheduleStore } from './schedule-store.ts'
import type { AppendResult, TopicStore } from './topic-store.ts'
import type { Finding, MaintainRequest, NewMessage, SendResult, SendTerms, Transaction } from './types.ts'

export type { Completion, CorrelationState, Milestone, TaskCounts } from './correlation.ts'
export type {
  Dedup,
  Finding,
  MaintainRequest,
  NewMessage,
  PruneRequest,
  Replace,
  SendResult,
  SendTerms,
  Tracked,
  Transaction,
} from './types.ts'

/**
 * The port: what a storage must do so that everything above it works. It is the whole of what an engine has to
 * implement; validation, defaults, encoding and errors of use live once, above it.
 *
 * Rules that hold for every member:
 * - Names, ids, limits and durations arrive checked. Durations are whole milliseconds, times milliseconds since 1970
 *   by the clock of the storage, ids strings.
 * - Work comes in batches; a single message is a batch of one. Answers have the order of the requests.
 * - A promise resolves after the storage has committed. If the answer was lost, it rejects with OUTCOME_UNKNOWN.
 * - A queue that does not exist is QUEUE_NOT_FOUND.
 *
 * How the members map to the engines is in docs/engines/port.md; the conformance suite in `testkit/` is the contract
 * as executable cases.
 */
export interface Engine {
  /** For messages to people: 'memory', 'postgres'. */
  readonly name: string
  readonly supports: ReadonlySet<Feature>
  /** Known once it is open. */
  readonly limits: Limits

  /** Connects and installs or checks the schema. Called once, before anything else. */
  open(): Promise<void>
  /** Gives everything back; twice is fine. Calls after it reject with CLOSED. */
  close(): Promise<void>

  /** Creates what is missing. @returns true if it was created now */
  createQueue(queue: string): Promise<boolean>
  /** Removes the queue with all its messages and its archive. @returns false if there was none */
  dropQueue(queue: string): Promise<boolean>
  /** All queues, or only the one that is named, by name in the order of bytes. The way to ask whether one is there. */
  describe(queue: string | null): Promise<QueueInfo[]>
  /**
   * Changes settings that the storage keeps for the queue until it is dropped: each value replaces the one of its name, and
   * null takes it away. Who listens to the queue is told by `changed`, and woken. @returns all settings that there are now
   */
  configure(queue: string, change: JsonObject): Promise<JsonObject>
  /** Removes all messages that are not archived, leased ones too. Dedup ids stay taken. @returns how many */
  purgeQueue(queue: string): Promise<number>
  /**
   * Counts; dear where there is much to count.
   * @param options upTo: where that is dear, so many messages are looked at, from the front, and the rest is estimated
   */
  stats(queue: string, options?: StatsOptions): Promise<QueueStats>

  /**
   * Stores messages in their order. A duplicate, of an earlier one in the batch too, is not stored and takes no dedup
   * id and no target; its result carries the id of the first. What replaces an earlier one counts for no length.
   * @param transaction the application's own; null for one of the engine's. Only with 'transactions'.
   * @param terms left out: none. A batch that cannot be stored on them is refused as a whole and leaves nothing behind,
   *   also no dedup ids and tasks, and the transaction as it was.
   */
  send(
    queue: string,
    messages: readonly NewMessage[],
    transaction: Transaction | null,
    terms?: SendTerms,
  ): Promise<SendResult[]>

  /**
   * Adds a rule about what goes where; dropping an end of it removes it. It holds for what is published in the same step
   * as the message itself: all copies, or none. A queue gets one copy of a message, whatever many rules lead there.
   * @returns true if it was added now
   */
  bind(rule: Rule): Promise<boolean>
  /** @returns false if there was no such rule */
  unbind(rule: Rule): Promise<boolean>
  /**
   * The patterns of one queue, or of all, by queue and then by pattern, in the order of their bytes. What is about a
   * topic is told by `TopicStore.listTopics`.
   */
  bindings(queue: string | null): Promise<Binding[]>

  /**
   * Stores a copy of each message in every queue with a pattern that matches its routing key, one copy however many
   * do; all copies of all messages or none. Within a queue they have the order of the batch. Every copy is a message
   * of its queue like one that was sent there, with dedup ids and targets of that queue, and the meta field
   * `queue_name` names it. Topics with a matching pattern take the message too, and with it the queues linked to them;
   * one that replaces is OPTION_CONFLICT there, and nothing is stored.
   * @param transaction as for `send`
   * @returns for each message its copies, by queue in the order of bytes, then those in topics, likewise; none where
   *   nothing matches
   */
  publish(messages: readonly RoutedMessage[], transaction: Transaction | null): Promise<PublishedCopy[][]>

  /**
   * Leases messages that are ready, by priority, then oldest first, and at most one message of an ordering key. Which
   * of several keys comes first is for the engine to say. Groups take turns, and limits hold: see `queue-limits.ts`.
   */
  claim(queue: string, request: ClaimRequest): Promise<Claim>
  /**
   * Removes and returns messages that are ready, in the same order, in one atomic step. One that was asked to be cancelled is put
   * into the archive instead, as cancelled, and is returned for the caller to pass over.
   */
  pop(queue: string, limit: number): Promise<StoredMessage[]>
  /** Looks at messages, by id, without changing anything. Receipts are null. */
  peek(queue: string, request: PeekRequest): Promise<Peeked>
  /**
   * Ends leases. Each settlement stands for itself: one whose receipt is stale changes nothing and says so, while the
   * others are carried out. A receipt is stale once the lease was settled, extended or followed by another; that it
   * has run out alone does not make it so. Nothing that was asked to be cancelled becomes a dead letter: that is as stale.
   * @param transaction left out: one of the engine's own. A settlement that is rolled back leaves its receipt good.
   */
  settle(queue: string, settlements: readonly Settlement[], transaction?: Transaction): Promise<SettleResult[]>
  /**
   * Makes leases last `leaseMs` from now. @returns the new receipts; null where the lease was lost or has run out, or the
   * message was asked to be cancelled and the lease does not say that its reader knows
   */
  extend(queue: string, leases: readonly Lease[], leaseMs: number): Promise<(string | null)[]>
  /**
   * Removes messages that are not leased, without a lease. With `running` those that are leased are asked for: their meta gets
   * `cancel_requested_at`, an ISO 8601 text, which stays until they end, and their lease stays as it is. Archived with
   * `cancelled_at` in its meta a message ends as cancelled.
   */
  cancel(queue: string, ids: readonly string[], options?: { readonly running?: boolean }): Promise<Cancelled[]>
  /**
   * Messages that wait for their time are ready before it, and holds of the queue and of their groups end; limits, a pause and
   * the order of keys stay. @returns for each whether it is ready now; false: it is leased, or not there
   */
  makeReady(queue: string, ids: readonly string[]): Promise<boolean[]>

  /**
   * How far the tasks of a correlation are: the messages that were sent with it in `tracked`. A task is over when its
   * message is: deleted, archived or popped (done), cancelled, purged or dropped with its queue (cancelled), or archived
   * or moved with the meta field `dead_lettered_at` (dead). A dead one that is moved without that field is to be done
   * again.
   *
   * With the end of a task a correlation may reach a `Milestone`: in the same step a message is stored in its completion
   * queue, if that is to be told of it; it is created if it is missing. Each is reached once for a correlation, whatever is
   * sent or moved back later. What is in a transaction that has not committed counts for nobody else.
   * @returns null if there is no such task; upkeep forgets completed correlations after 30 days
   */
  correlation(id: string): Promise<CorrelationState | null>

  /**
   * Runs `work` in a transaction of the engine's own, for what is sent and settled in it and for statements of the
   * caller: commits when `work` resolves, and rolls back when it rejects, with the same error. Other calls of the engine
   * are not held up, whatever `work` waits for; further transactions may wait until the storage has room for them. After
   * its end the transaction takes nothing more: CLOSED. Only with 'transactions'.
   */
  transaction<T>(work: (transaction: Transaction) => Promise<T>): Promise<T>

  /**
   * Listens to what is new in queues and topics and, with 'events', to channels. `Wakeups` shares one of these among all
   * that wait; poll slowly underneath.
   */
  listen(listener: Listener): Promise<Listening>

  /** Topics and their subscriptions. Only with 'topics'. */
  readonly topics?: TopicStore
  readonly schedules: ScheduleStore
  readonly history: HistoryStore

  /** @returns how many archived messages were removed; fewer than the limit if there is nothing more to remove */
  maintain(request: MaintainRequest): Promise<number>
  /** Looks for what could hurt: versions, permissions, durability, surroundings. */
  diagnose(): Promise<Finding[]>
  /** Those that are there now, at most `maxProcesses`, in any order. */
  processes(): Promise<ProcessInfo[]>
}

/**
 * What not every storage can do; asking for what is missing is UNSUPPORTED.
 * - transactions: `send`, `publish` and `settle` join a transaction, the application's own or one of `transaction`
 * - durable: what was sent survives a crash of any process
 * - events: the storage tells of its queues through channels
 * - topics: `topics` is there
 * - limits: messages have groups, queues have limits and weights, and a release may hold back
 * - schedules: this process may send what is due; otherwise another one does, behind the storage
 */
export type Feature = 'transactions' | 'durable' | 'events' | 'topics' | 'limits' | 'schedules'

export interface QueueInfo {
  readonly queue: string
  readonly createdAt: number
  /** See `configure`; left out where there are none. */
  readonly settings?: JsonObject
  /** A crash of the server empties it: made by another client of PGMQ, as such a queue. */
  readonly isUnlogged?: boolean
  /** Its tables are looked after by pg_partman: made by another client of PGMQ. */
  readonly isPartitioned?: boolean
  /** In a list of queues: why Tidings does not take its name, which another client of PGMQ gave it. */
  readonly unusable?: string
}

export interface StatsOptions {
  readonly upTo?: number
}

export interface QueueStats {
  readonly queue: string
  /**
   * Only so many messages were looked at as were asked for: what is behind them is estimated, and counts as ready. Left out: all
   * were.
   */
  readonly isEstimate?: true
  /** Messages whose time has come, also those that wait for an earlier one of their key. */
  readonly ready: number
  /** Of the ready ones, those in a queue or in groups of which limits and holds let nothing be claimed now. */
  readonly heldBack: number
  /** Messages that wait for their time. */
  readonly delayed: number
  /** Messages in the hands of a reader. */
  readonly leased: number
  /** Archived messages; exact up to 100,000, and up to how many are to be looked at, then the storage's estimate. */
  readonly archived: number
  /** Messages ever sent to the queue; gaps in the ids count too. */
  readonly totalSent: number
  /** Age of the oldest message that can be read now, counted from when it became ready; null if there is none. */
  readonly oldestReadyMs: number | null
  /** In how many milliseconds the next message becomes ready: its time comes, or its lease ends; null if none is to. */
  readonly nextDueMs: number | null
  /** Age since sending of the newest and the oldest message that is not archived; null if there is none. */
  readonly newestMs: number | null
  readonly oldestMs: number | null
  readonly createdAt: number
}

export interface RoutedMessage extends NewMessage {
  readonly routingKey: string
}

/** One copy of a published message: in a queue or in a topic. */
export type PublishedCopy = QueueCopy | TopicCopy

export interface QueueCopy extends SendResult {
  readonly queue: string
}

export interface TopicCopy extends AppendResult {
  readonly topic: string
}

/**
 * - from a pattern: what is published under a routing key that matches it goes there
 * - from a topic: what the topic takes from now on goes into the queue too, as a message of that queue
 */
export type Rule = { readonly pattern: string; readonly queue: string } | TopicRule
export type TopicRule =
  | { readonly pattern: string; readonly topic: string }
  | { readonly topic: string; readonly queue: string }

export interface Binding {
  readonly pattern: string
  readonly queue: string
  readonly boundAt: number
}

export interface StoredMessage {
  readonly id: string
  /** JSON text. */
  readonly data: string
  readonly meta: JsonObject
  readonly headers: JsonObject
  readonly priority: number
  readonly orderingKey: string | null
  readonly group: string | null
  readonly sentAt: number
  /** When the message can be read, or read again. */
  readonly visibleAt: number
  /** How often it was read, this time included. */
  readonly readCount: number
  readonly firstReadAt: number | null
  readonly lastReadAt: number | null
  readonly archivedAt: number | null
  /** Proves the lease; null for a message that was only looked at or popped. */
  readonly receipt: string | null
}

export interface ClaimRequest {
  readonly limit: number
  readonly leaseMs: number
  /** Only these messages, if they are ready; null for any. */
  readonly ids: readonly string[] | null
  /**
   * True: the leases end before their time when the storage sees that this process is gone, see the interest 'life'.
   * Left out: with their time only.
   */
  readonly held?: boolean
  /**
   * Of a held claim, so many of the `limit` are read ahead, the last in order: the first `limit - ahead` messages are begun
   * at once, and no handler begins what comes after them. Left out: 0.
   */
  readonly ahead?: number
  /**
   * Takes no more messages, in their order, than have so many bytes of data, meta and headers, as the storage counts them,
   * but at least one. Left out: no bound.
   */
  readonly maxBytes?: number
}

export interface Claim {
  readonly messages: StoredMessage[]
  /**
   * In how many milliseconds to look again even if nothing wakes the reader: the next message becomes due, or a lease
   * runs out; 0 where `maxBytes` left out one that is ready. Null if nothing is known to come. Relative, since the clock
   * of the storage is not that of the reader.
   */
  readonly nextDueMs: number | null
  /**
   * Ready messages were left because of a limit, of a hold, or because nothing is read ahead in a queue with limits.
   * `nextDueMs` says when a rate or a hold lets the next one through; the end of a lease that does is announced.
   */
  readonly heldBack?: boolean
}

/** Where a message is. `archived` is past; the others together are the queue. */
export type Place = 'ready' | 'delayed' | 'leased' | 'archived'

export interface PeekRequest {
  /** Null for all but the archive. */
  readonly place: Place | null
  readonly limit: number
  /** Only ids after this one. */
  readonly afterId: string | null
  readonly ids: readonly string[] | null
  /** Only the message that was sent with this dedup id, while that is taken. It is looked up, not looked for; `ids` is null. */
  readonly dedupId?: string
  /** Only messages whose meta has these texts in these fields; numbers and booleans count as their text. */
  readonly meta?: Readonly<Record<string, string>>
  /** Where messages are sorted out by place or meta, looks at about so many, those sorted out too. Left out: at as many as it takes. */
  readonly scan?: number
}

/** Messages, and where to go on if `scan` has ended the look before there were enough. */
export interface Peeked extends Array<StoredMessage> {
  readonly after?: string
}

export interface Lease {
  readonly id: string
  readonly receipt: string
  /** The reader knows that it was asked to cancel the message. */
  readonly cancelled?: boolean
}

/** 'removed'; 'asked': its reader is told; null: neither. */
export type Cancelled = 'removed' | 'asked' | null

/** How a lease ends. `meta` is merged into the meta of the message; a null takes the field away. */
export type Ending =
  | { readonly kind: 'delete' }
  | { readonly kind: 'archive'; readonly meta: JsonObject }
  | {
      readonly kind: 'release'
      readonly delayMs: number
      readonly meta: JsonObject
      /** Takes the read back, so that it does not count as an attempt. */
      readonly uncount: boolean
      /**
       * In the same step nothing more of the queue, or of the group of the message, is claimed for `delayMs`, or for longer
       * where that is so already. Left out: nothing is held back. Only with 'limits'.
       */
      readonly hold?: 'queue' | 'group'
    }
  | {
      /**
       * In one step: a copy at the end of another queue, which keeps data, headers, priority, ordering key, group and sentAt,
       * starts with readCount 0 and holds no target. The other queue is created if it is missing.
       */
      readonly kind: 'move'
      readonly to: string
      readonly delayMs: number
      readonly meta: JsonObject
    }

/** `origin`: as in `NewMessage`. */
export type Settlement = Lease & Ending & { readonly origin?: object }

export interface SettleResult {
  /** False if the receipt was stale; nothing was changed then. */
  readonly settled: boolean
  /** The id in the other queue, after a move. */
  readonly newId: string | null
}
