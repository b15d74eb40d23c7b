import { randomBytes } from 'node:crypto'
import { Recent } from '../../core/recent.ts'

/** In the order of `queueAt` in lua/queue.lua. */
const queueKeys = [
  'meta',
  'order',
  'ready',
  'body',
  'delayed',
  'leased',
  'state',
  'lines',
  'waiting',
  'tasks',
  'dedup',
  'windows',
  'targets',
  'archive',
  'shelf',
  'archived',
  'inbox',
  'outbox',
] as const

export const queueKeyCount = queueKeys.length

/** In the order of `topicKeys` in lua/topic.lua. */
const topicKeys = ['meta', 'log', 'subscriptions', 'dedup', 'windows', 'inbox', 'outbox'] as const

/** What a key is called in Redis where that differs from its name in the code: older versions use the same data. */
const storedNames = { inbox: 'taken' } as const
const storedName = (name: string) => storedNames[name as keyof typeof storedNames] ?? name
const storedQueueKeys = queueKeys.map(storedName)
const storedTopicKeys = topicKeys.map(storedName)

type Keys = readonly [meta: string, ...others: string[]]

/** All keys of a queue or a topic share a hash tag, so that they are in one slot. */
const tagOf = (queue: string) => `{tidings:q:${queue}}`
const topicTagOf = (topic: string) => `{tidings:t:${topic}}`

const allKeys = (tag: string, names: readonly string[]) => names.map((name) => `${tag}:${name}`) as unknown as Keys

export const keyOf = (queue: string, name: (typeof queueKeys)[number]) => `${tagOf(queue)}:${storedName(name)}`

interface QueueKeys {
  readonly all: Keys
  /** Those of a message without options. */
  readonly plain: Keys
}

const recentKeys = new Recent((queue): QueueKeys => {
  const all = allKeys(tagOf(queue), storedQueueKeys)
  return { all, plain: all.slice(0, queueKeys.indexOf('body') + 1) as unknown as Keys }
}, 1_000)

export const keysOf = (queue: string): Keys => recentKeys.get(queue).all

/** The keys of a queue, in the same order, that a send of messages without options needs. */
export const plainKeysOf = (queue: string): Keys => recentKeys.get(queue).plain

/** Ids and states of a removed queue: messages that were purged or dropped and whose tasks are not told yet. */
export const removedQueueKeys = (queue: string, removed: string) =>
  ['order', 'state'].map((name) => `${tagOf(queue)}:gone:${removed}:${name}`) as [string, string]

export const topicKeyOf = (topic: string, name: (typeof topicKeys)[number]) =>
  `${topicTagOf(topic)}:${storedName(name)}`

export const topicKeysOf = (topic: string): Keys => allKeys(topicTagOf(topic), storedTopicKeys)

/** A topic where it stands beside queues, as in routes; no queue can be called so. */
export const topicDestination = (topic: string) => `t:${topic}`
export const topicIn = (destination: string) => (destination.startsWith('t:') ? destination.slice(2) : undefined)

/** A correlation where it stands beside queues and topics as the origin of a message. */
export const correlationOrigin = (id: string) => `c:${id}`
export const correlationIn = (origin: string) => (origin.startsWith('c:') ? origin.slice(2) : undefined)

/** Of a queue, by its name, or of a topic. */
export function destinationKey(destination: string, name: 'meta' | 'outbox' | 'inbox'): string {
  const topic = topicIn(destination)
  return topic === undefined ? keyOf(destination, name) : topicKeyOf(topic, name)
}

/** Where readers hear of new messages. */
export const channelOf = (queue: string) => `${tagOf(queue)}:wake`
/** Where it is told that messages in hand are to be cancelled. */
export const cancelChannelOf = (queue: string) => `${tagOf(queue)}:cancels`
export const topicChannelOf = (topic: string) => `${topicTagOf(topic)}:wake`

export const correlationKey = (id: string) => `{tidings:c:${id}}`

/** Names of queues, and of topics. */
export const registryKey = '{tidings}:queues'
export const topicRegistryKey = '{tidings}:topics'
/** What is published under which patterns, or in which topics, goes where. */
export const routesKey = '{tidings}:routes'

/** What the whole storage looked like in the last days. */
export const historyKey = '{tidings}:history'

/** Schedules, when they are due, and what they have still to send. */
export const scheduleKeys = ['{tidings}:schedules', '{tidings}:schedules:due', '{tidings}:schedules:sending'] as const
/** Where it is told that one was put. */
export const scheduleChannel = `${scheduleKeys[0]}:wake`

/** What a look goes through, in the order of lua/look.lua. */
export const lookedAtKeysOf = (queues: readonly string[]) => [
  ...queues.map((queue) => keyOf(queue, 'meta')),
  ...queues.flatMap((queue) => allKeys(tagOf(queue), ['ready', 'delayed', 'leased', 'lanes'])),
]

/** What upkeep sees to, in the order of lua/unsettled.lua. */
export const upkeepKeysOf = (queues: readonly string[]) => [
  ...queues.map((queue) => keyOf(queue, 'meta')),
  ...queues.flatMap((queue) => (['windows', 'inbox', 'outbox'] as const).map((name) => keyOf(queue, name))),
]

/** A process is there as long as it listens to this. No slot has it: every server tells who listens to it there. */
export const lifeChannelOf = (token: string) => `{tidings}:life:${token}`

/** A process says there who it is, in a word: a channel beside that of its life, to which nobody publishes. */
export const processChannelOf = (database: number, token: string, word: string) =>
  `{tidings}:process:${database}:${token}:${word}`
export const processChannels = '{tidings}:process:*'

/** So that receipts with a token differ from others by their length: see `holderIn` in lua/common.lua. */
const tokenLength = 8

const nonceBytes = 9
/** Fetched for many nonces at once: each fetch takes as long as all the rest of a small send. */
let random = Buffer.alloc(0)

/** A text that is unique, for receipts, outbox entries and versions. */
export function newNonce(): string {
  if (random.length === 0) random = randomBytes(512 * nonceBytes)
  const nonce = random.toString('base64url', 0, nonceBytes)
  random = random.subarray(nonceBytes)
  return nonce
}

/** What receipts of one process begin with. */
export const newToken = () => newNonce().slice(0, tokenLength)
