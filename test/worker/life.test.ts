import { Bus } from 'tidings/internal/bus/bus'
import { sleep } from 'tidings/internal/core/clock'
import { TidingsError } from 'tidings/internal/core/errors'
import type { Message } from 'tidings/internal/messages/message'
import type { ClaimRequest } from 'tidings/internal/port/engine'
import type { Listener } from 'tidings/internal/port/listening'
import type { HandlerContext } from 'tidings/internal/worker/worker'
import { describe, expect, test } from 'vitest'
import { datas, lostConnection, runUntil, type Scene, Signal, scene, settleDown, Watcher } from './support.ts'

/** Another process on the same storage. */
const otherBus = ({ clock, server }: Scene) => new Bus(server.memory, { clock })

/** Nothing runs in the process for so long. */
function blockFor({ clock }: Scene, milliseconds: number): void {
  const [now, steady] = [clock.now.bind(clock), clock.steady.bind(clock)]
  clock.now = () => now() + milliseconds
  clock.steady = () => steady() + milliseconds
}

/** What the storage tells of the life of this process. */
function listenerOf({ server }: Scene): () => Listener {
  const listen = server.memory.listen.bind(server.memory)
  let listener: Listener | undefined
  server.memory.listen = (one) => {
    listener = one
    return listen(one)
  }
  return () => listener!
}

const claimsOf = ({ server }: Scene) =>
  server.calls.filter(({ member }) => member === 'claim').map(({ args }) => args[1] as ClaimRequest)
const many = (count: number) => Array.from({ length: count }, (_, data) => ({ data }))

/** A worker with messages read ahead: the first are handled at once, and then `end` is waited for. */
async function withReadAhead(here: Scene, { count = 600, ...options }: { count?: number; maxAttempts?: number } = {}) {
  const { bus, watcher, observe, clock } = here
  const queue = bus.queue<number>('ahead')
  await queue.sendBatch(many(count))
  const end = new Signal()
  const worker = queue.work(({ data }) => (data < 300 ? undefined : end.promise), {
    concurrency: 5,
    observe,
    ...options,
  })
  await watcher.until('started', 305)
  await settleDown(clock)
  expect(worker.stats().buffered).toBeGreaterThan(50)
  return { queue, end, worker }
}

/** After it was killed. */
async function close({ bus, clock, server }: Scene): Promise<void> {
  server.down = null
  await runUntil(clock, bus.close())
}

