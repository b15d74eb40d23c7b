import type { JsonObject } from '../../core/json.ts'
import type { NewMessage, Transaction } from '../../port/engine.ts'
import type { Interest } from '../../port/listening.ts'
import type {
  AppendResult,
  Hold,
  Position,
  Retention,
  SeekMove,
  SubscriptionState,
  TopicInfo,
  TopicMessage,
  TopicSettings,
  TopicStore,
} from '../../port/topic-store.ts'
import { toMap } from './calling.ts'
import type { Driver } from './driver.ts'
import { unsupported } from './errors.ts'
import { newNonce, topicDestination, topicKeyOf, topicKeysOf } from './keys.ts'
import type { Registry } from './registry.ts'
import type { Relay } from './relay/relay.ts'
import type { Routes } from './routes.ts'
import type { ScriptName } from './scripts.ts'

const repeatable = { repeatable: true }
const once = { repeatable: false }

/** Topics, each a stream. lua/topic.lua says what is stored, the headers of the scripts what they do. */
export class RedisTopics implements TopicStore {
  readonly #driver: Driver
  readonly #registry: Registry
  readonly #routes: Routes
  readonly #relay: Relay
  readonly #tokenFor: (interest: Interest, leaseMs: number) => Promise<string>

  /** @param tokenFor as for `Claims` */
  constructor(
    driver: Driver,
    registry: Registry,
    routes: Routes,
    relay: Relay,
    tokenFor: (interest: Interest, leaseMs: number) => Promise<string>,
  ) {
    this.#tokenFor = tokenFor
    this.#driver = driver
    this.#registry = registry
    this.#routes = routes
    this.#relay = relay
  }

  createTopic(topic: string, settings: TopicSettings): Promise<boolean> {
    return this.#driver.whileOpen(() => this.#registry.create(topic, toFields(settings)))
  }

  dropTopic(topic: string): Promise<boolean> {
    return this.#driver.whileOpen(async () => {
      const incarnation = await this.#driver.run('topic-drop', topicKeysOf(topic), [], once)
      if (incarnation === null) return false
      await this.#routes.forget(topicDestination(topic), incarnation as string)
      const outbox = topicKeyOf(topic, 'outbox')
      // Upkeep finds the rest of the outbox by the name.
      if ((await this.#driver.call(outbox, ['EXISTS', outbox])) === 0) await this.#registry.forget(topic)
      return true
    })
  }

