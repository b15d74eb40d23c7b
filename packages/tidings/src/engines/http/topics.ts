import { isTidingsError } from '../../core/errors.ts'
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
import { toWireEntry } from '../../protocol/messages.ts'
import {
  fromWireHold,
  fromWireSubscription,
  fromWireTopic,
  fromWireTopicMessage,
  toWirePosition,
  toWireSettings,
  type WireHold,
  type WireSubscription,
  type WireTopic,
  type WireTopicMessage,
} from '../../protocol/topics.ts'
import type { Client } from './client.ts'
import { refuseTransaction } from './failures.ts'
import type { Holdings } from './holdings.ts'
import { readAll, type WirePage } from './pages.ts'

/** Topics over HTTP. */
export class HttpTopics implements TopicStore {
  readonly #client: Client
  readonly #holdings: Holdings

  constructor(client: Client, holdings: Holdings) {
    this.#client = client
    this.#holdings = holdings
  }

  async createTopic(topic: string, settings: TopicSettings): Promise<boolean> {
    return (await this.#read<{ created: boolean }>('PUT', of(topic), toWireSettings(settings))).created
  }

  dropTopic(topic: string): Promise<boolean> {
    return this.#remove(of(topic), 'TOPIC_NOT_FOUND')
  }

  async listTopics(topic: string | null): Promise<TopicInfo[]> {
    if (topic !== null) return [fromWireTopic(await this.#read<WireTopic>('GET', of(topic)))]
    return (await this.#read<{ topics: WireTopic[] }>('GET', '/v1/topics')).topics.map(fromWireTopic)
  }

  async append(
    topic: string,
    messages: readonly NewMessage[],
    transaction: Transaction | null,
  ): Promise<AppendResult[]> {
    refuseTransaction(transaction)
    if (messages.length === 0) return []
    const body = { entries: messages.map(toWireEntry) }
    return (await this.#write<{ results: AppendResult[] }>('POST', `${of(topic)}/messages`, body)).results
  }

  async read(topic: string, after: number, limit: number): Promise<TopicMessage[]> {
    return readAll(limit, async (count, last) => {
      const path = `${of(topic)}/messages?after=${last?.offset ?? after}&limit=${count}`
      const { messages, more } = await this.#read<WirePage<WireTopicMessage>>('GET', path)
      return { messages: messages.map(fromWireTopicMessage), more }
    })
  }

  async subscribe(topic: string, subscription: string, from: Position): Promise<boolean> {
    const body = { from: toWirePosition(from) }
    return (await this.#read<{ created: boolean }>('PUT', of(topic, subscription), body)).created
  }

  unsubscribe(topic: string, subscription: string): Promise<boolean> {
    return this.#remove(of(topic, subscription), 'SUBSCRIPTION_NOT_FOUND')
  }

  async subscriptions(topic: string, subscription: string | null): Promise<SubscriptionState[]> {
    if (subscription !== null)
      return [fromWireSubscription(await this.#read<WireSubscription>('GET', of(topic, subscription)))]
    const path = `${of(topic)}/subscriptions`
    return (await this.#read<{ subscriptions: WireSubscription[] }>('GET', path)).subscriptions.map(
      fromWireSubscription,
    )
  }

  async hold(topic: string, subscription: string, consumer: string, leaseMs: number, held = false): Promise<Hold> {
    const body = { consumer, lease_ms: leaseMs }
    const path = `${of(topic, subscription)}/hold`
    return fromWireHold(
      await this.#holdings.holding(held, (told) => this.#read<WireHold>('POST', path, { ...body, ...told })),
    )
  }

  async leave(topic: string, subscription: string, receipt: string): Promise<boolean> {
    return (await this.#read<{ left: boolean }>('POST', `${of(topic, subscription)}/leave`, { receipt })).left
  }

  async ack(topic: string, subscription: string, offset: number, receipt: string | null): Promise<boolean> {
    const body = { offset, receipt }
    return (await this.#read<{ acked: boolean }>('POST', `${of(topic, subscription)}/ack`, body)).acked
  }

  async seek(topic: string, subscription: string | null, position: Position): Promise<number> {
    const path = `${subscription === null ? of(topic) : of(topic, subscription)}/seek`
    return (await this.#write<{ moved: number }>('POST', path, { position: toWirePosition(position) })).moved
  }

  async planSeek(topic: string, subscription: string | null, position: Position): Promise<SeekMove[]> {
    const path = `${subscription === null ? of(topic) : of(topic, subscription)}/seek`
    const body = { position: toWirePosition(position), dry_run: true }
    return [...(await this.#read<{ moves: readonly SeekMove[] }>('POST', path, body)).moves]
  }

  async #remove(path: string, missing: 'TOPIC_NOT_FOUND' | 'SUBSCRIPTION_NOT_FOUND'): Promise<boolean> {
    try {
      await this.#read('DELETE', path)
      return true
    } catch (error) {
      if (isTidingsError(error, missing)) return false
      throw error
    }
  }

  /** For what may be done twice without harm. */
  #read<T>(method: string, path: string, body?: object): Promise<T> {
    return this.#client.request(method, path, body, { repeatable: true })
  }

  /** For what must not be done twice: if the answer is lost, the outcome is unknown. */
  #write<T>(method: string, path: string, body: object): Promise<T> {
    return this.#client.request(method, path, body, { repeatable: false })
  }
}

function of(topic: string, subscription?: string): string {
  const path = `/v1/topics/${encodeURIComponent(topic)}`
  return subscription === undefined ? path : `${path}/subscriptions/${encodeURIComponent(subscription)}`
}
