import { eachAlone } from '../../core/each-alone.ts'
import { isTidingsError } from '../../core/errors.ts'
import { keepsAll } from '../../port/refusals.ts'
import type {
  AppendResult,
  Hold,
  Position,
  SeekMove,
  SubscriptionState,
  TopicInfo,
  TopicMessage,
  TopicSettings,
  TopicStore,
} from '../../port/topic-store.ts'
import type { NewMessage, Transaction } from '../../port/types.ts'
import type { Calls } from './calls.ts'
import type { Life } from './life.ts'
import { isPlain, toBatch, toProof, toSubscriptionState, toTopicInfo, toTopicMessage } from './rows.ts'
import { statements } from './sql.gen.ts'

/** Topics in tables of our own. How messages get their offsets stands in sql/functions/topics_append.sql. */
export class PostgresTopics implements TopicStore {
  readonly #calls: Calls
  readonly #life: Life

  constructor(calls: Calls, life: Life) {
    this.#calls = calls
    this.#life = life
  }

  async createTopic(topic: string, { description, retention }: TopicSettings): Promise<boolean> {
    const settings = JSON.stringify({ description, retention })
    const [row] = await this.#calls.read(statements.createTopic, [topic, settings])
    return row?.created === true
  }

  async dropTopic(topic: string): Promise<boolean> {
    const [row] = await this.#calls.read(statements.dropTopic, [topic])
    return row?.dropped === true
  }

  async listTopics(topic: string | null): Promise<TopicInfo[]> {
    return (await this.#calls.read(statements.topics, [topic])).map(toTopicInfo)
  }

  async append(
    topic: string,
    messages: readonly NewMessage[],
    transaction: Transaction | null,
  ): Promise<AppendResult[]> {
    if (messages.some(({ dedup }) => dedup?.replace)) throw keepsAll(topic)
    if (messages.length === 0) return []
    const batch = toBatch(messages)
    const plain = messages.every(isPlain)
    const rows = await this.#calls.whereEnabled(messages, (enabled) =>
      this.#calls.writeWithin(transaction, statements.append, [topic, batch, plain, enabled, transaction === null]),
    )
    return rows.map((row) => ({ offset: row.offset as number | null, duplicate: row.duplicate === true }))
  }

  async read(topic: string, after: number, limit: number): Promise<TopicMessage[]> {
    return (await this.#calls.read(statements.readTopic, [topic, after, limit])).map(toTopicMessage)
  }

  async subscribe(topic: string, subscription: string, from: Position): Promise<boolean> {
    const [row] = await this.#calls.read(statements.subscribe, [topic, subscription, JSON.stringify(from)])
    return row?.subscribed === true
  }

  async unsubscribe(topic: string, subscription: string): Promise<boolean> {
    const [row] = await this.#calls.read(statements.unsubscribe, [topic, subscription])
    return row?.unsubscribed === true
  }

  async subscriptions(topic: string, subscription: string | null): Promise<SubscriptionState[]> {
    return (await this.#calls.read(statements.subscriptions, [topic, subscription])).map(toSubscriptionState)
  }

  async hold(topic: string, subscription: string, consumer: string, leaseMs: number, held = false): Promise<Hold> {
    const holder = held ? this.#life.holder : null
    const values = [topic, subscription, consumer, leaseMs, holder?.number ?? null]
    const [row] = await this.#calls.read(statements.holdSubscription, values)
    return typeof row?.receipt === 'string'
      ? { held: true, receipt: row.receipt, cursor: row.cursor as number, vanished: row.vanished as number }
      : { held: false, retryMs: (row?.retry_ms as number | null) ?? 1 }
  }

  async leave(topic: string, subscription: string, receipt: string): Promise<boolean> {
    const [row] = await this.#calls.write(statements.leaveSubscription, [topic, subscription, toProof(receipt)])
    return row?.done === true
  }

  async ack(topic: string, subscription: string, offset: number, receipt: string | null): Promise<boolean> {
    const proof = receipt === null ? null : toProof(receipt)
    const [row] = await this.#calls.read(statements.ackTopic, [topic, subscription, offset, proof])
    return row?.done === true
  }

  async seek(topic: string, subscription: string | null, position: Position): Promise<number> {
    const [row] = await this.#calls.write(statements.seekTopic, [topic, subscription, JSON.stringify(position)])
    return Number(row?.moved)
  }

  async planSeek(topic: string, subscription: string | null, position: Position): Promise<SeekMove[]> {
    const rows = await this.#calls.read(statements.planSeek, [topic, subscription, JSON.stringify(position)])
    return rows.map((row) => ({
      subscription: row.subscription as string,
      from: row.was as number,
      to: row.becomes as number,
    }))
  }

  /** Topic by topic, in small steps, so that none of them is locked for long. */
  async maintain(): Promise<void> {
    const topics = await this.#calls.read(statements.topicsToMaintain, [])
    await eachAlone(
      topics.map(
        ({ topic, prune }) =>
          () =>
            this.#maintain(topic as string, prune === true),
      ),
    )
  }

  async #maintain(topic: string, prune: boolean): Promise<void> {
    try {
      await this.#calls.read(statements.maintainTopic, [topic])
      while (prune) {
        const [row] = await this.#calls.read(statements.pruneTopic, [topic])
        if (row?.more !== true) return
      }
    } catch (error) {
      // It was dropped meanwhile.
      if (isTidingsError(error, 'TOPIC_NOT_FOUND')) return
      throw isTidingsError(error) ? error.within(`topic '${topic}'`) : error
    }
  }
}
