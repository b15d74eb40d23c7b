import { setImmediate as turn } from 'node:timers/promises'
import type { JsonObject } from 'tidings/internal/core/json'
import type {
  CorrelationState,
  Engine,
  NewMessage,
  Settlement,
  TaskCounts,
  Tracked,
} from 'tidings/internal/port/engine'
import type { Plant } from '../memory-harness.ts'
import { all, endingAs, faults, sending, settling } from './fault.ts'

/** Changes how tasks are tracked. */
const tracking = (change: (tracked: Tracked) => Tracked) =>
  sending((message) => (message.tracked ? { ...message, tracked: change(message.tracked) } : message))

/** Changes what is told of a correlation. */
const telling =
  (change: (state: CorrelationState) => CorrelationState | null): Plant =>
  (engine) => ({
    correlation: async (id) => {
      const state = await engine.correlation(id)
      return state === null ? null : change(state)
    },
  })

const counting = (change: (counts: TaskCounts) => Partial<TaskCounts>) =>
  telling((state) => ({ ...state, queues: state.queues.map((counts) => ({ ...counts, ...change(counts) })) }))

const isOver = ({ queues }: CorrelationState) => queues.every(({ pending, running }) => pending + running === 0)

/** Stores the message of a completion once more where `again` says so, with each task that was tracked. */
const tellingTwice =
  (
    again: (engine: Engine, settle: () => Promise<void>, state: () => Promise<CorrelationState[]>) => Promise<boolean>,
  ): Plant =>
  (engine) => {
    const seen = new Map<string, string>()
    return {
      send: (queue, messages, tx) => {
        for (const { tracked } of messages)
          if (tracked?.completionQueue) seen.set(tracked.correlationId, tracked.completionQueue)
        return engine.send(queue, messages, tx)
      },
      settle: async (queue, settlements, tx) => {
        let results: Awaited<ReturnType<Engine['settle']>> = []
        const settle = async () => {
          results = await engine.settle(queue, settlements, tx)
        }
        const state = async () => {
          const states = await Promise.all([...seen.keys()].map((id) => engine.correlation(id)))
          return states.filter((one) => one !== null)
        }
        if (await again(engine, settle, state))
          for (const to of seen.values()) {
            const told = await engine.peek(to, all).catch(() => [])
            await engine.send(to, told.slice(0, 1).map(asNew), null).catch(() => [])
          }
        return results
      },
    }
  }

const asNew = ({ data, meta }: { data: string; meta: JsonObject }): NewMessage => ({
  data,
  meta,
  headers: {},
  delayMs: 0,
  notBefore: null,
  priority: 0,
  orderingKey: null,
  dedup: null,
  uniqueTarget: null,
  bare: false,
})

const withoutDeath = (one: Settlement): Settlement => {
  if (one.kind !== 'move' && one.kind !== 'archive') return one
  const { dead_lettered_at: _, ...meta } = one.meta
  return { ...one, meta }
}

export const correlationFaults = faults('correlation', {
  'tells nobody of a completion': tracking((tracked) => ({ ...tracked, completionQueue: null })),
  'notes no completion': telling((state) => ({ ...state, completedAt: null })),
  'completes a correlation that has tasks left': telling((state) => ({ ...state, completedAt: state.startedAt })),
  'tracks every queue for itself': (engine) => ({
    send: (queue, messages, tx) =>
      engine.send(
        queue,
        messages.map(({ tracked, ...message }) =>
          tracked
            ? { ...message, tracked: { ...tracked, correlationId: `${tracked.correlationId} ${queue}` } }
            : message,
        ),
        tx,
      ),
  }),
  'tracks all messages of a correlation': sending((message) => {
    const id = message.meta.correlation_id
    return typeof id === 'string' ? { ...message, tracked: { correlationId: id, completionQueue: null } } : message
  }),
  'shows a mark on tasks': sending((message) =>
    message.tracked ? { ...message, headers: { ...message.headers, tracked: true } } : message,
  ),
  'takes what is running for pending': counting(({ pending, running }) => ({ pending: pending + running, running: 0 })),
  'takes what is cancelled for done': counting(({ done, cancelled }) => ({ done: done + cancelled, cancelled: 0 })),
  'overlooks tasks that wait for their time': (engine) => ({
    correlation: async (id) => {
      const state = await engine.correlation(id)
      if (state === null) return null
      const waiting = async (queue: string) =>
        (await engine.peek(queue, { ...all, place: 'delayed' }).catch(() => [])).length
      const queues = state.queues.map(async (one) => ({ ...one, pending: one.pending - (await waiting(one.queue)) }))
      return { ...state, queues: await Promise.all(queues) }
    },
  }),
  'does not notice that a task is dead': settling(withoutDeath),
  'ends a task when its message moves on': endingAs('move', async (engine, queue, one) => {
    if (one.kind !== 'move' || one.meta.dead_lettered_at) return (await engine.settle(queue, [one]))[0]!
    const [message] = await engine.peek(queue, { ...all, ids: [one.id] })
    const [result] = await engine.settle(queue, [{ kind: 'delete', id: one.id, receipt: one.receipt }])
    await engine.createQueue(one.to)
    const [sent] = await engine.send(one.to, [asNew(message!)], null)
    return { ...result!, newId: sent!.id }
  }),
  'takes duplicates for tasks': (engine) => {
    let duplicates = 0
    return {
      send: async (queue, messages, tx) => {
        const results = await engine.send(queue, messages, tx)
        duplicates += results.filter(({ duplicate }) => duplicate).length
        return results
      },
      correlation: async (id) => {
        const state = await engine.correlation(id)
        const queues = state?.queues.map((one) => ({ ...one, pending: one.pending + duplicates })) ?? []
        return state === null ? null : { ...state, queues }
      },
    }
  },
  'does not track copies of published messages': (engine) => ({
    publish: (messages, tx) =>
      engine.publish(
        messages.map(({ tracked: _, ...message }) => message),
        tx,
      ),
  }),
  'tells again when what came later has ended': tellingTwice(async (_engine, settle, state) => {
    const before = await state()
    await settle()
    const after = await state()
    return after.some((one, index) => isOver(one) && before[index]?.completedAt && !isOver(before[index]))
  }),
  'tells once for each of those that end the last tasks at the same time': (engine, clock) => {
    let busy = 0
    return tellingTwice(async (_engine, settle, state) => {
      const isAlone = busy === 0
      busy++
      await turn()
      await settle()
      busy--
      return !isAlone && (await state()).some(isOver)
    })(engine, clock)
  },
  'forgets tasks in upkeep': (engine) => {
    let forgotten = false
    return {
      maintain: async () => {
        forgotten = true
        await engine.maintain()
      },
      correlation: async (id) => (forgotten ? null : await engine.correlation(id)),
    }
  },
})
