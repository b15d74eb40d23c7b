import assert from 'node:assert/strict'
import fc from 'fast-check'
import type { QueueOptions, StoredCopy } from 'tidings'
import { Bus } from 'tidings/internal/bus/bus'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { Lines, runUntil } from '../worker/support.ts'
import { datas, refusal, type Scene, scene, settle } from './support.ts'

const minute = 60_000

/** A queue with a message that has expired and one that has not, in this order. */
async function withOneExpired(options: QueueOptions = {}) {
  const stage = scene()
  const queue = stage.bus.queue<string>('q', options)
  await queue.send('expired', { ttl: '1m' })
  await queue.send('good', { ttl: '2m' })
  await stage.clock.advance(minute)
  return { ...stage, queue }
}

const letters = async ({ bus }: Pick<Scene, 'bus'>) => bus.queue<string>('q').deadLetters.list()

type Queue = Awaited<ReturnType<typeof withOneExpired>>['queue']

/** Every way to read: what it gets of the queue. */
const ways: Record<string, (queue: Queue) => Promise<readonly unknown[]>> = {
  read: async (queue) => datas(await queue.read({ limit: 10 })),
  'read, one by one': async (queue) => datas([...(await queue.read()), ...(await queue.read())]),
  readById: async (queue) => {
    const all = await queue.peek()
    const found = await Promise.all(all.map(({ id }) => queue.readById(id)))
    return datas(found.filter((message) => message !== null))
  },
  pop: async (queue) => datas(await queue.pop({ limit: 10 })),
  'pop, one by one': async (queue) => datas([...(await queue.pop()), ...(await queue.pop())]),
  consume: async (queue) => {
    const found: unknown[] = []
    for await (const { data } of queue.consume({ wait: 0 })) found.push(data)
    return found
  },
  work: async (queue) => {
    const found: unknown[] = []
    await queue.work(({ data }) => void found.push(data)).drain()
    return found
  },
  workBatch: async (queue) => {
    const found: unknown[] = []
    await queue.workBatch((messages) => void found.push(...datas(messages))).drain()
    return found
  },
  'work in order': async (queue) => {
    const found: unknown[] = []
    await queue.work(({ data }) => void found.push(data), { concurrency: 1 }).drain()
    return found
  },
}

const kinds: Record<string, QueueOptions> = {
  'a plain queue': {},
  'a queue with a schema': { schema: z.string() },
  'a queue with a ttl': { ttl: '1h' },
}

describe.each(Object.entries(kinds))('in %s', (_kind, options) => {
  describe.each(Object.entries(ways))('%s', (_way, reading) => {
    test('makes a dead letter of what has expired, and gives the rest', async () => {
      const stage = await withOneExpired(options)
      const found = await runUntil(stage.clock, reading(stage.queue))
      assert.deepEqual(found, ['good'])
      const [letter, ...others] = await letters(stage)
      assert.deepEqual([letter?.data, others], ['expired', []])
      assert.equal(letter?.meta.errorMessage, 'expired at 2026-01-01T00:01:00.000Z, before it was handled')
      assert.equal(letter.meta.originQueue, 'q')
    })

    test('drops it where the queue says so', async () => {
      const stage = await withOneExpired({ ...options, expired: 'drop' })
      const found = await runUntil(stage.clock, reading(stage.queue))
      assert.deepEqual(found, ['good'])
      const names = (await stage.bus.queues()).map(({ queue }) => queue)
      assert.deepEqual(names, ['q'], 'there is no dead-letter queue')
      assert.deepEqual(datas(await stage.queue.peek({ place: 'ready' })), [])
    })

    test('puts it into the archive where there is no dead-letter queue', async () => {
      const stage = await withOneExpired({ ...options, deadLetter: false })
      const found = await runUntil(stage.clock, reading(stage.queue))
      assert.deepEqual(found, ['good'])
      const archived = await stage.queue.peek({ place: 'archived' })
      assert.deepEqual(datas(archived.filter(({ meta }) => meta.deadLetteredAt !== undefined)), ['expired'])
    })
  })
})

