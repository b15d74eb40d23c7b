import { all, faults, peeking } from './fault.ts'

export const peekingFaults = faults('peeking', {
  'leases what is looked at': (engine) => ({
    peek: async (queue, request) => {
      const found = await engine.peek(queue, request)
      await engine.claim(queue, { limit: 1_000, leaseMs: 60_000, ids: found.map((message) => message.id) })
      return found
    },
  }),
  'shows receipts': (engine) => ({
    peek: async (queue, request) =>
      (await engine.peek(queue, request)).map((message) => ({
        ...message,
        receipt: message.lastReadAt && 'r',
      })) as never,
  }),
  'shows all places as one': peeking((request) => ({
    ...request,
    place: request.place === 'archived' ? 'archived' : null,
  })),
  'takes a message that was given back for a leased one': (engine) => ({
    peek: async (queue, request) => {
      const found = await engine.peek(queue, request)
      return request.place === 'delayed' ? found.filter((message) => message.readCount === 0) : found
    },
  }),
  'shows the next to be read first': (engine) => ({
    peek: async (queue, request) => (await engine.peek(queue, request)).sort((a, b) => b.priority - a.priority),
  }),
  'knows no limit': peeking((request) => ({ ...request, limit: 1_000 })),
  'knows no pages': peeking((request) => ({ ...request, afterId: null })),
  'shows the last message of a page again': (engine) => ({
    peek: async (queue, request) => {
      const before = request.afterId === null ? [] : await engine.peek(queue, { ...all, ids: [request.afterId] })
      return [...before, ...(await engine.peek(queue, request))].slice(0, request.limit)
    },
  }),
  'loses its way when the last message of a page is gone': (engine) => ({
    peek: async (queue, request) => {
      const lost =
        request.afterId !== null && (await engine.peek(queue, { ...all, ids: [request.afterId] })).length === 0
      return lost ? [] : await engine.peek(queue, request)
    },
  }),
  'does not look for named messages': peeking((request) => ({ ...request, ids: null })),
  'takes no names for all': peeking((request) => (request.ids?.length === 0 ? { ...request, ids: null } : request)),
  'forgets the place when messages are named': peeking((request) =>
    request.ids ? { ...request, place: request.place === 'archived' ? 'archived' : null } : request,
  ),
  'gives named messages in the order of the names': (engine) => ({
    peek: async (queue, request) => {
      const found = await engine.peek(queue, request)
      const place = (id: string) => request.ids?.indexOf(id) ?? 0
      return found.sort((a, b) => place(a.id) - place(b.id))
    },
  }),
  'does not look at meta': peeking(({ meta: _, ...request }) => request),
  'takes one field of meta for all': peeking(({ meta, ...request }) => ({
    ...request,
    ...(meta && { meta: Object.fromEntries(Object.entries(meta).slice(0, 1)) }),
  })),
  'does not look at meta in the archive': peeking(({ meta, ...request }) => ({
    ...request,
    ...(meta && request.place !== 'archived' && { meta }),
  })),
  'looks at meta after the limit': (engine) => ({
    peek: async (queue, { meta, ...request }) => {
      const found = await engine.peek(queue, request)
      if (meta === undefined) return found
      const fitting = await engine.peek(queue, { ...request, limit: 1_000, meta })
      return found.filter(({ id }) => fitting.some((one) => one.id === id))
    },
  }),
  'finds an empty archive where there is no queue': (engine) => ({
    peek: (queue, request) =>
      engine.peek(queue, request).catch((error) => {
        if (request.place === 'archived') return []
        throw error
      }),
  }),
})
