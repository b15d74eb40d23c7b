import type { ParsedStressOptions } from './options.ts'

export interface QueuePlan {
  readonly name: string
  /** Messages have ordering keys. */
  readonly keyed: boolean
  readonly onSuccess: 'delete' | 'archive'
}

export interface TopicPlan {
  readonly name: string
  readonly subscriptions: readonly string[]
}

/** A routing key and its queues and topics. */
interface RoutePlan {
  readonly routingKey: string
  readonly queues: readonly string[]
  readonly topics: readonly string[]
}

/** The planned amount of work and disturbance. */
interface LoadPlan {
  readonly messages: number
  readonly kills: number
  readonly seeks: number
}

/** The plan of a run, the same for all its processes. */
export interface Plan {
  readonly seed: number
  readonly queues: readonly QueuePlan[]
  readonly topics: readonly TopicPlan[]
  readonly route: RoutePlan
  /** Messages a second of one producer. */
  readonly rate: number
  readonly maxAttempts: number
  readonly load: LoadPlan
}

/** @param run distinguishes runs with the same seed */
export function planOf(options: ParsedStressOptions & { seed: number }, run: string, hasTopics: boolean): Plan {
  const prefix = `stress_${run}`
  const queues = numbered(options.queues).map((number) => ({
    name: `${prefix}_q${number}`,
    keyed: number % 2 === 0,
    onSuccess: number % 3 === 0 ? ('archive' as const) : ('delete' as const),
  }))
  const topics = numbered(hasTopics ? options.topics : 0).map((number) => ({
    name: `${prefix}_t${number}`,
    subscriptions: ['a', 'b'],
  }))
  return {
    seed: options.seed,
    queues,
    topics,
    route: {
      routingKey: `${prefix}.Routed`,
      queues: queues.filter(({ keyed }) => !keyed).map(({ name }) => name),
      topics: topics.slice(0, 1).map(({ name }) => name),
    },
    rate: options.rate,
    maxAttempts: 3,
    load: {
      messages: options.producers * options.rate * options.seconds,
      kills: timesIn(options.seconds, options.killEvery),
      seeks: topics.length > 0 ? timesIn(options.seconds, options.seekEvery) : 0,
    },
  }
}

/** @param every in ms; 0: never */
const timesIn = (seconds: number, every: number) => (every === 0 ? 0 : Math.floor((seconds * 1_000) / every))

const numbered = (count: number) => Array.from({ length: count }, (_, index) => index + 1)
