import { type Bus, connect, type QueueSettingsChange, type Worker } from 'tidings'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'

let bus: Bus
beforeEach(async () => {
  bus = await connect('memory:')
})
afterEach(() => bus.close())

describe('limits of a queue', () => {
  const limitsOf = async (limits: NonNullable<QueueSettingsChange['limits']>) => {
    await bus.queue('q').create()
    return (await bus.queue('q').configure({ limits })).limits
  }

  test('are stored as what they mean, and taken as they are stored', async () => {
    const stored = [
      { per: 'queue', concurrency: 4 },
      { per: 'group', rate: { count: 100, periodMs: 60_000 }, burst: 10 },
      { per: 'orderingKey', rate: { count: 3, periodMs: 30_000 } },
    ] as const
    expect(
      await limitsOf([
        { concurrency: 4 },
        { per: 'group', rate: '100/min', burst: 10 },
        { per: 'orderingKey', rate: '3/30s' },
      ]),
    ).toEqual(stored)
    expect(await limitsOf(stored)).toEqual(stored)
    expect(await bus.queue('q').configure({ limits: null })).toEqual({})
  })

  test.each([
    [{ concurrency: 0 }, 'RANGE'],
    [{ concurrency: 1.5 }, 'RANGE'],
    [{ rate: '0/min' }, 'RANGE'],
    [{ rate: '100' }, 'TYPE'],
    [{ rate: 100 }, 'TYPE'],
    [{ rate: '/min' }, 'TYPE'],
    [{ rate: { count: 100 } }, 'TYPE'],
    [{ rate: '5/fortnight' }, 'DURATION'],
    [{ per: 'tenant', concurrency: 1 }, 'TYPE'],
    [{ per: 'group' }, 'OPTION_CONFLICT'],
    [{ concurrency: 1, burst: 3 }, 'OPTION_CONFLICT'],
    [{ per: 'orderingKey', concurrency: 1 }, 'OPTION_CONFLICT'],
    [{ rat: '5/s' }, 'OPTION_UNKNOWN'],
  ])('refuses %j as %s, and changes nothing', async (limit, code) => {
    await limitsOf([{ concurrency: 4 }])
    await expect(limitsOf([limit as never])).rejects.toMatchObject({ code })
    expect(await bus.queue('q').settings()).toEqual({ limits: [{ per: 'queue', concurrency: 4 }] })
  })

  test('of one kind are given once', async () => {
    await expect(limitsOf([{ concurrency: 4 }, { concurrency: 5 }])).rejects.toMatchObject({ code: 'OPTION_CONFLICT' })
    await expect(limitsOf([{ rate: '4/s' }, { rate: '9/1000ms' }])).rejects.toMatchObject({ code: 'OPTION_CONFLICT' })
    await limitsOf([{ rate: '4/s' }, { rate: '100/min' }])
  })

  test.each([{ gold: 0 }, { gold: -1 }, { gold: Number.NaN }, { gold: 'much' }, { '': 2 }, []])(
    'refuses the weights %j',
    async (weights) => {
      await bus.queue('q').create()
      await expect(bus.queue('q').configure({ weights: weights as never })).rejects.toMatchObject({
        code: expect.stringMatching(/^(RANGE|TYPE|META_INVALID|KEY_INVALID)$/),
      })
    },
  )
})

describe('a worker in a queue with limits', () => {
  const queue = () => bus.queue<string>('q')
  const workers: Worker[] = []
  afterEach(async () => {
    await Promise.all(workers.splice(0).map((worker) => worker.stop()))
  })

  test('drains what limits hold back, with as many handlers as they allow', async () => {
    await queue().create()
    await queue().configure({ limits: [{ concurrency: 2 }] })
    await queue().sendBatch(Array.from({ length: 40 }, () => ({ data: 'x' })))
    let [running, most, handled] = [0, 0, 0]
    const work = async () => {
      most = Math.max(most, ++running)
      await new Promise((resolve) => setImmediate(resolve))
      running--
      handled++
    }
    const both = [queue().work(work, { concurrency: 8 }), queue().work(work, { concurrency: 8 })]
    await Promise.all(both.map((worker) => worker.drain()))
    expect([handled, most]).toEqual([40, 2])
  })

  test('comes as often as a rate lets it, without anything that wakes it', async () => {
    await queue().create()
    await queue().configure({ limits: [{ rate: '1/40ms' }] })
    await queue().sendBatch([{ data: 'a' }, { data: 'b' }, { data: 'c' }])
    const times: number[] = []
    await queue()
      .work(({ lastReadAt }) => void times.push(lastReadAt!.getTime()), { concurrency: 4, pollInterval: '10m' })
      .drain()
    expect(times).toHaveLength(3)
    // Timers may be early by a millisecond.
    expect(times[2]! - times[0]!).toBeGreaterThanOrEqual(76)
  })

  test('reads no more ahead than it may begin', async () => {
    await queue().create()
    await queue().configure({ limits: [{ per: 'group', concurrency: 3 }] })
    await queue().sendBatch(Array.from({ length: 9 }, () => ({ data: 'x', group: 'a' })))
    const released: (() => void)[] = []
    const worker = queue().work(() => new Promise<void>((resolve) => void released.push(resolve)), { concurrency: 2 })
    workers.push(worker)
    while (released.length < 2) await new Promise((resolve) => setImmediate(resolve))
    expect(await queue().stats()).toMatchObject({ leased: 2, ready: 7 })
    expect(await queue().read({ limit: 5 })).toHaveLength(1)
    for (const release of released) release()
  })

  test('holds back the group of a message for all, and counts no attempt', async () => {
    await queue().sendBatch([
      { data: 'a1', group: 'a' },
      { data: 'a2', group: 'a' },
      { data: 'b1', group: 'b' },
    ])
    const seen: [string, number][] = []
    const handle = (
      message: { data: string },
      context: Parameters<Parameters<ReturnType<typeof queue>['work']>[0]>[1],
    ) => {
      seen.push([message.data, context.attempt])
      return seen.length === 1 ? context.holdBack('60ms', { group: true }) : undefined
    }
    const worker = queue().work(handle, { concurrency: 1 })
    await worker.drain()
    expect(seen.map(([data]) => data)).toEqual(['a1', 'b1', 'a1', 'a2'])
    expect(seen.map(([, attempt]) => attempt)).toEqual([1, 1, 1, 1])
  })

  test('sees options of holdBack that are none', async () => {
    await queue().send('x')
    let thrown: unknown
    await queue()
      .work((_, context) => {
        try {
          context.holdBack('30s', { groups: true } as never)
        } catch (error) {
          thrown = error
        }
      })
      .drain()
    expect(thrown).toMatchObject({ code: 'OPTION_UNKNOWN' })
  })

  test('groups take turns, however many messages one has', async () => {
    const great = Array.from({ length: 3_000 }, () => ({ data: 'great', group: 'great' }))
    const small = Array.from({ length: 300 }, (_, index) => ({ data: 'small', group: `small${index % 100}` }))
    await queue().sendBatch([...great, ...small])
    let [handled, left] = [0, small.length]
    const worker = queue().work(
      ({ data }) => {
        handled++
        if (data === 'small' && --left === 0) void worker.stop()
      },
      { concurrency: 10 },
    )
    await worker.finished
    expect(handled).toBeLessThan(600)
  })
})
