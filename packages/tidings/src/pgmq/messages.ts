import type { JsonObject } from '../core/json.ts'
import * as option from '../core/options.ts'
import type { Session } from './session.ts'
import * as encode from './values.ts'
import { type MsgId, type PgmqMessage, queueName, toMessage } from './values.ts'

const conditional = option.value<JsonObject, JsonObject>('Only messages whose JSON contains this.', {
  default: {},
  defaultText: 'none',
  typeText: 'object',
  parse: (value, path) => {
    if (typeof value !== 'object' || value === null || Array.isArray(value))
      throw option.typeError(path, value, 'an object')
    return value as JsonObject
  },
})

export const readOptions = { conditional } as const
export type PgmqReadOptions = option.OptionsInput<typeof readOptions>

export const pollOptions = {
  maxPollSeconds: option.integer('For how many seconds the server waits while there is nothing to read.', {
    default: 5,
    min: 0,
    max: 3_600,
  }),
  pollIntervalMs: option.integer('How many milliseconds it pauses between two looks.', {
    default: 100,
    min: 1,
    max: 3_600_000,
  }),
} as const
export type PgmqPollOptions = option.OptionsInput<typeof pollOptions>

export const readWithPollOptions = { ...readOptions, ...pollOptions } as const
export type PgmqReadWithPollOptions = option.OptionsInput<typeof readWithPollOptions>

type MessageHeaders = JsonObject | null

/** Seconds, also 0 and less; PGMQ takes them whole. */
type Seconds = number

/** `pgmq.msg`: what is done with messages. An id may be given as number, bigint, or text of digits. */
export class PgmqMessages {
  readonly #session: Session

  /** @internal */
  constructor(session: Session) {
    this.#session = session
  }

  /**
   * SQL: `pgmq.send`.
   * @param msg any JSON
   * @param delay seconds until it becomes visible, or the time at which it does
   * @param headers PGMQ's own is `x-pgmq-group`, which grouped reads go by
   * @throws QUEUE_NOT_FOUND, BODY_NOT_JSON, HEADERS_INVALID, RANGE, OUTCOME_UNKNOWN
   * @example const id = await pgmq.msg.send('orders', { total: 12 }, 30, { 'x-pgmq-group': 'ada' })
   */
  async send<T>(queue: string, msg: T, delay: Seconds | Date = 0, headers: MessageHeaders = null): Promise<MsgId> {
    const values = [queueName(queue), encode.message(msg), encode.headers(headers), ...encode.delay(delay)]
    return this.#session.one<MsgId>('send', ...values)
  }

