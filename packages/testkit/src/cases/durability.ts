import assert from 'node:assert/strict'
import { group } from '../group.ts'
import {
  archive,
  assertRejects,
  dataOf,
  idsOf,
  long,
  newMessage,
  only,
  release,
  remove,
  settlement,
  text,
} from '../scene.ts'

export const durability = group(
  'durability',
  {
    'a message outlives the engine': async (scene) => {
      await scene.settle(await scene.lease(text('archived')), archive())
      await scene.settle(await scene.lease(text('released')), release({ meta: { m: 1 } }))
      await scene.send(text('ready'), { ...text('delayed'), delayMs: long })
      await scene.engine.close()
      const second = await scene.secondEngine()
      const peek = { limit: 10, afterId: null, ids: null }
      const live = await second.peek(scene.queue, { ...peek, place: null })
      assert.deepEqual(dataOf(live), ['released', 'ready', 'delayed'])
      assert.deepEqual([live[0]?.readCount, live[0]?.meta], [1, { m: 1 }])
      assert.deepEqual(dataOf(await second.peek(scene.queue, { ...peek, place: 'delayed' })), ['delayed'])
      assert.deepEqual(dataOf(await second.peek(scene.queue, { ...peek, place: 'archived' })), ['archived'])
    },

    'a lease outlives the engine of its reader': async (scene) => {
      const leased = await scene.lease()
      await scene.engine.close()
      const second = await scene.secondEngine()
      assert.deepEqual((await second.claim(scene.queue, { limit: 1, leaseMs: long, ids: null })).messages, [])
      const [receipt] = await second.extend(scene.queue, [leased], long)
      assert(typeof receipt === 'string')
      assert.equal(only(await second.settle(scene.queue, [settlement({ ...leased, receipt }, remove)])).settled, true)
    },

    'dedup ids and targets outlive the engine': async (scene) => {
      const first = newMessage({ dedup: { id: 'd', windowMs: long } })
      const second = newMessage({ uniqueTarget: 't' })
      const sent = await scene.engine.send(scene.queue, [first, second], null)
      await scene.engine.close()
      const again = await (await scene.secondEngine()).send(scene.queue, [first, second], null)
      assert.deepEqual(
        again,
        sent.map(({ id }) => ({ id, duplicate: true })),
      )
    },

    'a lease of one engine is a lease for the other': async (scene) => {
      const second = await scene.secondEngine()
      await scene.send({}, {})
      const here = await scene.claimOne({ limit: 1 })
      const there = only((await second.claim(scene.queue, { limit: 5, leaseMs: long, ids: null })).messages)
      assert.notEqual(here.id, there.id)
      const [result] = await second.settle(scene.queue, [settlement(here, remove)])
      assert.equal(result?.settled, true)
      assert.equal(await scene.delete(here), false)
    },

    'readers of two engines get every message once': async (scene) => {
      const engines = [scene.engine, await scene.secondEngine()]
      const ids = await scene.sendMany(100)
      const claimed = await Promise.all(
        [0, 1, 2, 3].map(async (reader) => {
          const mine: string[] = []
          for (;;) {
            const claim = await engines[reader % 2]!.claim(scene.queue, { limit: 5, leaseMs: long, ids: null })
            if (claim.messages.length === 0) return mine
            mine.push(...idsOf(claim.messages))
          }
        }),
      )
      assert.deepEqual(claimed.flat().sort(), [...ids].sort())
    },

    'a send through one engine wakes the other': async (scene) => {
      const second = await scene.secondEngine()
      const wakes = await scene.watch(scene.queue, second)
      wakes.clear()
      await scene.send({})
      await wakes.next(async () => (await second.pop(scene.queue, 1)).length === 1)
    },

    'a queue that one engine creates and drops is so for the other': async (scene) => {
      const second = await scene.secondEngine()
      const name = scene.newName()
      const send = () => scene.engine.send(name, [newMessage({})], null)
      await second.createQueue(name)
      await send()
      assert.equal((await second.pop(name, 1)).length, 1)
      await second.dropQueue(name)
      await assertRejects(send(), 'QUEUE_NOT_FOUND', 'send')
      // The first engine's memory of the old queue is of no use now.
      await second.createQueue(name)
      await send()
      assert.equal((await scene.claim({}, name)).length, 1)
      assert.equal((await second.peek(name, { place: 'leased', limit: 5, afterId: null, ids: null })).length, 1)
    },

    'bindings outlive the engine': async (scene) => {
      const pattern = `case.${scene.queue}`
      await scene.engine.bind({ pattern, queue: scene.queue })
      const listed = await scene.engine.bindings(scene.queue)
      await scene.engine.close()
      const second = await scene.secondEngine()
      assert.deepEqual(await second.bindings(scene.queue), listed)
      const [deliveries] = await second.publish([{ ...newMessage({}), routingKey: pattern }], null)
      assert.equal(deliveries?.length, 1)
    },

    'a binding of one engine is one for the other': async (scene) => {
      const second = await scene.secondEngine()
      const pattern = `case.${scene.queue}`
      const publish = async () => only(await scene.engine.publish([{ ...newMessage({}), routingKey: pattern }], null))
      assert.equal(await second.bind({ pattern, queue: scene.queue }), true)
      assert.equal((await publish()).length, 1)
      assert.equal(await second.unbind({ pattern, queue: scene.queue }), true)
      assert.equal((await publish()).length, 0)
    },

    'engines can be opened at the same time': async (scene) => {
      const engines = await Promise.all([1, 2, 3].map(() => scene.secondEngine()))
      for (const engine of engines) await engine.send(scene.queue, [newMessage({})], null)
      assert.equal((await scene.claim()).length, 3)
    },
  },
  { needs: ['durable'] },
)
