import { endingAs, faults, settling } from './fault.ts'

export const settlingFaults = faults('settling', {
  'archives what is deleted': settling((one) => (one.kind === 'delete' ? { ...one, kind: 'archive', meta: {} } : one)),
  'carries out the first of a batch': (engine) => ({
    settle: async (queue, settlements) => {
      const [first] = await engine.settle(queue, settlements.slice(0, 1))
      return settlements.map(() => first!)
    },
  }),
  'groups a batch by kind and answers so': (engine) => ({
    settle: async (queue, settlements) =>
      await engine.settle(
        queue,
        [...settlements].sort((a, b) => a.kind.localeCompare(b.kind)),
      ),
  }),
  'gives all the meta of the first': (engine) => ({
    settle: (queue, settlements) => {
      const first = settlements[0]
      const meta = first && 'meta' in first ? first.meta : {}
      return engine.settle(
        queue,
        settlements.map((one) => ('meta' in one ? { ...one, meta } : one)),
      )
    },
  }),
  'carries out half of a long batch': (engine) => ({
    settle: async (queue, settlements) => {
      const results = await engine.settle(queue, settlements.slice(0, 50))
      return settlements.map((_, index) => results[index] ?? { settled: false, newId: null })
    },
  }),
  'names the old id as the new one': (engine) => ({
    settle: async (queue, settlements) => {
      const results = await engine.settle(queue, settlements)
      return results.map((result, index) => ({ ...result, newId: settlements[index]!.id }))
    },
  }),
  'keeps the new id to itself': (engine) => ({
    settle: async (queue, settlements) =>
      (await engine.settle(queue, settlements)).map((result) => ({ ...result, newId: null })),
  }),
  'only gives back what is deleted': endingAs('delete', async (engine, queue, { id, receipt }) => {
    const release = { kind: 'release', id, receipt, delayMs: 0, meta: {}, uncount: false } as const
    return (await engine.settle(queue, [release]))[0]!
  }),
  'does not notice that the queue is missing': (engine) => ({
    settle: async (queue, settlements) => {
      const known = (await engine.listQueues()).some((info) => info.queue === queue)
      return known ? engine.settle(queue, settlements) : settlements.map(() => ({ settled: false, newId: null }))
    },
  }),
})
