import { Batcher } from './batcher.ts'
import type { Clock } from './clock.ts'
import type { Duration } from './duration.ts'
import type { Engine, NewMessage, Place, QueueStats, SendResult, StoredMessage, Transaction } from './engine.ts'
import { isTidingsError, nearest, show, TidingsError } from './errors.ts'
import { fromJson, type JsonObject, type JsonValue, toJson, toJsonValue } from './json.ts'
import { type LeaseCalls, MessageLease } from './lease.ts'
import { leaseOption, Message, type MessageMeta, StoredCopy, toWireMeta } from './message.ts'
import { errorMeta } from './message-error.ts'
import { checkQueueName, defaultDeadLetterQueue } from './name.ts'
import * as option from './options.ts'
import type { Logger, QueueAccess } from './queue-access.ts'
import { parseSchema, type StandardSchemaV1, validate } from './schema.ts'
import { waitFor } from './waiting.ts'
import { type ConsumeOptions, Consumer } from './worker/consumer.ts'
import { type BatchHandler, type BatchWorkOptions, type Handler, Worker, type WorkOptions } from './worker/worker.ts'

const tenYearsMs = 315_360_000_000
const maxBatch = 10_000
/** How often a blocking read looks even if nothing woke it. */
const readPollMs = 2_000

export const queueOptions = {
  schema: option.value<StandardSchemaV1, StandardSchemaV1 | null>(
    'A Standard Schema; data is checked when sent and when read, and its type is inferred.',
    { default: null, defaultText: 'none', typeText: 'Standard Schema', parse: parseSchema },
  ),
  create: option.boolean('Creates the queue when something is sent to it or works on it and it is missing.', {
    default: true,
  }),
  deadLetter: option.value<string | false, string | false | null>(
    'Where messages go that failed too often; false keeps them in the archive instead.',
    { default: null, defaultText: '<queue>_dlq', typeText: 'queue name or false', parse: parseDeadLetter },
  ),
  maxMessageBytes: option.integer('The largest data, in bytes of JSON.', {
    default: 1_048_576,
    min: 1,
    max: 268_435_456,
  }),
  envelope: option.choice(
    "'none' stores the data alone, with meta in a header, for readers that know no envelope.",
    ['meta', 'none'],
    { default: 'meta' },
  ),
} as const
export type QueueOptions = option.OptionsInput<typeof queueOptions>

export const sendOptions = {
  delay: option.duration('Becomes ready after this time.', {
    default: 0,
    min: 0,
    max: tenYearsMs,
    rangeCode: 'DELAY_RANGE',
  }),
  at: option.value<Date | string, number | null>('Becomes ready at this time, a Date or an ISO 8601 text.', {
    default: null,
    defaultText: 'now',
    typeText: 'Date or ISO 8601 text',
    parse: parseTime,
  }),
  meta: option.value<MessageMeta, MessageMeta>('What the bus should know about the message.', {
    default: {},
    defaultText: 'none',
    typeText: 'object',
    parse: parsePlainObject,
  }),
  headers: option.value<JsonObject, JsonObject>("The application's own headers.", {
    default: {},
    defaultText: 'none',
    typeText: 'object with JSON values',
    parse: parseHeaders,
  }),
  priority: option.integer('Higher is read first.', { default: 0, min: -100, max: 100 }),
  orderingKey: option.text('Messages of one key are handled one after the other, in the order of sending.', {
    default: null,
    check: checkKey,
  }),
  dedupId: option.text('A second message with this id is refused as DUPLICATE within the window.', {
    default: null,
    check: checkDedupId,
  }),
  dedupWindow: option.duration('How long a dedup id is remembered.', {
    default: 300_000,
    min: 1,
    max: 2_592_000_000,
    rangeCode: 'DELAY_RANGE',
  }),
  uniqueTarget: option.boolean(
    'Refuses the message as DUPLICATE while another one with the same meta.targetId is waiting or being handled.',
    { default: false },
  ),
} as const