describe('a process that is gone', () => {
  test('its messages are in another handler at once', async () => {
    const here = scene()
    const { bus, clock, server, watcher, observe } = here
    await bus.queue('q').sendBatch(many(3))
    bus.queue('q').work(() => new Promise(() => {}), { concurrency: 3, observe })
    await watcher.until('started', 3)
    const there = otherBus(here)
    const second = new Watcher()
    const attempts: number[] = []
    there.queue('q').work((_, { attempt }) => void attempts.push(attempt), { observe: second.observe })
    await second.until('idle')
    await settleDown(clock)
    const before = clock.now()
    await server.kill()
    await runUntil(clock, second.until('succeeded', 3))
    expect(clock.now() - before).toBeLessThanOrEqual(100)
    expect(attempts).toEqual([2, 2, 2])
    await there.close()
    await close(here)
  })

  test('of what it had read ahead nothing counts but one attempt that may have been made', async () => {
    const here = scene()
    const { clock, server } = here
    // More than one process reads ahead, so that the other one has begun, too.
    await withReadAhead(here, { count: 2_000 })
    const there = otherBus(here)
    const second = new Watcher()
    const attempts = new Map<number, number>()
    await there.queue('ahead').work(({ data }, { attempt }) => void attempts.set(data as number, attempt), {
      observe: second.observe,
      concurrency: 5,
    })
    await second.until('claimed')
    await server.kill()
    await runUntil(clock, second.until('succeeded', 1_700))
    expect([...attempts.values()].filter((attempt) => attempt > 2)).toEqual([])
    expect(second.of('deadLettered')).toEqual([])
    await there.close()
    await close(here)
  })

  test('the maximum is kept, and the dead letter says what is known', async () => {
    const here = scene()
    const { bus, clock, server } = here
    const queue = bus.queue('q')
    await queue.send('poison')
    let begun = 0
    for (let round = 0; round < 2; round++) {
      const leased = (await server.memory.claim('q', { limit: 1, leaseMs: 1_000, ids: null })).messages[0]!
      begun++
      const ending = {
        kind: 'release',
        delayMs: 0,
        uncount: false,
        meta: { process_lost_at: '2026-01-01T00:00:00.000Z' },
      } as const
      await server.memory.settle('q', [{ id: leased.id, receipt: leased.receipt!, ...ending }])
    }
    await runUntil(clock, queue.work(() => void begun++, { maxAttempts: 2 }).drain())
    const [letter] = await bus.queue('q_dlq').read()
    expect(begun).toBe(2)
    expect(letter!.meta.errorMessage).toBe(
      'all 2 attempts were made, and the last was made by a process that was lost at 2026-01-01T00:00:00.000Z',
    )
    await bus.close()
  })

  test('of messages at their last attempt the next is begun when the storage knows of the end of the one before', async () => {
    const here = scene()
    const { bus, clock, server, watcher, observe } = here
    const queue = bus.queue<number>('q')
    await queue.sendBatch(many(3))
    const meta = { process_lost_at: '2026-01-01T00:00:00.000Z' }
    const ending = { kind: 'release', delayMs: 0, uncount: false, meta } as const
    const { messages } = await server.memory.claim('q', { limit: 3, leaseMs: 1_000, ids: null })
    await server.memory.settle(
      'q',
      messages.map(({ id, receipt }) => ({ id, receipt: receipt!, ...ending })),
    )
    const settle = server.memory.settle.bind(server.memory)
    const known = new Set<string>()
    server.memory.settle = async (name, settlements) => {
      // So that others are claimed meanwhile.
      await sleep(clock, 3_000)
      const answer = await settle(name, settlements)
      for (const { kind, id } of settlements) if (kind === 'delete') known.add(id)
      return answer
    }
    const knownAtBegin: number[] = []
    queue.work(() => void knownAtBegin.push(known.size), { concurrency: 3, maxAttempts: 2, observe })
    await runUntil(clock, watcher.until('succeeded', 3))
    expect(knownAtBegin).toEqual([0, 1, 2])
    await runUntil(clock, bus.close())
  })

  test('a failure after a loss is told as what it was', async () => {
    const { bus, clock, server, watcher, observe } = scene()
    const queue = bus.queue('q')
    await queue.send('x')
    const leased = (await server.memory.claim('q', { limit: 1, leaseMs: 1_000, ids: null })).messages[0]!
    const ending = { kind: 'release', delayMs: 0, uncount: false, meta: { process_lost_at: 'then' } } as const
    await server.memory.settle('q', [{ id: leased.id, receipt: leased.receipt!, ...ending }])
    queue.work(() => Promise.reject(new Error('no')), { observe, backoff: '1h' })
    await runUntil(clock, watcher.until('failed'))
    const [message] = await queue.peek()
    expect([message!.meta.processLostAt, message!.meta.errorMessage]).toEqual([undefined, 'no'])
    await bus.close()
  })

  test('with one attempt nothing is read ahead', async () => {
    const here = scene()
    const { bus, clock, watcher, observe } = here
    const queue = bus.queue('q')
    await queue.sendBatch(many(200))
    await runUntil(clock, queue.work(() => {}, { concurrency: 3, maxAttempts: 1, observe }).drain())
    expect(watcher.of('succeeded')).toHaveLength(200)
    for (const { limit, ahead, held } of claimsOf(here)) expect([limit <= 3, ahead, held]).toEqual([true, 0, true])
  })
})

