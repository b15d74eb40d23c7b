import type { JsonObject } from 'tidings/internal/core/json'
import { faults, inOtherOrder, sending, showing } from './fault.ts'

export const sendingFaults = faults('sending', {
  'loses headers': sending((message) => ({ ...message, headers: {} })),
  'loses the meta of bare messages': sending((message) => (message.bare ? { ...message, meta: {} } : message)),
  'shows the ordering key among the headers': showing((message) =>
    message.orderingKey === null ? message : { ...message, headers: { ...message.headers, key: message.orderingKey } },
  ),
  'reads numbers as floating point': sending((message) => ({
    ...message,
    data: JSON.stringify(JSON.parse(message.data)),
  })),
  'takes empty data for none': sending((message) =>
    JSON.parse(message.data) ? message : { ...message, data: 'null' },
  ),
  'cuts long data': sending((message) => (message.data.length > 100_000 ? { ...message, data: '""' } : message)),
  'opens every envelope': showing((message) => {
    const body = JSON.parse(message.data)
    return body?.meta ? { ...message, data: JSON.stringify(body.data), meta: body.meta } : message
  }),
  'copies objects by assignment': sending((message) => {
    const copy: Record<string, unknown> = {}
    for (const [field, value] of Object.entries(message.meta)) copy[field] = value
    return { ...message, meta: copy as JsonObject }
  }),
  'stores a batch in another order': (engine) => ({
    send: (queue, messages, tx) => inOtherOrder(messages, (reversed) => engine.send(queue, reversed, tx)),
  }),
  'answers in another order': (engine) => ({
    send: async (queue, messages, tx) => (await engine.send(queue, messages, tx)).reverse(),
  }),
  'counts ids by what is there': (engine) => ({
    send: async (queue, messages, tx) => {
      const { ready } = await engine.stats(queue)
      const results = await engine.send(queue, messages, tx)
      return results.map((result, index) => ({ ...result, id: `${ready + index + 1}` }))
    },
  }),
  'counts a send as a read': showing((message) => ({ ...message, readCount: message.readCount + 1 })),
  'keeps the object of the caller': (engine) => {
    const metas = new Map<string, JsonObject>()
    return {
      send: async (queue, messages, tx) => {
        const results = await engine.send(queue, messages, tx)
        for (const [index, { id }] of results.entries()) metas.set(queue + id, messages[index]!.meta)
        return results
      },
      peek: async (queue, request) =>
        (await engine.peek(queue, request)).map((message) => ({ ...message, meta: metas.get(queue + message.id)! })),
    }
  },
  'hands out the object that it keeps': (engine) => {
    const metas = new Map<string, JsonObject>()
    const kept = (key: string, meta: JsonObject) => metas.get(key) ?? metas.set(key, meta).get(key)!
    return {
      claim: async (queue, request) => {
        const claim = await engine.claim(queue, request)
        return { ...claim, messages: claim.messages.map((one) => ({ ...one, meta: kept(queue + one.id, one.meta) })) }
      },
      peek: async (queue, request) =>
        (await engine.peek(queue, request)).map((one) => ({ ...one, meta: kept(queue + one.id, one.meta) })),
    }
  },
  'keeps all messages in one place': (engine) => {
    let only: string | undefined
    const place = (queue: string) => (only ??= queue)
    return {
      send: (queue, messages, tx) => engine.send(place(queue), messages, tx),
      claim: (queue, request) => engine.claim(place(queue), request),
    }
  },
  'creates what is missing': (engine) => ({
    send: async (queue, messages, tx) => {
      await engine.createQueue(queue)
      return await engine.send(queue, messages, tx)
    },
  }),
})
