import type { Engine } from 'tidings/internal/port/engine'
import { all, faults, inOtherOrder } from './fault.ts'

/** Where the lease was lost, leases the message anew. */
async function leaseAnew(engine: Engine, queue: string, id: string, leaseMs: number): Promise<string | null> {
  const { messages } = await engine.claim(queue, { limit: 1, leaseMs, ids: [id] })
  return messages[0]?.receipt ?? null
}

export const extendingFaults = faults('extending', {
  'extends nothing': () => ({ extend: async (_queue, leases) => leases.map(() => null) }),
  'says that it extended': () => ({ extend: async (_queue, leases) => leases.map((lease) => lease.receipt) }),
  'adds to what is left of the lease': (engine, clock) => ({
    extend: async (queue, leases, leaseMs) => {
      const receipts: (string | null)[] = []
      for (const lease of leases) {
        const request = { place: 'leased', limit: 1, afterId: null, ids: [lease.id] } as const
        const [message] = await engine.peek(queue, request)
        const left = message ? message.visibleAt - clock.now() : 0
        receipts.push(...(await engine.extend(queue, [lease], left + leaseMs)))
      }
      return receipts
    },
  }),
  'leaves the end of the lease where it was': (engine, clock) => ({
    extend: async (queue, leases) => {
      const receipts: (string | null)[] = []
      for (const lease of leases) {
        const [message] = await engine.peek(queue, { ...all, ids: [lease.id] })
        receipts.push(...(await engine.extend(queue, [lease], message ? message.visibleAt - clock.now() : 0)))
      }
      return receipts
    },
  }),
  'never makes a lease shorter': (engine) => ({
    extend: (queue, leases, leaseMs) => engine.extend(queue, leases, Math.max(leaseMs, 60_000)),
  }),
  'extends a lease that ran out': (engine) => ({
    extend: async (queue, leases, leaseMs) => {
      const receipts = await engine.extend(queue, leases, leaseMs)
      for (const [index, { id }] of leases.entries()) receipts[index] ??= await leaseAnew(engine, queue, id, leaseMs)
      return receipts
    },
  }),
  'reads a message again in order to extend': (engine) => ({
    extend: async (queue, leases, leaseMs) => {
      const receipts: (string | null)[] = []
      for (const { id, receipt } of leases) {
        const release = { kind: 'release', id, receipt, delayMs: 0, meta: {}, uncount: false } as const
        const [result] = await engine.settle(queue, [release])
        receipts.push(result?.settled ? await leaseAnew(engine, queue, id, leaseMs) : null)
      }
      return receipts
    },
  }),
  'extends a lease once': (engine) => {
    const extended = new Set<string>()
    return {
      extend: async (queue, leases, leaseMs) => {
        const first = leases.every(({ id }) => !extended.has(queue + id))
        for (const { id } of leases) extended.add(queue + id)
        return first ? engine.extend(queue, leases, leaseMs) : leases.map(() => null)
      },
    }
  },
  'answers in another order': (engine) => ({
    extend: (queue, leases, leaseMs) => inOtherOrder(leases, (reversed) => engine.extend(queue, reversed, leaseMs)),
  }),
  'extends for whoever asks': (engine) => {
    const receipts = new Map<string, string>()
    return {
      claim: async (queue, request) => {
        const claim = await engine.claim(queue, request)
        for (const { id, receipt } of claim.messages) receipts.set(queue + id, receipt!)
        return claim
      },
      extend: (queue, leases, leaseMs) =>
        engine.extend(
          queue,
          leases.map(({ id, receipt }) => ({ id, receipt: receipts.get(queue + id) ?? receipt })),
          leaseMs,
        ),
    }
  },
})