  listTopics(topic: string | null): Promise<TopicInfo[]> {
    return this.#driver.whileOpen(async () => {
      if (topic !== null) await this.#registry.mustHave(topic)
      const names = topic === null ? (await this.#registry.names()).sort() : [topic]
      const linksOf = await this.#routes.links((place) => topic === null || place === topicDestination(topic))
      const infos = await Promise.all(
        names.map(async (name): Promise<TopicInfo | null> => {
          const [meta, subscriptions] = [topicKeyOf(name, 'meta'), topicKeyOf(name, 'subscriptions')]
          const fields = (await this.#driver.call(meta, ['HGETALL', meta])) as string[]
          const count = (await this.#driver.call(subscriptions, ['HLEN', subscriptions])) as number
          return fields.length === 0
            ? null
            : { ...toInfo(name, fields), subscriptions: count, ...linksOf(topicDestination(name)) }
        }),
      )
      return infos.filter((info) => info !== null)
    })
  }

  async append(
    topic: string,
    messages: readonly NewMessage[],
    transaction: Transaction | null,
  ): Promise<AppendResult[]> {
    if (transaction) throw unsupported()
    return this.#driver.whileOpen(() => this.#relay.append(topic, messages))
  }

  read(topic: string, after: number, limit: number): Promise<TopicMessage[]> {
    return this.#driver.whileOpen(async () => {
      const log = topicKeyOf(topic, 'log')
      const entries = await this.#driver.call(log, ['XRANGE', log, `${after + 1}-0`, '+', 'COUNT', limit], repeatable)
      // Where there is a message, there is a topic.
      if ((entries as Entry[]).length === 0) await this.#registry.mustHave(topic)
      return (entries as Entry[]).map(toMessage)
    })
  }

  async subscribe(topic: string, subscription: string, from: Position): Promise<boolean> {
    const args = [subscription, JSON.stringify(from), newNonce()]
    return (await this.#run<0 | 1>('topic-subscribe', topic, args, repeatable)) === 1
  }

  async unsubscribe(topic: string, subscription: string): Promise<boolean> {
    return (await this.#run<0 | 1>('topic-unsubscribe', topic, [subscription], once)) === 1
  }

  async subscriptions(topic: string, subscription: string | null): Promise<SubscriptionState[]> {
    const rows = await this.#run<StateRow[]>('topic-subscriptions', topic, [subscription ?? ''], repeatable)
    return rows.map(toState).sort((a, b) => (a.subscription < b.subscription ? -1 : 1))
  }

  async hold(topic: string, subscription: string, consumer: string, leaseMs: number, held = false): Promise<Hold> {
    const token = held ? await this.#tokenFor(`topic:${topic}`, leaseMs) : ''
    const args = [newNonce(), subscription, consumer, leaseMs, token]
    type Answer = [receipt: null, retryMs: number] | [receipt: string, cursor: number, vanished: number]
    const [receipt, number, vanished] = await this.#run<Answer>('topic-hold', topic, args, repeatable)
    return receipt === null
      ? { held: false, retryMs: number }
      : { held: true, receipt, cursor: number, vanished: vanished! }
  }

  async leave(topic: string, subscription: string, receipt: string): Promise<boolean> {
    return (await this.#run<0 | 1>('topic-leave', topic, [subscription, receipt], repeatable)) === 1
  }

  async ack(topic: string, subscription: string, offset: number, receipt: string | null): Promise<boolean> {
    const args = [subscription, offset, ...(receipt === null ? [] : [receipt])]
    return (await this.#run<0 | 1>('topic-ack', topic, args, repeatable)) === 1
  }

  async seek(topic: string, subscription: string | null, position: Position): Promise<number> {
    const args = [subscription ?? '', JSON.stringify(position), 0]
    return (await this.#run<SeekAnswer>('topic-seek', topic, args, once)).length
  }

  async planSeek(topic: string, subscription: string | null, position: Position): Promise<SeekMove[]> {
    const args = [subscription ?? '', JSON.stringify(position), 1]
    const moves = await this.#run<SeekAnswer>('topic-seek', topic, args, repeatable)
    return moves
      .map(([name, from, to]) => ({ subscription: name, from, to }))
      .sort((a, b) => (a.subscription < b.subscription ? -1 : 1))
  }

  #run<T>(
    script: ScriptName,
    topic: string,
    args: readonly (string | number)[],
    options: Parameters<Driver['run']>[3],
  ): Promise<T> {
    return this.#driver.whileOpen(() => this.#driver.run(script, topicKeysOf(topic), args, options) as Promise<T>)
  }
}

/** Names and values in turn, as in `meta`. A missing limit is ''. */
function toFields({ description, retention }: TopicSettings): (string | number)[] {
  const fields: (string | number)[] = []
  if (description !== undefined) fields.push('description', description)
  if (retention) {
    const { maxAgeMs, maxBytes, whenRead } = retention
    fields.push('age', maxAgeMs ?? '', 'size', maxBytes ?? '', 'read', whenRead ? 1 : 0)
  }
  return fields
}

function toInfo(topic: string, list: readonly string[]): Omit<TopicInfo, 'subscriptions' | 'patterns' | 'queues'> {
  const fields = toMap(list)
  const number = (name: string) => Number(fields.get(name) ?? 0)
  const bound = (name: string) => (fields.get(name) ? number(name) : null)
  const retention: Retention = {
    maxAgeMs: bound('age'),
    maxBytes: bound('size'),
    whenRead: fields.get('read') === '1',
  }
  return {
    topic,
    description: fields.get('description') ?? '',
    retention,
    createdAt: number('created'),
    firstOffset: number('base') + 1,
    lastOffset: number('last'),
    bytes: number('bytes') - number('gone'),
  }
}

type Entry = readonly [id: string, fields: readonly string[]]

function toMessage([id, list]: Entry): TopicMessage {
  const fields = toMap(list)
  const json = (name: string) => JSON.parse(fields.get(name) ?? '{}') as JsonObject
  return {
    offset: Number.parseInt(id, 10),
    data: fields.get('data') ?? '',
    meta: json('meta'),
    headers: json('headers'),
    publishedAt: Number(fields.get('at')),
  }
}

type StateRow = readonly [
  subscription: string,
  cursor: number,
  lag: number,
  missed: number,
  createdAt: number,
  movedAt: number | null,
  consumer: string | null,
]

function toState([subscription, cursor, lag, missed, createdAt, movedAt, consumer]: StateRow): SubscriptionState {
  return { subscription, cursor, lag, missed, createdAt, movedAt, consumer }
}

type SeekAnswer = [name: string, from: number, to: number][]
