import { Correlations, type Ended } from 'tidings/internal/engines/redis/correlations'
import { Courier } from 'tidings/internal/engines/redis/courier'
import { Driver } from 'tidings/internal/engines/redis/driver'
import { keysOf, newNonce, placeKeyOf, placeOfTopic } from 'tidings/internal/engines/redis/keys'
import { toSettlement } from 'tidings/internal/engines/redis/messages'
import { Publisher } from 'tidings/internal/engines/redis/publisher'
import type { RedisEngine } from 'tidings/internal/engines/redis/redis'
import { queues, Registry, topics } from 'tidings/internal/engines/redis/registry'
import { Routes } from 'tidings/internal/engines/redis/routes'
import { shipmentOf } from 'tidings/internal/engines/redis/shipments'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { askRedis } from '../support/redis.ts'
import { sharedServer } from '../support/shared-servers.ts'
import { claimAll, message, newName, openEngine, peekAll, portWith, until } from './support.ts'

/** A process that brings parcels, and one that was held up until all of it was done and forgotten. */
let url: string
let engine: RedisEngine
let driver: Driver
let registry: Registry
let correlations: Correlations
let punctual: Courier
let names: string[]

beforeAll(async () => {
  url = await sharedServer('redisCluster')
  engine = await openEngine(url)
  driver = new Driver(url)
  await driver.open()
  registry = new Registry(driver, queues)
  correlations = new Correlations(driver)
  punctual = new Courier(driver, registry, correlations, 1)
})
afterAll(async () => {
  punctual?.close()
  await driver?.close()
  await engine?.close()
})
beforeEach(async () => {
  names = ['a', 'b', 'c'].map((letter) => newName(`late_${letter}`))
  for (const name of names) await engine.createQueue(name)
})

const untilForgotten = (...places: string[]) =>
  until(async () => {
    const keys = places.map((place) => placeKeyOf(place, 'taken'))
    return (await Promise.all(keys.map((key) => driver.call(key, ['EXISTS', key])))).every((count) => count === 0)
  }, 'it is forgotten what came')

const overtaken = { code: 'OUTCOME_UNKNOWN', hint: expect.stringContaining('do not repeat it') }

/** Ends a lease and does not bring the parcels. */
async function settle(queue: string, ending: object): Promise<string[]> {
  const [leased] = await claimAll(engine, queue)
  const { id, receipt } = leased!
  const list = JSON.stringify([toSettlement({ id, receipt: receipt!, ...ending } as never, () => 0)])
  const answer = await driver.run('settle', keysOf(queue), [newNonce(), list], { repeatable: false })
  return (answer as [string[], string[]])[1]
}

test.each(['queues', 'topics'])('copies come once to %s, however late the publisher goes on', async (kind) => {
  const pattern = newName('Late')
  const [, ...others] = names
  const places = kind === 'queues' ? others : others.map(placeOfTopic)
  for (const name of names)
    if (kind === 'queues') await engine.bind(pattern, name)
    else {
      await engine.topics.createTopic(name, {})
      await engine.topics.link(name, { pattern })
    }
  let goOn = () => {}
  const held = new Promise<void>((resolve) => {
    goOn = resolve
  })
  let toldOf = (_origin: string, _parcels: readonly string[]) => {}
  const written = new Promise<readonly [string, readonly string[]]>((resolve) => {
    toldOf = (...parcels) => resolve(parcels)
  })
  class HeldUp extends Courier {
    override async deliver(origin: string, list: readonly string[]) {
      if (list.length > 0) {
        toldOf(origin, list)
        await held
      }
      return super.deliver(origin, list)
    }
  }
  const late = new HeldUp(driver, registry, correlations)
  const routes = new Routes(driver, registry, new Registry(driver, topics))
  const publisher = new Publisher(driver, routes, correlations, late)
  const published = publisher.publish([{ ...message(), routingKey: pattern }])
  await punctual.deliver(...(await written))
  await untilForgotten(...places)
  const refused = expect(published).rejects.toMatchObject(overtaken)
  goOn()
  await refused
  const counts = names.map(async (name) =>
    kind === 'queues' ? (await peekAll(engine, name)).length : (await engine.topics.read(name, 0, 10)).length,
  )
  expect(await Promise.all(counts)).toEqual([1, 1, 1])
  for (const name of names) await engine.topics.dropTopic(name)
  late.close()
})