export const txOption = {
  tx: option.value<Transaction, Transaction | null>(
    "The application's open transaction: an object with query(text, values), a client of `pg` for example.",
    { default: null, defaultText: 'none', typeText: 'transaction', parse: parseTransaction },
  ),
} as const

const sendOptionsWithTx = { ...sendOptions, ...txOption } as const
export type SendOptions = option.OptionsInput<typeof sendOptionsWithTx>
export type SendEntry<In> = { readonly data: In } & option.OptionsInput<typeof sendOptions>

const limitOption = (defaultLimit: number, max = 1_000) =>
  option.integer('The largest number of messages to return.', {
    default: defaultLimit,
    min: 1,
    max,
    rangeCode: 'LIMIT_RANGE',
  })
const waitOption = option.duration('Waits this long for the first message.', { default: 0, min: 0, max: 3_600_000 })
const signalOption = option.value<AbortSignal, AbortSignal | null>('Ends the waiting early.', {
  default: null,
  defaultText: 'none',
  typeText: 'AbortSignal',
  parse: parseSignal,
})

export const readOptions = {
  limit: limitOption(1),
  lease: leaseOption(30_000),
  wait: waitOption,
  signal: signalOption,
} as const
export type ReadOptions = option.OptionsInput<typeof readOptions>

export const readByIdOptions = { lease: leaseOption(30_000) } as const
export const popOptions = { limit: limitOption(1), wait: waitOption, signal: signalOption } as const
export type PopOptions = option.OptionsInput<typeof popOptions>

export const peekOptions = {
  limit: limitOption(10),
  place: option.value<Place, Place | null>(
    'Only messages in this state; archived ones are shown only when asked for.',
    {
      default: null,
      defaultText: 'all but archived',
      typeText: "'ready', 'delayed', 'leased' or 'archived'",
      parse: parsePlace,
    },
  ),
  after: option.text('Only messages after this id.', { default: null, check: checkMessageId }),
} as const
export type PeekOptions = option.OptionsInput<typeof peekOptions>

/** What a queue gets from its bus. */
export interface QueueSurroundings {
  readonly engine: Engine
  readonly clock: Clock
  readonly logger: Logger
  /** Tells the bus of a worker, so that closing the bus stops it. */
  adopt(worker: Worker): void
}

/**
 * A named list of messages. Many readers compete; each message is handled by one of them.
 * `In` is the type of the data to send, `Out` that of the data read; they differ where the schema transforms.
 */
export class Queue<In = unknown, Out = In> {
  readonly name: string
  readonly #options: option.OptionsOutput<typeof queueOptions>
  readonly #surroundings: QueueSurroundings
  readonly #engine: Engine
  readonly #sends: Batcher<NewMessage, SendResult>
  readonly #leaseCalls: LeaseCalls
  #ensured: Promise<boolean> | undefined

