import assert from 'node:assert/strict'
import { group } from '../group.ts'
import { archive, assertRejects, idsOf, long, only, release, waits, watch } from '../scene.ts'

export const cancelling = group('cancelling', {
  'a message that waits is removed': async (scene) => {
    const [kept, ...others] = await scene.send({}, {}, ...waits.map((delayMs) => ({ delayMs })))
    assert.deepEqual(await scene.engine.cancel(scene.queue, others), ['removed', 'removed', 'removed'])
    assert.deepEqual(idsOf(await scene.peek()), [kept])
  },

  'a message in the hands of a reader is not': async (scene) => {
    const leased = await scene.lease()
    assert.deepEqual(await scene.engine.cancel(scene.queue, [leased.id]), [null])
    assert(await scene.delete(leased))
  },

  'a message whose lease ran out is removed': async (scene) => {
    const late = await scene.leaseRunOut()
    assert.deepEqual(await scene.engine.cancel(scene.queue, [late.id]), ['removed'])
    assert.equal(await scene.delete(late), false)
    assert.equal(await scene.placeOf(late.id), 'gone')
  },

  'a message that was given back is removed': async (scene) => {
    const now = await scene.lease()
    await scene.settle(now, release())
    const later = await scene.lease({ headers: { h: 1 } })
    await scene.settle(later, release({ delayMs: long }))
    assert.deepEqual(await scene.engine.cancel(scene.queue, [now.id, later.id]), ['removed', 'removed'])
    assert.deepEqual(await scene.peek(), [])
  },

  'a missing message is not removed': async (scene) => {
    const archived = await scene.lease()
    await scene.settle(archived, archive())
    const deleted = await scene.lease()
    await scene.delete(deleted)
    assert.deepEqual(await scene.engine.cancel(scene.queue, [archived.id, deleted.id]), [null, null])
    assert.equal(await scene.placeOf(archived.id), 'archived')
  },

  'answers have the order of the ids': async (scene) => {
    const leased = await scene.lease()
    const [a, b, c] = await scene.send({}, {}, {})
    assert.deepEqual(await scene.engine.cancel(scene.queue, [c, a, leased.id]), ['removed', 'removed', null])
    assert.deepEqual(idsOf(await scene.peek()), [leased.id, b])
    assert.deepEqual(await scene.engine.cancel(scene.queue, [a]), [null])
  },

  'there is nothing to cancel in a missing queue': async (scene) => {
    const [id] = await scene.send({})
    await assertRejects(scene.engine.cancel(scene.newName(), [id]), 'QUEUE_NOT_FOUND', 'cancel')
  },

  'a message in hand is asked for where that is wanted, and its lease stays': async (scene) => {
    const { engine, queue } = scene
    const [leased, waiting] = [await scene.lease({ meta: { m: 1 }, headers: { h: 1 } }), ...(await scene.send({}))]
    const ids = [leased.id, waiting!, leased.id]
    assert.deepEqual(await engine.cancel(queue, ids, { running: true }), ['asked', 'removed', 'asked'])
    const { meta, headers, visibleAt } = await scene.look(leased.id)
    assert.match(String(meta.cancel_requested_at), /^\d{4}-\d\d-\d\dT[\d:.]+Z$/)
    assert.deepEqual([meta.m, headers, visibleAt], [1, { h: 1 }, leased.visibleAt])
    assert.equal(await scene.placeOf(leased.id), 'leased')
    assert(await scene.delete(leased), 'what succeeds all the same has succeeded')
  },

  'a lease that is asked for is prolonged only for a reader who knows': async (scene) => {
    const { engine, queue } = scene
    const leased = await scene.lease()
    await engine.cancel(queue, [leased.id], { running: true })
    const { id, receipt } = leased
    assert.deepEqual(await engine.extend(queue, [{ id, receipt }], long), [null])
    const [fresh] = await engine.extend(queue, [{ id, receipt, cancelled: true }], long)
    assert(typeof fresh === 'string')
    assert(await scene.delete({ ...leased, receipt: fresh }))
  },

  'the next reader sees that a message was asked for': async (scene) => {
    const { engine, queue } = scene
    const leased = await scene.lease()
    await engine.cancel(queue, [leased.id], { running: true })
    await scene.settle(leased, release())
    const again = await scene.claimOne()
    assert(Object.hasOwn(again.meta, 'cancel_requested_at'))
    await scene.settle(again, archive({ cancelled_at: '2026-01-01T00:00:00.000Z' }))
    const [archived] = await scene.peek({ place: 'archived' })
    assert.equal(archived?.meta.cancelled_at, '2026-01-01T00:00:00.000Z')
  },

  'popping a message that was asked for puts it into the archive, and its task has been cancelled': async (scene) => {
    const { engine, queue } = scene
    const correlationId = scene.newName()
    await scene.send({ tracked: { correlationId, completionQueue: null } })
    const leased = await scene.claimOne()
    await engine.cancel(queue, [leased.id], { running: true })
    await scene.settle(leased, release())
    const [waiting] = await scene.send({})
    const popped = await scene.pop(2)
    assert.deepEqual(idsOf(popped), [leased.id, waiting])
    assert(Object.hasOwn(popped[0]!.meta, 'cancel_requested_at'), 'the caller sees that it is to be passed over')
    const archived = only(await scene.peek({ place: 'archived' }))
    assert.deepEqual([archived.id, archived.readCount], [leased.id, 2])
    assert.match(String(archived.meta.cancelled_at), /^\d{4}-\d\d-\d\dT[\d:.]+Z$/)
    const tasks = (await engine.correlation(correlationId))?.queues
    assert.deepEqual(
      tasks?.map(({ cancelled, done }) => [cancelled, done]),
      [[1, 0]],
    )
  },

  'who listens for it is told that a message in hand was asked for': async (scene) => {
    const { engine, queue } = scene
    const leased = await scene.lease()
    const wakes = await watch(engine, `cancels:${queue}`)
    await engine.cancel(queue, [leased.id], { running: true })
    await wakes.next()
    wakes.watch.close()
  },

  'a message that was asked for becomes no dead letter': async (scene) => {
    const { engine, queue } = scene
    const leased = await scene.lease()
    await engine.cancel(queue, [leased.id], { running: true })
    const meta = { dead_lettered_at: '2026-01-01T00:00:00.000Z' }
    const to = scene.newName()
    for (const ending of [archive(meta), { kind: 'move', to, delayMs: 0, meta } as const])
      assert.equal((await scene.settle(leased, ending)).settled, false)
    assert.equal(await scene.placeOf(leased.id), 'leased')
    await assertRejects(engine.describe(to), 'QUEUE_NOT_FOUND', 'a queue for dead letters')
    assert((await scene.settle(leased, archive({ cancelled_at: '2026-01-01T00:00:00.000Z' }))).settled)
    assert.equal(await scene.placeOf(leased.id), 'archived')
  },
})
