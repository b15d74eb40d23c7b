import assert from 'node:assert/strict'
import type { SentinelOptions } from 'tidings/internal/sentinel/options'
import { describe, test } from 'vitest'
import { datas } from '../queue/support.ts'
import { runUntil, settleDown } from '../worker/support.ts'
import { scene } from './support.ts'

const minute = 60_000

async function watched(options: SentinelOptions) {
  const stage = scene()
  const sentinel = stage.bus.sentinel(options)
  await sentinel.start()
  return { ...stage, sentinel, queue: stage.bus.queue('q') }
}

/** Lets the sentinel work for this long. */
async function pass({ clock }: ReturnType<typeof scene>, milliseconds: number) {
  for (let passed = 0; passed < milliseconds; passed += 10_000) {
    await clock.advance(10_000)
    await settleDown(clock)
  }
}

describe('a sentinel', () => {
  test('dead-letters expired messages that nobody reads', async () => {
    const stage = await watched({ expire: [{ queues: 'q' }] })
    const { queue, sentinel, clock, bus } = stage
    await queue.send('expired', { ttl: '1m' })
    await queue.send('good', { ttl: '1h' })
    await bus.queue('other').send('expired', { ttl: '1m' })
    await pass(stage, 3 * minute)
    assert.deepEqual(datas(await queue.peek()), ['good'])
    const [letter] = await queue.deadLetters.list()
    assert.equal(letter?.data, 'expired')
    assert.match(String(letter.meta.errorMessage), /^expired at /)
    assert.equal(sentinel.figures().expired, 1)
    assert.deepEqual(datas(await bus.queue('other').peek()), ['expired'], 'no rule is about it')
    await runUntil(clock, sentinel.stop())
  })

  test('drops them if the rule says so, and logs how many', async () => {
    const expire = [{ queues: 'q', expired: 'drop' }, { queues: '*' }] as const
    const stage = await watched({ expire })
    await stage.queue.send('expired', { ttl: '1m' })
    await stage.queue.sendBatch([
      { data: 'expired', ttl: '1m', orderingKey: 'k' },
      { data: 'expired', ttl: '1m', orderingKey: 'k' },
    ])
    await pass(stage, 3 * minute)
    assert.deepEqual(await stage.queue.peek(), [])
    assert.deepEqual(await stage.queue.deadLetters.list(), [])
    const told = stage.said.find(({ message }) => message === 'messages expired that nobody had read')
    assert.deepEqual(told?.details, { queue: 'q', count: 3, expired: 'drop' })
    await runUntil(stage.clock, stage.sentinel.stop())
  })

  test('leaves leased messages and dead letters alone', async () => {
    const stage = await watched({ expire: [{ queues: '*', expired: 'drop' }] })
    const { queue, clock, sentinel } = stage
    await queue.send('in hand', { ttl: '1m' })
    await queue.send('dead', { ttl: '1m' })
    const [, second] = await queue.read({ limit: 2, lease: '1h' })
    await second!.deadLetter('broken')
    await pass(stage, 5 * minute)
    assert.deepEqual(datas(await queue.peek()), ['in hand'])
    assert.deepEqual(datas(await queue.deadLetters.list()), ['dead'])
    await runUntil(clock, sentinel.stop())
  })

  test('continues at its last position in a long queue', async () => {
    const stage = await watched({ expire: [{ queues: '*', expired: 'drop' }] })
    const good = Array.from({ length: 9_990 }, () => ({ data: 'good' }))
    await stage.queue.sendBatch(good)
    await stage.queue.sendBatch(Array.from({ length: 500 }, () => ({ data: 'expired', ttl: 1_000 })))
    await stage.clock.advance(1_000)
    await pass(stage, minute)
    const first = stage.sentinel.figures().expired
    await pass(stage, 2 * minute)
    assert(first < 500, `a round is bounded, but ended ${first}`)
    assert.equal(stage.sentinel.figures().expired, 500)
    await runUntil(stage.clock, stage.sentinel.stop())
  })
})
