import { all, type Fault, faults, sending } from './fault.ts'

interface First {
  id: string
  until: number
}

/** Keeps the dedup ids itself; the engine below knows none. */
function remembering(rules: {
  key?: (queue: string, id: string) => string
  onDuplicate?: (first: First, now: number, windowMs: number) => void
  forgetsOnMaintain?: boolean
  keepsOnDrop?: boolean
}): Fault['plant'] {
  return (engine, clock) => {
    const firsts = new Map<string, First>()
    const keyOf = rules.key ?? ((queue: string, id: string) => `${queue}/${id}`)
    return {
      send: async (queue, messages, tx) => {
        const results = []
        for (const message of messages) {
          const key = message.dedup && keyOf(queue, message.dedup.id)
          const first = key === null ? undefined : firsts.get(key)
          if (first && message.dedup && clock.now() < first.until) {
            rules.onDuplicate?.(first, clock.now(), message.dedup.windowMs)
            results.push({ id: first.id, duplicate: true })
          } else {
            const [sent] = await engine.send(queue, [{ ...message, dedup: null }], tx)
            if (key !== null) firsts.set(key, { id: sent!.id, until: clock.now() + message.dedup!.windowMs })
            results.push(sent!)
          }
        }
        return results
      },
      dropQueue: async (queue) => {
        for (const key of firsts.keys()) if (!rules.keepsOnDrop && key.startsWith(queue)) firsts.delete(key)
        return await engine.dropQueue(queue)
      },
      maintain: async () => {
        if (rules.forgetsOnMaintain) firsts.clear()
      },
    }
  }
}

export const dedupFaults = faults('dedup', {
  'knows no duplicates': sending((message) => ({ ...message, dedup: null })),
  'takes every message for a duplicate': sending((message) => ({
    ...message,
    dedup: message.dedup ?? { id: 'none', windowMs: 60_000 },
  })),
  'takes upper and lower case for one': remembering({ key: (queue, id) => `${queue}/${id.toLowerCase()}` }),
  'names the duplicate instead of the first': (engine) => ({
    send: async (queue, messages, tx) =>
      (await engine.send(queue, messages, tx)).map((result) => (result.duplicate ? { ...result, id: '0' } : result)),
  }),
  'does not look within a batch': (engine) => ({
    send: async (queue, messages, tx) => {
      const seen = new Set<string>()
      const blind = messages.map((message) => {
        const again = message.dedup !== null && seen.has(message.dedup.id)
        if (message.dedup) seen.add(message.dedup.id)
        return again ? { ...message, dedup: null } : message
      })
      return await engine.send(queue, blind, tx)
    },
  }),
  'forgets an id when its message is gone': (engine) => ({
    send: async (queue, messages, tx) => {
      const results = await engine.send(queue, messages, tx)
      for (const [index, { id, duplicate }] of results.entries()) {
        const gone = duplicate && (await engine.peek(queue, { ...all, ids: [id] })).length === 0
        if (gone) results[index] = (await engine.send(queue, [{ ...messages[index]!, dedup: null }], tx))[0]!
      }
      return results
    },
  }),
  'knows no end of a window': sending((message) => ({
    ...message,
    dedup: message.dedup && { ...message.dedup, windowMs: 1e12 },
  })),
  'makes the window longer with every duplicate': remembering({
    onDuplicate: (first, now, windowMs) => {
      first.until = now + windowMs
    },
  }),
  'goes by the window of the last message': remembering({
    onDuplicate: (first, now, windowMs) => {
      first.until = Math.min(first.until, now + windowMs)
    },
  }),
  'forgets all in its upkeep': remembering({ forgetsOnMaintain: true }),
  'shares ids between queues': remembering({ key: (_queue, id) => id }),
  'remembers the ids of a dropped queue': remembering({ keepsOnDrop: true }),
})