  constructor(name: string, options: QueueOptions | undefined, surroundings: QueueSurroundings) {
    this.name = checkQueueName(name)
    this.#options = option.parseOptions(queueOptions, options, 'queue')
    if (this.#options.deadLetter === name)
      throw new TidingsError('DEAD_LETTER_INVALID', `queue '${name}' is named as its own dead-letter queue`)
    this.#surroundings = surroundings
    this.#engine = surroundings.engine
    this.#sends = new Batcher((messages) => this.#store(messages, null), 1_000)
    this.#leaseCalls = groupLeaseCalls(this.#engine, name)
  }

  /** Where messages of this queue go that failed too often; null: into the archive. */
  get deadLetterQueue(): string | null {
    const { deadLetter } = this.#options
    return deadLetter === null ? defaultDeadLetterQueue(this.name) : deadLetter || null
  }

  /** Creates the queue. @returns true if it was created now, false if it was there */
  create(): Promise<boolean> {
    return this.#engine.createQueue(this.name)
  }

  /** Removes the queue, its messages and its archive. @returns false if there was none */
  async drop(): Promise<boolean> {
    this.#ensured = undefined
    return this.#engine.dropQueue(this.name)
  }

  /** Removes all messages that are not archived, those in hand included. @returns how many */
  purge(): Promise<number> {
    return this.#existing(() => this.#engine.purgeQueue(this.name))
  }

  stats(): Promise<QueueStats> {
    return this.#existing(() => this.#engine.stats(this.name))
  }

  /**
   * Stores one message. Messages sent in the same tick travel together.
   * @returns its id, once it is stored for good
   * @throws DUPLICATE with the id of the first message in `details.firstId`; BODY_NOT_JSON and other errors of the
   *   input, before anything is stored; OUTCOME_UNKNOWN if the connection broke before the answer came
   */
  async send(data: In, options?: SendOptions): Promise<string> {
    const { tx, ...parsed } = option.parseOptions(sendOptionsWithTx, options, 'send')
    // Awaiting only what is asynchronous keeps sends of one tick in their order.
    const prepared = this.#prepare(data, parsed)
    const message = prepared instanceof Promise ? await prepared : prepared
    const result = tx ? (await this.#storeWithin(tx, [message]))[0]! : await this.#sends.add(message)
    if (result.duplicate) throw this.#duplicate(message, result.id)
    return result.id
  }

  /**
   * Stores up to 10,000 messages in one step, all or none, in their order. Duplicates are left out and marked in the
   * result with the id of the first.
   */
  async sendBatch(
    entries: readonly SendEntry<In>[],
    options?: option.OptionsInput<typeof txOption>,
  ): Promise<SendResult[]> {
    const { tx } = option.parseOptions(txOption, options, 'sendBatch')
    if (!Array.isArray(entries)) throw option.typeError('the batch', entries, 'an array of { data, … }')
    if (entries.length === 0 || entries.length > maxBatch)
      throw new TidingsError('BATCH_SIZE', `the batch has ${entries.length} messages; it must have 1 to ${maxBatch}`)
    const messages = await Promise.all(
      (entries as readonly SendEntry<In>[]).map((entry, index) => {
        if (typeof entry !== 'object' || entry === null)
          throw option.typeError(`entry ${index} of the batch`, entry, 'an object { data, … }')
        const { data, ...rest } = entry
        return this.#prepare(data as In, option.parseOptions(sendOptions, rest, 'sendBatch'))
      }),
    )
    return tx ? this.#storeWithin(tx, messages) : this.#store(messages, null)
  }

  /**
   * Takes messages out of sight for the length of the lease. Data that the schema refuses is dead-lettered instead of
   * being returned.
   */
  async read(options?: ReadOptions): Promise<Message<Out>[]> {
    const { limit, lease, wait, signal } = option.parseOptions(readOptions, options, 'read')
    return this.#waitFor(wait, signal, async () => {
      const claim = await this.#engine.claim(this.name, { limit, leaseMs: lease, ids: null })
      return { found: await this.#toMessages(claim.messages), nextDueMs: claim.nextDueMs }
    })
  }

  /** Takes one message by its id, if it is ready. @returns null if it is not there or not ready */
  async readById(id: string, options?: option.OptionsInput<typeof readByIdOptions>): Promise<Message<Out> | null> {
    checkMessageId(id, 'id')
    const { lease } = option.parseOptions(readByIdOptions, options, 'readById')
    const { messages } = await this.#existing(() =>
      this.#engine.claim(this.name, { limit: 1, leaseMs: lease, ids: [id] }),
    )
    return (await this.#toMessages(messages))[0] ?? null
  }

  /** Takes messages for good, in one step: if handling one fails, it is lost. */
  async pop(options?: PopOptions): Promise<StoredCopy<Out>[]> {
    const { limit, wait, signal } = option.parseOptions(popOptions, options, 'pop')
    return this.#waitFor(wait, signal, async () => {
      const popped = await this.#engine.pop(this.name, limit)
      const valid = await Promise.all(popped.map((stored) => this.#popOne(stored)))
      return { found: valid.filter((copy) => copy !== null), nextDueMs: null }
    })
  }

  /** Looks at messages without changing anything, by id. The data is as stored, not checked against the schema. */
  async peek(options?: PeekOptions): Promise<StoredCopy<unknown>[]> {
    const { limit, place, after } = option.parseOptions(peekOptions, options, 'peek')
    const stored = await this.#existing(() => this.#engine.peek(this.name, { limit, place, afterId: after, ids: null }))
    return stored.map((message) => new StoredCopy(this.name, message, fromJson(message.data)))
  }

  /** Removes a message that nobody has in hand. @returns false if it is not there or leased */
  async cancel(id: string): Promise<boolean> {
    checkMessageId(id, 'id')
    const [removed] = await this.#existing(() => this.#engine.cancel(this.name, [id]))
    return removed === true
  }

  /** Starts a worker that calls the handler for every message, many at a time. */
  work(handler: Handler<Out>, options?: WorkOptions): Worker {
    return this.#startWorker(Worker.forEach(this.#access(), handler, options))
  }

  /** Starts a worker that calls the handler with up to `batchSize` messages at once. */
  workBatch(handler: BatchHandler<Out>, options?: BatchWorkOptions): Worker {
    return this.#startWorker(Worker.forBatches(this.#access(), handler, options))
  }

  /**
   * Messages one after the other, for `for await`. A message that the loop body did not settle is deleted when the
   * loop asks for the next one, and released when the loop ends by break or by an error.
   */
  consume(options?: ConsumeOptions): AsyncIterableIterator<Message<Out>> {
    return new Consumer(this.#access(), options)
  }

  #startWorker(worker: Worker): Worker {
    this.#surroundings.adopt(worker)
    // A failed start shows in the worker's own state and log; the caller has no promise to look at.
    worker.start().catch(() => {})
    return worker
  }

  #access(): QueueAccess<Out> {
    const { engine, clock, logger } = this.#surroundings
    return {
      name: this.name,
      engine,
      clock,
      logger,
      deadLetterQueue: this.deadLetterQueue,
      leaseCalls: this.#leaseCalls,
      ensure: async () => {
        if (this.#options.create) await this.#ensure()
      },
      decode: (stored) => this.#decode(stored),
    }
  }

  #prepare(data: In, options: option.OptionsOutput<typeof sendOptions>): NewMessage | Promise<NewMessage> {
    const { schema, maxMessageBytes, envelope } = this.#options
    const { delay, at, orderingKey, priority, uniqueTarget, dedupId } = options
    if (at !== null && delay > 0) throw new TidingsError('OPTION_CONFLICT', "'delay' and 'at' are both given")
    if (orderingKey !== null && priority !== 0)
      throw new TidingsError('OPTION_CONFLICT', "'orderingKey' and 'priority' are both given")
    const targetId = options.meta.targetId
    if (uniqueTarget && !targetId)
      throw new TidingsError('OPTION_CONFLICT', "'uniqueTarget' is set without meta.targetId", {
        hint: 'Set meta.targetId too.',
      })
    const text = toJson(data, 'data')
    const bytes = Buffer.byteLength(text)
    if (bytes > maxMessageBytes)
      throw new TidingsError('BODY_TOO_LARGE', `data is ${bytes} bytes of JSON; at most ${maxMessageBytes}`, {
        details: { bytes, maxMessageBytes },
      })
    const message: NewMessage = {
      data: text,
      meta: toWireMeta(options.meta, this.name),
      headers: options.headers,
      delayMs: delay,
      notBefore: at,
      priority,
      orderingKey,
      dedup: dedupId === null ? null : { id: dedupId, windowMs: options.dedupWindow },
      uniqueTarget: uniqueTarget ? (targetId as string) : null,
      bare: envelope === 'none',
    }
    // The schema judges; what is stored is the data as given, so that reading can apply the schema to it again.
    const validated = schema ? validate(schema, data, `data for queue '${this.name}'`) : undefined
    return validated instanceof Promise ? validated.then(() => message) : message
  }

