import assert from 'node:assert/strict'
import { Bus } from 'tidings/internal/bus/bus'
import { sleep } from 'tidings/internal/core/clock'
import type { SubscriptionContext } from 'tidings/internal/subscription/handler'
import type { SubscribeOptions } from 'tidings/internal/subscription/options'
import type { ReceivedMessage } from 'tidings/internal/topics/message'
import { describe, test } from 'vitest'
import { lostConnection, runUntil, Server } from '../worker/support.ts'
import { publishMany, type Scene, scene, Watcher } from './support.ts'

type Handler = (message: ReceivedMessage<unknown>, context: SubscriptionContext) => unknown

/** A subscriber in a process that a test can kill. */
class Mortal {
  /** Offset and attempt of each call of the handler. */
  readonly calls: string[] = []
  readonly watcher = new Watcher()
  readonly subscriber
  readonly #server: Server

  constructor({ clock, server }: Scene, handler: Handler, options: SubscribeOptions = {}) {
    this.#server = new Server(clock, server.memory)
    const bus = new Bus(this.#server.engine, { clock })
    this.subscriber = bus.topic('news').subscribe(
      'payroll',
      (message, context) => {
        this.calls.push(`${message.offset}.${context.attempt}${message.redelivered ? ' again' : ''}`)
        return handler(message, context)
      },
      { from: 'earliest', observe: this.watcher.observe, ...options },
    )
  }

  get acks(): number[] {
    return this.watcher.of('acked').map(({ offset }) => offset)
  }

  /** Never comes back. */
  die(): Promise<void> {
    this.#server.down = lostConnection()
    return new Promise(() => {})
  }
}

/** A process that dies when it is given this message. @returns it, dead, when its lease has run out */
async function killedBy(here: Scene, fatal: number, options?: SubscribeOptions): Promise<Mortal> {
  const mortal: Mortal = new Mortal(here, ({ offset }) => (offset === fatal ? mortal.die() : undefined), options)
  await runUntil(here.clock, mortal.watcher.until('holdLost'))
  return mortal
}

/** A process that stays alive, and reads what there is. */
async function survivor(here: Scene, options?: SubscribeOptions): Promise<Mortal> {
  const mortal = new Mortal(here, () => {}, options)
  await runUntil(here.clock, mortal.subscriber.drain())
  return mortal
}

const letters = async ({ bus }: Scene) =>
  (await bus.queue('news_payroll_dlq').peek()).map(({ data, meta }) => ({ data, ...meta }))

describe('a message that kills its process', () => {
  test('is dead-lettered after its attempts, and later messages are handled', async () => {
    const here = scene()
    await publishMany(here.news, 5)
    for (const attempt of [1, 2, 3]) {
      const { calls } = await killedBy(here, 3, { maxAttempts: 3, readAhead: 1 })
      assert.equal(calls.at(-1), `3.${attempt}${attempt > 1 ? ' again' : ''}`)
    }
    const last = await survivor(here, { maxAttempts: 3 })
    assert.deepEqual(last.calls, ['4.1', '5.1'])
    const [letter, ...others] = await letters(here)
    assert.deepEqual(others, [])
    assert.deepEqual([letter?.data, letter?.originOffset, letter?.attempts], [3, 3, 3])
    assert.match(String(letter?.errorMessage), /^3 consumers in a row went away without leaving .* at most 3 attempts$/)
    const [event] = last.watcher.of('deadLettered')
    assert.equal(event?.message.offset, 3)
    assert.equal((event.error as { code: string }).code, 'HANDLER_FAILED')
  })

  test('in the middle of a batch: earlier messages are not blamed', async () => {
    const here = scene()
    await publishMany(here.news, 10)
    const options = { maxAttempts: 2 }
    const first = await killedBy(here, 5, options)
    assert.deepEqual([first.calls.length, first.acks], [5, []], 'nothing was acknowledged before')
    for (const attempt of [1, 2]) {
      const { calls } = await killedBy(here, 5, options)
      assert.equal(calls.at(-1), `5.${attempt}${attempt > 1 ? ' again' : ''}`)
    }
    const last = await survivor(here, options)
    assert.deepEqual(last.calls, ['6.1', '7.1', '8.1', '9.1', '10.1'])
    assert.deepEqual(
      (await letters(here)).map(({ data, attempts }) => [data, attempts]),
      [[5, 2]],
    )
  })

  test('one process alone proves nothing, even where a message has one attempt', async () => {
    const here = scene()
    await publishMany(here.news, 3)
    await killedBy(here, 3, { maxAttempts: 1 })
    const second = await killedBy(here, 3, { maxAttempts: 1 })
    assert.deepEqual(second.calls, ['1.2 again', '2.1', '3.1'])
    await killedBy(here, 3, { maxAttempts: 1 })
    assert.deepEqual((await survivor(here, { maxAttempts: 1 })).calls, [])
    assert.deepEqual(
      (await letters(here)).map(({ data, attempts }) => [data, attempts]),
      [[3, 2]],
    )
  })

  test('counts together with attempts that fail', async () => {
    const here = scene()
    await publishMany(here.news, 2)
    for (let process = 0; process < 2; process++) await killedBy(here, 1)
    const clumsy = new Mortal(here, ({ offset }) => (offset === 1 ? Promise.reject(new Error('broken')) : undefined), {
      maxAttempts: 4,
    })
    await runUntil(here.clock, clumsy.subscriber.drain())
    assert.deepEqual(clumsy.calls, ['1.3 again', '1.4 again', '2.1'])
    assert.deepEqual(
      (await letters(here)).map(({ errorMessage, attempts }) => [errorMessage, attempts]),
      [['broken', 4]],
    )
  })

  test('without a dead-letter queue stops each subscriber, until the subscription is moved', async () => {
    const here = scene()
    await publishMany(here.news, 2)
    const options = { maxAttempts: 2, deadLetter: false } as const
    for (let process = 0; process < 2; process++) await killedBy(here, 1, options)
    for (let process = 0; process < 2; process++) {
      const { calls, subscriber } = await survivor(here, options)
      assert.deepEqual([calls, (subscriber.failure as { code: string }).code], [[], 'HANDLER_FAILED'])
    }
    await here.news.seek(1)
    assert.deepEqual((await survivor(here, options)).calls, ['1.1', '2.1'])
  })
})

describe('going on after a process that vanished', () => {
  test('each message of the batch is acknowledged before the next begins, and later messages in groups', async () => {
    const here = scene()
    await publishMany(here.news, 20)
    await killedBy(here, 1, { readAhead: 4 })
    const started: string[] = []
    const careful: Mortal = new Mortal(
      here,
      async ({ offset }) => {
        started.push(`${offset} after ${careful.acks.at(-1) ?? 0}`)
        await sleep(here.clock, 5)
      },
      { readAhead: 4 },
    )
    await runUntil(here.clock, careful.subscriber.drain(), 1)
    assert.deepEqual(started.slice(0, 5), ['1 after 0', '2 after 1', '3 after 2', '4 after 3', '5 after 4'])
    assert.deepEqual(careful.acks, [1, 2, 3, 4, 8, 12, 16, 20])
    assert.deepEqual(
      careful.watcher.of('held').map(({ cursor, vanished }) => [cursor, vanished]),
      [[0, 1]],
    )
  })

  test('a stop in between begins nothing more', async () => {
    const here = scene()
    await publishMany(here.news, 5)
    await killedBy(here, 1)
    const next: Mortal = new Mortal(here, ({ offset }) => {
      if (offset === 2) void next.subscriber.stop()
    })
    await runUntil(here.clock, next.subscriber.finished)
    assert.deepEqual(next.calls, ['1.2 again', '2.1'])
    assert.equal((await here.news.subscription('payroll').state()).cursor, 2)
  })

  test('a seek in between begins anew', async () => {
    const here = scene()
    await publishMany(here.news, 5)
    await killedBy(here, 1)
    const next: Mortal = new Mortal(here, async ({ offset, redelivered }) => {
      if (offset === 2 && !redelivered) await here.news.seek(1)
    })
    await runUntil(here.clock, next.subscriber.drain())
    assert.deepEqual(next.calls, ['1.2 again', '2.1', '1.1 again', '2.1 again', '3.1', '4.1', '5.1'])
  })

  test('a process that was asked to stop does not count', async () => {
    const here = scene()
    await publishMany(here.news, 2)
    for (let process = 0; process < 3; process++) {
      const hanging = new Mortal(here, () => new Promise(() => {}))
      await runUntil(here.clock, hanging.watcher.until('started'))
      await runUntil(here.clock, hanging.subscriber.stop({ deadline: 0 }))
      assert.deepEqual(hanging.calls, ['1.1'])
    }
    assert.deepEqual((await survivor(here)).calls, ['1.1', '2.1'])
  })

  test('processes that are killed while there is nothing to read do not count', async () => {
    const here = scene()
    await here.news.subscription('payroll').create()
    for (let process = 0; process < 8; process++) {
      const idle = new Mortal(here, () => {})
      await runUntil(here.clock, idle.watcher.until('idle'))
      void idle.die()
      await runUntil(here.clock, idle.watcher.until('holdLost'))
    }
    const next = new Mortal(here, () => {})
    await runUntil(here.clock, next.watcher.until('idle'))
    await here.news.publish('at last')
    await runUntil(here.clock, next.watcher.until('succeeded'))
    assert.deepEqual(next.calls, ['1.1'])
    await next.subscriber.stop()
  })
})
