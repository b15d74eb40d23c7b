import { describe, expect, test } from 'vitest'
import { isTidingsError } from '../../src/errors.ts'
import { poll } from '../../src/local/processes.ts'
import { message, newName, peekAll } from '../support/engine.ts'
import { openBus, ownServer, type Storage, storages } from '../support/storages.ts'

const routed = (routingKey: string, label: string) => ({ ...message({ data: JSON.stringify(label) }), routingKey })

/** How many of the queues have each message. */
async function copiesOf(url: string, queues: readonly string[]): Promise<Map<string, number>> {
  const { engine } = await openBus(url)
  const found = new Map<string, number>()
  for (const queue of queues)
    for (const { data } of await peekAll(engine, queue)) {
      const label = JSON.parse(data) as string
      found.set(label, (found.get(label) ?? 0) + 1)
    }
  return found
}

/** Where copies come one after the other, upkeep brings what is missing. */
async function untilComplete(storage: Storage, url: string, queues: readonly string[]): Promise<Map<string, number>> {
  let found = await copiesOf(url, queues)
  if (storage.publishesAtOnce) return found
  const { engine } = await openBus(url)
  await poll(async () => {
    await engine.maintain()
    found = await copiesOf(url, queues)
    return [...found.values()].every((copies) => copies === queues.length)
  }, 15_000)
  return found
}

describe.each(storages)('a server that is killed while messages are published: $name', (storage) => {
  test('each of them is in all of 20 queues or in none, and all that were acknowledged', async () => {
    const server = await ownServer(storage)
    const start = newName('fan')
    const queues = Array.from({ length: 20 }, (_, index) => `${start}_${String(index).padStart(2, '0')}`)
    const first = await openBus(server.url)
    for (const queue of queues) {
      await first.queue(queue).create()
      await first.bind(`${start}.#`, queue)
    }

    const acknowledged = new Set<string>()
    let attempted = 0
    for (let round = 0; round < 3; round++) {
      const { engine } = await openBus(server.url)
      let killed = false
      const publisher = async (name: number) => {
        for (let index = 0; !killed; index++) {
          const label = `${round}/${name}/${index}`
          attempted++
          try {
            const [deliveries] = await engine.publish([routed(`${start}.${name}`, label)], null)
            expect(deliveries?.map((copy) => 'queue' in copy && copy.queue)).toEqual(queues)
            acknowledged.add(label)
          } catch (error) {
            // Not known, or not reached: either way it must be everywhere or nowhere.
            expect(error).toSatisfy(
              (one) => isTidingsError(one) && /^(OUTCOME_UNKNOWN|CONNECTION_|STORAGE_)/.test(one.code),
            )
            return
          }
        }
      }
      const publishing = Promise.all([0, 1, 2, 3].map(publisher))
      const enough = acknowledged.size + 20
      await poll(async () => acknowledged.size >= enough, 20_000, 3)
      await server.kill()
      killed = true
      await publishing
      await server.restart()
    }

    const found = await untilComplete(storage, server.url, queues)
    expect([...found].filter(([, copies]) => copies !== queues.length)).toEqual([])
    expect([...acknowledged].filter((label) => !found.has(label))).toEqual([])
    expect(acknowledged.size).toBeGreaterThan(50)
    expect(attempted).toBeGreaterThan(acknowledged.size)
  }, 120_000)
})
