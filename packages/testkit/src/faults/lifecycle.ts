import { isTidingsError, TidingsError } from 'tidings/internal/core/errors'
import { all, faults, settling } from './fault.ts'

export const lifecycleFaults = faults('lifecycle', {
  'goes on after it was closed': () => ({ close: async () => {} }),
  'lists no queues after it was closed': (engine) => ({
    listQueues: () => engine.listQueues().catch(() => []),
  }),
  'cannot be closed twice': (engine) => {
    let closed = false
    return {
      close: async () => {
        if (closed) throw new TidingsError('CLOSED', 'closed before')
        closed = true
        await engine.close()
      },
    }
  },
  'breaks off what is under way when it is closed': (engine) => {
    let closed = false
    return {
      close: async () => {
        closed = true
        await engine.close()
      },
      send: async (queue, messages, tx) => {
        const results = await engine.send(queue, messages, tx)
        if (closed) throw new Error('Connection terminated')
        return results
      },
    }
  },
  'finds nothing in a queue that is missing': (engine) => ({
    claim: (queue, request) =>
      engine.claim(queue, request).catch((error) => {
        if (!isTidingsError(error, 'QUEUE_NOT_FOUND')) throw error
        return { messages: [], nextDueMs: null }
      }),
  }),
  'remembers a dropped queue': (engine) => {
    const watched = new Set<string>()
    return {
      watch: async (queue, wake) => {
        if (watched.has(queue)) return { close: () => {} }
        const watch = await engine.watch(queue, wake)
        watched.add(queue)
        return watch
      },
    }
  },
  'expects something of an empty queue': (engine) => ({
    claim: async (queue, request) => ({ nextDueMs: 1, messages: (await engine.claim(queue, request)).messages }),
  }),
  'extends a lease that ran out': (engine) => ({
    extend: async (queue, leases, leaseMs) => {
      const receipts = await engine.extend(queue, leases, leaseMs)
      for (const [index, { id }] of leases.entries()) {
        const { messages } = await engine.claim(queue, { limit: 1, leaseMs, ids: [id] })
        receipts[index] ??= messages[0]?.receipt ?? null
      }
      return receipts
    },
  }),
  'cancels leased messages': (engine) => ({
    cancel: async (queue, ids) => {
      await engine.cancel(queue, ids)
      return ids.map(() => true)
    },
  }),
  'cancels nothing': () => ({ cancel: async (_queue, ids) => ids.map(() => false) }),
  'claims what is delayed': (engine) => ({
    claim: async (queue, request) => {
      const delayed = await engine.peek(queue, { ...all, place: 'delayed', ids: request.ids })
      const claim = await engine.claim(queue, request)
      return { ...claim, messages: [...claim.messages, ...delayed.map((one) => ({ ...one, receipt: 'r' }))] }
    },
  }),
  'says yes to whatever is settled': (engine) => ({
    settle: async (queue, settlements) =>
      (await engine.settle(queue, settlements)).map((result) => ({ ...result, settled: true })),
  }),
  'loses what is settled too late': (engine) => ({
    settle: async (queue, settlements) => {
      const results = await engine.settle(queue, settlements)
      const stale = settlements.filter((_, index) => !results[index]?.settled).map((one) => one.id)
      await engine.cancel(queue, stale)
      return results
    },
  }),
  'gives an archived message back': (engine) => ({
    claim: async (queue, request) => {
      const claim = await engine.claim(queue, request)
      const archived = await engine.peek(queue, { ...all, place: 'archived', ids: request.ids ?? [] })
      return { ...claim, messages: [...claim.messages, ...archived.map((one) => ({ ...one, receipt: 'r' }))] }
    },
  }),
  'only gives back what is deleted': settling((one) =>
    one.kind === 'delete' ? { ...one, kind: 'release', delayMs: 0, meta: {}, uncount: false } : one,
  ),
  'leaves what is popped': (engine) => ({
    pop: (queue, limit) => engine.peek(queue, { ...all, place: 'ready', limit }),
  }),
  'leaves leased messages in a purge': (engine) => ({
    purgeQueue: async (queue) => {
      const live = await engine.peek(queue, all)
      await engine.cancel(
        queue,
        live.map((message) => message.id),
      )
      return live.length
    },
  }),
})