describe('a process that was blocked or stopped', () => {
  test('tells it once, with the messages in handlers, and renews before it begins more', async () => {
    const here = scene()
    const { clock, server, watcher, log } = here
    const { end, worker } = await withReadAhead(here)
    const before = watcher.of('started').length
    blockFor(here, 6_000)
    const extend = new Signal()
    const original = server.memory.extend.bind(server.memory)
    server.memory.extend = async (...args) => {
      await extend.promise
      return original(...args)
    }
    end.resolve()
    await settleDown(clock)
    const [event, ...others] = watcher.of('blocked')
    expect(others).toEqual([])
    expect(datas(event!.messages.map((message) => ({ message })))).toEqual([300, 301, 302, 303, 304])
    expect(event!.durationMs).toBeGreaterThanOrEqual(5_500)
    expect(log.lines.filter(({ text }) => text.includes('nothing could run'))).toHaveLength(1)
    expect(worker.stats().blocked).toBe(1)
    expect(watcher.of('started')).toHaveLength(before)
    extend.resolve()
    await runUntil(clock, watcher.until('succeeded', 600))
    expect(watcher.of('leaseLost')).toEqual([])
    expect(watcher.of('started')).toHaveLength(600)
    await worker.stop()
  })

  test('keeps what it has for 30 s, at any moment', async () => {
    for (const offsetMs of [0, 3_000, 7_500, 9_900, 10_300]) {
      const here = scene()
      const { bus, clock, watcher, observe } = here
      const queue = bus.queue('q')
      await queue.send('x')
      const end = new Signal()
      queue.work(() => end.promise, { observe })
      await watcher.until('started')
      await clock.advance(60_000 + offsetMs)
      blockFor(here, 30_000)
      expect(await otherBus(here).queue('q').read(), `${offsetMs}`).toEqual([])
      await clock.advance(10_000)
      end.resolve()
      await watcher.until('succeeded')
      expect(watcher.of('leaseLost')).toEqual([])
      await bus.close()
    }
  })

  test('begins nothing whose lease has ended', async () => {
    const here = scene()
    const { clock, watcher } = here
    const { end, queue, worker } = await withReadAhead(here)
    const started = watcher.of('started').length
    blockFor(here, 60_000)
    const taken = await otherBus(here).queue('ahead').read({ limit: 1_000, lease: '1h' })
    expect(taken.length).toBeGreaterThan(50)
    end.resolve()
    await runUntil(clock, watcher.until('leaseLost', 5))
    await clock.advance(10_000)
    const ids = new Set(taken.map(({ id }) => id))
    const begun = watcher
      .of('started')
      .slice(started)
      .filter(({ message }) => ids.has(message.id))
    expect(begun).toEqual([])
    expect((await queue.stats()).leased).toBe(taken.length)
    await worker.stop()
  })

  test('takes nothing of a claim that came too late, and no attempt counts', async () => {
    const here = scene()
    const { bus, clock, server, watcher, observe } = here
    const queue = bus.queue('q')
    await queue.sendBatch(many(3))
    const claim = server.memory.claim.bind(server.memory)
    let isLate = true
    server.memory.claim = async (name, request) => {
      const answer = await claim(name, request)
      if (isLate) blockFor(here, 60_000)
      isLate = false
      return answer
    }
    const attempts: number[] = []
    queue.work((_, { attempt }) => void attempts.push(attempt), { observe })
    await runUntil(clock, watcher.until('succeeded', 3))
    expect(watcher.of('returned')).toMatchObject([{ count: 3 }])
    expect(attempts).toEqual([1, 1, 1])
    expect(claimsOf(here)[1]!.leaseMs).toBeGreaterThan(100_000)
    await bus.close()
  })
})

describe('a process that could not be heard', () => {
  test('renews what it holds before it begins more', async () => {
    const here = scene()
    const { clock, server, watcher } = here
    const listener = listenerOf(here)
    const { end, worker } = await withReadAhead(here)
    const before = watcher.of('started').length
    server.trouble = (member) => (member === 'extend' ? lostConnection() : null)
    listener().lost(['life'], lostConnection())
    end.resolve()
    await watcher.until('succeeded', 305)
    await clock.advance(1_000)
    expect(watcher.of('started')).toHaveLength(before)
    server.trouble = () => null
    await runUntil(clock, watcher.until('succeeded', 600))
    expect(watcher.of('leaseLost')).toEqual([])
    await worker.stop()
  })

  test('claims nothing until it can be heard again: what a lost answer has leased would belong to nobody', async () => {
    const here = scene()
    const { bus, clock, watcher, observe } = here
    const listener = listenerOf(here)
    const queue = bus.queue('q')
    queue.work(() => {}, { observe })
    await watcher.until('idle')
    await settleDown(clock)
    const before = claimsOf(here).length
    listener().lost(['life'], lostConnection())
    await queue.send('x')
    await clock.advance(50)
    expect(claimsOf(here)).toHaveLength(before)
    await clock.advance(50)
    await watcher.until('succeeded')
    await bus.close()
  })

  test('drops what others have by now', async () => {
    const here = scene()
    const { clock, watcher } = here
    const listener = listenerOf(here)
    const { end, queue, worker } = await withReadAhead(here)
    await queue.purge()
    listener().woken('life', 0)
    await runUntil(clock, watcher.until('leaseLost', 5))
    expect(worker.stats().buffered).toBe(0)
    end.resolve()
    await worker.stop()
    expect(watcher.of('started')).toHaveLength(305)
  })
})

