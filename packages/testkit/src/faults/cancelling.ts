import { all, faults, inOtherOrder, withReceipts } from './fault.ts'

export const cancellingFaults = faults('cancelling', {
  'cancels nothing': () => ({ cancel: async (_queue, ids) => ids.map(() => false) }),
  'cancels what is in the hands of a reader': (engine) => {
    const { newest, members } = withReceipts(engine)
    return {
      ...members,
      cancel: async (queue, ids) => {
        const cancelled: boolean[] = []
        for (const id of ids) {
          const [result] = await engine.settle(queue, [{ kind: 'delete', id, receipt: newest(queue, id) }])
          cancelled.push(result!.settled || (await engine.cancel(queue, [id]))[0]!)
        }
        return cancelled
      },
    }
  },
  'says that it cancelled': (engine) => ({
    cancel: async (queue, ids) => {
      await engine.cancel(queue, ids)
      return ids.map(() => true)
    },
  }),
  'cancels only what was never read': (engine) => ({
    cancel: async (queue, ids) => {
      const fresh = (await engine.peek(queue, { ...all, ids })).filter((message) => message.readCount === 0)
      const results = await engine.cancel(
        queue,
        fresh.map((message) => message.id),
      )
      return ids.map((id) => results[fresh.findIndex((message) => message.id === id)] ?? false)
    },
  }),
  'cancels only what is ready': (engine) => ({
    cancel: async (queue, ids) => {
      const ready = await engine.peek(queue, { ...all, place: 'ready', ids })
      await engine.cancel(
        queue,
        ready.map((message) => message.id),
      )
      return ids.map((id) => ready.some((message) => message.id === id))
    },
  }),
  'answers in another order': (engine) => ({
    cancel: (queue, ids) => inOtherOrder(ids, (reversed) => engine.cancel(queue, reversed)),
  }),
  'does not notice that the queue is missing': (engine) => ({
    cancel: (queue, ids) => engine.cancel(queue, ids).catch(() => ids.map(() => false)),
  }),
})
