import assert from 'node:assert/strict'
import { Bus } from 'tidings/internal/bus/bus'
import { FakeClock } from 'tidings/internal/core/fake-clock'
import { MemoryEngine } from 'tidings/internal/engines/memory/memory'
import type { ScheduleOptions } from 'tidings/internal/schedules/options'
import { describe, onTestFinished, test } from 'vitest'
import { occurrencesIn, stepsBetween } from '../support/schedules.ts'

/** A bus on a memory that others use too, with a process that sends what is due. @param sends left out: it does not */
async function open({ sends = true } = {}) {
  // The clock of the process is not that of the storage.
  const [storageClock, clock] = [new FakeClock(), new FakeClock(0)]
  const engine = new MemoryEngine({ clock: storageClock })
  const logs: object[] = []
  const log = (fields: object) => void logs.push(fields)
  const bus = new Bus(engine, { clock, logger: { debug: log, info: log, warn: log, error: log } })
  onTestFinished(() => bus.close())
  await bus.queue('reports').create()
  const worker = sends ? bus.queue('other').work(() => {}) : undefined
  await bus.queue('other').create()
  const pass = async (milliseconds: number, step = Math.min(milliseconds, 500)) => {
    for (let passed = 0; passed < milliseconds; passed += step)
      await Promise.all([storageClock.advance(step), clock.advance(step)])
  }
  await pass(1)
  return { bus, engine, pass, storageClock, worker, logs }
}

const code = (promise: Promise<unknown>) =>
  promise.then(
    () => 'none',
    (error: { code: string }) => error.code,
  )
const secondly = { cron: '* * * * * *', queue: 'reports' } as const

describe('a schedule', () => {
  test('sends at its times, by the clock of the storage, with what it says', async () => {
    const { bus, pass } = await open()
    const options = { data: { a: 1 }, headers: { h: 1 }, priority: 3, ttl: '1h', meta: { targetId: 't' } } as const
    const info = await bus.schedule('tick', { ...secondly, ...options, limit: 3 })
    assert.equal(info.nextRunAt?.toISOString(), '2026-01-01T00:00:01.000Z')
    await pass(5_000)
    const messages = await bus.queue('reports').peek()
    assert.deepEqual(
      messages.map(({ meta }) => [meta.scheduledFor, meta.schedule, meta.targetId]),
      [1, 2, 3].map((second) => [`2026-01-01T00:00:0${second}.000Z`, 'tick', 't']),
    )
    const [{ data, headers, priority, meta }] = messages as [(typeof messages)[0]]
    assert.deepEqual([data, headers, priority, meta.ttlMs], [{ a: 1 }, { h: 1 }, 3, 3_600_000])
    const after = await bus.schedules.get('tick')
    assert.deepEqual([after.nextRunAt, after.runs, after.enabled], [null, 3, true])
    assert.deepEqual(await bus.schedules.next('tick', 5), [])
  })

  test('goes into a topic, and under a routing key', async () => {
    const { bus, pass } = await open()
    await bus.topic('news').create()
    await bus.bind('Reports.*', 'reports')
    await bus.schedule('a', { every: '1s', topic: bus.topic('news'), limit: 1 })
    await bus.schedule('b', { every: '1s', routingKey: 'Reports.Due', limit: 1 })
    await pass(2_000)
    assert.equal((await bus.topic('news').read())[0]?.meta.schedule, 'a')
    assert.equal((await bus.queue('reports').peek())[0]?.meta.schedule, 'b')
  })

  test('that is declared again changes nothing; where its times change, they count from now', async () => {
    const { bus, pass } = await open()
    const first = await bus.schedule('tick', { every: '10s', queue: 'reports' })
    await pass(4_000)
    assert.deepEqual(await bus.schedule('tick', { every: '10s', queue: bus.queue('reports') }), first)
    const changed = await bus.schedule('tick', { every: '10s', queue: 'reports', data: 1 })
    assert.deepEqual(changed.nextRunAt, first.nextRunAt)
    const slower = await bus.schedule('tick', { every: '20s', queue: 'reports', data: 1 })
    assert.equal(slower.nextRunAt!.getTime() - first.nextRunAt!.getTime(), 14_000)
    assert.deepEqual(await bus.schedule('tick', { every: '5s', queue: 'reports', onConflict: 'keep' }), slower)
  })

  test('at one time is over after it, and stays so', async () => {
    const { bus, pass } = await open()
    const once = { at: '2026-01-01T00:00:05Z', queue: 'reports' }
    await bus.schedule('once', once)
    await pass(7_000)
    assert.deepEqual(await occurrencesIn(bus, 'reports'), ['2026-01-01T00:00:05.000Z'])
    assert.equal((await bus.schedule('once', once)).nextRunAt, null)
    assert.equal((await bus.schedule('once', { ...once, data: 2 })).nextRunAt, null)
    await bus.schedules.disable('once')
    await bus.schedules.enable('once')
    await pass(2_000)
    assert.equal((await occurrencesIn(bus, 'reports')).length, 1)
  })

  test('that is disabled sends nothing, whoever declares it, and makes up for nothing', async () => {
    const { bus, pass } = await open()
    await bus.schedule('tick', secondly)
    assert.equal(await bus.schedules.disable('tick'), true)
    assert.equal(await bus.schedules.disable('tick'), false)
    await pass(3_000)
    const declared = await bus.schedule('tick', { ...secondly, data: 'new' })
    assert.deepEqual([declared.enabled, declared.nextRunAt], [false, null])
    await pass(3_000)
    assert.deepEqual(await occurrencesIn(bus, 'reports'), [])
    assert.equal(await bus.schedules.enable('tick'), true)
    await pass(2_000)
    assert.deepEqual(await occurrencesIn(bus, 'reports'), ['2026-01-01T00:00:07.000Z', '2026-01-01T00:00:08.000Z'])
    // What is declared otherwise counts.
    assert.equal((await bus.schedule('tick', { ...secondly, enabled: false })).enabled, false)
  })

  test('runs now beside its times, also where it is disabled', async () => {
    const { bus } = await open()
    await bus.schedule('tick', { cron: '@yearly', queue: 'reports', enabled: false })
    assert.equal(await bus.schedules.runNow('tick'), true)
    assert.equal(await bus.schedules.runNow('tick'), true)
    assert.equal((await occurrencesIn(bus, 'reports')).length, 2)
    assert.equal((await bus.schedules.get('tick')).runs, 0)
  })

  test('that is removed sends nothing more', async () => {
    const { bus, pass } = await open()
    await bus.schedule('tick', secondly)
    await pass(1_500)
    assert.equal(await bus.schedules.remove('tick'), true)
    assert.equal(await bus.schedules.remove('tick'), false)
    await pass(3_000)
    assert.equal((await occurrencesIn(bus, 'reports')).length, 1)
    assert.deepEqual(await bus.schedules.list(), [])
  })

  test('waits for a queue that is gone, and goes on when it is back', async () => {
    const { bus, pass, logs } = await open()
    await bus.schedule('tick', secondly)
    await bus.queue('reports').drop()
    await pass(8_000)
    assert.equal(logs.filter((one) => 'err' in one).length, 1)
    await bus.queue('reports').create()
    await pass(6_000)
    const found = await occurrencesIn(bus, 'reports')
    assert.equal(found[0], '2026-01-01T00:00:01.000Z')
    assert(stepsBetween(found).every((step) => step === 1))
  })

  test('is previewed with its jitter, which is that of the sending', async () => {
    const { bus, pass } = await open()
    await bus.schedule('tick', { every: '10s', jitter: '5s', queue: 'reports', limit: 2 })
    const next = await bus.schedules.next('tick', 5)
    assert.equal(next.length, 2)
    await pass(30_000)
    const sent = (await bus.queue('reports').peek()).map(({ sentAt }) => sentAt.getTime())
    for (const [index, time] of sent.entries()) assert(Math.abs(time - next[index]!.getTime()) <= 500)
    assert.deepEqual(stepsBetween(await occurrencesIn(bus, 'reports')), [10])
  })
})