describe('a time to live', () => {
  test('counts from sending, and is told with the message', async () => {
    const { bus, clock } = scene()
    const queue = bus.queue('q', { ttl: '10m' })
    await queue.send(1)
    await queue.send(2, { ttl: '1m' })
    await queue.sendBatch([{ data: 3 }, { data: 4, ttl: 90_000 }])
    const told = (await queue.peek()).map(({ meta }) => meta.ttlMs)
    assert.deepEqual(told, [10 * minute, minute, 10 * minute, 90_000])
    await clock.advance(minute - 1)
    assert.deepEqual(datas(await queue.read({ limit: 10, lease: 100 })), [1, 2, 3, 4])
    await clock.advance(minute)
    assert.deepEqual(datas(await queue.read({ limit: 10 })), [1, 3])
  })

  test('belongs to one message: who sends its meta on sends none', async () => {
    const { bus } = scene()
    const queue = bus.queue('q')
    await queue.send(1, { ttl: '1m', meta: { targetId: 't' } })
    const [message] = await queue.read()
    await queue.send(2, { meta: message!.meta })
    const [second] = await queue.peek({ place: 'ready' })
    assert.deepEqual([second!.meta.targetId, second!.meta.ttlMs], ['t', undefined])
  })

  test('is that of every copy of a published message', async () => {
    const { bus, clock } = scene()
    await bus.queue('q').create()
    await bus.bind('A.*', 'q')
    await bus.publish('A.B', 1, { ttl: '1m' })
    await clock.advance(minute)
    assert.deepEqual(await bus.queue('q').read(), [])
    assert.equal((await letters({ bus })).length, 1)
  })

  test.each([
    [{ ttl: '5m', delay: '5m' }, 'ttl is 5m, but the message becomes ready only after 5m'],
    [{ ttl: '5m', at: '2026-01-01T01:00:00Z' }, 'ready only at'],
  ] as const)('that ends before the message is ready is refused: %j', async (options, text) => {
    const { bus, memory } = scene()
    const error = await refusal(() => bus.queue('q').send(1, options), 'OPTION_CONFLICT')
    expect(error.message).toContain(text)
    await refusal(() => bus.queue('q', { ttl: '1m' }).send(1, { delay: '1h' }), 'OPTION_CONFLICT')
    assert.deepEqual(await memory.describe(null), [])
  })

  test('is over when a failed message comes back too late', async () => {
    const { bus, clock } = scene()
    const queue = bus.queue('q')
    await queue.send(1, { ttl: '1m' })
    let calls = 0
    const options = { backoff: '2m', maxMessages: 2 } as const
    const fail = () => {
      calls++
      throw new Error('not now')
    }
    const worker = queue.work(fail, options)
    await runUntil(clock, worker.finished, 1_000)
    assert.equal(calls, 1)
    const { failed, expired, deadLettered } = worker.stats()
    assert.deepEqual({ failed, expired, deadLettered }, { failed: 1, expired: 1, deadLettered: 1 })
  })

  test('runs on while a worker has read the message ahead', async () => {
    const { bus, clock, spy } = scene()
    const queue = bus.queue<string>('q')
    const handled: string[] = []
    const handle = async ({ data }: { data: string }) => {
      handled.push(data)
      await new Promise<void>((resolve) => clock.after(data === 'slow' ? 2 * minute : 1, resolve))
    }
    // It reads ahead what it gets through soon, so it has to be seen to be fast.
    await queue.sendBatch(Array.from({ length: 100 }, () => ({ data: 'fast' })))
    const worker = queue.work(handle, { concurrency: 1 })
    while ((await queue.stats()).ready > 0 || worker.stats().running > 0) await clock.advance(1)
    await queue.sendBatch([{ data: 'slow' }, { data: 'held', ttl: '1m' }])
    while (!handled.includes('slow')) await clock.advance(1)
    const [held] = await queue.peek({ place: 'leased', after: (await queue.peek({ place: 'leased' }))[0]!.id })
    assert.equal(held?.data, 'held', 'it was read ahead')
    for (let seconds = 0; seconds < 125; seconds++) {
      await clock.advance(1_000)
      await settle(clock)
    }
    await runUntil(clock, worker.stop())
    assert(!handled.includes('held'))
    assert.equal(worker.stats().expired, 1)
    assert(spy.of('extend').length > 0)
  })

  test('means nothing for a dead letter, and redriving and replaying take it away', async () => {
    const { bus, clock } = scene()
    const queue = bus.queue('q')
    await queue.send('dead', { ttl: '1m' })
    await queue.send('archived', { ttl: '1m' })
    const [dead, archived] = await queue.read({ limit: 2 })
    await dead!.deadLetter('broken')
    await archived!.archive()
    await clock.advance(2 * minute)
    const [letter] = await bus.queue('q_dlq').read()
    assert.equal(letter?.data, 'dead')
    await letter.release()
    await queue.deadLetters.redrive()
    await queue.replay()
    const back = await queue.read({ limit: 10 })
    assert.deepEqual(datas(back), ['dead', 'archived'])
    assert(back.every(({ meta }) => meta.ttlMs === undefined))
  })

  test('is judged by the clock of the storage', async () => {
    const { clock, memory, bus } = scene()
    await bus.queue('q').send(1, { ttl: '1m' })
    const ahead = new Bus(memory, {
      clock: {
        now: () => clock.now() + 24 * 60 * minute,
        steady: () => clock.steady(),
        after: clock.after.bind(clock),
      },
    })
    assert.deepEqual(datas(await ahead.queue('q').read()), [1])
    const behind = new Bus(memory, {
      clock: {
        now: () => clock.now() - 24 * 60 * minute,
        steady: () => clock.steady(),
        after: clock.after.bind(clock),
      },
    })
    await behind.queue('r').send(2, { ttl: '1m' })
    assert.deepEqual(datas(await bus.queue('r').read({ lease: 100 })), [2])
    await clock.advance(minute)
    assert.deepEqual(datas(await bus.queue('r').read()), [])
  })

  test('that another program wrote badly is none', async () => {
    const { bus, memory, clock } = scene()
    await bus.queue('q').create()
    const plain = { headers: {}, delayMs: 0, notBefore: null, priority: 0, orderingKey: null, dedup: null }
    for (const ttl_ms of ['soon', -5, true, -1e300])
      await memory.send('q', [{ ...plain, data: '1', meta: { ttl_ms }, uniqueTarget: null, bare: false }], null)
    await clock.advance(minute)
    assert.equal((await bus.queue('q').read({ limit: 10 })).length, 4)
  })
})

