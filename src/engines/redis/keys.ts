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

type Keys = readonly [meta: string, ...others: string[]]

/** All keys of a queue share a hash tag, so that they are in one slot. */
const tagOf = (queue: string) => `{tidings:q:${queue}}`

export const keyOf = (queue: string, place: (typeof places)[number]) => `${tagOf(queue)}:${place}`

export function keysOf(queue: string): Keys {
  const [meta, ...others] = places
  return [keyOf(queue, meta), ...others.map((place) => keyOf(queue, place))]
}

/** Where readers hear of new messages. */
export const channelOf = (queue: string) => `${tagOf(queue)}:wake`
export const queueOfChannel = (channel: string) => /^\{tidings:q:(.*)\}:wake$/.exec(channel)?.[1]

export const correlationKey = (id: string) => `{tidings:c:${id}}`

/** Names of queues. */
export const registryKey = '{tidings}:queues'
/** What is published under which patterns goes where. */
export const routesKey = '{tidings}:routes'

/** A text that nobody else has, for receipts, parcels and versions. */
export const newNonce = () => randomBytes(9).toString('base64url')
