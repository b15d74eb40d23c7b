import type { Clock } from '../core/clock.ts'
import { dated } from '../core/dated.ts'
import { isTidingsError } from '../core/errors.ts'
import { isInternalQueue } from '../core/names.ts'
import { pauseIn, type QueueSettings } from '../messages/settings.ts'
import type { Engine, QueueStats } from '../port/engine.ts'
import type { Rules, WatchedQueue, WatchedSubscription } from './rules.ts'
import type { StallDetector } from './stall-detector.ts'

/** The watched queues and subscriptions at one moment. */
export interface Snapshot {
  readonly queues: readonly WatchedQueue[]
  readonly subscriptions: readonly WatchedSubscription[]
}

/** The dead-letter queue of a queue with these settings; null for the archive. */
export type DeadLetterQueueOf = (queue: string, settings?: QueueSettings) => string | null

export interface SnapshotDependencies {
  readonly engine: Engine
  readonly clock: Clock
  readonly rules: Rules
  readonly deadLetterQueueOf: DeadLetterQueueOf
  /** Without a detector stalls are not determined. */
  readonly stallDetector?: StallDetector
}

/** Calls at a time, few because watching must not keep the storage busy. */
const atOnce = 4

/** The figures of all queues and subscriptions with a rule. */
export async function takeSnapshot(dependencies: SnapshotDependencies): Promise<Snapshot> {
  return { queues: await queuesOf(dependencies), subscriptions: await subscriptionsOf(dependencies) }
}

async function queuesOf(dependencies: SnapshotDependencies): Promise<WatchedQueue[]> {
  const { engine, rules, clock } = dependencies
  const described = (await engine.describe(null)).filter(({ queue }) => !isInternalQueue(queue))
  const pauses = new Map(described.map(({ queue, settings }) => [queue, pauseIn(settings, clock.now())]))
  const names = described.map(({ queue }) => queue)
  const { deadLetterQueueOf } = dependencies
  const paths = new Map(described.map(({ queue, settings }) => [queue, deadLetterQueueOf(queue, settings)]))
  const deadLetterQueues = new Set(paths.values())
  const watched = names.filter((queue) => rules.watchesQueue(queue, deadLetterQueues.has(queue)))
  const needed = new Set([...watched, ...watched.map((queue) => paths.get(queue) ?? null)])
  const stats = new Map<string, QueueStats>()
  await forEach(
    names.filter((queue) => needed.has(queue)),
    async (queue) => {
      const one = await unlessGone(() => engine.stats(queue))
      if (one !== null) stats.set(queue, one)
    },
  )
  const queues: WatchedQueue[] = []
  for (const queue of watched) {
    const own = stats.get(queue)
    if (own === undefined) continue
    const isDeadLetterQueue = deadLetterQueues.has(queue)
    const { stallDetector } = dependencies
    const pause = pauses.get(queue)
    const pausedMs = pause ? clock.now() - Date.parse(pause.since!) : null
    const asksForStalls = !pause && rules.limitOf('stalledAfter', queue, isDeadLetterQueue) !== null
    const stalledMs = stallDetector && asksForStalls ? await unlessGone(() => stallDetector.stalledMs(own)) : null
    const dead = deadIn(stats, paths.get(queue) ?? null)
    queues.push({ ...dated(own), dead, pausedMs, stalledMs, isDeadLetterQueue })
  }
  return queues
}

/** Zero without a dead-letter queue: the first dead letter creates it. */
function deadIn(stats: ReadonlyMap<string, QueueStats>, deadLetterQueue: string | null): number {
  const dead = deadLetterQueue === null ? undefined : stats.get(deadLetterQueue)
  return dead ? dead.ready + dead.delayed + dead.leased : 0
}

async function subscriptionsOf({ engine, rules }: SnapshotDependencies): Promise<WatchedSubscription[]> {
  const { topics } = engine
  if (topics === undefined || !rules.watchTopics) return []
  const watched = (await topics.listTopics(null)).filter(({ topic }) => rules.maxLagOf(topic) !== null)
  const found: WatchedSubscription[] = []
  await forEach(watched, async ({ topic }) => {
    const subscriptions = (await unlessGone(() => topics.subscriptions(topic, null))) ?? []
    found.push(...subscriptions.map((one) => ({ ...dated(one), topic })))
  })
  return found
}

/** @returns null for a queue or topic that was dropped meanwhile */
async function unlessGone<T>(ask: () => Promise<T>): Promise<T | null> {
  try {
    return await ask()
  } catch (error) {
    if (isTidingsError(error, 'QUEUE_NOT_FOUND') || isTidingsError(error, 'TOPIC_NOT_FOUND')) return null
    throw error
  }
}

async function forEach<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const left = [...items].reverse()
  const workThrough = async () => {
    for (let item = left.pop(); item !== undefined; item = left.pop()) await work(item)
  }
  await Promise.all(Array.from({ length: atOnce }, workThrough))
}
