import { TidingsError } from 'tidings/internal/core/errors'
import { describe, expect, test } from 'vitest'
import { lostConnection, runUntil, scene, settleDown } from './support.ts'

describe('outages', () => {
  test('the storage is away at the start: the worker begins when it is back', async () => {
    const { bus, clock, server, watcher, observe, log } = scene()
    const queue = bus.queue('start')
    server.down = new TidingsError('CONNECTION_FAILED', 'nobody listens')
    queue.work(() => {}, { observe })
    await watcher.until('fetchFailed')
    await runUntil(clock, Promise.race([clockPassed(clock, 60_000)]), 500)
    server.down = null
    const back = clock.now()
    await queue.send('x')
    await runUntil(clock, watcher.until('succeeded'))
    expect(clock.now() - back).toBeLessThanOrEqual(2_000)
    expect(watcher.of('fetchFailed')).toHaveLength(1)
    expect(watcher.of('fetchResumed')).toHaveLength(1)
    expect(log.lines.filter((line) => line.text.includes('cannot read'))).toHaveLength(1)
    await bus.close()
  })

  test.each(['CONNECTION_LOST', 'OUTCOME_UNKNOWN', 'STORAGE_FULL', 'STORAGE_FAILED', 'PERMISSION_DENIED'] as const)(
    'a sleeping worker goes on after %s, at most 2 s after the storage is back',
    async (code) => {
      const { bus, clock, server, watcher, observe } = scene()
      const queue = bus.queue('asleep')
      queue.work(() => {}, { observe })
      await watcher.until('idle')
      await settleDown(clock)
      server.down = new TidingsError(code, 'trouble')
      await runUntil(clock, watcher.until('fetchFailed'))
      await runUntil(clock, clockPassed(clock, 30_000))
      server.down = null
      const back = clock.now()
      await queue.send('x')
      await runUntil(clock, watcher.until('succeeded'))
      expect(clock.now() - back).toBeLessThanOrEqual(2_000)
      await bus.close()
    },
  )

  test('calls to a storage that is away are rare', async () => {
    const { bus, clock, server, watcher, observe } = scene()
    bus.queue('patient').work(() => {}, { observe })
    server.down = lostConnection()
    await watcher.until('fetchFailed')
    const before = server.calls.length
    await runUntil(clock, clockPassed(clock, 10_000))
    expect(server.calls.length - before).toBeLessThan(30)
    server.down = null
    await runUntil(clock, bus.close())
  })

  // Whichever of the two would have tried next.
  test.each([0, 200, 400, 600, 800])(
    'after %i ms more than 20 s, longer than the leases, what was handled is settled, not handled again',
    async (moreMs) => {
      const { bus, clock, server, watcher, observe } = scene()
      const queue = bus.queue('settle-first')
      await queue.sendBatch(Array.from({ length: 20 }, (_, data) => ({ data })))
      server.trouble = (member) => (member === 'settle' ? lostConnection() : null)
      const worker = queue.work(() => {}, { observe })
      await watcher.until('settleFailed', 20)
      server.down = lostConnection()
      await runUntil(clock, clockPassed(clock, 20_000 + moreMs))
      server.down = null
      server.trouble = () => null
      await runUntil(clock, watcher.until('succeeded', 20))
      await settleDown(clock)
      expect(worker.stats()).toMatchObject({ started: 20, succeeded: 20, leaseLost: 0 })
      await bus.close()
    },
  )

  test('a handled message that is claimed again before its settlement is not handled again', async () => {
    const { bus, clock, server, watcher, observe } = scene()
    const queue = bus.queue('claimed-first')
    await queue.send('x')
    let isLocked = true
    server.trouble = (member) => (isLocked && ['settle', 'extend'].includes(member) ? lostConnection() : null)
    const worker = queue.work(() => {}, { observe })
    await watcher.until('settleFailed')
    // The claim is first when the lock is gone, after the end of the lease.
    await runUntil(clock, watcher.until('claimed', 2))
    isLocked = false
    await runUntil(clock, watcher.until('succeeded'))
    expect(worker.stats()).toMatchObject({ started: 1, succeeded: 1, leaseLost: 0 })
    expect(await queue.stats()).toMatchObject({ ready: 0, leased: 0 })
    await bus.close()
  })

  test('the number of handled but unsettled messages is bounded', async () => {
    const { bus, clock, server, watcher, observe } = scene()
    const queue = bus.queue('bounded')
    await queue.sendBatch(Array.from({ length: 5_000 }, (_, data) => ({ data })))
    server.trouble = (member) => (member === 'settle' ? lostConnection() : null)
    const worker = queue.work(() => {}, { observe })
    await watcher.until('started', 1_000)
    await runUntil(clock, clockPassed(clock, 1_000))
    expect(worker.stats().started).toBeLessThanOrEqual(1_010)
    server.trouble = () => null
    await runUntil(clock, worker.drain())
    expect(worker.stats().succeeded).toBe(5_000)
  })

  test('a settlement that is refused for good is told; the message comes back when its lease is over', async () => {
    const { bus, clock, server, watcher, observe } = scene()
    const queue = bus.queue('refused')
    await queue.send('x')
    let refuse = true
    server.trouble = (member) =>
      member === 'settle' && refuse ? new TidingsError('PERMISSION_DENIED', 'no right to delete') : null
    const attempts: number[] = []
    queue.work((_, { attempt }) => void attempts.push(attempt), { observe })
    expect(await watcher.until('settleFailed')).toMatchObject({ final: true, error: { code: 'PERMISSION_DENIED' } })
    refuse = false
    await runUntil(clock, watcher.until('succeeded'))
    expect(attempts).toEqual([1, 2])
    await bus.close()
  })

  test('a queue that is missing is created; one that is dropped is created again', async () => {
    const { bus, clock, engine, watcher, observe } = scene()
    const queue = bus.queue('dropped')
    queue.work(() => {}, { observe })
    await watcher.until('idle')
    expect(await bus.queues()).toHaveLength(1)
    await engine.dropQueue('dropped')
    await runUntil(clock, watcher.until('fetchResumed'))
    await queue.send('x')
    await runUntil(clock, watcher.until('succeeded'))
    await bus.close()
  })

  test('a queue that is missing and must not be created is looked for slowly', async () => {
    const { bus, clock, server, watcher, observe, log } = scene()
    const queue = bus.queue('absent', { create: false })
    queue.work(() => {}, { observe, pollInterval: '5s' })
    expect(await watcher.until('fetchFailed')).toMatchObject({ error: { code: 'QUEUE_NOT_FOUND' } })
    const before = server.countOf('claim')
    await runUntil(clock, clockPassed(clock, 60_000), 500)
    expect(server.countOf('claim') - before).toBeLessThanOrEqual(14)
    expect(log.lines).toHaveLength(1)
    await queue.create()
    await queue.send('x')
    await runUntil(clock, watcher.until('succeeded'))
    await bus.close()
  })

  test('an outage in the pause of strict order', async () => {
    const { bus, clock, server, watcher, observe } = scene()
    const queue = bus.queue<number>('order')
    await queue.sendBatch([{ data: 0 }, { data: 1 }])
    const calls: string[] = []
    queue.work(
      ({ data }, { attempt }) => {
        calls.push(`${data}.${attempt}`)
        if (data === 0 && attempt === 1) throw new Error('once')
      },
      { concurrency: 1, backoff: '1s', observe },
    )
    await watcher.until('paused')
    server.down = lostConnection()
    await runUntil(clock, clockPassed(clock, 10_000))
    server.down = null
    await runUntil(clock, watcher.until('succeeded', 2))
    expect(calls).toEqual(['0.1', '0.2', '1.1'])
    await bus.close()
  })
})

function clockPassed(clock: { after(ms: number, callback: () => void): unknown }, milliseconds: number): Promise<void> {
  return new Promise((resolve) => void clock.after(milliseconds, resolve))
}
