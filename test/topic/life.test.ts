import type { Listener } from 'tidings/internal/port/listening'
import { describe, expect, test } from 'vitest'
import { lostConnection, runUntil, Signal, settleDown } from '../worker/support.ts'
import { otherBus, publishMany, type Scene, scene } from './support.ts'

/** Nothing runs in the process for so long. */
function blockFor({ clock }: Scene, milliseconds: number): void {
  const [now, steady] = [clock.now.bind(clock), clock.steady.bind(clock)]
  clock.now = () => now() + milliseconds
  clock.steady = () => steady() + milliseconds
}

/** A subscriber that has the first of three messages in hand. */
async function inHand(here: Scene) {
  const { news, clock, watcher, observe } = here
  await publishMany(news, 3)
  const end = new Signal()
  const subscriber = news.subscribe('payroll', ({ offset }) => (offset === 1 ? end.promise : undefined), {
    from: 'earliest',
    observe,
  })
  await runUntil(clock, watcher.until('started'))
  return { end, subscriber }
}

describe('a consumer of a subscription', () => {
  test('keeps it while nothing runs for 30 s, and tells that once', async () => {
    const here = scene()
    const { clock, watcher } = here
    const { end, subscriber } = await inHand(here)
    await clock.advance(61_000)
    const there = otherBus(here)
    const second = there.news.subscribe('payroll', () => {}, { observe: there.watcher.observe })
    await runUntil(clock, there.watcher.until('standingBy'))
    blockFor(here, 30_000)
    await settleDown(clock)
    end.resolve()
    await runUntil(clock, watcher.until('succeeded', 3))
    expect(watcher.of('blocked')).toMatchObject([{ message: { offset: 1 } }])
    expect(watcher.of('blocked')[0]!.durationMs).toBeGreaterThanOrEqual(29_000)
    expect(subscriber.stats()).toMatchObject({ blocked: 1, holdLost: 0 })
    await second.stop()
    await subscriber.stop()
  })

  test('begins nothing more when another one has taken over while nothing ran', async () => {
    const here = scene()
    const { clock, server, watcher } = here
    const { end, subscriber } = await inHand(here)
    blockFor(here, 60_000)
    const hold = await server.memory.topics!.hold('news', 'payroll', 'another', 3_600_000)
    expect(hold.held).toBe(true)
    end.resolve()
    await runUntil(clock, watcher.until('holdLost'))
    await clock.advance(10_000)
    expect(watcher.of('started')).toHaveLength(1)
    await subscriber.stop()
  })

  test('goes back with a storage that has forgotten the newest of what it had, so that it misses nothing', async () => {
    const here = scene()
    const { news, clock, server, watcher, observe } = here
    const listen = server.memory.listen.bind(server.memory)
    let listener: Listener | undefined
    server.memory.listen = (one) => {
      listener = one
      return listen(one)
    }
    await publishMany(news, 5)
    const handled: number[] = []
    const subscriber = news.subscribe('payroll', ({ offset }) => void handled.push(offset), {
      from: 'earliest',
      observe,
    })
    await runUntil(clock, watcher.until('succeeded', 5))
    await clock.advance(1_000)
    const topics = server.memory.topics!
    const hold = topics.hold.bind(topics)
    const ack = topics.ack.bind(topics)
    let known = 3
    topics.hold = async (...args) => {
      const answer = await hold(...args)
      return answer.held ? { ...answer, cursor: known } : answer
    }
    topics.ack = (topic, subscription, offset, receipt) => {
      known = Math.max(known, offset)
      return ack(topic, subscription, offset, receipt)
    }
    // The connection broke, and it is another server that answers now: 4 and 5 may be other messages there.
    listener!.lost(['life'], lostConnection())
    await runUntil(clock, watcher.until('succeeded', 7))
    expect(handled).toEqual([1, 2, 3, 4, 5, 4, 5])
    expect(watcher.of('holdLost')).toEqual([])
    await clock.advance(60_000)
    expect(handled).toHaveLength(7)
    await subscriber.stop()
  })

  test('begins nothing more before the storage has answered, when it could not be heard', async () => {
    const here = scene()
    const { clock, server, watcher } = here
    const listen = server.memory.listen.bind(server.memory)
    let listener: Listener | undefined
    server.memory.listen = (one) => {
      listener = one
      return listen(one)
    }
    const { end, subscriber } = await inHand(here)
    server.trouble = (member) => (member === 'hold' ? lostConnection() : null)
    listener!.lost(['life'], lostConnection())
    end.resolve()
    await clock.advance(5_000)
    expect(watcher.of('started')).toHaveLength(1)
    server.trouble = () => null
    await runUntil(clock, watcher.until('succeeded', 3))
    expect(watcher.of('holdLost')).toEqual([])
    await subscriber.stop()
  })

  test('holds for as long as its process lives', async () => {
    const here = scene()
    const { clock, server } = here
    const { end, subscriber } = await inHand(here)
    const holds = server.calls.filter(({ member }) => member === 'hold')
    expect(holds.map(({ args }) => args[4])).toEqual(holds.map(() => true))
    end.resolve()
    await runUntil(clock, subscriber.stop())
  })
})
