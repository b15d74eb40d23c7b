import { setImmediate as turn } from 'node:timers/promises'
import type { Engine, SendTerms } from 'tidings/internal/port/engine'
import { queueFull } from 'tidings/internal/port/queue-full'
import type { Plant } from '../memory-harness.ts'
import { all, faults } from './fault.ts'

type Send = Engine['send']

/** Changes the limit that the engine sees. */
const limiting =
  (change: (maxLength: number) => number): Plant =>
  (engine) => ({
    send: (queue, messages, tx, { maxLength = Number.POSITIVE_INFINITY } = {}) =>
      engine.send(queue, messages, tx, { maxLength: change(maxLength) }),
  })

/** An engine that counts by itself, and sends what it finds room for. */
const counting =
  (
    count: (engine: Engine, queue: string) => Promise<number>,
    { before = async () => {} }: { before?: () => Promise<unknown> } = {},
  ): Plant =>
  (engine) => ({
    send: async (queue, messages, tx, { maxLength } = {}) => {
      if (maxLength === undefined) return engine.send(queue, messages, tx)
      const length = await count(engine, queue)
      if (length + messages.length > maxLength) throw queueFull(queue, length, maxLength, messages.length)
      await before()
      return engine.send(queue, messages, tx)
    },
  })

/** Does something before the refusal is given. */
const refusing =
  (leave: (engine: Engine, ...call: Parameters<Send>) => Promise<unknown>): Plant =>
  (engine) => ({
    send: async (...call) => {
      try {
        return await engine.send(...call)
      } catch (error) {
        await leave(engine, ...call).catch(() => {})
        throw error
      }
    },
  })

const lengthOf = async (engine: Engine, queue: string) => (await engine.peek(queue, all)).length
const inPlaces = (choose: (stats: Awaited<ReturnType<Engine['stats']>>) => number) =>
  counting(async (engine, queue) => choose(await engine.stats(queue)))

/** Every engine counts what it sent itself. */
const ownCounting: Plant = (engine) => {
  const sent = new Map<string, number>()
  return {
    send: async (queue, messages, tx, { maxLength = Number.POSITIVE_INFINITY } = {}) => {
      const length = sent.get(queue) ?? 0
      if (length + messages.length > maxLength) throw queueFull(queue, length, maxLength, messages.length)
      const results = await engine.send(queue, messages, tx)
      sent.set(queue, length + results.length)
      return results
    },
  }
}

export const limitDurabilityFaults = faults('durability', {
  'counts in each connection what was sent there': ownCounting,
})

export const limitFaults = faults('limits', {
  'knows no limits': (engine) => ({ send: (queue, messages, tx) => engine.send(queue, messages, tx) }),
  'lets one more in': limiting((maxLength) => maxLength + 1),
  'lets one less in': limiting((maxLength) => maxLength - 1),
  'stores what fits of a batch': refusing(async (engine, queue, messages, tx, terms) => {
    for (const message of messages) await engine.send(queue, [message], tx, terms)
  }),
  'counts what is ready alone': inPlaces(({ ready }) => ready),
  'does not count what is leased': inPlaces(({ ready, delayed }) => ready + delayed),
  'does not count what is delayed': inPlaces(({ ready, leased }) => ready + leased),
  'counts the archive': inPlaces(({ ready, delayed, leased, archived }) => ready + delayed + leased + archived),
  'counts what was ever sent': inPlaces(({ totalSent }) => totalSent),
  'counts duplicates': counting(lengthOf),
  'counts before it sends': counting(lengthOf, { before: () => turn() }),
  'lets delayed messages pass': (engine) => ({
    send: (queue, messages, tx, terms) =>
      engine.send(queue, messages, tx, messages.some(({ delayMs }) => delayMs > 0) ? undefined : terms),
  }),
  'lets sorted messages pass': (engine) => ({
    send: (queue, messages, tx, terms) =>
      engine.send(
        queue,
        messages,
        tx,
        messages.some(({ orderingKey, priority }) => orderingKey !== null || priority !== 0) ? undefined : terms,
      ),
  }),
  'keeps the dedup ids and targets of what it refused': refusing(async (engine, queue, messages) => {
    const taken = messages.filter(({ dedup, uniqueTarget }) => dedup !== null || uniqueTarget !== null)
    const results = await engine.send(
      queue,
      taken.map((message) => ({ ...message, delayMs: 60_000 })),
      null,
    )
    await engine.cancel(
      queue,
      results.map(({ id }) => id),
    )
  }),
  'counts the tasks that it refused': refusing(async (engine, queue, messages) => {
    const place = `${queue.slice(0, 20)}_refused`
    await engine.createQueue(place)
    await engine.send(
      place,
      messages.filter(({ tracked }) => tracked),
      null,
    )
  }),
  'does not say how long the queue is': (engine) => ({
    send: async (queue, messages, tx, terms) => {
      try {
        return await engine.send(queue, messages, tx, terms)
      } catch (error) {
        Object.assign((error as { details: object }).details, { length: 0 })
        throw error
      }
    },
  }),
  'keeps a limit that it was given once': (engine) => {
    const kept = new Map<string, SendTerms>()
    return {
      send: (queue, messages, tx, terms) => {
        if (terms) kept.set(queue, terms)
        return engine.send(queue, messages, tx, kept.get(queue))
      },
    }
  },
  'counts the messages of all queues': counting(async (engine) => {
    const queues = await engine.listQueues()
    const lengths = await Promise.all(queues.map(({ queue }) => lengthOf(engine, queue)))
    return lengths.reduce((a, b) => a + b, 0)
  }),
  'does not count what it did not send itself': ownCounting,
  'takes a missing queue for a full one': (engine) => ({
    send: async (queue, messages, tx, terms) => {
      const { maxLength } = terms ?? {}
      const queues = await engine.listQueues()
      if (maxLength !== undefined && !queues.some((info) => info.queue === queue))
        throw queueFull(queue, 0, maxLength, 1)
      return engine.send(queue, messages, tx, terms)
    },
  }),
})
