import { setTimeout as wait } from 'node:timers/promises'
import type { Bus } from 'tidings/internal/bus/bus'
import type { Role } from './actors/actor.ts'
import type { Crew } from './crew.ts'
import { monotonicMs, type Teller } from './history.ts'
import type { ParsedStressOptions } from './options.ts'
import type { Plan } from './plan.ts'
import { Random } from './random.ts'

/** Maintenance completes the pending work of killed processes only after this time. */
const leftMs = 2_000

/** Reports progress to a waiting person. */
export type Progress = (text: string) => void

/** Creates the queues, topics, subscriptions and bindings of the plan. */
export async function prepare(bus: Bus, plan: Plan): Promise<void> {
  for (const { name } of plan.queues) await bus.queue(name).create()
  for (const { name, subscriptions } of plan.topics) {
    await bus.engine.topics!.createTopic(name, {})
    for (const subscription of subscriptions) await bus.engine.topics!.subscribe(name, subscription, 'earliest')
  }
  for (const queue of plan.route.queues) await bus.bind(plan.route.routingKey, queue)
  for (const topic of plan.route.topics) await bus.engine.bind({ topic, pattern: plan.route.routingKey })
}

/**
 * Runs the processes with disturbances, and then lets them finish the remaining messages.
 * @returns for how many seconds there were producers
 */
export async function perform(
  bus: Bus,
  plan: Plan,
  options: ParsedStressOptions,
  crew: Pick<Crew, 'start' | 'stop' | 'killOne'>,
  history: Teller,
  tell: Progress,
): Promise<number> {
  const { producers, workers } = options
  const subscribers = plan.topics.length > 0 ? options.subscribers : 0
  const startAll = (role: Role, count: number) => Array.from({ length: count }, () => crew.start(role))
  await Promise.all([...startAll('worker', workers), ...startAll('subscriber', subscribers)])
  await Promise.all(startAll('producer', producers))
  const begin = monotonicMs()
  const random = new Random(plan.seed)
  const over = new AbortController()
  const disturbances = [
    repeat(options.killEvery, new Random(random.below(2 ** 31)), over.signal, (own) => crew.killOne(own)),
    repeat(plan.topics.length > 0 ? options.seekEvery : 0, new Random(random.below(2 ** 31)), over.signal, (own) =>
      seekBack(bus, plan, history, own),
    ),
  ]
  await wait(options.seconds * 1_000)
  over.abort()
  await Promise.all(disturbances)
  await crew.stop('producer')
  const seconds = (monotonicMs() - begin) / 1_000
  tell('everything is sent; the rest is handled')
  await untilDone(bus, plan, options.drain)
  await Promise.all([crew.stop('worker'), crew.stop('subscriber')])
  return seconds
}

/** @param every about this often, in ms; 0: never */
async function repeat(
  every: number,
  random: Random,
  over: AbortSignal,
  deed: (random: Random) => Promise<void>,
): Promise<void> {
  if (every === 0) return
  for (;;) {
    await wait(random.about(every), undefined, { signal: over }).catch(() => {})
    if (over.aborted) return
    await deed(random)
  }
}

async function seekBack({ engine }: Bus, plan: Plan, history: Teller, random: Random): Promise<void> {
  const { name: topic, subscriptions } = random.pick(plan.topics)
  const subscription = random.pick(subscriptions)
  const [state] = await engine.topics!.subscriptions(topic, subscription)
  // A short distance in most cases: all messages after it come again.
  const back = random.chance(0.1) ? state!.cursor : random.below(Math.min(state!.cursor, 50) + 1)
  const offset = Math.max(1, state!.cursor + 1 - back)
  history.tell({ event: 'seeking', topic, subscription, offset })
  await engine.topics!.seek(topic, subscription, { offset })
  history.tell({ event: 'sought', topic, subscription, offset })
}

/** Waits until no message is left to handle or read, for `deadlineMs` at most. The checker reports the rest. */
async function untilDone(bus: Bus, plan: Plan, deadlineMs: number): Promise<void> {
  const begin = monotonicMs()
  let isTidy = false
  while (monotonicMs() < begin + deadlineMs) {
    if (!isTidy && monotonicMs() >= begin + leftMs) {
      await bus.engine.maintain({ kind: 'due' })
      isTidy = true
    }
    if (isTidy && (await isDone(bus, plan))) return
    await wait(200)
  }
}

async function isDone({ engine }: Bus, plan: Plan): Promise<boolean> {
  for (const { name } of plan.queues) {
    const { ready, delayed, leased } = await engine.stats(name)
    if (ready + delayed + leased > 0) return false
  }
  for (const { name } of plan.topics)
    if ((await engine.topics!.subscriptions(name, null)).some(({ lag }) => lag > 0)) return false
  return true
}
