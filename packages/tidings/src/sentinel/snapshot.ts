import { isTidingsError } from '../core/errors.ts'
import type { Engine, QueueStats } from '../port/engine.ts'
import type { Rules, WatchedQueue, WatchedSubscription } from './rules.ts'
import type { Stillness } from './stall-detector.ts'

/** What was seen in one look. */
export interface Sight {
  readonly queues: readonly WatchedQueue[]
  readonly subscriptions: readonly WatchedSubscription[]
}

export interface LookSite {
  readonly engine: Engine
  readonly rules: Rules
  /** The sentinel's own queue, which is not watched. */
  readonly ownQueue: string
  /** Where the dead letters of a queue go; null: into the archive. */
  deadLetterQueueOf(queue: string): string | null
  /** Left out: whether a queue is stalled is not looked at. */
  readonly stillness?: Stillness
}

/** How many questions are open at once: watching must not be what keeps the storage busy. */
const atOnce = 4

/** The figures of everything that a rule is about. */
export async function look(site: LookSite): Promise<Sight> {
  return { queues: await queuesOf(site), subscriptions: await subscriptionsOf(site) }
}

async function queuesOf(site: LookSite): Promise<WatchedQueue[]> {
  const { engine, rules } = site
  const names = (await engine.describe(null)).map(({ queue }) => queue).filter((queue) => queue !== site.ownQueue)
  const deadLetterQueues = new Set(names.map((queue) => site.deadLetterQueueOf(queue)))
  const watched = names.filter((queue) => rules.watchesQueue(queue, deadLetterQueues.has(queue)))
  const needed = new Set([...watched, ...watched.map((queue) => site.deadLetterQueueOf(queue))])
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
    const { stillness } = site
    const asksForStalls = rules.limitOf('stalledAfter', queue, isDeadLetterQueue) !== null
    const stalledMs = stillness && asksForStalls ? await unlessGone(() => stillness.of(own)) : null
    queues.push({ ...own, dead: deadIn(stats, site.deadLetterQueueOf(queue)), stalledMs, isDeadLetterQueue })
  }
  return queues
}

/** A dead-letter queue is made with the first message that goes there. */
function deadIn(stats: ReadonlyMap<string, QueueStats>, deadLetterQueue: string | null): number {
  const dead = deadLetterQueue === null ? undefined : stats.get(deadLetterQueue)
  return dead ? dead.ready + dead.delayed + dead.leased : 0
}

async function subscriptionsOf({ engine, rules }: LookSite): Promise<WatchedSubscription[]> {
  const { topics } = engine
  if (topics === undefined || !rules.watchTopics) return []
  const watched = (await topics.listTopics(null)).filter(({ topic }) => rules.maxLagOf(topic) !== null)
  const found: WatchedSubscription[] = []
  await forEach(watched, async ({ topic }) => {
    const subscriptions = (await unlessGone(() => topics.subscriptions(topic, null))) ?? []
    found.push(...subscriptions.map((one) => ({ ...one, topic })))
  })
  return found
}

/** @returns null for what was dropped meanwhile */
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
