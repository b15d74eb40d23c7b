import type { StoredMessage } from 'tidings/internal/port/engine'
import { choosing, claiming, faults, sending } from './fault.ts'

export const priorityFaults = faults('priorities', {
  'knows no priorities': sending((message) => ({ ...message, priority: 0 })),
  'knows no negative priorities': sending((message) => ({ ...message, priority: Math.max(0, message.priority) })),
  'reads the lowest first': sending((message) => ({ ...message, priority: -message.priority })),
  'sorts only what it found by age': (engine, clock) => ({
    claim: (queue, request) =>
      choosing((ready, _queue, limit) => ready.slice(0, limit))(engine, clock).claim!(queue, request),
  }),
  'pops by age': choosing((ready) => ready),
  'looks only at the first hundred': choosing((ready) => ready.slice(0, 100).sort((a, b) => b.priority - a.priority)),
  'never reads the low': choosing((ready) =>
    ready.filter((message) => message.priority >= 0).sort((a, b) => b.priority - a.priority),
  ),
  'waits for the highest': (engine) => ({
    claim: async (queue, request) => {
      const live = await engine.peek(queue, { place: null, limit: 1_000, afterId: null, ids: null })
      const highest = Math.max(...live.map((message) => message.priority))
      const ids = live.filter((message) => message.priority === highest).map((message) => message.id)
      return await engine.claim(queue, { ...request, ids })
    },
  }),
  'loses the priority of a message that is given back': choosing((ready) => {
    const priority = (message: StoredMessage) => (message.readCount > 0 ? 0 : message.priority)
    return ready.sort((a, b) => priority(b) - priority(a))
  }),
  'claims by ids in the order of the ids': (engine) => ({
    claim: async (queue, request) => {
      const claim = await engine.claim(queue, request)
      const { ids } = request
      return ids === null
        ? claim
        : { ...claim, messages: claim.messages.sort((a, b) => ids.indexOf(a.id) - ids.indexOf(b.id)) }
    },
  }),
  'claims one at a time': claiming((request) => ({ ...request, limit: 1 })),
})
