import { all, faults } from './fault.ts'

export const upkeepFaults = faults('upkeep', {
  'says that it can what it cannot': () => ({ supports: new Set(['durable'] as const) }),
  'has no name': () => ({ name: '' }),
  'removes the archive in its upkeep': (engine) => ({
    maintain: async () => {
      for (const { queue } of await engine.listQueues()) {
        const live = await engine.peek(queue, all)
        await engine.dropQueue(queue)
        await engine.createQueue(queue)
        const rules = { delayMs: 0, notBefore: null, dedup: null, uniqueTarget: null, bare: false }
        const copies = live.map((message) => ({ ...message, ...rules, notBefore: message.visibleAt }))
        await engine.send(queue, copies, null)
      }
    },
  }),
  'loses delayed messages in its upkeep': (engine) => ({
    maintain: async () => {
      for (const { queue } of await engine.listQueues()) {
        const delayed = await engine.peek(queue, { ...all, place: 'delayed' })
        await engine.cancel(
          queue,
          delayed.map((message) => message.id),
        )
      }
    },
  }),
  'puts due messages at the end in its upkeep': (engine) => ({
    maintain: async () => {
      for (const { queue } of await engine.listQueues()) {
        const { messages } = await engine.claim(queue, { limit: 1, leaseMs: 60_000, ids: null })
        const moves = messages.map(({ id, receipt }) => ({ kind: 'move' as const, id, receipt: receipt!, to: queue }))
        await engine.settle(
          queue,
          moves.map((one) => ({ ...one, delayMs: 0, meta: {} })),
        )
      }
    },
  }),
  'stops reading during its upkeep': (engine) => {
    let busy = false
    return {
      maintain: async () => {
        busy = true
        await new Promise((resolve) => setImmediate(resolve))
        busy = false
      },
      claim: async (queue, request) => (busy ? { messages: [], nextDueMs: null } : engine.claim(queue, request)),
    }
  },
  'finds nothing': () => ({ diagnose: async () => [] }),
  'finds problems without a way out': () => ({
    diagnose: async () => [{ level: 'problem', check: 'durability', message: 'messages may be lost', remedy: '' }],
  }),
})