describe('who is told that a message expired', () => {
  test.each([
    ['drop', { expired: 1, deadLettered: 0 }, ['info: a message expired and was dropped']],
    ['deadLetter', { expired: 1, deadLettered: 1 }, ['error: a message was dead-lettered']],
  ] as const)('%s: the observer, the counts and the log of a worker', async (expired, counts, lines) => {
    const { bus, clock, memory } = scene()
    await bus.queue('q').send('expired', { ttl: '1m' })
    await clock.advance(minute)
    const log = new Lines()
    const queue = new Bus(memory, { clock, logger: log }).queue('q', { expired })
    const told: string[] = []
    const worker = queue.work(() => assert.fail('it was handled'), { observe: ({ type }) => void told.push(type) })
    await runUntil(clock, worker.drain())
    assert(told.includes('expired'))
    assert(!told.includes('started') && !told.includes('failed'))
    const stats = worker.stats()
    assert.deepEqual({ expired: stats.expired, deadLettered: stats.deadLettered }, counts)
    assert.deepEqual(
      log.lines.map(({ level, text }) => `${level}: ${text}`),
      lines,
    )
  })

  test.each(['read', 'pop'] as const)('the log, by %s', async (way) => {
    const { bus, clock, memory } = scene()
    await bus.queue('q').send('expired', { ttl: '1m' })
    await clock.advance(minute)
    const log = new Lines()
    await new Bus(memory, { clock, logger: log }).queue('q', { expired: 'drop' })[way]()
    assert.deepEqual(
      log.lines.map(({ text }) => text),
      ['a message expired and was dropped'],
    )
  })
})

