import { isTidingsError, show, TidingsError } from '../core/errors.ts'
import { fromJson } from '../core/json.ts'
import { checkQueueName } from '../core/names.ts'
import * as option from '../core/options.ts'
import type { QueueAccess } from '../messages/access.ts'
import type { QueueCalls } from '../messages/calls.ts'
import { type Decoded, decodeAll } from '../messages/decode.ts'
import { scan, type Wanted } from '../messages/filter.ts'
import { Message, StoredCopy } from '../messages/message.ts'
import { withNearestName } from '../messages/missing-queue.ts'
import {
  checkMessageId,
  type PeekOptions,
  type PopOptions,
  peekOptions,
  popOptions,
  type QueueOptions,
  queueOptions,
  type ReadOptions,
  readByIdOptions,
  readOptions,
  type SendEntry,
  type SendOptions,
  sendOptionsWithTx,
  txOption,
} from '../messages/options.ts'
import { checkTransactions, duplicateError, prepare, prepareBatch } from '../messages/prepare.ts'
import type { Engine, NewMessage, Place, QueueStats, SendResult, StoredMessage, Transaction } from '../port/engine.ts'
import { type ConsumeOptions, Consumer, type HoldingReader } from '../worker/consumer.ts'
import { Iteration } from '../worker/iteration.ts'
import { type BatchHandler, type BatchWorkOptions, type Handler, Worker, type WorkOptions } from '../worker/worker.ts'
import type { DeadLetters } from './dead-letters.ts'
import { Replay, type Replayed, type ReplayOptions } from './replay.ts'
import { type Look, StoredQueue, type StoredQueueDependencies } from './stored-queue.ts'

/** What a queue gets from its bus. */
export interface QueueDependencies extends StoredQueueDependencies {
  /** Tells the bus of a worker, so that closing the bus stops it. */
  adopt(worker: Worker): void
  /** Who may have messages in hand, that closing the bus gives back. */
  readonly readers: Set<HoldingReader>
}

/**
 * A named list of messages. Many readers compete; each message is handled by one of them.
 * `In` is the type of the data to send, `Out` that of the data read; they differ where the schema transforms.
 */
export class Queue<In = unknown, Out = In> {
  readonly name: string
  readonly #options: option.OptionsOutput<typeof queueOptions>
  readonly #dependencies: QueueDependencies
  readonly #engine: Engine
  readonly #calls: QueueCalls
  /** The same in the forms of the storage. */
  readonly stored: StoredQueue

