import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { onTestFinished, test } from 'vitest'
import { openBus, storages } from '../support/storages.ts'

const ids = ['a', 'b', 'c']
const rounds = 15

test.for(storages)(
  'keepLast on $name: of one id at a time one is in hand, and the last data are handled at last',
  async (storage) => {
    const url = await storage.url()
    const name = `keep_last_${randomUUID().slice(0, 8)}`
    const buses = [await openBus(url), await openBus(url)]
    const queues = buses.map((bus) => bus.queue<{ id: string; round: number }>(name))
    await queues[0]!.create()
    onTestFinished(() => void queues[0]!.drop())

    const inHand = new Set<string>()
    const last = new Map<string, number>()
    const overlaps: string[] = []
    let told = () => {}
    const done = new Promise<void>((resolve) => (told = resolve))
    for (const queue of queues)
      queue.work(
        async ({ data: { id, round } }) => {
          if (inHand.has(id)) overlaps.push(id)
          inHand.add(id)
          await new Promise((resolve) => setImmediate(resolve))
          inHand.delete(id)
          last.set(id, round)
          if (ids.every((one) => last.get(one) === rounds)) told()
        },
        { concurrency: 4 },
      )
    await Promise.all(
      ids.map(async (id, index) => {
        for (let round = 1; round <= rounds; round++)
          await queues[index % 2]!.send({ id, round }, { dedup: { id, whileActive: 'keepLast' } })
      }),
    )
    await done
    assert.deepEqual(overlaps, [])
    const { ready, delayed } = await queues[0]!.stats()
    assert.deepEqual([ready, delayed], [0, 0])
    assert.deepEqual([...last.values()], [rounds, rounds, rounds])
  },
)
