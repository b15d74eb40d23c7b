import type { Driver } from '../driver.ts'
import { keysOf, newNonce, routesKey, topicKeysOf } from '../keys.ts'
import type { Template } from '../messages.ts'
import type { QueueTarget, Target } from '../routes.ts'

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

/** What of `messages` a queue may get: what is published into it, or into a topic that is linked to it. */
export function candidatesFor({ messages, through }: QueueTarget, topics: readonly Target[]): number[] {
  const all = [...messages, ...through.flatMap((number) => topics[number]!.messages)]
  return [...new Set(all)].sort((a, b) => a - b)
}
