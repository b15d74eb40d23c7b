import { momentOf } from '../core/clock.ts'
import { isTidingsError, show, TidingsError } from '../core/errors.ts'
import { checkQueueName } from '../core/names.ts'
import * as option from '../core/options.ts'
import type { QueueAccess } from '../messages/access.ts'
import type { QueueCalls } from '../messages/calls.ts'
import { type Decoded, decodeAll } from '../messages/decode.ts'
import { anything, collect, scan } from '../messages/filter.ts'
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
  type ReadByIdOptions,
  type ReadOptions,
  readByIdOptions,
  readOptions,
  type SendEntry,
  type SendOptions,
  sendOptionsWithTx,
  type TxOptions,
  txOption,
} from '../messages/options.ts'
import { checkTransactions, duplicateError, prepare, prepareBatch } from '../messages/prepare.ts'
import { type PauseOptions, pauseOptions, type QueueSettingsChange } from '../messages/settings.ts'
import { type QueueFigures, type QueueSettings, toQueueFigures, toQueueSettings } from '../messages/states.ts'
import type { Engine, NewMessage, SendResult, StoredMessage, Transaction } from '../port/engine.ts'
import { type ConsumeOptions, Consumer, type HoldingReader } from '../worker/consumer.ts'
import { Iteration } from '../worker/iteration.ts'
import { type BatchHandler, type BatchWorkOptions, type Handler, Worker, type WorkOptions } from '../worker/worker.ts'
import { type CancelResult, type CancelWhich, cancelMessages, parseIds, parseWhich } from './cancelling.ts'
import type { DeadLetters } from './dead-letters.ts'
import { type History, type HistoryOptions, readHistory } from './history.ts'
import type { Look } from './look.ts'
import { Replay, type Replayed, type ReplayOptions } from './replay.ts'
import { StoredQueue, type StoredQueueDependencies } from './stored-queue.ts'

/** What a queue gets from its bus. */
export interface QueueDependencies extends StoredQueueDependencies {
  /** Tells the bus of a worker, so that closing the bus stops it. */
  adopt(worker: Worker): void
  /** Who may have messages in hand, that closing the bus gives back. */
  readonly readers: Set<HoldingReader>
}

