import { showDuration } from '../core/duration.ts'
import { matchesGlob } from '../core/glob.ts'
import type { QueueStats } from '../messages/states.ts'
import type { SubscriptionState } from '../topics/states.ts'
import type { ArchiveRule, Limit, Rule } from './options.ts'

/** A watched queue. */
export interface WatchedQueue extends QueueStats {
  /** Messages in its dead-letter queue. */
  readonly dead: number
  /** For how long it has been paused; null: it is not. */
  readonly pausedMs: number | null
  /** For how long ready messages have not been touched; null without a rule about it. */
  readonly stalledMs: number | null
  /** Whether the queue takes the dead letters of another queue. */
  readonly isDeadLetterQueue: boolean
}

export interface WatchedSubscription extends SubscriptionState {
  readonly topic: string
}

/** A figure beyond its limit. */
export interface Breach {
  readonly limit: Limit
  readonly queue: string | null
  readonly topic: string | null
  readonly subscription: string | null
  /** A number, or milliseconds. */
  readonly value: number
  /** The highest value within the limit. */
  readonly max: number
  /** 'orders has 1,200 ready messages; at most 1,000' */
  readonly message: string
}

const number = (value: number) => value.toLocaleString('en-US')
const count = (value: number, noun: string) => `${number(value)} ${noun}${value === 1 ? '' : 's'}`

/** Whole seconds, from a minute on whole minutes: the next check finds another age anyway. */
function age(milliseconds: number): string {
  const unit = milliseconds < 60_000 ? 1_000 : 60_000
  return showDuration(Math.floor(milliseconds / unit) * unit)
}

const ofQueues: { readonly [L in Limit]?: (queue: WatchedQueue) => number | null } = {
  maxReady: (queue) => queue.ready,
  maxOldestReady: (queue) => queue.oldestReadyMs,
  maxDead: (queue) => queue.dead,
  maxPaused: (queue) => queue.pausedMs,
  stalledAfter: (queue) => queue.stalledMs,
}

const sentences: { readonly [L in Limit]: (name: string, value: number, max: string) => string } = {
  maxReady: (name, value, max) => `${name} has ${count(value, 'ready message')}; at most ${max}`,
  maxOldestReady: (name, value, max) => `${name} has a message that has been ready for ${age(value)}; at most ${max}`,
  maxDead: (name, value, max) => `${name} has ${count(value, 'dead letter')}; at most ${max}`,
  maxPaused: (name, value, max) => `${name} has been paused for ${age(value)}; at most ${max}`,
  stalledAfter: (name, value, max) =>
    `${name} is stalled: messages are ready, but nobody touched them for ${age(value)}; at most ${max}`,
  maxLag: (name, value, max) => `${name} is ${count(value, 'message')} behind; at most ${max}`,
}

const isTime = (limit: Limit) => limit === 'maxOldestReady' || limit === 'maxPaused' || limit === 'stalledAfter'
const showMax = (limit: Limit, max: number) => (isTime(limit) ? showDuration(max) : number(max))

/** The sentence about a breach that is over. */
export function aboutEnd({ limit, queue, topic, subscription, max }: Breach): string {
  return `${queue ?? `${topic}/${subscription}`} is within ${limit} (${showMax(limit, max)}) again`
}

/** The limits by the rules. Of several rules that fit, the first with a limit decides. */
export class Rules {
  readonly #rules: readonly Rule[]

  constructor(rules: readonly Rule[]) {
    this.#rules = rules
  }

  get watchTopics(): boolean {
    return this.#rules.some(({ topics }) => topics !== null)
  }

  /** @param isDeadLetterQueue a dead-letter queue needs a rule with its full name; otherwise `maxDead` of its queue counts */
  limitOf(limit: Limit, queue: string, isDeadLetterQueue: boolean): number | null {
    const about = ({ queues }: Rule) =>
      queues !== null && (isDeadLetterQueue ? queues === queue : matchesGlob(queues, queue))
    return this.#first(limit, about)
  }

  watchesQueue(queue: string, isDeadLetterQueue: boolean): boolean {
    return Object.keys(ofQueues).some((limit) => this.limitOf(limit as Limit, queue, isDeadLetterQueue) !== null)
  }

  maxLagOf(topic: string): number | null {
    return this.#first('maxLag', ({ topics }) => topics !== null && matchesGlob(topics, topic))
  }

  #first(limit: Limit, about: (rule: Rule) => boolean): number | null {
    return this.#rules.find((rule) => about(rule) && rule[limit] !== null)?.[limit] ?? null
  }

  breachesOf(queue: WatchedQueue): Breach[] {
    return Object.entries(ofQueues).flatMap(([name, figureOf]) => {
      const limit = name as Limit
      const max = this.limitOf(limit, queue.queue, queue.isDeadLetterQueue)
      const subject = { queue: queue.queue, topic: null, subscription: null }
      return breach(limit, subject, queue.queue, figureOf(queue), max)
    })
  }

  breachesOfSubscription({ topic, subscription, lag }: WatchedSubscription): Breach[] {
    const subject = { queue: null, topic, subscription }
    return breach('maxLag', subject, `${topic}/${subscription}`, lag, this.maxLagOf(topic))
  }
}

function breach(
  limit: Limit,
  subject: Pick<Breach, 'queue' | 'topic' | 'subscription'>,
  name: string,
  value: number | null,
  max: number | null,
): Breach[] {
  if (value === null || max === null || value <= max) return []
  return [{ limit, ...subject, value, max, message: sentences[limit](name, value, showMax(limit, max)) }]
}

/** The rule for the archive of a queue; null if no rule fits. */
export function archiveRuleOf(rules: readonly ArchiveRule[], queue: string): ArchiveRule | null {
  return rules.find(({ queues }) => matchesGlob(queues, queue)) ?? null
}
