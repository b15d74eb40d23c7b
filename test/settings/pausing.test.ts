import { describe, expect, test } from 'vitest'
import { newName } from '../support/engine.ts'
import { openBus, storages } from '../support/storages.ts'
import { gate } from './gate.ts'

describe.each(storages)('a queue that another process pauses, on $name', (storage) => {
  test('hands nothing to a worker until it is resumed, which wakes the worker', async ({ onTestFinished }) => {
    const url = await storage.url()
    const [own, other] = [await openBus(url, onTestFinished), await openBus(url, onTestFinished)]
    const name = newName('paused')
    const [queue, remote] = [own.queue<number>(name), other.queue<number>(name)]
    await queue.create()
    onTestFinished(async () => void (await other.queue(name).drop()))

    await remote.pause({ reason: 'the mail server is down', by: 'Ada' })
    expect((await queue.stats()).pause).toMatchObject({ until: null, reason: 'the mail server is down', by: 'Ada' })
    const handled: number[] = []
    const done = gate()
    const idle = gate()
    const worker = queue.work(
      ({ data }) => {
        handled.push(data)
        done.open()
      },
      { observe: ({ type }) => type === 'idle' && idle.open() },
    )
    await idle.opened
    await remote.send(1)
    expect(await remote.read()).toEqual([])
    expect(await remote.pop()).toEqual([])
    expect(handled).toEqual([])

    await remote.resume()
    await done.opened
    await worker.drain()
    expect(handled).toEqual([1])
    expect((await queue.stats()).pause).toBeNull()
  })
})

test('a pause of a queue that is missing, or to a time that is over, says so and does nothing', async ({
  onTestFinished,
}) => {
  const bus = await openBus('memory:', onTestFinished)
  await bus.queue('hires').create()
  await expect(bus.queue('hire').pause()).rejects.toMatchObject({ code: 'QUEUE_NOT_FOUND', hint: /'hires'/ })
  await expect(bus.queue('hire').resume()).rejects.toMatchObject({ code: 'QUEUE_NOT_FOUND' })
  const over = bus.queue('hires').pause({ until: new Date('2020-01-01') })
  await expect(over).rejects.toMatchObject({ code: 'RANGE', details: { field: 'pause.until' } })
  await expect(bus.queue('hires').pause({ until: 'soon' })).rejects.toMatchObject({ code: 'RANGE' })
  await expect(bus.queue('hires').pause({ reason: '' })).rejects.toMatchObject({ code: 'RANGE' })
  const unknown = bus.queue('hires').configure({ pauze: null } as object)
  await expect(unknown).rejects.toMatchObject({ code: 'OPTION_UNKNOWN' })
  expect(await bus.queue('hires').settings()).toEqual({})
  await bus.queue('hires').pause({ by: 'Ada' })
  expect((await bus.stats())[0]?.pause).toMatchObject({ by: 'Ada', until: null })
})
