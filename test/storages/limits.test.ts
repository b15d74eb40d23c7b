import { setTimeout as wait } from 'node:timers/promises'
import { isTidingsError } from 'tidings'
import { describe, expect, test } from 'vitest'
import { newName } from '../support/engine.ts'
import { openBus, storages } from '../support/storages.ts'

const dataOf = (messages: readonly { readonly data: unknown }[]) => messages.map(({ data }) => data)

describe.each(storages)('limits on $name', (storage) => {
  test.each(['read', 'pop', 'work'] as const)('what has expired is not handed out: %s', async (way) => {
    const bus = await openBus(await storage.url())
    const queue = bus.queue<string>(newName('expiring'))
    await queue.send('expired', { ttl: 20 })
    await queue.send('good', { ttl: '1h' })
    // Time itself is what is tested.
    await wait(40)
    const found: unknown[] = []
    if (way === 'work') await queue.work(({ data }) => void found.push(data)).drain()
    else found.push(...dataOf(await queue[way]({ limit: 10 })))
    expect(found).toEqual(['good'])
    const [letter] = await queue.deadLetters.list()
    expect(letter).toMatchObject({ data: 'expired', meta: { errorMessage: expect.stringMatching(/^expired at /) } })
    expect(await queue.deadLetters.redrive()).toHaveLength(1)
    expect(dataOf(await queue.read())).toEqual(['expired'])
  })

  test('what expired and is to be dropped leaves nothing', async () => {
    const bus = await openBus(await storage.url())
    const queue = bus.queue(newName('expiring'), { ttl: 20, expired: 'drop' })
    await queue.sendBatch([{ data: 1 }, { data: 2 }, { data: 3, ttl: '1h' }])
    await wait(40)
    expect(dataOf(await queue.pop({ limit: 10 }))).toEqual([3])
    expect(await queue.stats()).toMatchObject({ ready: 0, leased: 0, delayed: 0, archived: 0 })
  })

  test('two processes never make a queue longer than it may be', async () => {
    const url = await storage.url()
    const [one, two] = [await openBus(url), await openBus(url)]
    const name = newName('bounded')
    await one.queue(name).create()
    const sending = [one, two].flatMap((bus) => {
      const queue = bus.queue<number>(name, { maxLength: 50 })
      return Array.from({ length: 60 }, (_, index) => queue.send(index))
    })
    const settled = await Promise.allSettled(sending)
    const refused = settled.flatMap((one) => (one.status === 'rejected' ? [one.reason as unknown] : []))
    expect(refused).toHaveLength(70)
    expect(refused.every((error) => isTidingsError(error, 'QUEUE_FULL') && error.retryable)).toBe(true)
    expect((await one.queue(name).stats()).ready).toBe(50)
  })
})