  async #store(messages: NewMessage[], tx: Transaction | null): Promise<SendResult[]> {
    try {
      return await this.#engine.send(this.name, messages, tx)
    } catch (error) {
      if (!isTidingsError(error, 'QUEUE_NOT_FOUND')) throw error
      if (!this.#options.create) throw await this.#withNearestName(error)
      await this.#engine.createQueue(this.name)
      return this.#engine.send(this.name, messages, tx)
    }
  }

  /** A failed statement would spoil the application's transaction, so the queue is made sure of before. */
  async #storeWithin(tx: Transaction, messages: NewMessage[]): Promise<SendResult[]> {
    if (this.#options.create) await this.#ensure()
    return this.#engine.send(this.name, messages, tx)
  }

  #ensure(): Promise<boolean> {
    this.#ensured ??= this.#engine.createQueue(this.name).catch((error: unknown) => {
      this.#ensured = undefined
      throw error
    })
    return this.#ensured
  }

  #decode(stored: StoredMessage): Out | Promise<Out> {
    const data = fromJson(stored.data)
    const { schema } = this.#options
    return (schema ? validate(schema, data, `data of message ${stored.id} in queue '${this.name}'`) : data) as
      | Out
      | Promise<Out>
  }

  async #toMessages(stored: readonly StoredMessage[]): Promise<Message<Out>[]> {
    const messages = await Promise.all(
      stored.map(async (one) => {
        const lease = new MessageLease(this.name, this.deadLetterQueue, one, this.#leaseCalls)
        try {
          return new Message(this.name, one, await this.#decode(one), lease)
        } catch (error) {
          if (!isTidingsError(error, 'BODY_INVALID')) throw error
          await lease.deadLetter(error)
          return null
        }
      }),
    )
    return messages.filter((message) => message !== null)
  }

  async #popOne(stored: StoredMessage): Promise<StoredCopy<Out> | null> {
    try {
      return new StoredCopy(this.name, stored, await this.#decode(stored))
    } catch (error) {
      if (!isTidingsError(error, 'BODY_INVALID')) throw error
      await this.#keepInvalid(stored, error)
      return null
    }
  }

  /** A popped message has no lease left to move it by, so a copy is sent. */
  async #keepInvalid(stored: StoredMessage, error: TidingsError): Promise<void> {
    const target = this.deadLetterQueue ?? this.name
    await this.#engine.createQueue(target)
    const meta = { ...stored.meta, ...errorMeta(error), origin_queue: this.name, origin_id: stored.id }
    const copy = { ...emptyMessage, data: stored.data, headers: stored.headers, meta }
    await this.#engine.send(target, [copy], null)
  }

  #waitFor<T>(
    waitMs: number,
    signal: AbortSignal | null,
    attempt: () => Promise<{ found: T[]; nextDueMs: number | null }>,
  ): Promise<T[]> {
    const { engine, clock } = this.#surroundings
    const options = { engine, clock, queue: this.name, pollMs: readPollMs, waitMs, ...(signal ? { signal } : {}) }
    return this.#existing(async () => {
      const found = await waitFor(options, async () => {
        const { found, nextDueMs } = await attempt()
        return { found: found.length > 0 ? found : null, nextDueMs }
      })
      return found ?? []
    })
  }

  async #existing<T>(call: () => Promise<T>): Promise<T> {
    try {
      return await call()
    } catch (error) {
      throw isTidingsError(error, 'QUEUE_NOT_FOUND') ? await this.#withNearestName(error) : error
    }
  }

  async #withNearestName(error: TidingsError): Promise<TidingsError> {
    const names = (await this.#engine.listQueues()).map((info) => info.queue)
    const meant = nearest(this.name, names)
    const hint = meant ? `Did you mean '${meant}'? Or create it first.` : error.hint
    return new TidingsError(error.code, error.message, { cause: error.cause, details: error.details, hint })
  }

  #duplicate(message: NewMessage, firstId: string): TidingsError {
    const what = message.dedup ? `dedup id ${show(message.dedup.id)}` : `target ${show(message.uniqueTarget)}`
    return new TidingsError('DUPLICATE', `queue '${this.name}' already has message ${firstId} with ${what}`, {
      details: { queue: this.name, firstId },
    })
  }
}

