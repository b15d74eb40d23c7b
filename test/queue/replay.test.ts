import { connect, type Queue, type ReplayOptions, type StoredCopy } from 'tidings'
import { describe, expect, test } from 'vitest'
import { sharedServer } from '../support/shared-servers.ts'
import { datas, refusal, scene, stored } from './support.ts'

const sorts = [
  ['a', 'p-1', 'gold'],
  ['b', 'p-2', 'gold'],
  ['c', 'p-1', 'iron'],
] as const

/** Three messages, sent a minute apart and archived a minute apart, an hour later. */
async function archived() {
  const all = scene()
  const { bus, clock } = all
  const queue = bus.queue('orders')
  await queue.create()
  for (const [name, targetId, metal] of sorts) {
    await queue.send({ name, of: { metal, parts: [1, 2] } }, { meta: { targetId, own: name }, headers: { metal } })
    await clock.advance(60_000)
  }
  await clock.advance(3_600_000)
  for (const message of await queue.read({ limit: 3 })) {
    await message.archive()
    await clock.advance(60_000)
  }
  const names = async (options?: ReplayOptions) =>
    (await queue.replay({ ...options, dryRun: true }))
      .map(({ archivedId }) => sorts[Number(archivedId) - 1]?.[0])
      .join('')
  return { ...all, queue, names }
}

describe('replay', () => {
  test('sends copies that keep what the user gave, and leaves the archive as it is', async () => {
    const { queue, memory } = await archived()
    const before = await stored(memory)
    expect(await queue.replay({ where: { meta: { targetId: 'p-1' } } })).toEqual([
      { archivedId: '1', id: '4', duplicate: false },
      { archivedId: '3', id: '5', duplicate: false },
    ])
    expect(await queue.peek({ place: 'archived' })).toHaveLength(before.orders!.length)
    expect((await queue.peek())[0]).toMatchObject({
      id: '4',
      data: { name: 'a', of: { metal: 'gold', parts: [1, 2] } },
      headers: { metal: 'gold' },
      readCount: 0,
      firstReadAt: null,
      archivedAt: null,
    })
    expect((await queue.peek())[0]?.meta).toEqual({
      queueName: 'orders',
      targetId: 'p-1',
      own: 'a',
      replayedFromQueue: 'orders',
      replayedFromId: '1',
    })
  })

  test('keeps priority and ordering key, and forgets a failure', async () => {
    const { bus } = scene()
    const queue = bus.queue('failing', { deadLetter: false })
    await queue.send(1, { priority: 5, meta: { version: '2' } })
    await queue.send(2, { orderingKey: 'k' })
    for (const message of await queue.read({ limit: 2 })) await message.deadLetter(new Error('no'))
    await queue.replay()
    const meta = { queueName: 'failing', replayedFromQueue: 'failing' }
    expect(await queue.peek()).toMatchObject([{ priority: 5 }, { orderingKey: 'k' }])
    expect((await queue.peek()).map((one) => one.meta)).toEqual([
      { ...meta, version: '2', replayedFromId: '1' },
      { ...meta, replayedFromId: '2' },
    ])
  })

  test('sends a message once within the window, whichever replay it is part of', async () => {
    const { queue, clock } = await archived()
    await queue.replay({ limit: 2 })
    expect((await queue.replay()).map(({ id, duplicate }) => [id, duplicate])).toEqual([
      ['4', true],
      ['5', true],
      ['6', false],
    ])
    expect((await queue.replay({ again: true, limit: 1 })).map(({ duplicate }) => duplicate)).toEqual([false])
    await clock.advance(86_400_000)
    expect((await queue.replay({ limit: 1 })).map(({ duplicate }) => duplicate)).toEqual([false])
  })

  test('a preview changes nothing', async () => {
    const { queue, memory, spy } = await archived()
    const before = await stored(memory)
    expect(await queue.replay({ dryRun: true, to: 'elsewhere' })).toEqual(
      ['1', '2', '3'].map((archivedId) => ({ archivedId, id: null, duplicate: false })),
    )
    expect(await stored(memory)).toEqual(before)
    expect(spy.of('send')).toHaveLength(3)
  })

  test('into another queue, which is created unless that is not wished', async () => {
    const { queue, bus } = await archived()
    expect(await queue.replay({ to: 'again', limit: 1 })).toEqual([{ archivedId: '1', id: '1', duplicate: false }])
    expect((await bus.queue('again').peek())[0]?.meta).toMatchObject({
      queueName: 'again',
      replayedFromQueue: 'orders',
    })
    await refusal(() => bus.queue('orders', { create: false }).replay({ to: 'missing' }), 'QUEUE_NOT_FOUND')
    await refusal(() => bus.queue('ordres').replay(), 'QUEUE_NOT_FOUND')
  })

  test('ends, though its copies are archived while it goes on', async () => {
    const { bus, spy } = scene()
    const queue = bus.queue('many')
    await queue.create()
    await queue.sendBatch(Array.from({ length: 450 }, (_, data) => ({ data })))
    const finish = async () => {
      for (const message of await queue.read({ limit: 1_000 })) await message.archive()
    }
    await finish()
    spy.before = async (member) => {
      if (member === 'peek') await finish()
    }
    const replayed = await queue.replay()
    expect(replayed).toHaveLength(450)
    expect(spy.of('send')).toHaveLength(1 + 3)
    expect(spy.of('peek').every(([, request]) => (request as { limit: number }).limit <= 200)).toBe(true)
  })
})

