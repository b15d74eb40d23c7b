import assert from 'node:assert/strict'
import { setImmediate as turn } from 'node:timers/promises'
import { group } from '../group.ts'
import {
  archive,
  atOnce,
  dataOf,
  idsOf,
  type Leased,
  leaseOf,
  long,
  move,
  newMessage,
  release,
  remove,
  settlement,
  short,
  text,
  times,
} from '../scene.ts'

/** Calls `take` from several readers until each of them finds nothing. @returns all that they got */
async function drain<T>(readers: number, take: () => Promise<T[]>): Promise<T[]> {
  const taken = await atOnce(readers, async () => {
    const mine: T[] = []
    for (let more = await take(); more.length > 0; more = await take()) {
      mine.push(...more)
      await turn()
    }
    return mine
  })
  return taken.flat()
}

const sorted = (ids: readonly string[]) => [...ids].sort()
const count = (flags: readonly boolean[]) => flags.filter(Boolean).length

export const concurrency = group('concurrency', {
  'many readers get every message once': async (scene) => {
    const ids = await scene.sendMany(200)
    const claimed = await drain(8, () => scene.claimSoon({ limit: 7 }))
    assert.deepEqual(sorted(idsOf(claimed)), sorted(ids))
  },

  'many pops get every message once': async (scene) => {
    const ids = await scene.sendMany(200)
    const popped = await drain(8, () => scene.pop(7))
    assert.deepEqual(sorted(idsOf(popped)), sorted(ids))
  },

  'claims by the same ids give them to one reader': async (scene) => {
    const ids = await scene.sendMany(10)
    const claimed = await atOnce(5, () => scene.claim({ ids }))
    assert.deepEqual(sorted(idsOf(claimed.flat())), sorted(ids))
  },

  'many senders lose nothing': async (scene) => {
    const sent = await atOnce(20, (sender) => scene.send(...times(10, (index) => text(`${sender}/${index}`))))
    const messages = await scene.claim({ limit: 1_000 })
    assert.deepEqual(sorted(idsOf(messages)), sorted(sent.flat()))
    assert.equal(new Set(dataOf(messages)).size, 200)
  },

  'senders and readers at once': async (scene) => {
    const received: Leased[] = []
    const sending = atOnce(5, async () => {
      for (let round = 0; round < 10; round++) await scene.sendMany(3)
    })
    const reading = atOnce(5, async () => {
      for (let round = 0; round < 20; round++) {
        const claimed = await scene.claim({ limit: 3 })
        received.push(...claimed)
        await scene.engine.settle(
          scene.queue,
          claimed.map((message) => settlement(message, remove)),
        )
      }
    })
    await Promise.all([sending, reading])
    const left = await drain(1, () => scene.claimSoon({ limit: 50 }))
    assert.equal(new Set(idsOf([...received, ...left])).size, received.length + left.length)
    assert.equal(received.length + left.length, 150)
  },

  'one lease is settled by one of many': async (scene) => {
    const leased = await scene.lease()
    const endings = [remove, archive(), release(), remove, archive(), release()]
    const results = await Promise.all(endings.map((ending) => scene.settle(leased, ending)))
    assert.equal(count(results.map((result) => result.settled)), 1)
  },

  'settling races with the next reader': async (scene) => {
    const ids = await scene.sendMany(50)
    const late = await scene.claim({ leaseMs: short })
    await scene.passTime(short)
    const [results, claims] = await Promise.all([
      Promise.all(late.map((message) => scene.settle(message, remove))),
      drain(4, () => scene.claimSoon({ limit: 5 })),
    ])
    const settled = idsOf(late.filter((_, index) => results[index]?.settled))
    // A slow claim in parts may miss some: their leases are over before it has come to them.
    assert.deepEqual(sorted([...settled, ...idsOf(claims)]), sorted(ids))
    assert.deepEqual(sorted(idsOf(await scene.peek())), sorted(idsOf(claims)))
  },

  'extending races with settling': async (scene) => {
    const leased = await scene.lease()
    const [settled, receipt] = await Promise.all([scene.delete(leased), scene.extend(leased)])
    assert.notEqual(settled, receipt !== null, 'one of the two')
  },

  'one lease is extended by one of many': async (scene) => {
    const leased = await scene.lease()
    const receipts = (await atOnce(5, () => scene.extend(leased))).filter((receipt) => receipt !== null)
    assert.equal(receipts.length, 1)
    assert(await scene.delete({ ...leased, receipt: receipts[0]! }))
  },

  'cancelling races with reading': async (scene) => {
    const ids = await scene.sendMany(50)
    const [claimed, cancelled] = await Promise.all([
      drain(4, () => scene.claimSoon({ limit: 5 })),
      Promise.all(ids.map(async (id) => (await scene.engine.cancel(scene.queue, [id]))[0] === 'removed')),
    ])
    const removed = ids.filter((_, index) => cancelled[index])
    assert.deepEqual(sorted([...idsOf(claimed), ...removed]), sorted(ids))
  },

  'sends of one dedup id at once store one': async (scene) => {
    const message = newMessage({ dedup: { id: 'd', windowMs: long } })
    const results = (await atOnce(10, () => scene.engine.send(scene.queue, [message], null))).flat()
    assert.equal(count(results.map((result) => !result.duplicate)), 1)
    assert.equal(new Set(idsOf(results)).size, 1)
    assert.deepEqual(idsOf(await scene.peek()), [results[0]?.id])
  },

  'sends of one target at once store one': async (scene) => {
    const message = newMessage({ uniqueTarget: 't' })
    const results = (await atOnce(10, () => scene.engine.send(scene.queue, [message], null))).flat()
    assert.equal(count(results.map((result) => !result.duplicate)), 1)
    assert.deepEqual(idsOf(await scene.peek()), [results[0]?.id])
  },

  'batches of dedup ids in opposite orders do not block each other': async (scene) => {
    const batch = times(20, (index) =>
      newMessage({ dedup: { id: `${index}`, windowMs: long }, uniqueTarget: `${index}` }),
    )
    await atOnce(6, (index) => scene.engine.send(scene.queue, index % 2 === 0 ? batch : [...batch].reverse(), null))
    assert.equal((await scene.peek()).length, 20)
  },

  'batches that settle in opposite orders do not block each other': async (scene) => {
    await scene.sendMany(50)
    const leased = await scene.claim()
    const forward = leased.map((message) => settlement(message, remove))
    const results = await atOnce(4, (index) =>
      scene.engine.settle(scene.queue, index % 2 === 0 ? forward : [...forward].reverse()),
    )
    assert.equal(count(results.flat().map((result) => result.settled)), 50)
  },

  'batches that extend in opposite orders do not block each other': async (scene) => {
    await scene.sendMany(50)
    const leases = (await scene.claim()).map(leaseOf)
    const receipts = await atOnce(4, (index) =>
      scene.engine.extend(scene.queue, index % 2 === 0 ? leases : [...leases].reverse(), long),
    )
    assert.equal(receipts.flat().filter((receipt) => receipt !== null).length, 50)
  },

  'a key is read in order by many readers': async (scene) => {
    const keys = ['a', 'b', 'c']
    for (let index = 0; index < 10; index++)
      await scene.send(...keys.map((orderingKey) => ({ data: `${index}`, orderingKey })))
    const inHand = new Set<string>()
    const read = new Map(keys.map((key): [string, unknown[]] => [key, []]))
    // Readers that find nothing while others hold every key must look again: all stop when all is read.
    await atOnce(6, async () => {
      while ([...read.values()].some((list) => list.length < 10)) {
        await turn()
        for (const message of await scene.claim({ limit: 2 })) {
          const key = message.orderingKey!
          assert(!inHand.has(key), `${key} has one reader at a time`)
          inHand.add(key)
          read.get(key)!.push(...dataOf([message]))
          await turn()
          inHand.delete(key)
          await scene.delete(message)
        }
      }
    })
    for (const key of keys)
      assert.deepEqual(
        read.get(key),
        times(10, (index) => index),
        key,
      )
  },

  'a queue is created by one of many': async (scene) => {
    const name = scene.newName()
    assert.equal(count(await atOnce(6, () => scene.engine.createQueue(name))), 1)
    assert.equal(count(await atOnce(6, () => scene.engine.dropQueue(name))), 1)
  },

  'moves at once create their target once': async (scene) => {
    const missing = scene.newName()
    const ids = await scene.sendMany(20)
    const leased = await scene.claim()
    const results = await Promise.all(leased.map((message) => scene.settle(message, move(missing))))
    const arrived = await scene.peek({}, missing)
    assert.equal(arrived.length, ids.length)
    assert.deepEqual(sorted(idsOf(arrived)), sorted(results.map((result) => result.newId!)))
  },

  'a purge among senders and readers counts the messages that it removes': async (scene) => {
    const [sent, purged, popped] = await Promise.all([
      atOnce(4, async () => {
        for (let round = 0; round < 10; round++) await scene.sendMany(2)
        return 20
      }),
      atOnce(2, async () => {
        let removed = 0
        for (let round = 0; round < 5; round++) removed += await scene.engine.purgeQueue(scene.queue)
        return removed
      }),
      drain(2, () => scene.pop(3)),
    ])
    const sum = (numbers: number[]) => numbers.reduce((a, b) => a + b, 0)
    const left = (await scene.peek()).length
    assert.equal(sum(purged) + popped.length + left, sum(sent))
  },
})