describe('a settlement whose answer was lost', () => {
  const unknown = () => new TidingsError('OUTCOME_UNKNOWN', 'the answer was lost')

  /** The storage does the first settlement, and its answer is lost. */
  function loseAnswer({ server }: Scene): void {
    const settle = server.memory.settle.bind(server.memory)
    let isFirst = true
    server.memory.settle = async (...args) => {
      const answer = await settle(...args)
      if (!isFirst) return answer
      isFirst = false
      throw unknown()
    }
  }

  test('is told as done where nobody else can have had the message', async () => {
    const here = scene()
    const { bus, clock, watcher, observe } = here
    const queue = bus.queue('q')
    await queue.sendBatch(many(3))
    loseAnswer(here)
    const worker = queue.work(() => {}, { observe })
    await runUntil(clock, watcher.until('succeeded', 3))
    expect(worker.stats()).toMatchObject({ started: 3, succeeded: 3, leaseLost: 0, outcomeUnknown: 0 })
    await bus.close()
  })

  test('is told as unknown where the life of the process was in doubt', async () => {
    const here = scene()
    const { bus, clock, watcher, observe } = here
    const listener = listenerOf(here)
    const queue = bus.queue('q')
    await queue.send('x')
    loseAnswer(here)
    const worker = queue.work(() => {}, { observe })
    await watcher.until('settleFailed')
    listener().woken('life', 0)
    await runUntil(clock, watcher.until('outcomeUnknown'))
    expect(worker.stats()).toMatchObject({ succeeded: 0, leaseLost: 0, outcomeUnknown: 1 })
    await bus.close()
  })

  test('is told to a reader that asks again', async () => {
    const here = scene()
    const { bus, clock } = here
    const queue = bus.queue('q')
    await queue.sendBatch(many(2))
    const [first, second] = await queue.read({ limit: 2, lease: '30s' })
    for (const [message, waitMs] of [
      [first!, 29_000],
      [second!, 31_000],
    ] as const) {
      loseAnswer(here)
      await expect(message.delete()).rejects.toMatchObject({ code: 'OUTCOME_UNKNOWN' })
      await clock.advance(waitMs)
      if (message === first) expect(await message.delete()).toBe(true)
      else await expect(message.delete()).rejects.toMatchObject({ code: 'OUTCOME_UNKNOWN', details: { final: true } })
    }
    await bus.close()
  })

  test('is told by a loop', async () => {
    const here = scene()
    const { bus, clock, log } = here
    const queue = bus.queue('q')
    await queue.sendBatch(many(2))
    loseAnswer(here)
    const seen: unknown[] = []
    const loop = async () => {
      for await (const { data } of queue.consume({ wait: '1s' })) seen.push(data)
    }
    await runUntil(clock, loop())
    expect(seen).toEqual([0, 1])
    expect(log.lines.filter(({ text }) => text.includes('lost'))).toEqual([])
    await bus.close()
  })
})

test('a loop over a queue begins no message whose lease was lost while nothing could run', async () => {
  const here = scene()
  const { bus, clock, server } = here
  const queue = bus.queue('q')
  await queue.sendBatch(many(2))
  const claim = server.memory.claim.bind(server.memory)
  let isFirst = true
  server.memory.claim = async (name, request) => {
    const answer = await claim(name, request)
    // Less than the lease, but more than the storage waits for a process.
    if (isFirst) blockFor(here, 10_000)
    if (isFirst) await queue.purge()
    isFirst = false
    return answer
  }
  const seen: unknown[] = []
  const loop = async () => {
    for await (const { data } of queue.consume({ wait: '1s' })) seen.push(data)
  }
  await runUntil(clock, loop())
  expect(seen).toEqual([])
  await bus.close()
})

test('really: a handler that computes for seconds keeps its message and those behind it', async () => {
  const bus = new Bus(scene().server.memory)
  const watcher = new Watcher()
  const queue = bus.queue<number>('busy')
  await queue.sendBatch(many(3))
  const seen: number[] = []
  const compute = ({ data }: Message<number>, _: HandlerContext) => {
    seen.push(data)
    if (data === 0) for (const end = performance.now() + 1_900; performance.now() < end; );
  }
  queue.work(compute, { lease: '4s', observe: watcher.observe })
  await watcher.until('succeeded', 3)
  expect(seen).toEqual([0, 1, 2])
  const [event] = watcher.of('blocked')
  expect(event!.messages.map(({ data }) => data)).toContain(0)
  expect(event!.durationMs).toBeGreaterThan(1_000)
  expect(watcher.of('leaseLost')).toEqual([])
  await bus.close()
})