const emptyMessage = {
  delayMs: 0,
  notBefore: null,
  priority: 0,
  orderingKey: null,
  dedup: null,
  uniqueTarget: null,
  bare: false,
} satisfies Partial<NewMessage>

/** Settlements and extensions of one queue travel together. */
function groupLeaseCalls(engine: Engine, queue: string): LeaseCalls {
  const settlements = new Batcher((batch: Parameters<LeaseCalls['settle']>[0][]) => engine.settle(queue, batch), 1_000)
  const extensions = new Map<number, Batcher<{ id: string; receipt: string }, string | null>>()
  return {
    settle: (settlement) => settlements.add(settlement),
    extend(id, receipt, leaseMs) {
      let batcher = extensions.get(leaseMs)
      if (!batcher) {
        batcher = new Batcher((batch) => engine.extend(queue, batch, leaseMs), 1_000)
        extensions.set(leaseMs, batcher)
      }
      return batcher.add({ id, receipt })
    },
  }
}

// ---- parsers of options ----

function parseDeadLetter(value: unknown, path: string): string | false {
  return value === false ? false : checkQueueName(value, path)
}

function parseTime(value: unknown, path: string): number {
  const time = value instanceof Date ? value.getTime() : typeof value === 'string' ? Date.parse(value) : Number.NaN
  const now = Date.now()
  if (!Number.isFinite(time)) throw new TidingsError('DELAY_RANGE', `${path} is ${show(value)}, which is not a time`)
  if (time > now + tenYearsMs || time < now - 60_000)
    throw new TidingsError('DELAY_RANGE', `${path} is ${new Date(time).toISOString()}`, { details: { field: path } })
  return time
}