/** `dueAt` is null for messages that are hidden for ever, as clients of PGMQ can hide them. */
export type QueueState = 'empty' | 'ready' | { readonly dueAt: Date | null }

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
   * Where failed messages go; null: into the archive. As stored for the queue once this process has used it.
   * @example const letters = bus.queue(hires.deadLetterQueue ?? 'none')
   */
  get deadLetterQueue(): string | null {
    return this.stored.rules.deadLetterQueue
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
  async stats(): Promise<QueueFigures> {
    return toQueueFigures(await this.#existing(() => this.stored.stats()))
  }

  /** What it looked like, and what was done in it. @example const { points, latency } = await hires.history({ step: 5 }) */
  history(options?: HistoryOptions): Promise<History> {
    return this.#existing(() => readHistory(this.#dependencies, this.name, options))
  }

  /**
   * Whether there is something to do: 'ready', 'empty', or `{ dueAt }` where all that is there waits for its time, or for the
   * end of a lease.
   * @example if ((await hires.state()) === 'empty') console.log('all done')
   */
  async state(): Promise<QueueState> {
    const [ready] = await this.#existing(() =>
      this.#engine.peek(this.name, { limit: 1, place: 'ready', afterId: null, ids: null }),
    )
    if (ready !== undefined) return 'ready'
    const { ready: since, delayed, leased, nextDueMs } = await this.#existing(() => this.#engine.stats(this.name))
    if (since > 0) return 'ready'
    if (nextDueMs === null && delayed + leased === 0) return 'empty'
    return { dueAt: nextDueMs === null ? null : new Date(this.#dependencies.clock.now() + nextDueMs) }
  }

  /**
   * What the storage keeps for the queue, for whoever uses it. @throws QUEUE_NOT_FOUND
   * @example const { pause } = await hires.settings()
   */
  async settings(): Promise<QueueSettings> {
    return toQueueSettings(await this.#existing(() => this.stored.settings()))
  }

  /**
   * Changes settings that hold for whoever uses the queue, until it is dropped: those that are named; null takes one away.
   * @returns all settings that there are now
   * @throws QUEUE_NOT_FOUND; OPTION_UNKNOWN, TYPE, RANGE and the like, before anything is changed
   * @example await hires.configure({ pause: null })
   */
  async configure(change: QueueSettingsChange): Promise<QueueSettings> {
    return toQueueSettings(await this.#existing(() => this.stored.configure(change)))
  }

  /**
   * From now on no message is handed out, whoever asks: workers, `read`, `pop`, in every process. Sends go on, and what is in
   * hand ends. Clients of PGMQ do not know of it.
   * @throws QUEUE_NOT_FOUND; RANGE, TYPE and the like
   * @example await hires.pause({ until: new Date(Date.now() + 3_600_000), reason: 'the mail server is down' })
   */
  async pause(options?: PauseOptions): Promise<void> {
    const pause = option.parseOptions(pauseOptions, options, 'pause')
    await this.configure({ pause: Object.fromEntries(Object.entries(pause).filter(([, value]) => value !== null)) })
  }

  /**
   * Ends a pause: workers that listen go on at once. @throws QUEUE_NOT_FOUND
   * @example await hires.resume()
   */
  async resume(): Promise<void> {
    await this.configure({ pause: null })
  }

  /**
   * Stores one message. Messages sent in the same tick travel together.
   * @returns its id, once it is stored for good; with `dedup.replace` the id of the message whose data it replaced
   * @throws DUPLICATE with the id of the first message in `details.firstId`; QUEUE_FULL with `maxLength`; BODY_NOT_JSON
   *   and other errors of the input, before anything is stored; OUTCOME_UNKNOWN if the connection broke before the answer came
   * @example const id = await hires.send({ name: 'Ada' }, { delay: '5s', dedupId: 'hire-7' })
   */
  async send(data: In, options?: SendOptions): Promise<string> {
    const parsed = option.parseOptions(sendOptionsWithTx, options, 'send')
    const { tx } = parsed
    this.stored.checkTransaction(tx)
    // Awaiting only what is asynchronous keeps sends of one tick in their order.
    const prepared = prepare(data, parsed, this.stored.rules.outgoing)
    const message = prepared instanceof Promise ? await prepared : prepared
    const result = tx
      ? (await this.#storeWithin(tx, [message]))[0]!
      : await this.#creating(() => this.#calls.send(message, this.stored.rules.terms))
    if (result.duplicate) throw duplicateError(this.name, message, result.id)
    return result.id
  }

  /**
   * Stores up to 10,000 messages in one step, all or none, in their order. Duplicates are left out and marked in the
   * result with the id of the first. Does not wait for single sends of the same tick.
   * @example await hires.sendBatch([{ data: { name: 'Ada' } }, { data: { name: 'Bob' }, delay: '1h' }])
   */
  async sendBatch(entries: readonly SendEntry<In>[], options?: TxOptions): Promise<SendResult[]> {
    const { tx } = option.parseOptions(txOption, options, 'sendBatch')
    this.stored.checkTransaction(tx)
    const messages = await prepareBatch(entries, 'sendBatch', this.stored.rules.outgoing)
    return tx ? this.#storeWithin(tx, messages) : this.#creating(() => this.#store(messages, null))
  }

  /**
   * Takes messages out of sight for the length of the lease. What has expired, or has data that the schema refuses, is
   * dead-lettered instead of being returned (or dropped, if it has expired and `expired` says so).
   * @example const [message] = await hires.read({ lease: '30s', wait: '20s' })
   */
  async read(options?: ReadOptions): Promise<Message<Out>[]> {
    const { limit, lease, wait, signal } = option.parseOptions(readOptions, options, 'read')
    const request = { limit, leaseMs: await this.stored.rules.leaseMs(lease), ids: null }
    const found = await this.#waitFor(wait, signal, () => this.stored.claim(request, signal, this.#decode))
    return found.map((one) => this.#toMessage(one))
  }

  /**
   * Takes one message by its id, if it is ready. @returns null if it is not there or not ready
   * @example const message = await hires.readById('17')
   */
  async readById(id: string, options?: ReadByIdOptions): Promise<Message<Out> | null> {
    checkMessageId(id, 'id')
    const { lease } = option.parseOptions(readByIdOptions, options, 'readById')
    const leaseMs = await this.stored.rules.leaseMs(lease)
    const request = { limit: 1, leaseMs, ids: [id] }
    const term = { leaseMs, from: momentOf(this.#dependencies.clock) }
    const { messages } = await this.#existing(() => this.#engine.claim(this.name, request))
    const [decoded] = await decodeAll(this.access(), messages, term)
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
   * Looks at messages without changing anything, by id. The data is as it was sent, not checked against the schema; what the
   * serializer of the queue refuses comes as its bytes.
   * @example const waiting = await hires.peek({ limit: 100, place: 'delayed' })
   */
  async peek(options?: PeekOptions): Promise<StoredCopy<In>[]> {
    const { limit, place, after, meta, newest } = option.parseOptions(peekOptions, options, 'peek')
    if (newest || meta !== null) {
      const pages = scan(this.#engine, this.name, place, meta ?? anything, after, this.stored.show)
      return this.#existing(() => collect(pages as AsyncIterable<StoredCopy<In>[]>, limit, newest))
    }
    const stored = await this.#existing(() => this.#engine.peek(this.name, { limit, place, afterId: after, ids: null }))
    return stored.map((message) => new StoredCopy(this.name, message, this.stored.show(message) as In))
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
    return replay.send(ids, {
      create,
      bare: envelope === 'none',
      terms: { durability: this.stored.rules.terms.durability },
    })
  }

  /**
   * Cancels messages: those that wait are removed. Of one that somebody has in hand, the reader is told, in whatever process:
   * the `signal` of its handler is aborted with CANCELLED. Unless the handler succeeds all the same, the message goes into the
   * archive then, as cancelled: it is neither tried again nor a dead letter.
   * @param which an id, several, or `{ meta }` for all that have these fields
   * @returns the ids of those that were removed, and of those that are asked for; what is not there is in neither
   * @throws MESSAGE_NOT_FOUND for an id alone that is not there; QUEUE_NOT_FOUND; MESSAGE_ID_INVALID, TYPE and the like
   * @example const { removed, running } = await hires.cancel({ meta: { correlationId: 'import-7' } })
   */
  cancel(which: CancelWhich): Promise<CancelResult> {
    const wanted = parseWhich(which)
    return this.#existing(() => cancelMessages(this.#engine, this.name, wanted))
  }

  /**
   * Makes messages ready that wait for their time, be it that of a delay or of the next attempt, and ends what holds back the queue
   * and their groups (`context.holdBack`). Limits, a pause and the order of keys stay as they are. No attempt is counted.
   * @param which an id, or several
   * @returns the ids of those that are ready now; what is in hand, or not there, is left out
   * @throws MESSAGE_NOT_FOUND for an id alone that is not ready; QUEUE_NOT_FOUND; MESSAGE_ID_INVALID, TYPE and the like
   * @example await hires.retryNow('17')
   */
  retryNow(which: string | readonly string[]): Promise<string[]> {
    const ids = parseIds(which)
    return this.#existing(() => this.stored.byId.makeReady(ids))
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
  get deadLetters(): DeadLetters<In> {
    return this.stored.deadLetters as DeadLetters<In>
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
    return this.#engine.send(this.name, messages, tx, this.stored.rules.terms)
  }

  readonly #decode = (stored: StoredMessage) => this.stored.decode(stored) as Out | Promise<Out>
  readonly #toMessage = ({ stored, data, lease }: Decoded<Out>) => new Message<Out>(this.name, stored, data, lease)

  async #waitFor<T>(waitMs: number, signal: AbortSignal | null, look: () => Promise<Look<T>>): Promise<T[]> {
    return (await this.#existing(() => this.stored.wait({ waitMs, signal }, look))).found
  }

  #existing<T>(call: () => Promise<T>): Promise<T> {
    return withNearestName(this.#engine, this.name, call)
  }
}
