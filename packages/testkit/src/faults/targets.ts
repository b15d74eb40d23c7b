import { all, type Fault, faults, sending } from './fault.ts'

/** Refuses by what `holds` finds about the first message of the target. */
function holding(rules: {
  key?: (queue: string, target: string) => string
  places?: readonly ('ready' | 'delayed' | 'leased' | 'archived')[]
  forEver?: boolean
  withinBatch?: boolean
}): Fault['plant'] {
  return (engine) => {
    const firsts = new Map<string, string>()
    const keyOf = rules.key ?? ((queue: string, target: string) => `${queue}/${target}`)
    const holds = async (queue: string, id: string) => {
      for (const place of rules.places ?? (['ready', 'delayed', 'leased'] as const))
        if ((await engine.peek(queue, { ...all, place, ids: [id] })).length > 0) return true
      return rules.forEver ?? false
    }
    return {
      send: async (queue, messages, tx) => {
        const results = []
        const inBatch = new Set<string>()
        for (const message of messages) {
          const key = message.uniqueTarget === null ? null : keyOf(queue, message.uniqueTarget)
          const first = key === null ? undefined : firsts.get(key)
          const blind = rules.withinBatch === false && inBatch.has(key ?? '')
          if (first !== undefined && !blind && (await holds(queue, first))) {
            results.push({ id: first, duplicate: true })
            continue
          }
          const [sent] = await engine.send(queue, [{ ...message, uniqueTarget: null }], tx)
          if (key !== null) firsts.set(key, sent!.id)
          if (key !== null) inBatch.add(key)
          results.push(sent!)
        }
        return results
      },
    }
  }
}

export const targetFaults = faults('unique targets', {
  'knows no targets': sending((message) => ({ ...message, uniqueTarget: null })),
  'takes every message to be for one target': sending((message) => ({ ...message, uniqueTarget: 't' })),
  'takes upper and lower case for one': holding({ key: (queue, target) => `${queue}/${target.toLowerCase()}` }),
  'holds a target for ever': holding({ forEver: true }),
  'holds a target while it is archived': holding({ places: ['ready', 'delayed', 'leased', 'archived'] }),
  'frees a target when its message is read': holding({ places: ['ready', 'delayed'] }),
  'frees a target while its message is delayed': holding({ places: ['ready', 'leased'] }),
  'does not look within a batch': holding({ withinBatch: false }),
  'goes through a batch by dedup id': (engine) => ({
    send: async (queue, messages, tx) => {
      const order = messages.map((_, index) => index)
      order.sort((a, b) => (messages[a]!.dedup?.id ?? '~').localeCompare(messages[b]!.dedup?.id ?? '~'))
      const results = await engine.send(
        queue,
        order.map((index) => messages[index]!),
        tx,
      )
      return messages.map((_, index) => results[order.indexOf(index)]!)
    },
  }),
  'shares targets between queues': (engine) => {
    const taken = new Map<string, string>()
    return {
      send: async (queue, messages, tx) => {
        const target = messages[0]?.uniqueTarget ?? null
        const first = target === null ? undefined : taken.get(target)
        if (first !== undefined && !first.startsWith(`${queue}/`)) return [{ id: first, duplicate: true }]
        const results = await engine.send(queue, messages, tx)
        if (target !== null) taken.set(target, `${queue}/${results[0]!.id}`)
        return results
      },
    }
  },
  'lets a moved message hold its target': (engine) => {
    const targets = new Map<string, string>()
    const moved = new Map<string, string>()
    return {
      send: async (queue, messages, tx) => {
        const results = []
        for (const message of messages) {
          const holder = message.uniqueTarget && moved.get(`${queue}/${message.uniqueTarget}`)
          const [sent] = holder ? [{ id: holder, duplicate: true }] : await engine.send(queue, [message], tx)
          if (message.uniqueTarget) targets.set(queue + sent!.id, message.uniqueTarget)
          results.push(sent!)
        }
        return results
      },
      settle: async (queue, settlements) => {
        const results = await engine.settle(queue, settlements)
        for (const [index, one] of settlements.entries()) {
          const target = targets.get(queue + one.id)
          const newId = results[index]?.newId
          if (one.kind === 'move' && target && newId) moved.set(`${one.to}/${target}`, newId)
        }
        return results
      },
    }
  },
  'remembers the dedup id of a refused message': (engine) => {
    const taken = new Set<string>()
    return {
      send: async (queue, messages, tx) => {
        const again = messages.find((message) => message.dedup && taken.has(queue + message.dedup.id))
        for (const { dedup } of messages) if (dedup) taken.add(queue + dedup.id)
        return again ? [{ id: '0', duplicate: true }] : await engine.send(queue, messages, tx)
      },
    }
  },
  'remembers the target of a duplicate': (engine) => {
    const taken = new Set<string>()
    return {
      send: async (queue, messages, tx) => {
        const results = []
        for (const message of messages) {
          const target = message.uniqueTarget
          const held = target !== null && taken.has(queue + target)
          const [sent] = held ? [{ id: '0', duplicate: true }] : await engine.send(queue, [message], tx)
          if (target !== null && sent!.duplicate) taken.add(queue + target)
          results.push(sent!)
        }
        return results
      },
    }
  },
  'names the refused message instead of the first': (engine) => ({
    send: async (queue, messages, tx) =>
      (await engine.send(queue, messages, tx)).map((result) => (result.duplicate ? { ...result, id: '0' } : result)),
  }),
})
