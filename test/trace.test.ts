import { connect, type TraceEvent, type TraceOptions } from 'tidings'
import { describe, expect, test } from 'vitest'
import { refusal, scene } from './queue/support.ts'
import { sharedServer } from './support/shared-servers.ts'

const start = Date.UTC(2026, 0, 1)
const brief = (events: readonly TraceEvent[]) =>
  events.map(({ at, queue, id, kind }) => `${(at.getTime() - start) / 1000}s ${queue} ${id} ${kind}`)

async function journey() {
  const all = scene()
  const { bus, clock } = all
  const meta = { targetId: 'p-7', actionType: 'add' }
  const [hires, payroll] = [bus.queue('hires'), bus.queue('payroll')]
  await hires.send(1, { meta })
  await hires.send(2, { meta: { targetId: 'p-8' } })
  await clock.advance(10_000)
  await payroll.send(1, { meta })
  await clock.advance(10_000)
  const [first] = await hires.read()
  await clock.advance(1_000)
  await first!.archive()
  const [failing] = await payroll.read()
  await failing!.release()
  await clock.advance(9_000)
  const [again] = await payroll.read()
  await again!.deadLetter(new Error('no account'))
  await clock.advance(10_000)
  await hires.replay({ where: { meta: { targetId: 'p-7' } } })
  await payroll.send(2, { meta, delay: '1h' })
  const trace = async (options?: TraceOptions) => await bus.trace('p-7', options)
  return { ...all, hires, payroll, trace }
}

describe('trace', () => {
  test('tells everything about a target in the order of time, over all queues', async () => {
    const { trace } = await journey()
    const events = await trace()
    expect(brief(events)).toEqual([
      '0s hires 1 sent',
      '10s payroll 1 sent',
      '20s hires 1 read',
      '21s hires 1 archived',
      '30s payroll_dlq 1 deadLettered',
      '30s payroll_dlq 1 waiting',
      '40s hires 3 replayed',
      '40s payroll 2 sent',
      '40s hires 3 waiting',
      '3640s payroll 2 waiting',
    ])
    expect(events[0]).toEqual({
      at: new Date(start),
      kind: 'sent',
      queue: 'hires',
      id: '1',
      state: 'archived',
      attempts: 0,
      errorMessage: null,
      actionType: 'add',
      from: null,
    })
    expect(events[4]).toMatchObject({ attempts: 2, errorMessage: 'no account', from: { queue: 'payroll', id: '1' } })
    expect(events[6]).toMatchObject({ state: 'ready', from: { queue: 'hires', id: '1' } })
    expect(events.at(-1)).toMatchObject({ state: 'delayed' })
  })

  test('a message in hand, and one that is tried again', async () => {
    const { bus, clock } = scene()
    const queue = bus.queue('hires')
    await queue.send(1, { meta: { targetId: 'p' } })
    const [message] = await queue.read()
    await clock.advance(5_000)
    await message!.release()
    await queue.read({ lease: '1m' })
    const events = await bus.trace('p')
    expect(brief(events)).toEqual(['0s hires 1 sent', '0s hires 1 read', '5s hires 1 read', '65s hires 1 leased'])
    expect(events.map(({ attempts }) => attempts)).toEqual([0, 1, 2, 2])
  })

  test('what failed without a dead-letter queue is one event', async () => {
    const { bus } = scene()
    const queue = bus.queue('hires', { deadLetter: false })
    await queue.send(1, { meta: { targetId: 'p' } })
    for (const message of await queue.read()) await message.deadLetter('no')
    expect(brief(await bus.trace('p'))).toEqual(['0s hires 1 sent', '0s hires 1 read', '0s hires 1 deadLettered'])
  })

  test('some queues only, and no more than the limit: the latest', async () => {
    const { trace } = await journey()
    expect(brief(await trace({ queues: ['hires'], limit: 2 }))).toEqual(['40s hires 3 replayed', '40s hires 3 waiting'])
    expect(brief(await trace({ limit: 1 }))).toEqual(['3640s payroll 2 waiting'])
  })

  test('of what nobody knows there is nothing to tell', async () => {
    const { bus, spy } = await journey()
    expect(await bus.trace('p-9')).toEqual([])
    await refusal(() => bus.trace('p-7', { queues: ['missing'] }), 'QUEUE_NOT_FOUND')
    await refusal(() => bus.trace('p-7', { queues: [] }), 'TYPE')
    await refusal(() => bus.trace(7 as never), 'TYPE')
    await refusal(() => bus.trace('p-7', { limit: 0 }), 'LIMIT_RANGE')
    // A queue that is dropped while the trace goes on.
    spy.before = async (member, [queue]) => {
      if (member === 'peek' && queue === 'hires') await spy.memory.dropQueue('hires')
    }
    expect(brief(await bus.trace('p-7'))[0]).toBe('10s payroll 1 sent')
  })
})

test('trace on PostgreSQL', async () => {
  await using bus = await connect(await sharedServer('postgres18'))
  const name = `trace_${process.pid}`
  const queue = bus.queue(name)
  const meta = { targetId: name }
  await queue.sendBatch([
    { data: 1, meta },
    { data: 2, meta: { targetId: 'other' } },
    { data: 3, meta, delay: '1h' },
  ])
  await queue.work(() => Promise.reject(new Error('no')), { maxAttempts: 1 }).drain()
  await queue.send(4, { meta })
  await queue.read()
  const events = await bus.trace(name)
  expect(events.map(({ queue, id, kind, state }) => `${queue} ${id} ${kind} ${state}`)).toEqual([
    `${name} 1 sent ready`,
    `${name} 3 sent delayed`,
    `${name}_dlq 1 deadLettered ready`,
    `${name}_dlq 1 waiting ready`,
    `${name} 4 sent leased`,
    `${name} 4 read leased`,
    `${name} 4 leased leased`,
    `${name} 3 waiting delayed`,
  ])
  await queue.drop()
  await bus.queue(`${name}_dlq`).drop()
})