describe('what is replayed', () => {
  test('by time of archiving or of sending', async () => {
    const { names, clock } = await archived()
    const archivedFirst = clock.now() - 180_000
    const since = new Date(archivedFirst + 60_000)
    expect(await names({ since })).toBe('bc')
    expect(await names({ until: since.toISOString() })).toBe('a')
    expect(await names({ since, until: new Date(archivedFirst + 120_000) })).toBe('b')
    expect(await names({ since: '2026-01-01T00:01:00Z', by: 'sent' })).toBe('bc')
    expect(await names({ until: '2026-01-01T00:01:00Z', by: 'sent' })).toBe('a')
    expect(await names({ until: '2026-01-01T00:01:00Z' })).toBe('')
  })

  test('by parts of meta, headers and data', async () => {
    const { names, spy } = await archived()
    expect(await names({ where: { meta: { targetId: 'p-1' } } })).toBe('ac')
    expect(spy.of('peek').at(-1)).toMatchObject(['orders', { meta: { target_id: 'p-1' } }])
    expect(await names({ where: { meta: { target_id: 'p-2' } } })).toBe('b')
    expect(await names({ where: { meta: { version: null } } as never })).toBe('abc')
    expect(await names({ where: { meta: { targetId: null } } as never })).toBe('')
    expect(await names({ where: { headers: { metal: 'gold' }, meta: { targetId: 'p-1' } } })).toBe('a')
    expect(await names({ where: { data: { of: { metal: 'iron' } } } })).toBe('c')
    expect(await names({ where: { data: { of: { parts: [1, 2] } } } })).toBe('abc')
    expect(await names({ where: { data: { of: { parts: [1] } } } })).toBe('')
    expect(await names({ where: {} })).toBe('abc')
  })

  test('by a function, which may take its time', async () => {
    const { names } = await archived()
    const where = async ({ data }: StoredCopy<unknown>) => (data as { name: string }).name > 'a'
    expect(await names({ where })).toBe('bc')
    expect(await names({ where, limit: 1 })).toBe('b')
  })

  test('a condition that was meant to be one is not dropped', async () => {
    const { queue } = await archived()
    const tried: [unknown, Parameters<typeof refusal>[1]][] = [
      [{ where: { meta: { targetId: undefined } } }, 'TYPE'],
      [{ where: { data: { a: [{ b: undefined }] } } }, 'TYPE'],
      [{ where: { targetId: 'p-1' } }, 'OPTION_UNKNOWN'],
      [{ where: { meta: { targetId: 7 } } }, 'TYPE'],
      [{ where: { meta: [] } }, 'TYPE'],
      [{ where: { data: Number.NaN } }, 'BODY_NOT_JSON'],
      [{ where: 'x' }, 'TYPE'],
      [{ since: 'yesterday' }, 'TYPE'],
      [{ since: '2026-02-01', until: '2026-01-01' }, 'OPTION_CONFLICT'],
      [{ to: 'Upper' }, 'QUEUE_NAME_INVALID'],
      [{ limit: 0 }, 'LIMIT_RANGE'],
      [{ form: 1 }, 'OPTION_UNKNOWN'],
    ]
    for (const [options, code] of tried) await refusal(() => queue.replay(options as ReplayOptions), code)
    expect(await queue.peek()).toEqual([])
  })
})

describe('peek by meta', () => {
  test('finds the archived event of a key, however many others there are', async () => {
    const { bus } = scene()
    const queue = bus.queue('events')
    await queue.sendBatch(Array.from({ length: 500 }, (_, n) => ({ data: n, meta: { eventKey: `e-${n % 100}`, n } })))
    for (const message of await queue.read({ limit: 1_000 })) await message.archive()
    const found = await queue.peek({ place: 'archived', meta: { eventKey: 'e-7' } })
    expect(datas(found)).toEqual([7, 107, 207, 307, 407])
    expect(datas(await queue.peek({ place: 'archived', meta: { eventKey: 'e-7', n: 307 } }))).toEqual([307])
    expect(datas(await queue.peek({ place: 'archived', meta: { n: 307 } }))).toEqual([307])
    const [, second] = found
    expect(
      datas(await queue.peek({ place: 'archived', meta: { eventKey: 'e-7' }, after: second!.id, limit: 2 })),
    ).toEqual([207, 307])
  })
})

test.each(['postgres15', 'postgres18'] as const)('replay on %s', async (server) => {
  await using bus = await connect(await sharedServer(server))
  const name = `replay_${process.pid}_${server}`
  const queue: Queue = bus.queue(name, { envelope: 'none' })
  await queue.sendBatch(Array.from({ length: 300 }, (_, n) => ({ data: { n }, meta: { targetId: `p-${n % 2}` } })))
  await queue.work(() => {}, { onSuccess: 'archive' }).drain()
  const since = (await queue.peek({ place: 'archived', limit: 1 }))[0]!.archivedAt!
  const where = { meta: { targetId: 'p-1' } }
  expect(await queue.replay({ where, until: since })).toEqual([])
  expect(await queue.replay({ where, since: new Date(since.getTime() - 60_000), limit: 120 })).toHaveLength(120)
  const repeated = await queue.replay({ where })
  expect(repeated.filter(({ duplicate }) => duplicate)).toHaveLength(120)
  expect(await queue.stats()).toMatchObject({ ready: 150, archived: 300 })
  expect((await queue.peek({ limit: 1 }))[0]).toMatchObject({
    data: { n: 1 },
    meta: { targetId: 'p-1', replayedFromQueue: name },
  })
  await queue.drop()
})
