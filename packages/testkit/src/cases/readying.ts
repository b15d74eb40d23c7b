import assert from 'node:assert/strict'
import { group } from '../group.ts'
import { archive, assertRejects, idsOf, long, release, waits, watch } from '../scene.ts'

export const readying = group('making ready', {
  'a message that waits is ready before its time': async (scene) => {
    const ids = await scene.send(...waits.map((delayMs) => ({ delayMs })))
    const released = await scene.lease({ headers: { h: 1 }, meta: { m: 1 } })
    await scene.settle(released, release({ delayMs: long }))
    const all = [...ids, released.id]
    assert.deepEqual(await scene.engine.makeReady(scene.queue, all), [true, true, true])
    for (const id of all) assert.equal(await scene.placeOf(id), 'ready')
    const { headers, meta, readCount } = await scene.look(released.id)
    assert.deepEqual([headers, meta.m, readCount], [{ h: 1 }, 1, 1])
    assert.deepEqual(idsOf(await scene.claimSoon()).sort(), all.sort())
  },

  'a message in the hands of a reader stays there': async (scene) => {
    const leased = await scene.lease()
    assert.deepEqual(await scene.engine.makeReady(scene.queue, [leased.id]), [false])
    assert.equal(await scene.placeOf(leased.id), 'leased')
    assert(await scene.delete(leased))
  },

  'answers have the order of the ids, and what is not there is not ready': async (scene) => {
    const archived = await scene.lease()
    await scene.settle(archived, archive())
    const [waiting, ready] = await scene.send({ delayMs: long }, {})
    const ids = [archived.id, ready, waiting]
    assert.deepEqual(await scene.engine.makeReady(scene.queue, ids), [false, true, true])
    assert.equal(await scene.placeOf(archived.id), 'archived')
  },

  'there is nothing to make ready in a missing queue': async (scene) => {
    const [id] = await scene.send({})
    await assertRejects(scene.engine.makeReady(scene.newName(), [id]), 'QUEUE_NOT_FOUND', 'makeReady')
  },

  'who waits for the queue is woken': async (scene) => {
    const { engine, queue } = scene
    const [id] = await scene.send({ delayMs: long })
    const wakes = await watch(engine, `queue:${queue}`)
    await engine.makeReady(queue, [id])
    await wakes.next((dueMs) => dueMs === 0)
    wakes.watch.close()
  },

  'the order of a key stays': async (scene) => {
    const [first, second] = await scene.send({ orderingKey: 'a', delayMs: long }, { orderingKey: 'a', delayMs: long })
    assert.deepEqual(await scene.engine.makeReady(scene.queue, [second]), [true])
    assert.deepEqual(await scene.claimSoon(), [])
    assert.deepEqual(await scene.engine.makeReady(scene.queue, [first]), [true])
    const [head] = await scene.claimSoon()
    assert.equal(head?.id, first)
    await scene.delete(head!)
    assert.deepEqual(idsOf(await scene.claimSoon()), [second])
  },
})
