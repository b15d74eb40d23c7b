import type { JsonObject } from '../core/json.ts'
import type { Session } from './session.ts'
import * as encode from './values.ts'
import { date, type MsgId, queueName, type Row, text } from './values.ts'

/** What `testRouting` finds. */
export interface PgmqRoute {
  readonly pattern: string
  readonly queueName: string
  /** The pattern as PGMQ keeps it. */
  readonly compiledRegex: string
}

export interface PgmqBinding extends PgmqRoute {
  readonly boundAt: Date
}

/** A message that `sendBatch` stored. */
export interface PgmqTopicMessage {
  readonly queueName: string
  readonly msgId: MsgId
}

type MessageHeaders = JsonObject | null

/** `pgmq.topic`: messages that go to all queues bound to a pattern that matches. PGMQ 1.10 or newer. */
export class PgmqTopics {
  readonly #session: Session

  /** @internal */
  constructor(session: Session) {
    this.#session = session
  }

  /**
   * Twice is fine. SQL: `pgmq.bind_topic`.
   * @param pattern `*` stands for one segment, `#` for any characters
   * @throws PATTERN_INVALID, QUEUE_NOT_FOUND, UNSUPPORTED
   * @example await pgmq.topic.bind('orders.*.paid', 'invoices')
   */
  async bind(pattern: string, queue: string): Promise<void> {
    await this.#session.all('bindTopic', text(pattern, 'pattern'), queueName(queue))
  }

  /**
   * SQL: `pgmq.unbind_topic`.
   * @returns whether it was bound
   * @throws UNSUPPORTED
   * @example await pgmq.topic.unbind('orders.*.paid', 'invoices') // true
   */
  async unbind(pattern: string, queue: string): Promise<boolean> {
    return this.#session.one<boolean>('unbindTopic', text(pattern, 'pattern'), queueName(queue))
  }

  /**
   * SQL: `pgmq.list_topic_bindings`.
   * @param queue left out: those of all queues
   * @throws UNSUPPORTED
   * @example const patterns = (await pgmq.topic.list('invoices')).map((binding) => binding.pattern)
   */
  async list(queue?: string): Promise<PgmqBinding[]> {
    const rows =
      queue === undefined
        ? await this.#session.all('listTopicBindings')
        : await this.#session.all('listTopicBindingsOf', queueName(queue))
    return rows.map((row) => ({ ...toRoute(row), boundAt: date(row.bound_at) }))
  }

  /**
   * Which bindings match, without sending. SQL: `pgmq.test_routing`.
   * @throws KEY_INVALID, UNSUPPORTED
   * @example const matching = await pgmq.topic.testRouting('orders.eu.paid')
   */
  async testRouting(routingKey: string): Promise<PgmqRoute[]> {
    return (await this.#session.all('testRouting', text(routingKey, 'routingKey'))).map(toRoute)
  }

  /**
   * One copy for each queue that is bound. SQL: `pgmq.send_topic`.
   * @param delay seconds until the copies become visible, 0 or more
   * @returns how many copies; 0 where nothing is bound
   * @throws KEY_INVALID, BODY_NOT_JSON, HEADERS_INVALID, RANGE, UNSUPPORTED, OUTCOME_UNKNOWN
   * @example const copies = await pgmq.topic.send('orders.eu.paid', { total: 12 })
   */
  async send<T>(routingKey: string, msg: T, delay = 0, headers: MessageHeaders = null): Promise<number> {
    const values = [encode.message(msg), encode.headers(headers), encode.integer(delay, 'delay')]
    return this.#session.one<number>('sendTopic', text(routingKey, 'routingKey'), ...values)
  }

  /**
   * All or none. SQL: `pgmq.send_batch_topic`.
   * @param delay seconds until the copies become visible, or the time at which they do
   * @param headers one for each message, null for none
   * @returns one for each message and queue
   * @throws KEY_INVALID, BATCH_SIZE, BODY_NOT_JSON, HEADERS_INVALID, RANGE, UNSUPPORTED, OUTCOME_UNKNOWN
   * @example const sent = await pgmq.topic.sendBatch('orders.eu.paid', [{ total: 12 }, { total: 7 }])
   */
  async sendBatch<T>(
    routingKey: string,
    msgs: readonly T[],
    delay: number | Date = 0,
    headers: readonly MessageHeaders[] | null = null,
  ): Promise<PgmqTopicMessage[]> {
    const texts = encode.messages(msgs)
    const values = [texts, encode.headersOfBatch(headers, msgs.length), ...encode.delay(delay)]
    const rows = await this.#session.all('sendBatchTopic', text(routingKey, 'routingKey'), ...values)
    return rows.map((row) => ({ queueName: row.queue_name as string, msgId: row.msg_id as MsgId }))
  }
}

const toRoute = (row: Row): PgmqRoute => ({
  pattern: row.pattern as string,
  queueName: row.queue_name as string,
  compiledRegex: row.compiled_regex as string,
})