test('a pop whose dead letter cannot be kept says so, and returns the others', async () => {
  const { bus, spy, clock } = scene()
  const log = new Lines()
  await bus.queue('q').send('expired', { ttl: '1m' })
  await bus.queue('q').send('good')
  await clock.advance(minute)
  spy.before = (member) => {
    if (member === 'send') throw new Error('no')
  }
  const popped: StoredCopy<unknown>[] = await new Bus(spy.engine, { clock, logger: log }).queue('q').pop({ limit: 2 })
  assert.deepEqual(datas(popped), ['good'])
  assert.match(log.lines[0]!.text, /could not be dead-lettered/)
})

test('a message is never both handled and expired, and never neither', async () => {
  const message = fc.record({ ttl: fc.integer({ min: 1, max: 5_000 }), fails: fc.integer({ min: 0, max: 3 }) })
  const run = fc.record({
    messages: fc.array(message, { minLength: 1, maxLength: 12 }),
    pauses: fc.array(fc.integer({ min: 0, max: 2_000 }), { maxLength: 5 }),
    workMs: fc.integer({ min: 0, max: 900 }),
    concurrency: fc.constantFrom(1, 3),
    expired: fc.constantFrom('deadLetter', 'drop'),
  })
  await fc.assert(
    fc.asyncProperty(run, async ({ messages, pauses, workMs, concurrency, expired }) => {
      const { bus, clock } = scene()
      const queue = bus.queue<number>('q', { expired })
      const expiresAt = messages.map(({ ttl }) => clock.now() + ttl)
      await queue.sendBatch(messages.map(({ ttl }, index) => ({ data: index, ttl })))
      for (const pause of pauses) await clock.advance(pause)
      const done: number[] = []
      const gone: number[] = []
      const worker = queue.work(
        async ({ data }, { attempt }) => {
          await new Promise<void>((resolve) => clock.after(workMs, resolve))
          if (attempt <= messages[data]!.fails) throw new Error('again')
          done.push(data)
        },
        {
          concurrency,
          backoff: 700,
          observe: (event) => {
            if (event.type !== 'expired') return
            const index = event.message.data as number
            gone.push(index)
            assert(clock.now() >= expiresAt[index]!, 'not before its time')
          },
        },
      )
      for (let step = 0; step < 200 && done.length + gone.length < messages.length; step++) {
        await settle(clock)
        await clock.advance(100)
      }
      assert.deepEqual(
        [...done, ...gone].sort((a, b) => a - b),
        messages.map((_, index) => index),
      )
      const stopped = worker.stop()
      await runUntil(clock, stopped)
      const dead = await queue.deadLetters.list()
      assert.equal(dead.length, expired === 'drop' ? 0 : gone.length)
      await bus.close()
    }),
    { numRuns: 60 },
  )
})

describe('many that have expired', () => {
  test.each([
    ['pop', async (bus: Bus) => bus.queue('q').pop({ limit: 10 }), 'send'],
    [
      'a claim of a server',
      (bus: Bus) => bus.stored.queue('q').claimPage({ limit: 1_001, leaseMs: 1_000, ids: null }),
      'settle',
    ],
  ] as const)('by %s become dead letters in batches', async (_how, take, member) => {
    const { bus, clock, spy } = scene()
    await bus.queue('q').sendBatch(Array.from({ length: 1_000 }, (_, data) => ({ data, ttl: '1s' as const })))
    await bus.queue('q').send('good')
    await clock.advance(2_000)
    spy.calls.length = 0
    await take(bus)
    assert.equal((await bus.queue('q').deadLetters.list({ limit: 1_000 })).length, 1_000)
    // A pop takes ten at a time, a claim all at once.
    assert(spy.of(member).length <= (member === 'send' ? 105 : 2), `${spy.of(member).length} calls`)
  })
})
