import type { Engine, NewMessage, Settlement, SettleResult, StoredMessage } from 'tidings/internal/port/engine'
import { all, endingAs, faults, settling } from './fault.ts'

type Move = Extract<Settlement, { kind: 'move' }>

/** Moves by sending a copy and deleting the message. */
const resending = (change: (copy: NewMessage, message: StoredMessage) => Partial<NewMessage>) =>
  endingAs('move', async (engine: Engine, queue: string, settlement: Settlement): Promise<SettleResult> => {
    const move = settlement as Move
    const [message] = await engine.peek(queue, { ...all, ids: [move.id] })
    const [result] = await engine.settle(queue, [{ kind: 'delete', id: move.id, receipt: move.receipt }])
    if (!message || !result?.settled) return { settled: false, newId: null }
    await engine.createQueue(move.to)
    const { data, headers, priority, orderingKey } = message
    const meta = Object.fromEntries(
      Object.entries({ ...message.meta, ...move.meta }).filter(([, value]) => value !== null),
    )
    const rules = { notBefore: null, dedup: null, uniqueTarget: null, bare: false }
    const copy = { data, meta, headers, priority, orderingKey, delayMs: move.delayMs, ...rules }
    const [sent] = await engine.send(move.to, [{ ...copy, ...change(copy, message) }], null)
    return { settled: true, newId: sent!.id }
  })

export const movingFaults = faults('moving', {
  'forgets when a moved message was sent': resending(() => ({})),
  'forgets headers': resending(() => ({ headers: {} })),
  'forgets meta': resending((_copy, message) => ({ meta: message.meta })),
  'loses the ordering key': resending(() => ({ orderingKey: null })),
  'wraps the body once more': resending((copy) => ({ data: JSON.stringify({ data: JSON.parse(copy.data) }) })),
  'forgets the delay': settling((one) => (one.kind === 'move' ? { ...one, delayMs: 0 } : one)),
  'leaves the message where it was': endingAs('move', async (engine, queue, one) => {
    const copied = await engine.peek(queue, { ...all, ids: [one.id] })
    const [result] = await engine.settle(queue, [one])
    const rules = { delayMs: 0, notBefore: null, dedup: null, uniqueTarget: null, bare: false }
    await engine.send(
      queue,
      copied.map((message) => ({ ...message, ...rules })),
      null,
    )
    return result!
  }),
  'archives what it moves': (engine, clock) => {
    const moved = new Map<string, StoredMessage>()
    return {
      ...endingAs('move', async (inner, queue, one) => {
        const [message] = await inner.peek(queue, { ...all, ids: [one.id] })
        if (message) moved.set(queue + one.id, { ...message, archivedAt: message.sentAt })
        return (await inner.settle(queue, [one]))[0]!
      })(engine, clock),
      peek: async (queue, request) => {
        const found = await engine.peek(queue, request)
        const kept = (request.ids ?? []).map((id) => moved.get(queue + id)).filter((message) => message !== undefined)
        return request.place === 'archived' ? [...found, ...kept] : found
      },
    }
  },
  'fails where the other queue is missing': (engine) => ({
    settle: async (queue, settlements) => {
      for (const one of settlements) if (one.kind === 'move') await engine.stats(one.to)
      return await engine.settle(queue, settlements)
    },
  }),
  'moves a batch in another order': (engine) => ({
    settle: async (queue, settlements) => (await engine.settle(queue, [...settlements].reverse())).reverse(),
  }),
  'moves a batch to the queue of the first': (engine) => ({
    settle: (queue, settlements) => {
      const to = settlements.find((one) => one.kind === 'move')?.to ?? queue
      return engine.settle(
        queue,
        settlements.map((one) => (one.kind === 'move' ? { ...one, to } : one)),
      )
    },
  }),
  'keeps the place of a message that moves within its queue': endingAs('move', async (engine, queue, one) => {
    if (one.kind !== 'move' || one.to !== queue) return (await engine.settle(queue, [one]))[0]!
    const [result] = await engine.settle(queue, [{ ...one, kind: 'release', uncount: true }])
    return { ...result!, newId: one.id }
  }),
})