  constructor(name: string, options: QueueOptions | undefined, dependencies: QueueDependencies) {
    this.name = checkQueueName(name)
    this.#options = option.parseOptions(queueOptions, options, 'queue')
    if (this.#options.deadLetter === name)
      throw new TidingsError('DEAD_LETTER_INVALID', `deadLetter is ${show(name)}, the queue itself`, {
        details: { field: 'deadLetter' },
      })
    this.#dependencies = dependencies
    this.#engine = dependencies.engine
    this.#calls = dependencies.callsOf(name)
    this.stored = new StoredQueue(name, this.#options, dependencies)
  }

  /**
   * Where messages of this queue go that failed too often; null: into the archive.
   * @example const letters = bus.queue(hires.deadLetterQueue ?? 'none')
   */
  get deadLetterQueue(): string | null {
    return this.stored.deadLetterQueue
  }

  /**
   * Creates the queue. @returns true if it was created now, false if it was there
   * @example await hires.create()
   */
  create(): Promise<boolean> {
    return this.stored.create()
  }

  /**
   * Removes the queue, its messages and its archive. @returns false if there was none
   * @example await hires.drop()
   */
  drop(): Promise<boolean> {
    return this.stored.drop()
  }

  /**
   * Removes all messages that are not archived, those in hand included. @returns how many
   * @example console.log(`${await hires.purge()} messages are gone`)
   */
  purge(): Promise<number> {
    return this.#existing(() => this.stored.purge())
  }

  /** @example const { ready, leased, delayed } = await hires.stats() */
  stats(): Promise<QueueStats> {
    return this.#existing(() => this.stored.stats())
  }

  /**
   * Stores one message. Messages sent in the same tick travel together.
   * @returns its id, once it is stored for good
   * @throws DUPLICATE with the id of the first message in `details.firstId`; QUEUE_FULL with `maxLength`; BODY_NOT_JSON
   *   and other errors of the input, before anything is stored; OUTCOME_UNKNOWN if the connection broke before the answer came
   * @example const id = await hires.send({ name: 'Ada' }, { delay: '5s', dedupId: 'hire-7' })
   */
  async send(data: In, options?: SendOptions): Promise<string> {
    const { tx, ...parsed } = option.parseOptions(sendOptionsWithTx, options, 'send')
    this.stored.checkTransaction(tx)
    // Awaiting only what is asynchronous keeps sends of one tick in their order.
    const prepared = prepare(data, parsed, this.stored.outgoing)
    const message = prepared instanceof Promise ? await prepared : prepared
    const result = tx
      ? (await this.#storeWithin(tx, [message]))[0]!
      : await this.#creating(() => this.#calls.send(message, this.stored.terms))
    if (result.duplicate) throw duplicateError(this.name, message, result.id)
    return result.id
  }

  /**
   * Stores up to 10,000 messages in one step, all or none, in their order. Duplicates are left out and marked in the
   * result with the id of the first. Does not wait for single sends of the same tick.
   * @example await hires.sendBatch([{ data: { name: 'Ada' } }, { data: { name: 'Bob' }, delay: '1h' }])
   */
  async sendBatch(
    entries: readonly SendEntry<In>[],
    options?: option.OptionsInput<typeof txOption>,
  ): Promise<SendResult[]> {
    const { tx } = option.parseOptions(txOption, options, 'sendBatch')
    this.stored.checkTransaction(tx)
    const messages = await prepareBatch(entries, 'sendBatch', this.stored.outgoing)
    return tx ? this.#storeWithin(tx, messages) : this.#creating(() => this.#store(messages, null))
  }

  /**
   * Takes messages out of sight for the length of the lease. What has expired, or has data that the schema refuses, is
   * dead-lettered instead of being returned (or dropped, if it has expired and `expired` says so).
   * @example const [message] = await hires.read({ lease: '30s', wait: '20s' })
   */
  async read(options?: ReadOptions): Promise<Message<Out>[]> {
    const { limit, lease, wait, signal } = option.parseOptions(readOptions, options, 'read')
    const request = { limit, leaseMs: lease, ids: null }
    const found = await this.#waitFor(wait, signal, () => this.stored.claim(request, signal, this.#decode))
    return found.map((one) => this.#toMessage(one))
  }

  /**
   * Takes one message by its id, if it is ready. @returns null if it is not there or not ready
   * @example const message = await hires.readById('17')
   */
  async readById(id: string, options?: option.OptionsInput<typeof readByIdOptions>): Promise<Message<Out> | null> {
    checkMessageId(id, 'id')
    const { lease } = option.parseOptions(readByIdOptions, options, 'readById')
    const request = { limit: 1, leaseMs: lease, ids: [id] }
    const { messages } = await this.#existing(() => this.#engine.claim(this.name, request))
    const [decoded] = await decodeAll(this.access(), messages)
    return decoded ? this.#toMessage(decoded) : null
  }

  /**
   * Takes messages for good: if handling one fails, it is lost. What has expired, and data that the schema refuses, is
   * treated as by `read`. Where the queue has neither a schema nor a `ttl`, what turns out to have expired has been
   * removed by then, and is sent to the dead-letter queue in a second step.
   * @example const [copy] = await hires.pop()
   */
  async pop(options?: PopOptions): Promise<StoredCopy<Out>[]> {
    const { limit, wait, signal } = option.parseOptions(popOptions, options, 'pop')
    const patience = { waitMs: wait, signal }
    const found = await this.#waitFor(wait, signal, () => this.stored.pop(limit, patience, this.#decode))
    return found.map(({ stored, data }) => new StoredCopy(this.name, stored, data))
  }

  /**
   * Looks at messages without changing anything, by id. The data is as stored, not checked against the schema.
   * @example const waiting = await hires.peek({ limit: 100, place: 'delayed' })
   */
  async peek(options?: PeekOptions): Promise<StoredCopy<unknown>[]> {
    const { limit, place, after, meta } = option.parseOptions(peekOptions, options, 'peek')
    if (meta !== null) return this.#existing(() => this.#look(place, meta, after, limit))
    const stored = await this.#existing(() => this.#engine.peek(this.name, { limit, place, afterId: after, ids: null }))
    return stored.map((message) => new StoredCopy(this.name, message, fromJson(message.data)))
  }

  async #look(
    place: Place | null,
    wanted: Wanted,
    after: string | null,
    limit: number,
  ): Promise<StoredCopy<unknown>[]> {
    const found: StoredCopy<unknown>[] = []
    for await (const page of scan(this.#engine, this.name, place, wanted, after)) {
      found.push(...page)
      if (found.length >= limit) break
    }
    return found.slice(0, limit)
  }

  /**
   * Sends archived messages again, oldest first: copies with new ids, which keep data, headers, meta, priority and
   * ordering key. The archive stays as it is.
   *
   * A message is replayed into a queue once within `dedupWindow`, whichever call does it: what was sent already is
   * marked as a duplicate, so a replay that broke off can simply be repeated. `again: true` sends regardless.
   * @throws QUEUE_NOT_FOUND; TYPE and the like
   * @example await hires.replay({ since: new Date('2026-05-01'), dryRun: true })
   */
  async replay(options?: ReplayOptions): Promise<Replayed[]> {
    const replay = new Replay(this.#engine, this.name, options)
    const ids = await this.#existing(() => replay.find())
    if (replay.dryRun) return ids.map((archivedId) => ({ archivedId, id: null, duplicate: false }))
    const { create, envelope } = this.#options
    return replay.send(ids, { create, bare: envelope === 'none', terms: { durability: this.stored.terms.durability } })
  }

  /**
   * Removes a message that nobody has in hand. @returns false if it is not there or leased
   * @example if (!(await hires.cancel('17'))) console.log('somebody has it in hand')
   */
  async cancel(id: string): Promise<boolean> {
    checkMessageId(id, 'id')
    const [removed] = await this.#existing(() => this.#engine.cancel(this.name, [id]))
    return removed === true
  }

  /**
   * Starts a worker that calls the handler for every message, many at a time.
   * @example const worker = hires.work(async ({ data }) => console.log(data.name), { concurrency: 16 })
   */
  work(handler: Handler<Out>, options?: WorkOptions): Worker {
    return this.#startWorker(Worker.forEach(this.access(), handler, options))
  }

  /**
   * Starts a worker that calls the handler with up to `batchSize` messages at once.
   * @example const worker = hires.workBatch(async (messages) => console.log(messages.length), { batchSize: 100 })
   */
  workBatch(handler: BatchHandler<Out>, options?: BatchWorkOptions): Worker {
    return this.#startWorker(Worker.forBatches(this.access(), handler, options))
  }

  /**
   * Messages one after the other, for `for await`. A message that the loop body did not settle is deleted when the
   * loop asks for the next one, and released when the loop ends by break or by an error.
   * @example for await (const message of hires.consume()) console.log(message.data.name)
   */
  consume(options?: ConsumeOptions): AsyncIterableIterator<Message<Out>> {
    return new Iteration(new Consumer(this.access(), this.#dependencies.readers, options))
  }

  /**
   * What failed too often: look at it, send it again.
   * @example const redriven = await hires.deadLetters.redrive({ limit: 100 })
   */
  get deadLetters(): DeadLetters {
    return this.stored.deadLetters
  }

  #startWorker(worker: Worker): Worker {
    this.#dependencies.adopt(worker)
    // A failed start shows in the worker's own state and log; the caller has no promise to look at.
    worker.start().catch(() => {})
    return worker
  }

  /**
   * What workers have to know of the queue.
   * @internal
   */
  access(): QueueAccess<Out> {
    return this.stored.access(this.#decode)
  }

  /** Creates the queue and tries again where it is missing and may be created. */
  async #creating<T>(store: () => Promise<T>): Promise<T> {
    try {
      return await store()
    } catch (error) {
      if (!isTidingsError(error, 'QUEUE_NOT_FOUND')) throw error
      if (!this.#options.create) return this.#existing(() => Promise.reject(error))
      await this.#calls.createMissing()
      return store()
    }
  }

  /** A failed statement would spoil the application's transaction, so the queue is made sure of before. */
  async #storeWithin(tx: Transaction, messages: NewMessage[]): Promise<SendResult[]> {
    checkTransactions(this.#engine)
    if (this.#options.create) await this.#calls.ensure()
    try {
      return await this.#existing(() => this.#store(messages, tx))
    } catch (error) {
      // It was dropped by somebody else; the next transaction finds it again.
      if (isTidingsError(error, 'QUEUE_NOT_FOUND')) this.#calls.forget()
      throw error
    }
  }

  #store(messages: NewMessage[], tx: Transaction | null): Promise<SendResult[]> {
    return this.#engine.send(this.name, messages, tx, this.stored.terms)
  }

  readonly #decode = (stored: StoredMessage) => this.stored.decode(stored) as Out | Promise<Out>

  #toMessage({ stored, data, lease }: Decoded<Out>): Message<Out> {
    return new Message(this.name, stored, data, lease)
  }

  async #waitFor<T>(waitMs: number, signal: AbortSignal | null, look: () => Promise<Look<T>>): Promise<T[]> {
    return (await this.#existing(() => this.stored.wait({ waitMs, signal }, look))).found
  }

  #existing<T>(call: () => Promise<T>): Promise<T> {
    return withNearestName(this.#engine, this.name, call)
  }
}
