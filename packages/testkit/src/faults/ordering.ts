import type { Engine, Place, StoredMessage } from 'tidings/internal/port/engine'
import { all, type Fault, faults, popBy, sending } from './fault.ts'

/** What the queue looks like at a claim, without its rule for keys. */
interface Line {
  readonly messages: readonly StoredMessage[]
  readonly place: (message: StoredMessage) => Place
  readonly ids: readonly string[] | null
}

/** Keeps the keys itself, and lets `waits` decide about a message that has earlier ones of its key before it. */
function keyedBy(waits: (earlier: StoredMessage[], message: StoredMessage, line: Line) => boolean): Fault['plant'] {
  return (engine: Engine) => {
    const keys = new Map<string, string>()
    const claim: Engine['claim'] = async (queue, request) => {
      const messages = await engine.peek(queue, all)
      const places = new Map<string, Place>()
      for (const place of ['ready', 'delayed', 'leased'] as const)
        for (const { id } of await engine.peek(queue, { ...all, place })) places.set(id, place)
      const keyOf = (message: StoredMessage) => keys.get(`${queue}/${message.id}`)
      const line: Line = { messages, place: (message) => places.get(message.id)!, ids: request.ids }
      const free = messages.filter((message, index) => {
        const key = keyOf(message)
        if (key === undefined) return true
        const earlier = messages.slice(0, index).filter((other) => keyOf(other) === key)
        return earlier.length === 0 || !waits(earlier, message, line)
      })
      const ids = free.map((message) => message.id).filter((id) => request.ids?.includes(id) ?? true)
      return await engine.claim(queue, { ...request, ids })
    }
    return {
      claim,
      pop: popBy(engine, claim),
      send: async (queue, messages, tx) => {
        const results = await engine.send(
          queue,
          messages.map((message) => ({ ...message, orderingKey: null })),
          tx,
        )
        for (const [index, { id }] of results.entries()) {
          const { orderingKey } = messages[index]!
          if (orderingKey !== null) keys.set(`${queue}/${id}`, orderingKey)
        }
        return results
      },
    }
  }
}

export const orderingFaults = faults('ordering keys', {
  'knows no keys': sending((message) => ({ ...message, orderingKey: null })),
  'reads a whole key at once': keyedBy((earlier, _message, { place }) =>
    earlier.some((other) => place(other) !== 'ready'),
  ),
  'passes over a leased message of a key': keyedBy((earlier, _message, { place }) =>
    earlier.some((other) => place(other) !== 'leased'),
  ),
  'passes over a delayed message of a key': keyedBy((earlier, _message, { place }) =>
    earlier.some((other) => place(other) !== 'delayed'),
  ),
  'passes over a message that was read before': keyedBy((earlier, _message, { place }) =>
    earlier.some((other) => other.readCount === 0 || place(other) === 'leased'),
  ),
  'jumps the line for ids': keyedBy((_earlier, _message, { ids }) => ids === null),
  'lets the urgent overtake': keyedBy((earlier, message) =>
    earlier.some((other) => other.priority >= message.priority),
  ),
  'lets a key wait for ever': keyedBy(() => true),
  'pops one after the other': (engine) => ({
    pop: async (queue, limit) => {
      const popped: StoredMessage[] = []
      for (let more = await engine.pop(queue, 1); more.length > 0; more = await engine.pop(queue, 1)) {
        popped.push(...more)
        if (popped.length === limit) break
      }
      return popped
    },
  }),
  'counts the waiting against the limit': (engine) => ({
    claim: async (queue, request) => {
      const ready = await engine.peek(queue, { ...all, place: 'ready', limit: request.limit, ids: request.ids })
      return await engine.claim(queue, { ...request, ids: ready.map((message) => message.id) })
    },
  }),
  'takes all keys for one': sending((message) => (message.orderingKey ? { ...message, orderingKey: 'k' } : message)),
  'takes upper and lower case for one': sending((message) => ({
    ...message,
    orderingKey: message.orderingKey?.toLowerCase() ?? null,
  })),
  'takes no key for a key': sending((message) => ({ ...message, orderingKey: message.orderingKey ?? 'default' })),
  'shares keys between queues': (engine) => {
    const leased = new Set<string>()
    return {
      claim: async (queue, request) => {
        const live = await engine.peek(queue, all)
        const ids = live.filter((message) => !leased.has(message.orderingKey ?? '')).map((message) => message.id)
        const claim = await engine.claim(queue, { ...request, ids })
        for (const { orderingKey } of claim.messages) if (orderingKey !== null) leased.add(orderingKey)
        return claim
      },
    }
  },
  'frees a key only when its message is deleted': (engine) => {
    const stuck = new Set<string>()
    return {
      settle: async (queue, settlements) => {
        const live = await engine.peek(queue, all)
        for (const one of settlements) {
          const key = live.find((message) => message.id === one.id)?.orderingKey
          if (one.kind !== 'delete' && one.kind !== 'release' && key) stuck.add(key)
        }
        return await engine.settle(queue, settlements)
      },
      pop: async (queue, limit) => (stuck.size > 0 ? [] : await engine.pop(queue, limit)),
    }
  },
})
