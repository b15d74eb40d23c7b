import { faults, peeking, settling } from './fault.ts'

export const archivingFaults = faults('archiving', {
  'deletes what is archived': settling((one) =>
    one.kind === 'archive' ? { kind: 'delete', id: one.id, receipt: one.receipt } : one,
  ),
  'forgets the new meta': settling((one) => (one.kind === 'archive' ? { ...one, meta: {} } : one)),
  'leaves what is archived in the queue': (engine) => ({
    peek: async (queue, request) => {
      const archived = await engine.peek(queue, { ...request, place: 'archived' })
      return [...archived, ...(await engine.peek(queue, request))]
    },
  }),
  'forgets the history': (engine) => ({
    peek: async (queue, request) =>
      (await engine.peek(queue, request)).map((message) => ({ ...message, readCount: 0, firstReadAt: null })),
  }),
  'takes the time of sending for the time of archiving': (engine) => ({
    peek: async (queue, request) =>
      (await engine.peek(queue, request)).map((message) => ({ ...message, archivedAt: message.sentAt })),
  }),
  'shows the archive newest first': (engine) => ({
    peek: async (queue, request) => {
      const found = await engine.peek(queue, request)
      return request.place === 'archived' ? found.reverse() : found
    },
  }),
  'shows the archive in one page': peeking((request) =>
    request.place === 'archived' ? { ...request, limit: 1_000 } : request,
  ),
  'shows the first page again and again': peeking((request) => ({ ...request, afterId: null })),
})
