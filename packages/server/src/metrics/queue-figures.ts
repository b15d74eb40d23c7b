import { Counter, Gauge, type Registry } from 'prom-client'
import type { Bus } from 'tidings/internal/bus/bus'
import { isTidingsError } from 'tidings/internal/core/errors'
import type { QueueFigures } from 'tidings/internal/messages/states'
import type { SubscriptionState } from 'tidings/internal/port/topic-store'
import type { TopicInfo } from 'tidings/internal/topics/states'

/** What the storage knows of its queues and topics. */
export interface Figures {
  readonly queues: readonly QueueFigures[]
  readonly topics: readonly (TopicInfo & { readonly states: readonly SubscriptionState[] })[]
  /** For each queue that has one, its dead-letter queue. */
  readonly deadLetterQueues: ReadonlyMap<string, string>
}

export async function readFigures(bus: Bus): Promise<Figures> {
  const [queues, topics] = await Promise.all([bus.stats(), readTopics(bus)])
  const deadLetterQueues = queues.flatMap(({ queue }): [string, string][] => {
    const other = deadLetterQueueOf(bus, queue)
    return other === null ? [] : [[queue, other]]
  })
  return { queues, topics, deadLetterQueues: new Map(deadLetterQueues) }
}

/** Other clients of the storage may have queues with names that Tidings does not take. */
function deadLetterQueueOf(bus: Bus, queue: string): string | null {
  try {
    return bus.queue(queue).deadLetterQueue
  } catch {
    return null
  }
}

async function readTopics(bus: Bus): Promise<Figures['topics']> {
  if (!bus.stored.storage.supports.has('topics')) return []
  const found = await bus.topics()
  return Promise.all(found.map(async (info) => ({ ...info, states: await statesOf(info.topic) })))

  async function statesOf(topic: string): Promise<readonly SubscriptionState[]> {
    try {
      return await bus.stored.topic(topic).subscriptions()
    } catch (error) {
      if (isTidingsError(error, 'TOPIC_NOT_FOUND')) return []
      throw error
    }
  }
}

/** @param figures null: the storage does not answer */
export function exposeFigures(figures: Figures | null, registry: Registry, mayRead: (name: string) => boolean): void {
  const registers = [registry]
  const gauge = <L extends string>(name: string, help: string, ...labelNames: L[]) =>
    new Gauge({ name: `tidings_${name}`, help, labelNames, registers })
  gauge('storage_up', 'Whether the storage answers.').set(figures === null ? 0 : 1)
  if (figures === null) return
  const messages = gauge('queue_messages', 'Messages in a queue, by their state.', 'queue', 'state')
  const oldest = gauge('queue_oldest_ready_age_seconds', 'For how long the oldest message could be read.', 'queue')
  const heldBack = gauge('queue_held_back_messages', 'Ready messages that limits and holds keep back.', 'queue')
  const paused = gauge('queue_paused', 'Whether a queue hands out no messages.', 'queue')
  const dead = gauge('queue_dead_letters', 'Messages in the dead-letter queue of a queue.', 'queue')
  const total = new Counter({
    name: 'tidings_queue_sent_messages_total',
    help: 'Messages ever sent to a queue, by anybody.',
    labelNames: ['queue'],
    registers,
  })
  const byName = new Map(figures.queues.map((stats) => [stats.queue, stats]))
  for (const stats of figures.queues) {
    const { queue } = stats
    if (!mayRead(queue)) continue
    for (const state of ['ready', 'delayed', 'leased', 'archived'] as const)
      messages.set({ queue, state }, stats[state])
    paused.set({ queue }, stats.pause === null ? 0 : 1)
    oldest.set({ queue }, (stats.oldestReadyMs ?? 0) / 1000)
    heldBack.set({ queue }, stats.heldBack)
    total.inc({ queue }, stats.totalSent)
    const letters = byName.get(figures.deadLetterQueues.get(queue) ?? '')
    dead.set({ queue }, letters ? letters.ready + letters.delayed + letters.leased : 0)
  }
  const offset = gauge('topic_last_offset', 'The offset of the newest message of a topic.', 'topic')
  const bytes = gauge('topic_size_bytes', 'The size of what a topic holds.', 'topic')
  const lag = gauge('subscription_lag', 'Messages that a subscription has not read.', 'topic', 'subscription')
  const missed = gauge('subscription_missed', 'Unread messages that retention removed.', 'topic', 'subscription')
  for (const { topic, lastOffset, bytes: size, states } of figures.topics) {
    if (!mayRead(topic)) continue
    offset.set({ topic }, lastOffset)
    bytes.set({ topic }, size)
    for (const { subscription, ...state } of states) {
      lag.set({ topic, subscription }, state.lag)
      missed.set({ topic, subscription }, state.missed)
    }
  }
}
