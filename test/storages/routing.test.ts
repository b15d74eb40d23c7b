import type { Bus } from 'tidings/internal/bus/bus'
import { isTidingsError } from 'tidings/internal/core/errors'
import { poll } from 'tidings-local/internal/processes'
import { test } from 'vitest'
import { message, newName, peekAll } from '../support/engine.ts'
import { openBus, ownServer, type Storage, storages } from '../support/storages.ts'

const routed = (routingKey: string, label: string) => ({ ...message({ data: JSON.stringify(label) }), routingKey })

/** How many of the queues have each message. */
async function copiesOf({ engine }: Bus, queues: readonly string[]): Promise<Map<string, number>> {
  const found = new Map<string, number>()
  for (const queue of queues)
    for (const { data } of await peekAll(engine, queue)) {
      const label = JSON.parse(data) as string
      found.set(label, (found.get(label) ?? 0) + 1)
    }
  return found
}

/** Where copies come one after the other, upkeep brings what is missing. */
async function untilComplete(storage: Storage, bus: Bus, queues: readonly string[]): Promise<Map<string, number>> {
  let found = await copiesOf(bus, queues)
  if (storage.publishesAtOnce) return found
  await poll(async () => {
    await bus.engine.maintain({ kind: 'due' })
    found = await copiesOf(bus, queues)
    return [...found.values()].every((copies) => copies === queues.length)
  }, 300_000)
  return found
}

// All at the same time: most of it is waiting for servers.
test.concurrent.for(storages)(
  'a server that is killed leaves each published message in all of 20 queues or in none: $name',
  { timeout: 300_000 },
  async (storage, { expect, onTestFinished }) => {
    const server = await ownServer(storage, onTestFinished)
    const start = newName('fan')
    const queues = Array.from({ length: 20 }, (_, index) => `${start}_${String(index).padStart(2, '0')}`)
    const first = await openBus(server.url, onTestFinished)
    for (const queue of queues) {
      await first.queue(queue).create()
      await first.bind(`${start}.#`, queue)
    }

    const acknowledged = new Set<string>()
    let attempted = 0
    for (let round = 0; round < 3; round++) {
      const { engine } = await openBus(server.url, onTestFinished)
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

    const found = await untilComplete(storage, await openBus(server.url, onTestFinished), queues)
    expect([...found].filter(([, copies]) => copies !== queues.length)).toEqual([])
    expect([...acknowledged].filter((label) => !found.has(label))).toEqual([])
    expect(acknowledged.size).toBeGreaterThan(50)
    expect(attempted).toBeGreaterThan(acknowledged.size)
  },
)