  /**
   * All or none. SQL: `pgmq.send_batch`.
   * @param delay seconds until they become visible, or the time at which they do
   * @param headers one for each message, null for none
   * @returns the ids in the order of the messages
   * @throws QUEUE_NOT_FOUND, BATCH_SIZE, BODY_NOT_JSON, HEADERS_INVALID, RANGE, OUTCOME_UNKNOWN
   * @example const ids = await pgmq.msg.sendBatch('orders', [{ total: 12 }, { total: 7 }])
   */
  async sendBatch<T>(
    queue: string,
    msgs: readonly T[],
    delay: Seconds | Date = 0,
    headers: readonly MessageHeaders[] | null = null,
  ): Promise<MsgId[]> {
    const texts = encode.messages(msgs)
    const values = [queueName(queue), texts, encode.headersOfBatch(headers, msgs.length), ...encode.delay(delay)]
    return [...(await this.#session.all<MsgId>('sendBatch', ...values))]
  }

  /**
   * One message, which is hidden for a while. SQL: `pgmq.read`.
   * @param vt for how many seconds it is hidden
   * @returns undefined if none is visible
   * @throws QUEUE_NOT_FOUND, RANGE
   * @example const message = await pgmq.msg.read<{ total: number }>('orders', 30)
   */
  async read<T = unknown>(
    queue: string,
    vt: Seconds = 0,
    options?: PgmqReadOptions,
  ): Promise<PgmqMessage<T> | undefined> {
    const [message] = await this.readBatch<T>(queue, vt, 1, options)
    return message
  }

  /**
   * SQL: `pgmq.read`.
   * @param vt for how many seconds they are hidden
   * @param numMessages how many at most
   * @throws QUEUE_NOT_FOUND, RANGE
   * @example const urgent = await pgmq.msg.readBatch('orders', 30, 10, { conditional: { urgent: true } })
   */
  async readBatch<T = unknown>(
    queue: string,
    vt: Seconds,
    numMessages: number,
    options?: PgmqReadOptions,
  ): Promise<PgmqMessage<T>[]> {
    const { conditional } = option.parseOptions(readOptions, options, 'readBatch')
    const values = [...reading(queue, vt, numMessages), encode.message(conditional, 'conditional')]
    return this.#read<T>('read', ...values)
  }

  /**
   * The same, and the server waits while there is nothing, with a connection of the pool. SQL: `pgmq.read_with_poll`. A
   * worker of Tidings waits without one, and hears of messages at once.
   * @throws QUEUE_NOT_FOUND, RANGE
   * @example const messages = await pgmq.msg.readWithPoll('orders', 30, 10, { maxPollSeconds: 20 })
   */
  async readWithPoll<T = unknown>(
    queue: string,
    vt: Seconds,
    numMessages: number,
    options?: PgmqReadWithPollOptions,
  ): Promise<PgmqMessage<T>[]> {
    const { conditional, ...wait } = option.parseOptions(readWithPollOptions, options, 'readWithPoll')
    const condition = encode.message(conditional, 'conditional')
    const values = [...reading(queue, vt, numMessages), condition, ...polling(wait)]
    return this.#read<T>('readWithPoll', ...values)
  }

  /**
   * In the order of their groups (header `x-pgmq-group`): all of the oldest group, then all of the next. A group whose
   * earlier message is in flight is left out. SQL: `pgmq.read_grouped`.
   * @throws QUEUE_NOT_FOUND, RANGE, UNSUPPORTED
   * @example const messages = await pgmq.msg.readGrouped('orders', 30, 10)
   */
  async readGrouped<T = unknown>(queue: string, vt: Seconds, numMessages: number): Promise<PgmqMessage<T>[]> {
    return this.#read<T>('readGrouped', ...reading(queue, vt, numMessages))
  }

  /**
   * The same, and the server waits while there is nothing. SQL: `pgmq.read_grouped_with_poll`.
   * @throws QUEUE_NOT_FOUND, RANGE, UNSUPPORTED
   * @example const messages = await pgmq.msg.readGroupedWithPoll('orders', 30, 10, { maxPollSeconds: 20 })
   */
  async readGroupedWithPoll<T = unknown>(
    queue: string,
    vt: Seconds,
    numMessages: number,
    options?: PgmqPollOptions,
  ): Promise<PgmqMessage<T>[]> {
    const wait = polling(option.parseOptions(pollOptions, options, 'readGroupedWithPoll'))
    return this.#read<T>('readGroupedWithPoll', ...reading(queue, vt, numMessages), ...wait)
  }

  /**
   * One of each group, then the second of each, and so on. SQL: `pgmq.read_grouped_rr`.
   * @throws QUEUE_NOT_FOUND, RANGE, UNSUPPORTED
   * @example const messages = await pgmq.msg.readGroupedRoundRobin('orders', 30, 10)
   */
  async readGroupedRoundRobin<T = unknown>(queue: string, vt: Seconds, numMessages: number): Promise<PgmqMessage<T>[]> {
    return this.#read<T>('readGroupedRoundRobin', ...reading(queue, vt, numMessages))
  }

  /**
   * The same, and the server waits while there is nothing. SQL: `pgmq.read_grouped_rr_with_poll`.
   * @throws QUEUE_NOT_FOUND, RANGE, UNSUPPORTED
   * @example const messages = await pgmq.msg.readGroupedRoundRobinWithPoll('orders', 30, 10)
   */
  async readGroupedRoundRobinWithPoll<T = unknown>(
    queue: string,
    vt: Seconds,
    numMessages: number,
    options?: PgmqPollOptions,
  ): Promise<PgmqMessage<T>[]> {
    const wait = polling(option.parseOptions(pollOptions, options, 'readGroupedRoundRobinWithPoll'))
    const values = [...reading(queue, vt, numMessages), ...wait]
    return this.#read<T>('readGroupedRoundRobinWithPoll', ...values)
  }

  /**
   * The first message of each group, where it is visible. SQL: `pgmq.read_grouped_head`.
   * @throws QUEUE_NOT_FOUND, RANGE, UNSUPPORTED
   * @example const heads = await pgmq.msg.readGroupedHead('orders', 30, 10)
   */
  async readGroupedHead<T = unknown>(queue: string, vt: Seconds, numMessages: number): Promise<PgmqMessage<T>[]> {
    return this.#read<T>('readGroupedHead', ...reading(queue, vt, numMessages))
  }

  /**
   * The same, and the server waits while there is nothing. SQL: `pgmq.read_grouped_head_with_poll`.
   * @throws QUEUE_NOT_FOUND, RANGE, UNSUPPORTED
   * @example const heads = await pgmq.msg.readGroupedHeadWithPoll('orders', 30, 10)
   */
  async readGroupedHeadWithPoll<T = unknown>(
    queue: string,
    vt: Seconds,
    numMessages: number,
    options?: PgmqPollOptions,
  ): Promise<PgmqMessage<T>[]> {
    const wait = polling(option.parseOptions(pollOptions, options, 'readGroupedHeadWithPoll'))
    const values = [...reading(queue, vt, numMessages), ...wait]
    return this.#read<T>('readGroupedHeadWithPoll', ...values)
  }

  /**
   * Reads one message and deletes it. SQL: `pgmq.pop`.
   * @returns undefined if none is visible
   * @throws QUEUE_NOT_FOUND, OUTCOME_UNKNOWN
   * @example const message = await pgmq.msg.pop('orders')
   */
  async pop<T = unknown>(queue: string): Promise<PgmqMessage<T> | undefined> {
    const [message] = await this.#read<T>('pop', queueName(queue))
    return message
  }

  /**
   * The same with several. SQL: `pgmq.pop`.
   * @throws QUEUE_NOT_FOUND, RANGE, UNSUPPORTED, OUTCOME_UNKNOWN
   * @example const messages = await pgmq.msg.popBatch('orders', 10)
   */
  async popBatch<T = unknown>(queue: string, numMessages: number): Promise<PgmqMessage<T>[]> {
    const values = [queueName(queue), encode.integer(numMessages, 'numMessages')]
    return this.#read<T>('popBatch', ...values)
  }

  /**
   * Whoever has the message now: PGMQ asks for nothing but the id. SQL: `pgmq.delete`.
   * @returns whether it was there
   * @throws QUEUE_NOT_FOUND, MESSAGE_ID_INVALID, OUTCOME_UNKNOWN
   * @example await pgmq.msg.delete('orders', 7) // true
   */
  async delete(queue: string, msgId: MsgId | string): Promise<boolean> {
    return this.#session.one<boolean>('delete', queueName(queue), encode.msgId(msgId))
  }

  /**
   * SQL: `pgmq.delete`.
   * @returns the ids of those that were there
   * @throws QUEUE_NOT_FOUND, MESSAGE_ID_INVALID, OUTCOME_UNKNOWN
   * @example await pgmq.msg.deleteBatch('orders', [7, 8])
   */
  async deleteBatch(queue: string, msgIds: readonly (MsgId | string)[]): Promise<MsgId[]> {
    return [...(await this.#session.all<MsgId>('deleteBatch', queueName(queue), encode.msgIds(msgIds)))]
  }

  /**
   * Moves a message to the archive, `a_<queue>`. SQL: `pgmq.archive`.
   * @returns whether it was there
   * @throws QUEUE_NOT_FOUND, MESSAGE_ID_INVALID, OUTCOME_UNKNOWN
   * @example await pgmq.msg.archive('orders', 7) // true
   */
  async archive(queue: string, msgId: MsgId | string): Promise<boolean> {
    return this.#session.one<boolean>('archive', queueName(queue), encode.msgId(msgId))
  }

  /**
   * SQL: `pgmq.archive`.
   * @returns the ids of those that were there
   * @throws QUEUE_NOT_FOUND, MESSAGE_ID_INVALID, OUTCOME_UNKNOWN
   * @example await pgmq.msg.archiveBatch('orders', [7, 8])
   */
  async archiveBatch(queue: string, msgIds: readonly (MsgId | string)[]): Promise<MsgId[]> {
    return [...(await this.#session.all<MsgId>('archiveBatch', queueName(queue), encode.msgIds(msgIds)))]
  }

  /**
   * Hides a message until later, or shows it. SQL: `pgmq.set_vt`.
   * @param vt seconds from now, or the time
   * @returns undefined if it is not there
   * @throws QUEUE_NOT_FOUND, MESSAGE_ID_INVALID, RANGE, UNSUPPORTED for a time where PGMQ takes none
   * @example await pgmq.msg.setVt('orders', 7, 60)
   */
  async setVt<T = unknown>(
    queue: string,
    msgId: MsgId | string,
    vt: Seconds | Date,
  ): Promise<PgmqMessage<T> | undefined> {
    const [seconds, at] = encode.delay(vt, 'vt')
    const call = at === null ? 'setVt' : 'setVtAt'
    const [message] = await this.#read<T>(call, queueName(queue), encode.msgId(msgId), at ?? seconds)
    return message
  }

  /**
   * The same with several. SQL: `pgmq.set_vt`.
   * @returns those that are there
   * @throws QUEUE_NOT_FOUND, MESSAGE_ID_INVALID, RANGE, UNSUPPORTED
   * @example await pgmq.msg.setVtBatch('orders', [7, 8], new Date('2030-01-01T00:00:00Z'))
   */
  async setVtBatch<T = unknown>(
    queue: string,
    msgIds: readonly (MsgId | string)[],
    vt: Seconds | Date,
  ): Promise<PgmqMessage<T>[]> {
    const [seconds, at] = encode.delay(vt, 'vt')
    const call = at === null ? 'setVtBatch' : 'setVtBatchAt'
    const values = [queueName(queue), encode.msgIds(msgIds), at ?? seconds]
    return this.#read<T>(call, ...values)
  }

  async #read<T>(...call: Parameters<Session['all']>): Promise<PgmqMessage<T>[]> {
    return (await this.#session.all(...call)).map(toMessage<T>)
  }
}

const reading = (queue: string, vt: Seconds, numMessages: number) => [
  queueName(queue),
  encode.seconds(vt, 'vt'),
  encode.integer(numMessages, 'numMessages'),
]

const polling = (wait: option.OptionsOutput<typeof pollOptions>) => [
  String(wait.maxPollSeconds),
  String(wait.pollIntervalMs),
]
