import assert from 'node:assert/strict'
import { TidingsError } from 'tidings/internal/core/errors'
import { nextTurn } from 'tidings/internal/core/turns'
import { describe, test } from 'vitest'
import { datas, refusal, type Scene, scene } from './support.ts'

const asked = ({ spy }: Scene) => spy.of('describe').length

/** What was stored by another process: past the bus, which hears nothing of it. */
const storedElsewhere = ({ memory }: Scene, change: object) => memory.configure('jobs', change as never)

async function withQueue(): Promise<Scene> {
  const all = scene()
  await all.memory.createQueue('jobs')
  return all
}

describe('settings of a queue, in one process', () => {
  test('are read once for all who need them, and not again for some time', async () => {
    const all = await withQueue()
    const { bus, clock } = all
    await Promise.all([bus.queue('jobs').send(1), bus.queue('jobs').sendBatch([{ data: 2 }]), bus.queue('jobs').read()])
    assert.equal(asked(all), 1)
    await clock.advance(5_000)
    await bus.queue('jobs').send(3)
    assert.equal(asked(all), 1)
  })

  test('are read anew beside a send that does not wait for it', async () => {
    const all = await withQueue()
    const { bus, clock, spy } = all
    const jobs = bus.queue<number>('jobs')
    await jobs.send(1)
    await storedElsewhere(all, { maxLength: 1 })
    await clock.advance(5_001)
    let answer = () => {}
    const asking = new Promise<void>((resolve) => {
      answer = resolve
    })
    spy.before = (member) => (member === 'describe' ? asking : undefined)
    await jobs.send(2)
    await jobs.send(3)
    assert.equal(asked(all), 2)
    answer()
    await nextTurn()
    await refusal(() => jobs.send(4), 'QUEUE_FULL')
    assert.equal(asked(all), 2)
  })

  test('are waited for once they are too old for a limit, but not for a default', async () => {
    const all = await withQueue()
    const { bus, clock } = all
    const jobs = bus.queue<number>('jobs')
    await jobs.send(1)
    await storedElsewhere(all, { maxLength: 1 })
    await clock.advance(60_001)
    await refusal(() => jobs.send(2), 'QUEUE_FULL')
  })

  test('do not change what was given, nor its order, while they are read', async () => {
    const all = await withQueue()
    const { bus, spy } = all
    await storedElsewhere(all, { ttl: 60_000 })
    const jobs = bus.queue<{ n: number }>('jobs')
    let answer = () => {}
    const asking = new Promise<void>((resolve) => {
      answer = resolve
    })
    spy.before = (member) => (member === 'describe' ? asking : undefined)
    const data = { n: 1 }
    const sends = [jobs.send(data)]
    data.n = 2
    sends.push(jobs.send(data))
    await nextTurn()
    data.n = 3
    sends.push(jobs.send(data))
    answer()
    await asking
    data.n = 4
    sends.push(jobs.send(data))
    await Promise.all(sends)
    const found = await jobs.peek()
    assert.deepEqual(
      (datas(found) as { n: number }[]).map(({ n }) => n),
      [1, 2, 3, 4],
    )
    assert.deepEqual(
      found.map(({ meta }) => meta.ttlMs),
      [60_000, 60_000, 60_000, 60_000],
    )
  })

  test('that were changed while they were read are read once more', async () => {
    const all = await withQueue()
    const { bus, spy } = all
    const jobs = bus.queue<number>('jobs')
    let answers = 0
    spy.before = async (member) => {
      if (member !== 'describe' || answers++ > 0) return
      await jobs.configure({ maxLength: 1 })
    }
    await jobs.send(1)
    await refusal(() => jobs.send(2), 'QUEUE_FULL')
  })

  test('that this process changes hold at once', async () => {
    const { bus } = await withQueue()
    const jobs = bus.queue<number>('jobs')
    await jobs.send(1)
    await jobs.configure({ maxLength: 1 })
    await refusal(() => jobs.send(2), 'QUEUE_FULL')
    await jobs.configure({ maxLength: null })
    await jobs.send(2)
  })

  test('that are announced to a worker hold at once for all', async () => {
    const all = await withQueue()
    const { bus } = all
    const jobs = bus.queue<number>('jobs')
    await jobs.send(1, { delay: '1h' })
    const idle = new Promise<void>((resolve) => {
      jobs.work(() => {}, { observe: ({ type }) => type === 'idle' && resolve() })
    })
    await idle
    await storedElsewhere(all, { maxLength: 1 })
    // Announcements come after what they are about.
    await nextTurn()
    await refusal(() => jobs.send(2), 'QUEUE_FULL')
    await bus.close()
  })

  test('may be kept from who only sends', async () => {
    const all = await withQueue()
    const { bus, spy, clock } = all
    spy.before = (member) => {
      if (member === 'describe') throw new TidingsError('FORBIDDEN', 'not for you')
    }
    const jobs = bus.queue<number>('jobs')
    await jobs.send(1)
    await jobs.send(2)
    await clock.advance(60_000)
    await jobs.send(3)
    assert.equal(asked(all), 1)
  })

  test('that cannot be read refuse the first send, and none after it', async () => {
    const all = await withQueue()
    const { bus, spy, clock } = all
    const away = (member: unknown) => {
      if (member === 'describe') throw new TidingsError('CONNECTION_FAILED', 'away')
    }
    spy.before = away
    const jobs = bus.queue<number>('jobs')
    await refusal(() => jobs.send(1), 'CONNECTION_FAILED')
    spy.before = () => {}
    await jobs.send(2)
    spy.before = away
    await clock.advance(60_001)
    await jobs.send(3)
    assert.deepEqual(datas(await jobs.peek()), [2, 3])
  })

  test('of a later release are passed over', async () => {
    const all = await withQueue()
    await storedElsewhere(all, { maxLength: 'many', maxMessageBytes: 5, teleport: true, backoff: { curve: 'cubic' } })
    await refusal(() => all.bus.queue('jobs').send('too long'), 'BODY_TOO_LARGE')
    await all.bus.queue('jobs').send(1)
  })
})
