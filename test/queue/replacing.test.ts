import assert from 'node:assert/strict'
import type { SendOptions } from 'tidings/internal/messages/options'
import { describe, test } from 'vitest'
import { datas, refusal, scene } from './support.ts'

const debounce = { delay: '5s', dedup: { id: 'doc-7', replace: true, extend: true, atMost: '12s' } } as const
const keepLast = { dedup: { id: 'doc-7', whileActive: 'keepLast' } } as const

describe('a dedup id in full', () => {
  test('without more it is the short spelling', async () => {
    const { bus, clock } = scene()
    const jobs = bus.queue('jobs')
    const first = await jobs.send(1, { dedup: { id: 'a' } })
    assert.equal((await refusal(() => jobs.send(2, { dedupId: 'a' }), 'DUPLICATE')).details.firstId, first)
    await jobs.send(1, { dedup: { id: 'b', for: '10s' } })
    await clock.advance(10_000)
    await jobs.send(2, { dedup: { id: 'b' } })
    await refusal(() => jobs.send(2, { dedup: { id: 'a' } }), 'DUPLICATE')
    await clock.advance(290_000)
    await jobs.send(3, { dedup: { id: 'a' } })
    assert.deepEqual(datas(await jobs.peek()), [1, 1, 2, 3])
  })

  test('debounce: what comes in quick succession is one message, with the last data', async () => {
    const { bus, clock } = scene()
    const index = bus.queue('index')
    const id = await index.send({ version: 1 }, debounce)
    for (const version of [2, 3]) {
      await clock.advance(4_000)
      assert.equal(await index.send({ version }, debounce), id)
    }
    await clock.advance(3_999)
    assert.deepEqual(await index.read(), [], 'at most 12 s after the first: one more millisecond')
    await clock.advance(1)
    assert.deepEqual(datas(await index.read()), [{ version: 3 }])
    assert.notEqual(await index.send({ version: 4 }, debounce), id)
  })

  test('keepLast: one in hand, one waiting, the newest data', async () => {
    const { bus } = scene()
    const index = bus.queue<number>('index')
    const handled: number[] = []
    let proceed = () => {}
    const begun = new Promise<void>((resolve) => {
      index.work(
        async ({ data }) => {
          handled.push(data)
          resolve()
          if (data === 1) await new Promise<void>((go) => (proceed = go))
        },
        { concurrency: 8, maxMessages: 2 },
      )
    })
    await index.send(1, keepLast)
    await begun
    const ids = new Set<string>()
    for (let version = 2; version <= 5; version++) ids.add(await index.send(version, keepLast))
    assert.equal(ids.size, 1)
    assert.deepEqual(handled, [1])
    proceed()
    while (handled.length < 2) await new Promise((resolve) => setImmediate(resolve))
    assert.deepEqual(handled, [1, 5])
  })

  test('one tick and one batch: the last data win, and the result says so', async () => {
    const { bus, spy } = scene()
    const jobs = bus.queue('jobs')
    await jobs.create()
    const dedup = { id: 'a', replace: true } as const
    const ids = await Promise.all([1, 2, 3].map((data) => jobs.send(data, { dedup })))
    assert.equal(new Set(ids).size, 1)
    assert.equal(spy.of('send').length, 1)
    const results = await jobs.sendBatch([
      { data: 4, dedup },
      { data: 5, dedupId: 'a' },
      { data: 6, dedup: { id: 'b' } },
    ])
    assert.deepEqual(results, [
      { id: ids[0], duplicate: false, replaced: true },
      { id: ids[0], duplicate: true },
      { id: results[2]?.id, duplicate: false },
    ])
    assert.deepEqual(datas(await jobs.peek()), [4, 6])
  })

  test('a topic keeps what it took', async () => {
    const { bus } = scene()
    const news = bus.topic('news')
    await news.create()
    const { dedup } = keepLast
    const error = await refusal(() => news.publish(1, { dedup }), 'OPTION_CONFLICT')
    assert.equal(error.message, "topic 'news' keeps what it took, so no message can replace another there")
    await bus.queue('jobs').create()
    await bus.bind('A.#', 'jobs')
    await bus.bind('A.News', news)
    await refusal(() => bus.publish('A.News', 1, { dedup }), 'OPTION_CONFLICT')
    assert.equal((await bus.publish('A.Jobs', 1, { dedup })).length, 1)
    assert.deepEqual(await bus.publish('A.Jobs', 2, { dedup }), [
      { queue: 'jobs', id: '1', duplicate: false, replaced: true },
    ])
    await news.publish(1, { dedup: { id: 'a' } })
    assert.equal((await news.publish(1, { dedup: { id: 'a' } })).duplicate, true)
  })
})

describe('contradictions', () => {
  const meta = { targetId: 't', correlationId: 'c' }
  const id = 'a'
  const rows: [options: SendOptions, message: string][] = [
    [{ dedupId: 'a', dedup: { id } }, "'dedupId' and 'dedup' are both given"],
    [{ dedupWindow: '1s', dedup: { id } }, "'dedupWindow' and 'dedup' are both given"],
    [{ dedup: { id, extend: true } }, "'dedup.extend' is set without 'dedup.replace'"],
    [{ dedup: { id, replace: true, atMost: '1s' } }, "'dedup.atMost' is set without 'dedup.extend'"],
    [{ dedup: { ...keepLast.dedup, for: '1s' } }, "'dedup.for' and 'dedup.whileActive' are both given"],
    [{ dedup: { id, replace: true }, meta, uniqueTarget: true }, "'uniqueTarget' and 'dedup.replace' are both given"],
    [{ dedup: { id, replace: true }, meta, track: true }, "'track' and 'dedup.replace' are both given"],
    [{ ...keepLast, priority: 1 }, "'priority' and 'dedup.whileActive' are both given"],
  ]
  test.each(rows)('%o', async (options, message) => {
    const { bus } = scene()
    const jobs = bus.queue('jobs')
    await jobs.create()
    const error = await refusal(() => jobs.send(1, options), 'OPTION_CONFLICT')
    assert.equal(error.message, message)
    assert.notEqual(error.hint, '')
    assert.deepEqual(await jobs.peek(), [])
  })

  test('an id is asked for, and unknown names are told', async () => {
    const jobs = scene().bus.queue('jobs')
    await refusal(() => jobs.send(1, { dedup: { replace: true } }), 'TYPE')
    await refusal(() => jobs.send(1, { dedup: { id, mode: 1 } as SendOptions['dedup'] & {} }), 'OPTION_UNKNOWN')
    await refusal(() => jobs.send(1, { dedup: { id: '' } }), 'DEDUP_ID_INVALID')
  })
})
