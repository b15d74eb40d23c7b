import { randomBytes } from 'node:crypto'

/** In the order of `places` in lua/common.lua. */
const places = [
  'meta',
  'order',
  'ready',
  'delayed',
  'leased',
  'body',
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
  'taken',
  'outbox',
] as const

export const placeCount = places.length

/** In the order of `topicPlaces` in lua/topic.lua. */
const topicPlaces = ['meta', 'log', 'subscriptions', 'dedup', 'windows', 'taken', 'outbox'] as const

type Keys = readonly [meta: string, ...others: string[]]

/** All keys of a queue or a topic share a hash tag, so that they are in one slot. */
const tagOf = (queue: string) => `{tidings:q:${queue}}`
const topicTagOf = (topic: string) => `{tidings:t:${topic}}`

export const keyOf = (queue: string, place: (typeof places)[number]) => `${tagOf(queue)}:${place}`

export function keysOf(queue: string): Keys {
  const [meta, ...others] = places
  return [keyOf(queue, meta), ...others.map((place) => keyOf(queue, place))]
}

/** Where what is purged or dropped is put aside until the ends of its tasks are told. */
export const graveKeysOf = (queue: string, grave: string) =>
  ['order', 'state'].map((place) => `${tagOf(queue)}:gone:${grave}:${place}`) as [string, string]

export const topicKeyOf = (topic: string, place: (typeof topicPlaces)[number]) => `${topicTagOf(topic)}:${place}`

export function topicKeysOf(topic: string): Keys {
  const [meta, ...others] = topicPlaces
  return [topicKeyOf(topic, meta), ...others.map((place) => topicKeyOf(topic, place))]
}

/** A topic where it stands beside queues, as in routes; no queue can be called so. */
export const placeOfTopic = (topic: string) => `t:${topic}`
export const topicOfPlace = (place: string) => (place.startsWith('t:') ? place.slice(2) : undefined)

/** A correlation where it stands beside queues and topics. */
export const placeOfCorrelation = (id: string) => `c:${id}`
export const correlationOfPlace = (place: string) => (place.startsWith('c:') ? place.slice(2) : undefined)

/** Of a queue, by its name, or of a topic, by its place. */
export function placeKeyOf(place: string, key: 'meta' | 'outbox' | 'taken'): string {
  const topic = topicOfPlace(place)
  return topic === undefined ? keyOf(place, key) : topicKeyOf(topic, key)
}

/** Where readers hear of new messages. */
export const channelOf = (queue: string) => `${tagOf(queue)}:wake`
export const topicChannelOf = (topic: string) => `${topicTagOf(topic)}:wake`

export const correlationKey = (id: string) => `{tidings:c:${id}}`

/** Names of queues, and of topics. */
export const registryKey = '{tidings}:queues'
export const topicRegistryKey = '{tidings}:topics'
/** What is published under which patterns, or in which topics, goes where. */
export const routesKey = '{tidings}:routes'

/** A text that nobody else has, for receipts, parcels and versions. */
export const newNonce = () => randomBytes(9).toString('base64url')