function parsePlainObject(value: unknown, path: string): Record<string, JsonValue | undefined> {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw option.typeError(path, value, 'an object')
  return value as Record<string, JsonValue | undefined>
}

function parseHeaders(value: unknown, path: string): JsonObject {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new TidingsError('HEADERS_INVALID', `${path} is ${show(value)}; it must be an object`)
  const reserved = Object.keys(value).find((key) => /^x-(tidings|pgmq)-/i.test(key))
  if (reserved)
    throw new TidingsError('HEADERS_INVALID', `${path} has ${show(reserved)}; 'x-tidings-' and 'x-pgmq-' are reserved`)
  return toJsonValue(value, path) as JsonObject
}

function parseTransaction(value: unknown, path: string): Transaction {
  if (typeof (value as Transaction | null)?.query !== 'function')
    throw option.typeError(path, value, 'an open transaction with query(text, values)')
  return value as Transaction
}

function parseSignal(value: unknown, path: string): AbortSignal {
  if (!(value instanceof AbortSignal)) throw option.typeError(path, value, 'an AbortSignal')
  return value
}

function parsePlace(value: unknown, path: string): Place {
  const places: readonly unknown[] = ['ready', 'delayed', 'leased', 'archived']
  if (!places.includes(value)) throw option.typeError(path, value, "'ready', 'delayed', 'leased' or 'archived'")
  return value as Place
}

function checkMessageId(value: unknown, path: string): asserts value is string {
  if (typeof value !== 'string' || !/^[\w-]{1,64}$/.test(value))
    throw new TidingsError('MESSAGE_ID_INVALID', `${path} is ${show(value)}, which is not an id of a message`)
}

function checkDedupId(value: string, path: string): void {
  const bytes = Buffer.byteLength(value)
  if (bytes === 0 || bytes > 255 || value.includes('\u0000'))
    throw new TidingsError('DEDUP_ID_INVALID', `${path} is ${bytes === 0 ? 'empty' : show(value)}, ${bytes} bytes`)
}

function checkKey(value: string, path: string): void {
  const bytes = Buffer.byteLength(value)
  if (bytes === 0 || bytes > 255 || value.includes('\u0000'))
    throw new TidingsError('RANGE', `${path} is ${bytes === 0 ? 'empty' : show(value)}; it must have 1 to 255 bytes`)
}

export type { Duration }
