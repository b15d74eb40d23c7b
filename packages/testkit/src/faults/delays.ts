import { choosing, faults, sending, showing } from './fault.ts'

export const delayFaults = faults('delays', {
  'forgets delays': sending((message) => ({ ...message, delayMs: 0 })),
  'rounds delays up to seconds': sending((message) => ({
    ...message,
    delayMs: Math.ceil(message.delayMs / 1_000) * 1_000,
  })),
  'cuts delays to seconds': sending((message) => ({
    ...message,
    delayMs: Math.floor(message.delayMs / 1_000) * 1_000,
  })),
  'waits no longer than 24 days': sending((message) => ({ ...message, delayMs: Math.min(message.delayMs, 2 ** 31) })),
  'forgets the time that a message names': sending((message) => ({ ...message, notBefore: null })),
  'adds the delay to the time that a message names': sending((message) => ({
    ...message,
    notBefore: message.notBefore === null ? null : message.notBefore + message.delayMs,
  })),
  'shows a past time as it is named': showing((message) => ({ ...message, visibleAt: message.sentAt - 1_000 })),
  'lets pop take delayed messages': (engine) => ({
    pop: async (queue, limit) => {
      const request = { place: 'delayed', limit, afterId: null, ids: null } as const
      return [...(await engine.pop(queue, limit)), ...(await engine.peek(queue, request))]
    },
  }),
  'lets a delayed message hold up the others': (engine) => ({
    claim: async (queue, request) => {
      const { delayed } = await engine.stats(queue)
      return delayed > 0 ? { messages: [], nextDueMs: 1 } : await engine.claim(queue, request)
    },
  }),
  'reads by due time': choosing((ready) => ready.sort((a, b) => a.visibleAt - b.visibleAt)),
  'never looks behind what was read': (engine, clock) => {
    const marks = new Map<string, string>()
    return choosing((ready, queue, limit) => {
      const chosen = ready.filter(({ id }) => Number(id) > Number(marks.get(queue) ?? 0))
      const last = chosen.slice(0, limit).at(-1)
      if (last) marks.set(queue, last.id)
      return chosen
    })(engine, clock)
  },
})
