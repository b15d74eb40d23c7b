import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { Bus } from 'tidings/internal/bus/bus'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { lostConnection, runUntil, scene, settleDown } from './support.ts'

describe('consume', () => {
  test('messages one after the other; each is deleted when the loop asks for the next', async () => {
    const { bus, clock } = scene()
    const queue = bus.queue<number>('loop')
    await queue.sendBatch([{ data: 1 }, { data: 2 }, { data: 3 }])
    const seen: number[] = []
    const loop = async () => {
      for await (const message of queue.consume({ wait: '1s' })) {
        seen.push(message.data)
        expect((await queue.stats()).leased).toBe(1)
      }
    }
    await runUntil(clock, loop())
    expect(seen).toEqual([1, 2, 3])
    expect(await queue.stats()).toMatchObject({ ready: 0, leased: 0, archived: 0 })
    expect(clock.pending).toBe(0)
  })

  test('a message that the body settled is left alone', async () => {
    const { bus, clock } = scene()
    const queue = bus.queue<string>('settled')
    await queue.sendBatch([{ data: 'archive' }, { data: 'release' }, { data: 'delete' }])
    const loop = async () => {
      for await (const message of queue.consume({ wait: 100 })) {
        if (message.data === 'archive') await message.archive()
        if (message.data === 'release') await message.release({ delay: '1h' })
      }
    }
    await runUntil(clock, loop())
    expect(await queue.stats()).toMatchObject({ delayed: 1, archived: 1, ready: 0, leased: 0 })
  })

  test('break and an error release the message at hand', async () => {
    const { bus, clock } = scene()
    const queue = bus.queue<number>('ends')
    await queue.sendBatch([{ data: 1 }, { data: 2 }])
    const broken = async () => {
      for await (const message of queue.consume()) if (message.data === 2) break
    }
    await runUntil(clock, broken())
    expect(await queue.stats()).toMatchObject({ ready: 1, leased: 0 })
    const failing = async () => {
      for await (const _ of queue.consume()) throw new Error('in the body')
    }
    await expect(runUntil(clock, failing())).rejects.toThrow('in the body')
    const [left] = await queue.peek({ place: 'ready' })
    expect(left).toMatchObject({ data: 2, readCount: 2 })
    expect(clock.pending).toBe(0)
  })

  test('the lease is renewed while the body runs', async () => {
    const { bus, clock } = scene()
    const queue = bus.queue('long')
    await queue.send('x')
    const consumer = queue.consume()
    const { value } = await consumer.next()
    for (let second = 0; second < 30; second++) {
      await clock.advance(1_000)
      expect(await queue.read()).toEqual([])
    }
    expect(await value!.delete()).toBe(true)
    await consumer.return!()
  })

  test('waits for messages, and a signal ends the loop', async () => {
    const { bus, clock } = scene()
    const queue = bus.queue<number>('waits')
    const controller = new AbortController()
    const seen: number[] = []
    const loop = async () => {
      for await (const message of queue.consume({ signal: controller.signal, pollInterval: '1h' })) {
        seen.push(message.data)
        if (message.data === 2) controller.abort()
      }
    }
    const ended = loop()
    await settleDown(clock)
    await queue.send(1)
    await settleDown(clock)
    expect(seen).toEqual([1])
    await queue.sendBatch([{ data: 2 }, { data: 3 }])
    await ended
    expect(seen).toEqual([1, 2])
    // The body was through with the second.
    expect(await queue.stats()).toMatchObject({ ready: 1, leased: 0 })
    expect(clock.pending).toBe(0)
    const again = queue.consume({ signal: controller.signal })
    expect(await again.next()).toEqual({ done: true, value: undefined })
  })

  test('return() wakes a next() that waits', async () => {
    const { bus, clock } = scene()
    const consumer = bus.queue('return').consume()
    const next = consumer.next()
    await settleDown(clock)
    expect(await consumer.return!()).toEqual({ done: true, value: undefined })
    expect(await next).toEqual({ done: true, value: undefined })
    expect(await consumer.next()).toEqual({ done: true, value: undefined })
    expect(clock.pending).toBe(0)
  })

  test('throw() releases and throws', async () => {
    const { bus } = scene()
    const queue = bus.queue('throw')
    await queue.send('x')
    const consumer = queue.consume()
    await consumer.next()
    await expect(consumer.throw!(new Error('mine'))).rejects.toThrow('mine')
    expect(await queue.stats()).toMatchObject({ ready: 1 })
  })

  test('two calls of next at once give two messages, one after the other', async () => {
    const { bus } = scene()
    const queue = bus.queue<number>('twice')
    await queue.sendBatch([{ data: 1 }, { data: 2 }])
    const consumer = queue.consume()
    const [first, second] = await Promise.all([consumer.next(), consumer.next()])
    expect([first.value!.data, second.value!.data]).toEqual([1, 2])
    expect(await queue.stats()).toMatchObject({ leased: 1, ready: 0 })
    await consumer.return!()
  })

  test('invalid data is dead-lettered and skipped', async () => {
    const { bus, clock } = scene()
    await bus.queue('typed').sendBatch([{ data: 'one' }, { data: 2 }])
    const seen: number[] = []
    const loop = async () => {
      const queue = bus.queue('typed', { schema: z.number() })
      for await (const message of queue.consume({ wait: 100 })) seen.push(message.data)
    }
    await runUntil(clock, loop())
    expect(seen).toEqual([2])
    expect(await bus.queue('typed_dlq').stats()).toMatchObject({ ready: 1 })
  })

  test('a message that was delivered too often is dead-lettered', async () => {
    const { bus, clock } = scene()
    const queue = bus.queue('often')
    await queue.send('x')
    let seen = 0
    const loop = async () => {
      for await (const _ of queue.consume({ wait: 100, maxAttempts: 3 })) {
        seen++
        throw new Error('never')
      }
    }
    for (let run = 0; run < 3; run++) await expect(runUntil(clock, loop())).rejects.toThrow('never')
    await runUntil(clock, loop())
    expect(seen).toBe(3)
    expect((await bus.queue('often_dlq').peek())[0]!.meta).toMatchObject({ originQueue: 'often' })
  })

  test('a bus that is closed meanwhile ends the loop with CLOSED', async () => {
    const { bus, clock } = scene()
    const consumer = bus.queue('closed').consume()
    const next = consumer.next()
    await settleDown(clock)
    await bus.close()
    await expect(runUntil(clock, next)).rejects.toMatchObject({ code: 'CLOSED' })
    expect(clock.pending).toBe(0)
    expect(await consumer.next()).toEqual({ done: true, value: undefined })
  })

  test('an outage is ridden out', async () => {
    const { bus, clock, server } = scene()
    const queue = bus.queue<number>('outage')
    await queue.sendBatch([{ data: 1 }, { data: 2 }])
    const seen: number[] = []
    const loop = async () => {
      for await (const message of queue.consume({ wait: '5s' })) {
        seen.push(message.data)
        if (message.data === 1) {
          server.down = lostConnection()
          clock.after(2_000, () => {
            server.down = null
          })
        }
      }
    }
    await runUntil(clock, loop())
    expect(seen).toEqual([1, 2])
    expect(await queue.stats()).toMatchObject({ ready: 0, leased: 0 })
  })

  test('a message that was lost meanwhile is not settled, and the loop goes on', async () => {
    const { bus, clock, server, log } = scene()
    const queue = bus.queue<number>('stolen')
    await queue.sendBatch([{ data: 1 }, { data: 2 }])
    const seen: number[] = []
    const loop = async () => {
      for await (const message of queue.consume({ wait: 100 })) {
        seen.push(message.data)
        if (message.data === 1) await new Bus(server.memory, { clock }).queue('stolen').purge()
        if (message.data === 1) await queue.send(3)
      }
    }
    await runUntil(clock, loop())
    expect(seen).toEqual([1, 3])
    expect(log.lines.map((line) => line.text)).toEqual(['the lease of a message was lost'])
  })
})