describe('what nobody sent', () => {
  for (const [missed, seconds] of [
    ['skip', []],
    ['once', [10]],
    ['all', [8, 9, 10]],
  ] as const)
    test(`missed: '${missed}'`, async () => {
      const { bus, pass, logs } = await open({ sends: false })
      await bus.schedule('tick', { ...secondly, missed, maxMissed: 3, grace: 0 })
      await pass(10_400)
      bus.queue('other').work(() => {})
      await pass(1)
      const found = (await occurrencesIn(bus, 'reports')).map((text) => new Date(text).getUTCSeconds())
      assert.deepEqual(found, seconds)
      assert(logs.some((one) => 'skipped' in one && one.skipped === 10 - seconds.length))
    })
})

describe('overlap', () => {
  test("'skip' sends nothing while a message waits or is in hand", async () => {
    const { bus, pass } = await open()
    await bus.schedule('tick', { ...secondly, overlap: 'skip' })
    await pass(2_500)
    assert.equal((await occurrencesIn(bus, 'reports')).length, 1)
    assert.equal(await bus.schedules.runNow('tick'), false)
    const [message] = await bus.queue('reports').read()
    await pass(2_000)
    assert.equal((await occurrencesIn(bus, 'reports')).length, 1)
    await message!.delete()
    await pass(1_000)
    assert.deepEqual(await occurrencesIn(bus, 'reports'), ['2026-01-01T00:00:05.000Z'])
  })

  test("'replace' leaves the newest, beside what is in hand", async () => {
    const { bus, pass } = await open()
    await bus.queue('reports').send('of another')
    await bus.schedule('tick', { ...secondly, overlap: 'replace' })
    await pass(3_500)
    assert.deepEqual((await occurrencesIn(bus, 'reports')).slice(1), ['2026-01-01T00:00:03.000Z'])
    await bus.queue('reports').read({ limit: 10, lease: '1h' })
    await pass(2_000)
    assert.deepEqual((await occurrencesIn(bus, 'reports')).slice(1), [
      '2026-01-01T00:00:03.000Z',
      '2026-01-01T00:00:05.000Z',
    ])
  })
})

