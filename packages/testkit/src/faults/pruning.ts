import type { Engine, PruneRequest } from 'tidings/internal/port/engine'
import type { Plant } from '../memory-harness.ts'
import { all, faults } from './fault.ts'

/** Changes what is pruned. */
const pruningBy =
  (change: (request: PruneRequest) => PruneRequest): Plant =>
  (engine) => ({ prune: (queue, request) => engine.prune(queue, change(request)) })

const archivedIn = (engine: Engine, queue: string) => engine.peek(queue, { ...all, place: 'archived' })

export const pruningFaults = faults('pruning', {
  'removes nothing': () => ({ prune: async () => 0 }),
  'removes what was archived just now': pruningBy((request) =>
    request.archivedForMs === null ? request : { ...request, archivedForMs: 0 },
  ),
  'counts from the time of sending': (engine, clock) => ({
    prune: async (queue, request) => {
      const { archivedForMs, limit } = request
      if (archivedForMs === null) return engine.prune(queue, request)
      const messages = await archivedIn(engine, queue)
      const old = messages.filter(({ sentAt }) => sentAt <= clock.now() - archivedForMs).length
      return engine.prune(queue, { archivedForMs, keep: messages.length - old, limit })
    },
  }),
  'forgets the number that is kept': pruningBy((request) => ({ ...request, keep: null })),
  'keeps one message too many': pruningBy(({ keep, ...rest }) => ({ ...rest, keep: keep && keep + 1 })),
  'asks for both reasons': pruningBy((request) =>
    request.archivedForMs === null || request.keep === null ? { ...request, limit: 0 } : request,
  ),
  'keeps to no limit': pruningBy((request) => ({ ...request, limit: 1_000 })),
  'miscounts what it pruned': (engine) => ({
    prune: async (queue, request) => Math.min(1, await engine.prune(queue, request)),
  }),
  'empties the queue as well': (engine) => ({
    prune: async (queue, request) => {
      await engine.purgeQueue(queue)
      return engine.prune(queue, request)
    },
  }),
  'prunes all archives': (engine) => ({
    prune: async (queue, request) => {
      for (const other of await engine.listQueues()) if (other.queue !== queue) await engine.prune(other.queue, request)
      return engine.prune(queue, request)
    },
  }),
  'takes more than asked for when many ask at once': (engine) => ({
    prune: async (queue, { keep, ...rest }) => {
      const surplus = (await archivedIn(engine, queue)).length - (keep ?? Number.POSITIVE_INFINITY)
      await new Promise((resolve) => setImmediate(resolve))
      return surplus > 0
        ? engine.prune(queue, { ...rest, keep: 0, limit: surplus })
        : engine.prune(queue, { ...rest, keep })
    },
  }),
  'ends tasks whose message is pruned': (engine) => ({
    correlation: async (id) => {
      const state = await engine.correlation(id)
      if (state === null) return null
      const queues = state.queues.map(async (one) => {
        const gone = (await archivedIn(engine, one.queue)).length === 0
        return gone ? { ...one, done: 0, cancelled: one.cancelled + one.done } : one
      })
      return { ...state, queues: await Promise.all(queues) }
    },
  }),
})
