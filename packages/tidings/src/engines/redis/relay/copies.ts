import type { Driver } from '../driver.ts'
import { keysOf, newNonce, plainKeysOf, routesKey, topicKeysOf } from '../keys.ts'
import { plainIdsIn, type Template } from '../messages.ts'
import type { Plan, QueueTarget, Target } from '../routes.ts'

/** Published messages that have to reach other slots, as an outbox entry. */
export interface Copies {
  readonly kind: 'copies'
  readonly topics: readonly Target[]
  readonly queues: readonly QueueTarget[]
  readonly messages: readonly Template[]
  /** Of the first topic or, if there is none, the first queue, which has its copies. */
  readonly results: readonly string[]
}

/** Which messages reached a topic or a queue, and the result of each as in publish.lua. */
export interface Stored {
  readonly messages: readonly number[]
  readonly results: readonly string[]
}

/** In the order of the plan; null for one that is gone. */
export interface Placed {
  readonly topics: readonly (Stored | null)[]
  readonly queues: readonly (Stored | null)[]
}

interface Terms {
  readonly nonce?: string
  /** Of the routes that have to be in force; '' for any. */
  readonly version?: string
  readonly intent?: string
  /** An entry for other slots, without its results. */
  readonly entry?: string
  readonly repeatable: boolean
}

type Answer =
  | [state: -1 | 0]
  | [state: 2, mark: number]
  | [
      state: 1,
      topics: (string[] | null)[],
      queues: ([messages: number[], results: string[], entries: string[]] | null)[],
      entry: string,
      ownEntries: string[],
    ]

interface Arriving extends Target {
  readonly deliveries?: readonly string[]
  readonly checked?: number | ''
}

/** The part of a plan for publish.lua. */
interface Targets {
  readonly topics: readonly Arriving[]
  readonly queues: readonly (Arriving & QueueTarget)[]
}

/** Runs publish.lua. */
export function storeCopies(
  driver: Driver,
  { topics, queues }: Targets,
  messages: readonly Template[],
  { nonce = newNonce(), version = '', intent = '', entry = '', repeatable }: Terms,
): Promise<Answer> {
  const keys = [
    ...topics.flatMap(({ name }) => topicKeysOf(name)),
    ...queues.flatMap(({ name }) => keysOf(name)),
    ...(version === '' ? [] : [routesKey]),
  ] as unknown as [string, ...string[]]
  const args = [nonce, version, JSON.stringify([topics, queues]), intent, entry, ...messages.flat()]
  return driver.run('publish', keys, args, { repeatable }) as Promise<Answer>
}

/** Whether all messages go into all queues and nowhere else, and none has options. */
export const isPlain = ({ topics, queues }: Plan, messages: readonly Template[]): boolean =>
  topics.length === 0 &&
  messages.every(([, , , , options]) => options === '') &&
  queues.every((queue) => queue.messages.length === messages.length)

/** Runs publish-plain.lua. @returns null if the routes have changed */
export async function storePlainCopies(
  driver: Driver,
  { queues, version }: Plan,
  templates: readonly Template[],
): Promise<Placed | null> {
  const args: (string | number)[] = [version, templates.length]
  for (const [metaStart, , headers, data] of templates) args.push(metaStart, headers, data)
  for (const { name, incarnation } of queues) args.push(name, incarnation)
  const keys = [routesKey, ...queues.flatMap(({ name }) => plainKeysOf(name))] as unknown as [string, ...string[]]
  const answer = await driver.run('publish-plain', keys, args, { repeatable: false })
  if (answer === null) return null
  const messages = templates.map((_, index) => index)
  const toStored = (ids: string | null) => ids !== null && { messages, results: plainIdsIn(ids).map((id) => `+${id}`) }
  return { topics: [], queues: (answer as (string | null)[]).map((ids) => toStored(ids) || null) }
}

/** What of `messages` a queue may get: what is published into it, or into a topic that is linked to it. */
export function candidatesFor({ messages, through }: QueueTarget, topics: readonly Target[]): number[] {
  const all = [...messages, ...through.flatMap((number) => topics[number]!.messages)]
  return [...new Set(all)].sort((a, b) => a - b)
}
