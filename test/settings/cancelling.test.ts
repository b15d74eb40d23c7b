import { isTidingsError } from 'tidings/internal/core/errors'
import { describe, expect, test } from 'vitest'
import { newName } from '../support/engine.ts'
import { openBus, storages } from '../support/storages.ts'
import { gate } from './gate.ts'

const track = (correlationId: string) => ({ meta: { correlationId }, track: true })

describe.each(storages)('a message that another process cancels, on $name', (storage) => {
  test('while a handler has it: the handler is told long before the next renewal, and its task has ended as cancelled', async ({
    onTestFinished,
  }) => {
    const url = await storage.url()
    const [own, other] = [await openBus(url, onTestFinished), await openBus(url, onTestFinished)]
    const [name, correlation] = [newName('cancelled'), newName('import')]
    const queue = own.queue<string>(name)
    await queue.create()
    onTestFinished(async () => void (await other.queue(name).drop()))
    const [first, ignoring] = [
      await queue.send('obeys', track(correlation)),
      await queue.send('ignores', track(correlation)),
    ]
    const waiting = await queue.send('waits', { ...track(correlation), delay: '1h' })

    const begun = [gate(), gate()]
    const [goOn, over] = [gate(), gate()]
    const reasons: unknown[] = []
    const events: string[] = []
    const worker = queue.work(
      async ({ data }, { signal }) => {
        begun[data === 'obeys' ? 0 : 1]!.open()
        await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }))
        reasons.push(signal.reason)
        if (data === 'obeys') throw signal.reason
        await goOn.opened
      },
      {
        concurrency: 2,
        lease: '60s',
        observe: (event) => {
          if (event.type !== 'cancelled' && event.type !== 'succeeded' && event.type !== 'failed') return
          events.push(`${event.message.id} ${event.type}`)
          if (event.type === 'cancelled') over.open()
        },
      },
    )
    await Promise.all(begun.map(({ opened }) => opened))
    const result = await other.queue(name).cancel({ meta: { correlationId: correlation } })
    expect([result.removed, [...result.running].sort()]).toEqual([[waiting], [first, ignoring].sort()])
    await over.opened
    goOn.open()
    await worker.drain()

    expect(reasons.map((reason) => isTidingsError(reason, 'CANCELLED'))).toEqual([true, true])
    expect(events.sort()).toEqual([`${first} cancelled`, `${ignoring} succeeded`].sort())
    const [archived] = await queue.peek({ place: 'archived' })
    expect(archived).toMatchObject({ id: first, readCount: 1 })
    expect(archived?.meta).toHaveProperty('cancelled_at')
    expect(await own.correlation(correlation)).toMatchObject({ done: 1, cancelled: 2, dead: 0, pending: 0, running: 0 })
    expect((await own.queue(name).stats()).ready).toBe(0)
  })

  test('and whose handler fails before it hears of it: no dead letter', async ({ onTestFinished }) => {
    const bus = await openBus(await storage.url(), onTestFinished)
    for (const deadLetter of [null, false] as const) {
      const queue = bus.queue<number>(newName('cancelled'), deadLetter === null ? {} : { deadLetter })
      await queue.create()
      onTestFinished(async () => void (await queue.drop()))
      const id = await queue.send(1, track(newName('import')))
      const events: string[] = []
      const worker = queue.work(
        async () => {
          await queue.cancel(id)
          throw new Error('as it would have anyway')
        },
        { maxAttempts: 1, maxMessages: 1, observe: ({ type }) => void events.push(type) },
      )
      await worker.finished
      expect(events).not.toContain('deadLettered')
      expect(events.filter((type) => type === 'cancelled')).toHaveLength(1)
      const [archived] = await queue.peek({ place: 'archived' })
      expect(archived?.meta).toHaveProperty('cancelled_at')
      expect(archived?.meta).not.toHaveProperty('dead_lettered_at')
      if (deadLetter === null) expect(await queue.deadLetters.list()).toEqual([])
    }
  })

  test('of a reader that is gone: nobody gets it any more', async ({ onTestFinished }) => {
    const bus = await openBus(await storage.url(), onTestFinished)
    const queue = bus.queue<number>(newName('cancelled'))
    await queue.create()
    onTestFinished(async () => void (await queue.drop()))
    for (const take of [() => queue.read(), () => queue.pop()]) {
      const id = await queue.send(1)
      const [message] = await queue.read({ lease: '1m' })
      expect(await queue.cancel(id)).toEqual({ removed: [], running: [id] })
      await expect(message!.extend('30s')).rejects.toMatchObject({ code: 'CANCELLED', details: { id } })
      await message!.release()
      expect(await take()).toEqual([])
      expect((await queue.stats()).ready).toBe(0)
    }
  })
})

describe('what cannot be cancelled says why', () => {
  test.each([
    ['17', 'MESSAGE_NOT_FOUND'],
    ['', 'MESSAGE_ID_INVALID'],
    [['17', 'a b'], 'MESSAGE_ID_INVALID'],
    [{ meta: {} }, 'TYPE'],
    [{}, 'MESSAGE_ID_INVALID'],
    [null, 'MESSAGE_ID_INVALID'],
    [{ meta: { a: 1 }, data: 1 }, 'TYPE'],
    [{ meta: { correlationId: 7 } }, 'TYPE'],
  ])('%j', async (which, code) => {
    await using bus = await openBus('memory:', () => {})
    const queue = bus.queue('hires')
    const id = await queue.send(1)
    await expect((async () => queue.cancel(which as string))()).rejects.toMatchObject({ code })
    await expect(bus.queue('hire').cancel(id)).rejects.toMatchObject({ code: 'QUEUE_NOT_FOUND' })
    expect((await queue.stats()).ready).toBe(1)
  })
})
