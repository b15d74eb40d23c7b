import { type Completion, connect, deadLetter, done, type SendOptions } from 'tidings'
import { describe, expect, test } from 'vitest'

const meta = { correlationId: 'c-1', correlationQueue: 'told' }

describe('tracking', () => {
  test('tells how far a correlation is, by queue and together', async () => {
    await using bus = await connect('memory:')
    const [left, right] = [bus.queue('left'), bus.queue('right', { deadLetter: false })]
    await left.sendBatch([1, 2, 3].map((data) => ({ data, meta, track: true })))
    await right.send(1, { meta, track: true })
    await left.send('not tracked', { meta })
    await left.read()
    const [dead] = await right.read()
    await dead!.deadLetter(new Error('no'))
    const none = { pending: 0, running: 0, done: 0, dead: 0, cancelled: 0 }
    expect(await bus.correlation('c-1')).toEqual({
      id: 'c-1',
      ...none,
      pending: 2,
      running: 1,
      dead: 1,
      total: 4,
      startedAt: expect.any(Date),
      completedAt: null,
      failedAt: expect.any(Date),
      doneAt: null,
      queues: [
        { queue: 'left', ...none, pending: 2, running: 1, total: 3 },
        { queue: 'right', ...none, dead: 1, total: 1 },
      ],
    })
    expect(await bus.correlation('unknown')).toBeNull()
  })

  test('takes a number for an id, as its text', async () => {
    await using bus = await connect('memory:')
    await bus.queue('left').send(1, { meta: { correlationId: 7 }, track: true })
    expect(await bus.correlation(7)).toMatchObject({ id: '7', pending: 1 })
    expect((await bus.queue('left').peek())[0]?.meta.correlationId).toBe('7')
    await expect(bus.queue('left').send(1, { meta: { correlationId: 0.5 } })).rejects.toMatchObject({ code: 'TYPE' })
  })

  test('tells once when workers have ended all, with retries, dead letters and further tasks', async () => {
    await using bus = await connect('memory:')
    const queue = bus.queue<number>('tree')
    await queue.send(3, { meta, track: true })
    const worker = queue.work(
      async (message, { attempt }) => {
        if (attempt === 1 && message.data === 2) throw new Error('once')
        if (message.data < 0) throw new Error('always')
        for (const child of message.data > 0 ? [message.data - 1, -1] : [])
          await queue.send(child, { meta: message.meta, track: true })
      },
      { maxAttempts: 2, backoff: () => 0 },
    )
    await worker.drain()
    const told = await bus.queue('told').pop({ limit: 10 })
    expect(told.map(({ data, meta }) => ({ data, meta }))).toEqual([
      {
        data: {
          milestone: 'allEnded',
          correlationId: 'c-1',
          done: 4,
          dead: 3,
          cancelled: 0,
          startedAt: expect.stringMatching(/Z$/),
          endedAt: expect.stringMatching(/Z$/),
        },
        meta: { correlationId: 'c-1', queueName: 'told' },
      },
    ])
    expect(await bus.correlation('c-1')).toMatchObject({ done: 4, dead: 3, total: 7, completedAt: expect.any(Date) })
  })

  test('a dead letter that is redriven counts again, a replayed message does not', async () => {
    await using bus = await connect('memory:')
    const queue = bus.queue('back')
    await queue.sendBatch([1, 2].map((data) => ({ data, meta, track: true })))
    const [failed, archived] = await queue.read({ limit: 2 })
    await failed!.deadLetter('no')
    await queue.deadLetters.redrive()
    expect(await bus.correlation('c-1')).toMatchObject({ pending: 1, running: 1, dead: 0 })
    await archived!.archive()
    await queue.replay()
    expect(await bus.correlation('c-1')).toMatchObject({ pending: 1, done: 1, total: 2 })
  })

  test('completed correlations are forgotten after 30 days', async () => {
    const { FakeClock } = await import('tidings/testing')
    const { MemoryEngine } = await import('tidings/internal/engines/memory/memory')
    const { Bus } = await import('tidings/internal/bus/bus')
    const clock = new FakeClock()
    await using bus = new Bus(new MemoryEngine({ clock }), { clock })
    await bus.queue('old').send(1, { meta, track: true })
    await bus.queue('old').pop()
    await clock.advance(29 * 86_400_000)
    await bus.engine.maintain({ kind: 'due' })
    expect(await bus.correlation('c-1')).toMatchObject({ done: 1 })
    await clock.advance(86_400_000)
    await bus.engine.maintain({ kind: 'due' })
    expect(await bus.correlation('c-1')).toBeNull()
  })

  test.each([
    ['no correlation', {}, { code: 'OPTION_CONFLICT', message: "'track' is set without meta.correlationId" }],
    ['an empty one', { correlationId: '' }, { code: 'RANGE' }],
    ['a queue that cannot be', { correlationId: 'c', correlationQueue: 'a b' }, { code: 'QUEUE_NAME_INVALID' }],
  ])('is refused with %s', async (_, wrong, error) => {
    await using bus = await connect('memory:')
    await expect(bus.queue('refused').send(1, { meta: wrong, track: true })).rejects.toMatchObject(error)
    await expect(bus.publish('a.b', 1, { meta: wrong, track: true })).rejects.toMatchObject(error)
  })

  test.each([
    ['no tracking', { meta, tell: ['allDone'] }, { code: 'OPTION_CONFLICT' }],
    [
      'nobody to be told',
      { meta: { correlationId: 'c' }, track: true, tell: ['allDone'] },
      { code: 'OPTION_CONFLICT' },
    ],
    ['nothing to tell', { meta, track: true, tell: [] }, { code: 'RANGE' }],
    ['what does not happen', { meta, track: true, tell: ['allWell'] }, { code: 'TYPE' }],
  ] as const)('is refused to tell with %s', async (_, wrong, error) => {
    await using bus = await connect('memory:')
    await expect(bus.queue('refused').send(1, wrong as SendOptions)).rejects.toMatchObject(error)
    expect(await bus.queues()).toEqual([])
  })

  test('tells by a message each, of what it was asked for', async () => {
    await using bus = await connect('memory:')
    const queue = bus.queue('jobs')
    const batch = [1, 2].map((data) => ({ data, meta, track: true, tell: ['anyFailed', 'allDone'] as const }))
    await queue.sendBatch(batch)
    await queue.work(({ data }) => (data === 1 ? deadLetter('no') : done())).drain()
    const told = async () =>
      (await bus.queue<Completion>('told').pop({ limit: 10 })).map(({ data }) => [data.milestone, data.done, data.dead])
    expect(await told()).toEqual([['anyFailed', expect.any(Number), 1]])
    expect(await bus.correlation('c-1')).toMatchObject({ failedAt: expect.any(Date), doneAt: null })
    await queue.deadLetters.redrive()
    await queue.work(() => done()).drain()
    expect(await told()).toEqual([['allDone', 2, 0]])
    expect(await bus.correlation('c-1')).toMatchObject({ doneAt: expect.any(Date) })
  })

  test('asks for an id that can be', async () => {
    await using bus = await connect('memory:')
    await expect(bus.correlation('')).rejects.toMatchObject({ code: 'RANGE' })
    await expect(bus.correlation(0.5)).rejects.toMatchObject({ code: 'TYPE' })
  })
})
