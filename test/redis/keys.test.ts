import { Driver } from 'tidings/internal/engines/redis/driver'
import { keysOf, newNonce, removedQueueKeys } from 'tidings/internal/engines/redis/keys'
import type { RedisEngine } from 'tidings/internal/engines/redis/redis'
import { slotOf } from 'tidings/internal/engines/redis/slots'
import { describe, expect, test } from 'vitest'
import { askRedis } from '../support/redis.ts'
import { sharedServer } from '../support/shared-servers.ts'
import { claimAll, keysWith, message, newName, openEngine, peekAll, portOf, primariesOf } from './support.ts'

/** Uses everything that leaves something behind. */
async function useEverything(engine: RedisEngine, queue: string, other: string): Promise<void> {
  const tracked = { correlationId: `${queue}-done`, completionQueue: null }
  await engine.bind({ pattern: `${queue}.#`, queue })
  await engine.bind({ pattern: `${queue}.#`, queue: other })
  await engine.publish([{ ...message({ tracked }), routingKey: `${queue}.a` }], null)
  const messages = [
    message({ delayMs: 60_000, uniqueTarget: 't', tracked }),
    message({ orderingKey: 'k' }),
    message({ orderingKey: 'k', delayMs: 60_000 }),
    message({ dedup: { id: 'd', windowMs: 60_000 }, priority: 3 }),
    message({ dedup: { id: 'd', windowMs: 60_000 }, tracked }),
  ]
  await engine.send(queue, messages, null)
  const [archived, moved] = await claimAll(engine, queue, 2)
  await engine.settle(queue, [
    { id: archived!.id, receipt: archived!.receipt!, kind: 'archive', meta: { a: 1 } },
    { id: moved!.id, receipt: moved!.receipt!, kind: 'move', to: other, delayMs: 0, meta: {} },
  ])
  await claimAll(engine, queue, 1)
}

describe.each([
  ['one server', () => sharedServer('redis')],
  ['a Cluster', () => sharedServer('redisCluster')],
] as const)('on %s', (_name, urlOf) => {
  test('a queue that is dropped leaves nothing behind but its correlations, which expire', async () => {
    const url = await urlOf()
    const engine = await openEngine(url)
    const [queue, other] = [newName('keys'), newName('keys_other')]
    for (const name of [queue, other]) await engine.createQueue(name)
    await useEverything(engine, queue, other)
    expect(await engine.bindings(queue)).toHaveLength(1)
    for (const name of [queue, other]) expect(await engine.dropQueue(name)).toBe(true)
    await engine.close()

    for (const port of await primariesOf(url)) {
      const left = await keysWith(port, queue)
      expect(left.filter((key) => key !== `{tidings:c:${queue}-done}`)).toEqual([])
      expect(await keysWith(port, other)).toEqual([])
      for (const key of left) expect(await askRedis(port, (redis) => redis.pttl(key))).toBeGreaterThan(0)
      const [names, routes] = await askRedis(port, async (redis) => {
        const ask = (key: string) => redis.hkeys(key).catch(() => [])
        return [await ask('{tidings}:queues'), await ask('{tidings}:routes')]
      })
      expect(names.filter((name) => name.includes(queue) || name === other)).toEqual([])
      expect(routes.filter((name) => name.includes(queue))).toEqual([])
    }
  })
})

test('slots are those of the server', async () => {
  const port = portOf(await sharedServer('redisCluster'))
  for (const key of ['a', '{tidings:q:orders}:meta', '{tidings}:queues', '{}x', 'x{y', '{tidings:c:Grüße}', '{a}{b}'])
    expect(await askRedis(port, (redis) => redis.call('CLUSTER', 'KEYSLOT', key))).toBe(slotOf(key))
})

describe.each([
  ['one server', () => sharedServer('redis')],
  ['a Cluster', () => sharedServer('redisCluster')],
] as const)('tasks of many messages that are removed at once, on %s', (_name, urlOf) => {
  const correlationId = newName('many')
  const tracked = { correlationId, completionQueue: null }

  test.each(['purge', 'drop'] as const)('%s: is one step; upkeep tells of them after a crash', async (script) => {
    const url = await urlOf()
    const [engine, driver] = [await openEngine(url), new Driver(url)]
    await driver.open()
    const queue = newName('many')
    await engine.createQueue(queue)
    const batch = Array.from({ length: 2_500 }, (_, index) => message(index % 5 === 4 ? {} : { tracked }))
    await engine.send(queue, batch, null)
    // As by a process that ends after it.
    const removed = newNonce()
    const keys = [...keysOf(queue), ...removedQueueKeys(queue, removed)] as const
    const answer = await driver.run(script, keys, [removed], { repeatable: false })
    expect(answer).toEqual([script === 'purge' ? 2_500 : expect.any(String), [expect.any(String), expect.any(String)]])
    await engine.createQueue(queue)
    expect(await peekAll(engine, queue)).toEqual([])
    await engine.send(queue, [message({ tracked })], null)
    // Upkeep leaves alone what may still be under way.
    await new Promise((resolve) => setTimeout(resolve, 1_100))
    await Promise.all([engine.maintain({ kind: 'due' }), engine.maintain({ kind: 'due' })])
    const ends = async () => (await engine.correlation(correlationId))!.queues.find((each) => each.queue === queue)
    expect(await ends()).toMatchObject({ cancelled: 2_000, pending: 1 })
    expect(await peekAll(engine, queue)).toHaveLength(1)
    expect(await engine.purgeQueue(queue)).toBe(1)
    expect(await ends()).toMatchObject({ cancelled: 2_001, pending: 0 })
    for (const port of await primariesOf(url)) expect(await keysWith(port, `${queue}}:gone:`)).toEqual([])
    await engine.dropQueue(queue)
    await Promise.all([driver.close(), engine.close()])
  })
})
