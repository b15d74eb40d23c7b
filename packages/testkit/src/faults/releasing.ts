import { endingAs, faults, settling, showing } from './fault.ts'

export const releasingFaults = faults('releasing', {
  'forgets the delay': settling((one) => (one.kind === 'release' ? { ...one, delayMs: 0 } : one)),
  'knows no delay under a minute': settling((one) =>
    one.kind === 'release' && one.delayMs > 0 ? { ...one, delayMs: Math.max(one.delayMs, 60_000) } : one,
  ),
  'waits a little before it gives back': settling((one) =>
    one.kind === 'release' ? { ...one, delayMs: one.delayMs + 1_000 } : one,
  ),
  'leases on until the delay is over': endingAs('release', async (engine, queue, one) => {
    if (one.kind !== 'release' || one.delayMs === 0) return (await engine.settle(queue, [one]))[0]!
    const [receipt] = await engine.extend(queue, [one], one.delayMs)
    return { settled: receipt !== null, newId: null }
  }),
  'writes new meta over the old': endingAs('release', async (engine, queue, one) => {
    const [message] = await engine.peek(queue, { place: null, limit: 1, afterId: null, ids: [one.id] })
    if (one.kind !== 'release') return { settled: false, newId: null }
    const gone = Object.fromEntries(Object.keys(message?.meta ?? {}).map((field) => [field, null]))
    return (await engine.settle(queue, [{ ...one, meta: { ...gone, ...one.meta } }]))[0]!
  }),
  'takes no field of the meta away': settling((one) =>
    one.kind === 'release'
      ? { ...one, meta: Object.fromEntries(Object.entries(one.meta).filter(([, value]) => value !== null)) }
      : one,
  ),
  'takes away empty fields below': showing((message) => ({
    ...message,
    meta: JSON.parse(JSON.stringify(message.meta), (_field, value) => (value === null ? undefined : value)),
  })),
  'forgets the new meta': settling((one) => (one.kind === 'release' ? { ...one, meta: {} } : one)),
  'counts every read': settling((one) => (one.kind === 'release' ? { ...one, uncount: false } : one)),
  'counts no read': settling((one) => (one.kind === 'release' ? { ...one, uncount: true } : one)),
  'puts a message that is given back at the end': endingAs('release', async (engine, queue, one) => {
    if (one.kind !== 'release') return { settled: false, newId: null }
    return (await engine.settle(queue, [{ ...one, kind: 'move', to: queue }]))[0]!
  }),
  'reads messages that were given back last': (engine, clock) => {
    const released = new Set<string>()
    return {
      ...settling((one, queue) => {
        released.add(queue + one.id)
        return one
      })(engine, clock),
      claim: async (queue, request) => {
        const live = await engine.peek(queue, { place: null, limit: 1_000, afterId: null, ids: null })
        const fresh = live.map(({ id }) => id).filter((id) => !released.has(queue + id))
        const claim = await engine.claim(queue, { ...request, ids: fresh })
        return claim.messages.length > 0 ? claim : await engine.claim(queue, request)
      },
    }
  },
})
