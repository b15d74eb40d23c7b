import type { Session } from './session.ts'
import { dateOrNull, integer, queueName } from './values.ts'

export interface PgmqThrottle {
  readonly queueName: string
  readonly throttleIntervalMs: number
  readonly lastNotifiedAt: Date | null
}

/**
 * `pgmq.notify`: queues that tell of what is sent to them, by NOTIFY on the channel `pgmq.q_<queue>.INSERT`. Workers of
 * Tidings need none of it.
 */
export class PgmqNotifications {
  readonly #session: Session

  /** @internal */
  constructor(session: Session) {
    this.#session = session
  }

  /**
   * SQL: `pgmq.enable_notify_insert`.
   * @param throttleMs milliseconds between two notifications at least; 0 for one with every message
   * @throws QUEUE_NOT_FOUND, RANGE, UNSUPPORTED
   * @example await pgmq.notify.enable('orders', 250)
   */
  async enable(queue: string, throttleMs = 250): Promise<void> {
    await this.#session.all('enableNotify', queueName(queue), integer(throttleMs, 'throttleMs'))
  }

  /**
   * SQL: `pgmq.disable_notify_insert`.
   * @throws UNSUPPORTED
   * @example await pgmq.notify.disable('orders')
   */
  async disable(queue: string): Promise<void> {
    await this.#session.all('disableNotify', queueName(queue))
  }

  /**
   * Changes the interval of a queue that notifies. SQL: `pgmq.update_notify_insert`.
   * @throws QUEUE_NOT_FOUND, RANGE, UNSUPPORTED
   * @example await pgmq.notify.update('orders', 1_000)
   */
  async update(queue: string, throttleMs: number): Promise<void> {
    await this.#session.all('updateNotify', queueName(queue), integer(throttleMs, 'throttleMs'))
  }

  /**
   * SQL: `pgmq.list_notify_insert_throttles`.
   * @throws UNSUPPORTED
   * @example const notifying = (await pgmq.notify.list()).map((throttle) => throttle.queueName)
   */
  async list(): Promise<PgmqThrottle[]> {
    return (await this.#session.all('listNotify')).map((row) => ({
      queueName: row.queue_name as string,
      throttleIntervalMs: row.throttle_interval_ms as number,
      lastNotifiedAt: dateOrNull(row.last_notified_at),
    }))
  }
}
