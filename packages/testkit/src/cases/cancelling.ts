import assert from 'node:assert/strict'
import { group } from '../group.ts'
import { archive, assertRejects, idsOf, long, release, waits } from '../scene.ts'

export const cancelling = group('cancelling', {
  'a message that waits is removed': async (scene) => {
    const [kept, ...others] = await scene.send({}, {}, ...waits.map((delayMs) => ({ delayMs })))
    assert.deepEqual(await scene.engine.cancel(scene.queue, others), [true, true, true])
    assert.deepEqual(idsOf(await scene.peek()), [kept])
  },

  'a message in the hands of a reader is not': async (scene) => {
    const leased = await scene.lease()
    assert.deepEqual(await scene.engine.cancel(scene.queue, [leased.id]), [false])
    assert(await scene.delete(leased))
  },

  'a message whose lease ran out is removed': async (scene) => {
    const late = await scene.leaseRunOut()
    assert.deepEqual(await scene.engine.cancel(scene.queue, [late.id]), [true])
    assert.equal(await scene.delete(late), false)
    assert.equal(await scene.placeOf(late.id), 'gone')
  },

  'a message that was given back is removed': async (scene) => {
    const now = await scene.lease()
    await scene.settle(now, release())
    const later = await scene.lease({ headers: { h: 1 } })
    await scene.settle(later, release({ delayMs: long }))
    assert.deepEqual(await scene.engine.cancel(scene.queue, [now.id, later.id]), [true, true])
    assert.deepEqual(await scene.peek(), [])
  },

  'a missing message is not removed': async (scene) => {
    const archived = await scene.lease()
    await scene.settle(archived, archive())
    const deleted = await scene.lease()
    await scene.delete(deleted)
    assert.deepEqual(await scene.engine.cancel(scene.queue, [archived.id, deleted.id]), [false, false])
    assert.equal(await scene.placeOf(archived.id), 'archived')
  },

  'answers have the order of the ids': async (scene) => {
    const leased = await scene.lease()
    const [a, b, c] = await scene.send({}, {}, {})
    assert.deepEqual(await scene.engine.cancel(scene.queue, [c, a, leased.id]), [true, true, false])
    assert.deepEqual(idsOf(await scene.peek()), [leased.id, b])
    assert.deepEqual(await scene.engine.cancel(scene.queue, [a]), [false])
  },

  'there is nothing to cancel in a missing queue': async (scene) => {
    const [id] = await scene.send({})
    await assertRejects(scene.engine.cancel(scene.newName(), [id]), 'QUEUE_NOT_FOUND', 'cancel')
  },
})
