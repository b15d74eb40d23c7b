import { expect, test, vi } from 'vitest'
import { message, newName } from '../support/engine.ts'
import { LineProcess } from '../support/line-process.ts'
import { openBus, storages } from '../support/storages.ts'

const count = 10_000
const patience = { timeout: 120_000, interval: 20 }

const letter = (origin: string, number: number) =>
  message({ data: String(number), meta: { origin_queue: origin, origin_id: String(number), error_message: 'no' } })

test.concurrent.for(storages.filter(({ name }) => /^(PostgreSQL|Redis)$/.test(name)))(
  'a process that is killed while it redrives leaves no letter lost or doubled: $name',
  { timeout: 400_000 },
  async (storage, { onTestFinished }) => {
    const url = await storage.url()
    const bus = await openBus(url, onTestFinished)
    const queue = bus.queue(newName('redriven'))
    const dead = bus.queue(`${queue.name}_dlq`)
    await queue.create()
    await dead.create()
    for (let from = 0; from < count; from += 1_000)
      await bus.engine.send(
        dead.name,
        Array.from({ length: 1_000 }, (_, index) => letter(queue.name, from + index)),
        null,
      )
    const moved = async () => (await queue.stats()).delayed
    const first = new LineProcess<{ type: string }>('storages/redrive-process.mjs', [url, queue.name], onTestFinished)
    await vi.waitFor(async () => expect(await moved()).toBeGreaterThan(1_000), patience)
    await first.kill()
    const before = await moved()
    expect(first.lines).toEqual([{ type: 'running' }])
    expect(before).toBeLessThan(count)
    // What it had in hand comes back.
    await vi.waitFor(async () => expect((await dead.stats()).ready).toBe(count - (await moved())), patience)
    const again = await queue.deadLetters.redrive({ rate: 1_000, delay: '1h' })
    expect(again).toHaveLength(count - before)
    expect(await dead.stats()).toMatchObject({ ready: 0, leased: 0, delayed: 0 })
    const request = { place: null, limit: count + 1, afterId: null, ids: null }
    const found = (await bus.engine.peek(queue.name, request)).map(({ data }) => Number(data))
    expect(found.sort((a, b) => a - b)).toEqual(Array.from({ length: count }, (_, at) => at))
    await queue.drop()
    await dead.drop()
  },
)
