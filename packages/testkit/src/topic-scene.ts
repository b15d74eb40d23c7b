import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import type { Engine, NewMessage, PublishedCopy, Transaction } from 'tidings/internal/port/engine'
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
} from 'tidings/internal/port/topic-store'
import { dataOf, long, newMessage, only, type Scene, text, times, topicsOf, type Wakes, watch } from './scene.ts'

type Held = Extract<Hold, { held: true }>

/** One topic of a case, seen through one engine. What names no subscription means the one that is called 's'. */
export class StagedTopic {
  readonly scene: Scene
  readonly name: string
  readonly store: TopicStore

  constructor(scene: Scene, name: string, engine: Engine = scene.engine) {
    this.scene = scene
    this.name = name
    this.store = topicsOf(engine)
  }

  /** The same topic through another engine. */
  by(engine: Engine): StagedTopic {
    return new StagedTopic(this.scene, this.name, engine)
  }

  /** Takes messages, none of which is a duplicate. @returns their offsets */
  async append(...messages: Partial<NewMessage>[]): Promise<number[]> {
    return (await this.tryAppend(...messages)).map(({ offset, duplicate }) => {
      assert.equal(duplicate, false, 'duplicate')
      assert(offset !== null && Number.isInteger(offset), 'an offset is a whole number')
      return offset
    })
  }

  async appendMany(count: number): Promise<number[]> {
    return await this.append(...times(count, () => ({})))
  }

  async tryAppend(...messages: Partial<NewMessage>[]): Promise<AppendResult[]> {
    return await this.store.append(this.name, messages.map(newMessage), null)
  }

  async appendIn(transaction: Transaction, ...messages: Partial<NewMessage>[]): Promise<AppendResult[]> {
    return await this.store.append(this.name, messages.map(newMessage), transaction)
  }

  async read(after = 0, limit = 1_000): Promise<TopicMessage[]> {
    return await this.store.read(this.name, after, limit)
  }

  async labels(after = 0): Promise<unknown[]> {
    return dataOf(await this.read(after))
  }

  async offsets(after = 0): Promise<number[]> {
    return (await this.read(after)).map(({ offset }) => offset)
  }

  async info(): Promise<TopicInfo> {
    return only(await this.store.listTopics(this.name))
  }

  /** Replaces the settings that are given. */
  async set(settings: TopicSettings): Promise<void> {
    assert.equal(await this.store.createTopic(this.name, settings), false, 'the topic is there')
  }

  async subscribe(from: Position = 'earliest', subscription = 's'): Promise<boolean> {
    return await this.store.subscribe(this.name, subscription, from)
  }

  async state(subscription = 's'): Promise<SubscriptionState> {
    return only(await this.store.subscriptions(this.name, subscription))
  }

  async cursor(subscription = 's'): Promise<number> {
    return (await this.state(subscription)).cursor
  }

  async hold(consumer = newConsumer(), leaseMs = long, subscription = 's'): Promise<Held> {
    const hold = await this.store.hold(this.name, subscription, consumer, leaseMs)
    assert(hold.held, 'the subscription is held')
    return hold
  }

  /** Tries to hold a subscription that another consumer holds. @returns for how long at most */
  async holdInVain(consumer = newConsumer(), leaseMs = long, subscription = 's'): Promise<number> {
    const hold = await this.store.hold(this.name, subscription, consumer, leaseMs)
    assert(!hold.held, 'the subscription is held by somebody else')
    return hold.retryMs
  }

  async ack(offset: number, receipt: string | null = null, subscription = 's'): Promise<boolean> {
    return await this.store.ack(this.name, subscription, offset, receipt)
  }

  async leave(receipt: string, subscription = 's'): Promise<boolean> {
    return await this.store.leave(this.name, subscription, receipt)
  }

  async planSeek(position: Position, subscription: string | null = 's'): Promise<SeekMove[]> {
    return await this.store.planSeek(this.name, subscription, position)
  }

  async seek(position: Position, subscription: string | null = 's'): Promise<number> {
    return await this.store.seek(this.name, subscription, position)
  }

  async watch(): Promise<Wakes> {
    return await watch(this.scene.engine, `topic:${this.name}`)
  }
}

export async function newTopic(scene: Scene, settings: TopicSettings = {}): Promise<StagedTopic> {
  const topic = new StagedTopic(scene, scene.newTopicName())
  await topic.store.createTopic(topic.name, settings)
  return topic
}

/** A topic of five messages with a subscription that has read none of them. */
export async function subscribedTopic(scene: Scene): Promise<StagedTopic> {
  const topic = await newTopic(scene)
  await topic.appendMany(5)
  await topic.subscribe('earliest')
  return topic
}

/** A name that no consumer had before. */
export const newConsumer = () => `consumer-${randomBytes(6).toString('hex')}`

/** From the first to the last, both included. */
export const numbers = (first: number, last: number) => times(last - first + 1, (index) => first + index)

/** A retention that removes nothing. */
export const keepAll = { maxAgeMs: null, maxBytes: null, whenRead: false }
export const byNumber = (a: number, b: number) => a - b

export const linkPattern = (topic: StagedTopic, pattern: string) =>
  topic.scene.engine.bind({ topic: topic.name, pattern })
export const linkQueue = (topic: StagedTopic, queue = topic.scene.queue) =>
  topic.scene.engine.bind({ topic: topic.name, queue })

/** A topic that is linked to the queue of the case. */
export async function linkedTopic(scene: Scene): Promise<StagedTopic> {
  const topic = await newTopic(scene)
  assert.equal(await linkQueue(topic), true)
  return topic
}

/** Where copies are. */
export const namesOf = (copies: readonly PublishedCopy[]) =>
  copies.map((copy) => ('queue' in copy ? copy.queue : copy.topic))
/** A message with a dedup id. */
export const once = (id: string, label = id, windowMs = long) => ({ ...text(label), dedup: { id, windowMs } })
