import assert from 'node:assert/strict'
import type { Queue } from 'tidings/internal/bus/queue'
import { describe, test } from 'vitest'
import { datas, refusal, scene } from './support.ts'

/** Sends messages and dead-letters them. @returns their ids in the dead-letter queue */
async function bury(jobs: Queue, entries: { data: unknown; orderingKey?: string; priority?: number }[]) {
  await jobs.sendBatch(entries)
  for (let left = entries.length; left > 0; ) {
    const messages = await jobs.read({ limit: 1_000 })
    assert(messages.length > 0)
    for (const message of messages) await message.deadLetter(new Error(`no ${message.data}`))
    left -= messages.length
  }
  return (await jobs.deadLetters.list({ limit: 1_000_000 })).map(({ id }) => id)
}

describe('dead letters', () => {
  test('are listed with their error and where they come from, oldest first', async () => {
    const { bus, clock } = scene()
    const jobs = bus.queue('jobs')
    await bury(jobs, [{ data: 'a' }, { data: 'b' }])
    const letters = await jobs.deadLetters.list()
    assert.deepEqual(datas(letters), ['a', 'b'])
    const [a] = letters
    assert(a)
    assert.equal(a.queue, 'jobs_dlq')
    const { stackTrace, ...meta } = a.meta
    assert.match(stackTrace ?? '', /^Error: no a\n/)
    assert.deepEqual(meta, {
      queueName: 'jobs',
      errorMessage: 'no a',
      originQueue: 'jobs',
      originId: '1',
      attempts: 1,
      deadLetteredAt: new Date(clock.now()).toISOString(),
    })
    assert.deepEqual([a.readCount, a.sentAt], [0, new Date(clock.now())])
  })

  test('of a queue that never had one are none', async () => {
    const { bus } = scene()
    const jobs = bus.queue('jobs')
    await jobs.create()
    assert.deepEqual(await jobs.deadLetters.list(), [])
    assert.deepEqual(await jobs.deadLetters.redrive(), [])
  })

  test('a limit and ids choose', async () => {
    const { bus } = scene()
    const jobs = bus.queue('jobs')
    const ids = await bury(jobs, [{ data: 'a' }, { data: 'b' }, { data: 'c' }])
    assert.deepEqual(datas(await jobs.deadLetters.list({ limit: 2 })), ['a', 'b'])
    assert.deepEqual(datas(await jobs.deadLetters.list({ ids: [ids[2]!, ids[0]!, '999'] })), ['a', 'c'])
  })

  test('listing changes nothing', async () => {
    const { bus } = scene()
    const jobs = bus.queue('jobs')
    await bury(jobs, [{ data: 'a' }])
    const once = await jobs.deadLetters.list()
    assert.deepEqual(await jobs.deadLetters.list(), once)
    assert.equal((await bus.queue('jobs_dlq').stats()).ready, 1)
  })

  test('without a dead-letter queue there are none to list, and the hint says where to look', async () => {
    const { bus } = scene()
    for (const jobs of [bus.queue('jobs', { deadLetter: false }), bus.queue('jobs_dlq')]) {
      assert.equal(jobs.deadLetters.queue, null)
      const error = await refusal(() => jobs.deadLetters.list(), 'DEAD_LETTER_INVALID')
      assert.match(error.hint, /archive/)
      await refusal(() => jobs.deadLetters.redrive(), 'DEAD_LETTER_INVALID')
    }
  })
})