describe('an owner', () => {
  test('has what it declares; what it declares no more goes, and that of others stays', async () => {
    const { bus } = await open()
    await bus.schedule('by-hand', secondly)
    await bus.schedules.declare('a', { one: secondly, two: secondly })
    await bus.schedules.declare('b', { three: secondly })
    await bus.schedules.declare('a', { two: { ...secondly, data: 2 }, four: secondly })
    const found = await bus.schedules.list()
    assert.deepEqual(
      found.map(({ name, owner, data }) => [name, owner, data]),
      [
        ['by-hand', null, null],
        ['four', 'a', null],
        ['three', 'b', null],
        ['two', 'a', 2],
      ],
    )
  })

  test('keeps its own, and a declaration that fails changes nothing', async () => {
    const { bus } = await open()
    await bus.schedules.declare('a', { one: secondly })
    const before = await bus.schedules.list()
    assert.equal(await code(bus.schedules.declare('b', { two: secondly, one: secondly })), 'SCHEDULE_OWNED')
    assert.equal(await code(bus.schedule('one', secondly)), 'SCHEDULE_OWNED')
    assert.equal(
      await code(bus.schedules.declare('a', { two: secondly, x: { cron: 'x', queue: 'reports' } })),
      'CRON_INVALID',
    )
    assert.equal(await code(bus.schedules.declare('a', { two: { ...secondly, queue: 'repots' } })), 'QUEUE_NOT_FOUND')
    assert.deepEqual(await bus.schedules.list(), before)
    await bus.schedules.declare('a', { one: { ...secondly, data: 'old' } }, { onConflict: 'keep' })
    assert.deepEqual(await bus.schedules.list(), before)
  })
})

describe('bad input', () => {
  const cases: [string, unknown][] = [
    ['SCHEDULE_NEVER', { cron: '0 0 30 2 *', queue: 'reports' }],
    ['SCHEDULE_NEVER', { at: '2025-01-01', queue: 'reports' }],
    ['SCHEDULE_NEVER', { every: '1h', endAt: '2025-01-01', queue: 'reports' }],
    ['CRON_INVALID', { cron: '61 * * * *', queue: 'reports' }],
    ['CRON_INVALID', { cron: '* * * * * * *', queue: 'reports' }],
    ['CRON_INVALID', { cron: '', queue: 'reports' }],
    ['TIMEZONE_UNKNOWN', { cron: '* * * * *', timezone: 'Europe/Nowhere', queue: 'reports' }],
    ['OPTION_CONFLICT', { every: '1h', timezone: 'UTC', queue: 'reports' }],
    ['OPTION_CONFLICT', { every: '1h', cron: '* * * * *', queue: 'reports' }],
    ['OPTION_CONFLICT', { every: '1h', queue: 'reports', topic: 'news' }],
    ['OPTION_CONFLICT', { every: '1h', routingKey: 'A.B', overlap: 'skip' }],
    ['TYPE', { queue: 'reports' }],
    ['TYPE', { every: '1h' }],
    ['QUEUE_NOT_FOUND', { every: '1h', queue: 'repots' }],
    ['TOPIC_NOT_FOUND', { every: '1h', topic: 'news' }],
    ['KEY_INVALID', { every: '1h', routingKey: 'A..B' }],
    ['RANGE', { every: '1h', queue: 'reports', limit: 0 }],
    ['RANGE', { every: '10ms', queue: 'reports' }],
    ['RANGE', { every: '1h', startAt: '2027-01-02', endAt: '2027-01-01', queue: 'reports' }],
    ['OPTION_UNKNOWN', { every: '1h', queue: 'reports', delay: 1 }],
    ['BODY_NOT_JSON', { every: '1h', queue: 'reports', data: () => 1 }],
  ]
  test('is refused with its code, and leaves nothing behind', async () => {
    const { bus } = await open()
    for (const [expected, options] of cases)
      assert.equal(await code(bus.schedule('bad', options as ScheduleOptions)), expected, JSON.stringify(options))
    assert.equal(await code(bus.schedule('Bad', secondly)), 'SCHEDULE_NAME_INVALID')
    assert.deepEqual(await bus.schedules.list(), [])
    for (const call of ['get', 'enable', 'disable', 'next', 'runNow'] as const)
      assert.equal(await code(bus.schedules[call]('none')), 'SCHEDULE_NOT_FOUND', call)
    assert.equal(await code(bus.schedules.next('none', 0)), 'RANGE')
  })

  test('hints name what may have been meant', async () => {
    const { bus } = await open()
    await bus.schedule('nightly', secondly)
    await assert.rejects(bus.schedules.get('nigthly'), { hint: "Did you mean 'nightly'?" })
    const zone = { cron: '* * * * *', timezone: 'Europe/Berln', queue: 'reports' }
    await assert.rejects(bus.schedule('x', zone), { hint: "Did you mean 'Europe/Berlin'?" })
  })
})