describe('an abandoned iteration', () => {
  test('a next() that lost a race gives its message to the following one', async () => {
    const { bus, clock } = scene()
    const queue = bus.queue<number>('race')
    const consumer = queue.consume()
    await Promise.race([consumer.next(), settleDown(clock)])
    await queue.send(1)
    const { value } = await runUntil(clock, consumer.next())
    expect(value!.data).toBe(1)
    await consumer.return!()
    expect(await queue.stats()).toMatchObject({ ready: 1, leased: 0 })
  })

  test('a message that came to a lost race is given again, not deleted', async () => {
    const { bus, clock } = scene()
    const queue = bus.queue<number>('late')
    const consumer = queue.consume()
    const lost = consumer.next()
    await settleDown(clock)
    await queue.sendBatch([{ data: 1 }, { data: 2 }])
    await runUntil(clock, lost)
    expect((await consumer.next()).value!.data).toBe(1)
    expect((await consumer.next()).value!.data).toBe(2)
    expect(await queue.stats()).toMatchObject({ ready: 0, leased: 1 })
    await consumer.return!()
  })

  test('a message that the loop did not come back for goes back when the bus is closed', async () => {
    const { bus, clock, server } = scene()
    await bus.queue('closing').send(1)
    const consumer = bus.queue('closing').consume()
    expect((await consumer.next()).value!.data).toBe(1)
    await runUntil(clock, bus.close())
    const settled = server.calls.filter(({ member }) => member === 'settle').map(({ args }) => args[1])
    expect(settled).toMatchObject([[{ kind: 'release', delayMs: 0 }]])
  })

  test('an iteration that nobody holds any more is ended, and its message goes back', async () => {
    const { bus, clock } = scene()
    const queue = bus.queue('dropped')
    await queue.send(1)
    const held = [await (async () => (await queue.consume().next()).value!)()]
    await collectGarbage()
    expect(await queue.stats(), 'the message is still held').toMatchObject({ leased: 1 })
    held.pop()
    for (let tries = 0; clock.pending > 0 && tries < 50; tries++) await collectGarbage()
    expect(await queue.stats()).toMatchObject({ ready: 1, leased: 0 })
    expect(clock.pending).toBe(0)
  })

  test.each(['read', 'pop'] as const)('%s with an aborted signal gives back what it still gets', async (how) => {
    const { bus, clock, server } = scene()
    const queue = bus.queue<number>('aborted')
    await queue.create()
    const aborted = new AbortController()
    const waiting = queue[how]({ wait: '1h', signal: aborted.signal })
    await settleDown(clock)
    server.trouble = (member) => {
      if (member === 'claim') aborted.abort()
      return null
    }
    await queue.send(1)
    expect(await runUntil(clock, waiting)).toEqual([])
    expect(await queue.stats()).toMatchObject({ ready: 1, leased: 0 })
    expect((await queue.peek())[0]!.readCount).toBe(0)
  })
})

/** Lets the garbage collector run, and what waits for that. */
async function collectGarbage(): Promise<void> {
  setFlagsFromString('--expose-gc')
  runInNewContext('gc')()
  for (let turn = 0; turn < 10; turn++) await new Promise(setImmediate)
}