describe('redriving', () => {
  test('moves all back, with their attempts at zero and without the traces of the failure', async () => {
    const { bus } = scene()
    const jobs = bus.queue('jobs')
    await jobs.send('a', { meta: { correlationId: 'c-1' }, headers: { h: 1 }, priority: 3 })
    const [message] = await jobs.read()
    await message?.deadLetter('no')
    const [redriven] = await jobs.deadLetters.redrive()
    assert.deepEqual(redriven, { deadLetterId: '1', id: '2' })
    const [again] = await jobs.read()
    assert(again)
    assert.deepEqual(
      [again.id, again.data, again.meta, again.headers, again.priority, again.readCount],
      ['2', 'a', { queueName: 'jobs', correlationId: 'c-1' }, { h: 1 }, 3, 1],
    )
    assert.deepEqual(await jobs.deadLetters.list(), [])
  })

  test('as a dry run says what it would move and moves nothing', async () => {
    const { bus } = scene()
    const jobs = bus.queue('jobs')
    const ids = await bury(jobs, [{ data: 'a' }, { data: 'b' }])
    assert.deepEqual(
      await jobs.deadLetters.redrive({ dryRun: true }),
      ids.map((deadLetterId) => ({ deadLetterId, id: null })),
    )
    assert.equal((await jobs.stats()).ready, 0)
    assert.equal((await jobs.deadLetters.list()).length, 2)
  })

  test('moves only those asked for, and later if asked to', async () => {
    const { bus, clock } = scene()
    const jobs = bus.queue('jobs')
    const [a, , c] = await bury(jobs, [{ data: 'a' }, { data: 'b' }, { data: 'c' }])
    const moved = await jobs.deadLetters.redrive({ ids: [c!, '999'], delay: '5s' })
    assert.deepEqual(
      moved.map(({ deadLetterId }) => deadLetterId),
      [c],
    )
    assert.deepEqual(await jobs.read(), [])
    await clock.advance(5_000)
    assert.deepEqual(datas(await jobs.read({ limit: 10 })), ['c'])
    assert.equal((await jobs.deadLetters.redrive({ limit: 1 }))[0]?.deadLetterId, a)
    assert.deepEqual(datas(await jobs.deadLetters.list()), ['b'])
  })

  test('moves thousands, in their order', async () => {
    const { bus } = scene()
    const jobs = bus.queue('jobs')
    const all = [...Array(1_200).keys()]
    await bury(
      jobs,
      all.map((data) => ({ data })),
    )
    assert.equal((await jobs.deadLetters.redrive()).length, 1_200)
    assert.deepEqual(datas([...(await jobs.read({ limit: 1_000 })), ...(await jobs.read({ limit: 1_000 }))]), all)
  })

  test('moves a whole line of one ordering key, in its order', async () => {
    const { bus } = scene()
    const jobs = bus.queue('jobs')
    await bury(
      jobs,
      [...Array(7).keys()].map((data) => ({ data, orderingKey: 'k' })),
    )
    assert.equal((await jobs.deadLetters.redrive()).length, 7)
    assert.deepEqual(datas(await jobs.peek()), [0, 1, 2, 3, 4, 5, 6])
    assert.deepEqual(await jobs.deadLetters.list(), [])
  })

  test('leaves out what waits behind another of its key', async () => {
    const { bus } = scene()
    const jobs = bus.queue('jobs')
    const [, second] = await bury(jobs, [
      { data: 1, orderingKey: 'k' },
      { data: 2, orderingKey: 'k' },
    ])
    assert.deepEqual(await jobs.deadLetters.redrive({ ids: [second!] }), [])
    assert.equal((await jobs.deadLetters.list()).length, 2)
  })

  test('leaves out what somebody has in hand', async () => {
    const { bus } = scene()
    const jobs = bus.queue('jobs')
    await bury(jobs, [{ data: 'a' }, { data: 'b' }])
    const [held] = await bus.queue('jobs_dlq').read()
    assert.equal(held?.data, 'a')
    assert.equal((await jobs.deadLetters.redrive()).length, 1)
    assert.equal(await held?.delete(), true)
  })

  test('two at the same time move each letter once', async () => {
    const { bus } = scene()
    const jobs = bus.queue('jobs')
    await bury(
      jobs,
      [...Array(50).keys()].map((data) => ({ data })),
    )
    const moved = (await Promise.all([jobs.deadLetters.redrive(), jobs.deadLetters.redrive()])).flat()
    assert.equal(moved.length, 50)
    assert.equal((await jobs.stats()).ready, 50)
  })

  test('says so if the queue that they came from is gone, and moves nothing', async () => {
    const { bus } = scene()
    const jobs = bus.queue('jobs')
    await bury(jobs, [{ data: 'a' }])
    await jobs.drop()
    const error = await refusal(() => jobs.deadLetters.redrive(), 'QUEUE_NOT_FOUND')
    assert.match(error.message, /'jobs'/)
    assert.equal((await jobs.deadLetters.list()).length, 1)
  })
})

describe('a dead-letter queue that several queues share', () => {
  test('shows to each its own, and gives them back to it', async () => {
    const { bus } = scene()
    const a = bus.queue('a', { deadLetter: 'graveyard' })
    const b = bus.queue('b', { deadLetter: 'graveyard' })
    await bury(
      a,
      [...Array(600).keys()].map((index) => ({ data: `a${index}` })),
    )
    await bury(b, [{ data: 'b1' }, { data: 'b2' }])
    await bury(a, [{ data: 'last' }])
    assert.deepEqual(datas(await b.deadLetters.list()), ['b1', 'b2'])
    assert.equal((await a.deadLetters.list({ limit: 1_000 })).length, 601)
    assert.equal((await b.deadLetters.redrive()).length, 2)
    assert.deepEqual(datas(await b.peek()), ['b1', 'b2'])
    assert.equal((await bus.queue('graveyard').stats()).ready, 601)
    assert.equal((await a.stats()).ready, 0)
  })

  test('is created by the first letter', async () => {
    const { bus } = scene()
    const jobs = bus.queue('jobs', { deadLetter: 'graveyard' })
    await bury(jobs, [{ data: 'a' }])
    assert.deepEqual(
      (await bus.queues()).map(({ queue }) => queue),
      ['graveyard', 'jobs'],
    )
  })
})