test('a moved message comes once, and its task is where it was moved to last', async () => {
  const [from, to] = names as [string, string]
  const tracked = { correlationId: newName('c'), completionQueue: null }
  await engine.send(from, [message({ tracked })], null)
  const parcels = await settle(from, { kind: 'move', to, delayMs: 0, meta: { dead_lettered_at: 'now' } })
  await punctual.deliver(from, parcels)
  await punctual.deliver(to, await settle(to, { kind: 'move', to: from, delayMs: 0, meta: { dead_lettered_at: null } }))
  await untilForgotten(from, to)
  const before = await engine.correlation(tracked.correlationId)
  await expect(punctual.deliver(from, parcels)).rejects.toMatchObject(overtaken)
  expect([(await peekAll(engine, from)).length, (await peekAll(engine, to)).length]).toEqual([1, 0])
  expect(before?.queues).toMatchObject([{ queue: from, pending: 1, dead: 0 }, ...before!.queues.slice(1)])
  expect(await engine.correlation(tracked.correlationId)).toEqual(before)
})

test('a moved message does not come again into a new queue of the name', async () => {
  const [from, to] = names as [string, string]
  await engine.send(from, [message()], null)
  const parcels = await settle(from, { kind: 'move', to, delayMs: 0, meta: {} })
  await punctual.deliver(from, parcels)
  await engine.dropQueue(to)
  await expect(punctual.deliver(from, parcels)).rejects.toMatchObject(overtaken)
  await expect(engine.stats(to)).rejects.toMatchObject({ code: 'QUEUE_NOT_FOUND' })
  await engine.createQueue(to)
  await expect(punctual.deliver(from, parcels)).rejects.toMatchObject(overtaken)
  expect(await peekAll(engine, to)).toEqual([])
})

test('a parcel that is on its way comes, even if others that were made later are forgotten', async () => {
  const [from, to] = names as [string, string]
  await engine.send(from, [message()], null)
  const older = await settle(from, { kind: 'move', to, delayMs: 0, meta: { older: true } })
  await engine.send(from, [message()], null)
  await punctual.deliver(from, await settle(from, { kind: 'move', to, delayMs: 0, meta: { older: false } }))
  await untilForgotten(to)
  await punctual.deliver(from, older)
  expect((await peekAll(engine, to)).map(({ meta }) => meta.older)).toEqual([false, true])
})

test('a completion is told once', async () => {
  const [queue, done] = names as [string, string]
  const tracked = { correlationId: newName('c'), completionQueue: done }
  await engine.send(queue, [message({ tracked })], null)
  const parcels = await settle(queue, { kind: 'delete' })
  let goOn = () => {}
  const held = new Promise<void>((resolve) => {
    goOn = resolve
  })
  let isAsked = () => {}
  const asked = new Promise<void>((resolve) => {
    isAsked = resolve
  })
  class HeldUp extends Correlations {
    override async tell(...told: Parameters<Correlations['tell']>): Promise<Ended | null> {
      const ended = await super.tell(...told)
      isAsked()
      await held
      return ended
    }
  }
  const late = new Courier(driver, registry, new HeldUp(driver))
  const delivered = late.deliver(queue, parcels)
  await asked
  await punctual.deliver(queue, parcels)
  await untilForgotten(done)
  goOn()
  await delivered
  expect(await peekAll(engine, done)).toHaveLength(1)
  late.close()
})

test('upkeep forgets what came long ago only if it is gone from where it came from', async () => {
  const [from, to] = names as [string, string]
  await engine.send(from, [message()], null)
  const parcels = await settle(from, { kind: 'move', to, delayMs: 0, meta: {} })
  const [id] = parcels
  const here = shipmentOf(id!, from)
  const gone = shipmentOf(`${id}x`, from)
  const key = placeKeyOf(to, 'taken')
  await askRedis(await portWith(url, key), (redis) => redis.hset(key, here, '1 +first', gone, '1 +second'))
  const other = await openEngine(url)
  await other.maintain()
  await other.close()
  expect(await driver.call(key, ['HKEYS', key])).not.toContain(gone)
  // Upkeep may have been at it already.
  await punctual.deliver(from, parcels).catch(() => {})
  expect(await peekAll(engine, to)).toEqual([])
})
