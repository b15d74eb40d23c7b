import { dateOrNull } from '../core/dated.ts'
import type { Duration } from '../core/duration.ts'
import type { JsonObject } from '../core/json.ts'
import * as option from '../core/options.ts'
import type { StoredMessage } from '../port/engine.ts'
import { fromWireMeta, type MessageMeta } from '../port/meta.ts'
import type { MessageLease } from './lease.ts'

export const releaseOptions = {
  delay: option.duration('Keeps the message hidden for this long.', {
    default: 0,
    min: 0,
    max: 315_360_000_000,
    rangeCode: 'DELAY_RANGE',
  }),
} as const
export type ReleaseOptions = option.OptionsInput<typeof releaseOptions>

/** Nearly 116 days, which other queues take. */
export const maxLeaseMs = 9_999_999_000

export const leaseOption = <D extends number>(defaultMs: D) =>
  option.duration('How long the message stays hidden from other readers.', {
    default: defaultMs,
    min: 100,
    max: maxLeaseMs,
    rangeCode: 'LEASE_RANGE',
  })

/** A message as it is stored; what `peek` and `pop` return. `T` is the type of its data. */
export class StoredCopy<T> {
  readonly id: string
  readonly queue: string
  readonly data: T
  readonly meta: MessageMeta
  readonly headers: JsonObject
  readonly priority: number
  readonly orderingKey: string | null
  readonly group: string | null
  readonly sentAt: Date
  /** When the message can be read, or read again. */
  readonly visibleAt: Date
  /** How often it was read, this time included. */
  readonly readCount: number
  readonly firstReadAt: Date | null
  readonly lastReadAt: Date | null
  readonly archivedAt: Date | null

  constructor(queue: string, stored: StoredMessage, data: T) {
    this.id = stored.id
    this.queue = queue
    this.data = data
    this.meta = fromWireMeta(stored.meta)
    this.headers = stored.headers
    this.priority = stored.priority
    this.orderingKey = stored.orderingKey
    this.group = stored.group
    this.sentAt = new Date(stored.sentAt)
    this.visibleAt = new Date(stored.visibleAt)
    this.readCount = stored.readCount
    this.firstReadAt = dateOrNull(stored.firstReadAt)
    this.lastReadAt = dateOrNull(stored.lastReadAt)
    this.archivedAt = dateOrNull(stored.archivedAt)
  }
}

/**
 * A message in the hands of a reader. Its lease ends by one of delete, archive, release or deadLetter, or by running
 * out. Each of them returns true when it was carried out and false when the message had been settled through this
 * object before; they throw LEASE_LOST when another reader has it meanwhile.
 */
export class Message<T> extends StoredCopy<T> {
  readonly #lease: MessageLease

  constructor(queue: string, stored: StoredMessage, data: T, lease: MessageLease) {
    super(queue, stored, data)
    this.#lease = lease
  }

  /**
   * The same message under the same lease with other data: for what converts them on their way to a handler.
   * @internal
   */
  withData<U>(data: U): Message<U> {
    return new Message(this.queue, this.#lease.message, data, this.#lease)
  }

  /** The receipt that proves the lease. Changes with every extension. */
  get receipt(): string {
    return this.#lease.receipt
  }

  /**
   * Ends the lease: the message is done and its row removed.
   * @example await message.delete()
   */
  delete(): Promise<boolean> {
    return this.#lease.settle({ kind: 'delete' })
  }

  /**
   * Ends the lease: the message is done and kept in the archive.
   * @example await message.archive()
   */
  archive(): Promise<boolean> {
    return this.#lease.settle({ kind: 'archive', meta: {} })
  }

  /**
   * Gives the message back; another reader gets it, after `delay` if one is given.
   * @example await message.release({ delay: '5m' })
   */
  async release(options?: ReleaseOptions): Promise<boolean> {
    const { delay } = option.parseOptions(releaseOptions, options, 'release')
    return this.#lease.settle({ kind: 'release', delayMs: delay, meta: {}, uncount: false })
  }

  /**
   * Moves the message to the dead-letter queue (or to the archive where there is none), with the reason.
   * @example await message.deadLetter('no such customer')
   */
  deadLetter(reason: unknown): Promise<boolean> {
    return this.#lease.deadLetter(reason)
  }

  /**
   * Makes the lease last this long from now.
   * @throws LEASE_LOST if it was lost or has run out
   * @example await message.extend('30s')
   */
  async extend(lease: Duration): Promise<void> {
    await this.#lease.extend(leaseOption(30_000).parse(lease, 'lease'))
  }
}
