import { setImmediate as turn } from 'node:timers/promises'
import type { Engine, StoredMessage } from 'tidings/internal/port/engine'
import { all, faults } from './fault.ts'

/** Finds messages, and leases them in a second step that does not look again. */
const claimInTwoSteps =
  (engine: Engine): Engine['claim'] =>
  async (queue, { limit, leaseMs, ids }) => {
    const found = await engine.peek(queue, { ...all, place: 'ready', limit, ids })
    await turn()
    const claim = await engine.claim(queue, { limit, leaseMs, ids: found.map((message) => message.id) })
    const leased = (message: StoredMessage) => claim.messages.find((one) => one.id === message.id)
    return { ...claim, messages: found.map((message) => leased(message) ?? { ...message, receipt: 'overtaken' }) }
  }

export const concurrencyFaults = faults('concurrency', {
  'claims in two steps': (engine) => ({ claim: claimInTwoSteps(engine) }),
  'pops in two steps': (engine) => ({
    pop: async (queue, limit) => {
      const found = await engine.peek(queue, { ...all, place: 'ready', limit })
      await turn()
      await engine.cancel(
        queue,
        found.map((message) => message.id),
      )
      return found
    },
  }),
  'loses a send when another is under way': (engine) => {
    let busy = false
    return {
      send: async (queue, messages, tx) => {
        const lost = busy
        busy = true
        await turn()
        busy = false
        return lost ? messages.map(() => ({ id: '0', duplicate: false })) : await engine.send(queue, messages, tx)
      },
    }
  },
  'settles in two steps': (engine) => ({
    settle: async (queue, settlements) => {
      const live = await engine.peek(queue, { ...all, ids: settlements.map((one) => one.id) })
      await turn()
      await engine.settle(queue, settlements)
      return settlements.map((one) => ({ settled: live.some((message) => message.id === one.id), newId: null }))
    },
  }),
  'settles what the next reader has got': (engine) => {
    const receipts = new Map<string, string>()
    return {
      claim: async (queue, request) => {
        const claim = await engine.claim(queue, request)
        for (const { id, receipt } of claim.messages) receipts.set(queue + id, receipt!)
        return claim
      },
      settle: async (queue, settlements) => {
        await turn()
        return await engine.settle(
          queue,
          settlements.map((one) => ({ ...one, receipt: receipts.get(queue + one.id) ?? one.receipt })),
        )
      },
    }
  },
  'extends in two steps': (engine) => ({
    extend: async (queue, leases, leaseMs) => {
      const leased = await engine.peek(queue, { ...all, place: 'leased', ids: leases.map((lease) => lease.id) })
      await turn()
      const receipts = await engine.extend(queue, leases, leaseMs)
      return receipts.map(
        (receipt, index) => receipt ?? (leased.some((one) => one.id === leases[index]!.id) ? 'r' : null),
      )
    },
  }),
  'cancels in two steps': (engine) => ({
    cancel: async (queue, ids) => {
      const ready = await engine.peek(queue, { ...all, place: 'ready', ids })
      for (let turns = 0; turns < 3; turns++) await turn()
      await engine.cancel(queue, ids)
      return ids.map((id) => ready.some((message) => message.id === id))
    },
  }),
  'looks for a dedup id before it sends': (engine) => {
    const firsts = new Map<string, string>()
    return {
      send: async (queue, messages, tx) => {
        const ids = messages.map(({ dedup }) => dedup && firsts.get(queue + dedup.id))
        if (ids.every((id) => id)) return ids.map((id) => ({ id: id!, duplicate: true }))
        await turn()
        const results = await engine.send(
          queue,
          messages.map((message) => ({ ...message, dedup: null, uniqueTarget: null })),
          tx,
        )
        for (const [index, { id }] of results.entries()) {
          const { dedup } = messages[index]!
          if (dedup) firsts.set(queue + dedup.id, id)
        }
        return results
      },
    }
  },
  'creates a queue in two steps': (engine) => ({
    createQueue: async (queue) => {
      const there = (await engine.listQueues()).some((info) => info.queue === queue)
      await turn()
      await engine.createQueue(queue)
      return !there
    },
  }),
  'creates the target of a move in two steps': (engine) => ({
    settle: async (queue, settlements) => {
      for (const one of settlements)
        if (one.kind === 'move') {
          const there = (await engine.listQueues()).some((info) => info.queue === one.to)
          await turn()
          if (!there) await engine.dropQueue(one.to)
        }
      return await engine.settle(queue, settlements)
    },
  }),
  'counts before it purges': (engine) => ({
    purgeQueue: async (queue) => {
      const count = (await engine.peek(queue, all)).length
      await turn()
      await engine.purgeQueue(queue)
      return count
    },
  }),
  'looks at the keys before it claims': (engine) => {
    const keys = new Map<string, string>()
    const keysOf = (messages: StoredMessage[]) => messages.map((message) => keys.get(message.id)!)
    return {
      send: async (queue, messages, tx) => {
        const results = await engine.send(
          queue,
          messages.map((message) => ({ ...message, orderingKey: null })),
          tx,
        )
        for (const [index, { id }] of results.entries()) keys.set(id, messages[index]!.orderingKey ?? id)
        return results
      },
      claim: async (queue, request) => {
        const busy = new Set(keysOf(await engine.peek(queue, { ...all, place: 'leased' })))
        await turn()
        const ready = await engine.peek(queue, { ...all, place: 'ready' })
        const first = new Map(ready.reverse().map((message) => [keys.get(message.id)!, message.id]))
        const ids = [...first].filter(([key]) => !busy.has(key)).map(([, id]) => id)
        const { messages, nextDueMs } = await engine.claim(queue, { ...request, ids })
        return { messages: messages.map((one) => ({ ...one, orderingKey: keys.get(one.id)! })), nextDueMs }
      },
    }
  },
})
