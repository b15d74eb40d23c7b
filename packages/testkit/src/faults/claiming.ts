import { all, choosing, claiming, faults, popBy, showing } from './fault.ts'

export const claimingFaults = faults('claiming', {
  'reads the newest first': choosing((ready) => ready.reverse()),
  'knows no limit': claiming((request) => ({ ...request, limit: 1_000 })),
  'knows no limit for ids': claiming((request) => (request.ids ? { ...request, limit: 1_000 } : request)),
  'claims whatever is ready when asked for ids': claiming((request) => ({ ...request, ids: null })),
  'takes no ids for all ids': claiming((request) => (request.ids?.length === 0 ? { ...request, ids: null } : request)),
  'gives messages in the order of the ids asked for': (engine) => ({
    claim: async (queue, request) => {
      const { messages, nextDueMs } = await engine.claim(queue, request)
      const place = (id: string) => request.ids?.indexOf(id) ?? 0
      return { messages: messages.sort((a, b) => place(a.id) - place(b.id)), nextDueMs }
    },
  }),
  'does not hide what was claimed': claiming((request) => ({ ...request, leaseMs: 0 })),
  'leases for a minute, whatever is asked': claiming((request) => ({ ...request, leaseMs: 60_000 })),
  'never gives a lease up': claiming((request) => ({ ...request, leaseMs: request.leaseMs * 1_000 })),
  'gives all messages of a claim one receipt': showing((message) => ({ ...message, receipt: message.receipt && 'r' })),
  'counts one read': showing((message) => ({ ...message, readCount: Math.min(1, message.readCount) })),
  'forgets the first read': showing((message) => ({ ...message, firstReadAt: message.lastReadAt })),
  'forgets the last read': showing((message) => ({ ...message, lastReadAt: message.firstReadAt })),
  'forgets when it was sent': showing((message) => ({ ...message, sentAt: message.lastReadAt ?? message.sentAt })),
  'counts a read for what it passes over': (engine) => {
    let claims = 0
    return {
      claim: (queue, request) => {
        claims++
        return engine.claim(queue, request)
      },
      peek: async (queue, request) =>
        (await engine.peek(queue, request)).map((message) => ({ ...message, readCount: message.readCount + claims })),
    }
  },
  'says when in milliseconds since 1970': (engine, clock) => ({
    claim: async (queue, request) => {
      const { messages, nextDueMs } = await engine.claim(queue, request)
      return { messages, nextDueMs: nextDueMs === null ? null : clock.now() + nextDueMs }
    },
  }),
  'expects nothing': (engine) => ({
    claim: async (queue, request) => ({ ...(await engine.claim(queue, request)), nextDueMs: null }),
  }),
  'always expects something': (engine) => ({
    claim: async (queue, request) => ({ ...(await engine.claim(queue, request)), nextDueMs: 1_000 }),
  }),
  'expects delayed messages only': (engine) => ({
    claim: async (queue, request) => {
      const claim = await engine.claim(queue, request)
      const { delayed } = await engine.stats(queue)
      return { ...claim, nextDueMs: delayed > 0 ? 10 * 60_000 : null }
    },
  }),
  'expects the last of what is to come': (engine, clock) => ({
    claim: async (queue, request) => {
      const claim = await engine.claim(queue, request)
      const times = (await engine.peek(queue, all)).map((message) => message.visibleAt - clock.now())
      return { ...claim, nextDueMs: claim.nextDueMs === null ? null : Math.max(...times) }
    },
  }),
  'is late by a little': (engine) => ({
    claim: async (queue, request) => {
      const { messages, nextDueMs } = await engine.claim(queue, request)
      return { messages, nextDueMs: nextDueMs === null ? null : Math.floor(nextDueMs / 1_000) * 1_000 }
    },
  }),
  'looks only behind what was read': (engine, clock) => {
    let mark = 0
    return choosing((ready, _queue, limit) => {
      const chosen = ready.filter(({ id }) => Number(id) > mark || ready.length <= limit)
      mark = Number(chosen.slice(0, limit).at(-1)?.id ?? 0)
      return chosen
    })(engine, clock)
  },
  'leases what is popped': (engine) => ({
    pop: async (queue, limit) =>
      (await engine.claim(queue, { limit, leaseMs: 60_000, ids: null })).messages.map((message) => ({
        ...message,
        receipt: null,
      })),
  }),
  'archives what is popped': (engine) => ({
    pop: async (queue, limit) => {
      const { messages } = await engine.claim(queue, { limit, leaseMs: 60_000, ids: null })
      const settlements = messages.map(({ id, receipt }) => ({
        kind: 'archive' as const,
        id,
        receipt: receipt!,
        meta: {},
      }))
      await engine.settle(queue, settlements)
      return messages.map((message) => ({ ...message, receipt: null }))
    },
  }),
  'gives a receipt for what is popped': (engine) => ({
    pop: async (queue, limit) => (await engine.pop(queue, limit)).map((message) => ({ ...message, receipt: 'r' })),
  }),
  'does not count a pop': (engine) => ({
    pop: async (queue, limit) => {
      const popped = await popBy(engine, (name, request) => engine.claim(name, request))(queue, limit)
      return popped.map((message) => ({ ...message, readCount: message.readCount - 1 }))
    },
  }),
})
