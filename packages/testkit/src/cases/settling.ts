import assert from 'node:assert/strict'
import { group } from '../group.ts'
import { archive, assertRejects, dataOf, idsOf, long, move, release, remove, settlement, text } from '../scene.ts'

export const settling = group('settling', {
  'a deleted message is nowhere': async (scene) => {
    const leased = await scene.lease()
    const [other] = await scene.send({})
    assert.deepEqual(await scene.settle(leased, remove), { settled: true, newId: null })
    assert.equal(await scene.placeOf(leased.id), 'gone')
    assert.deepEqual(idsOf(await scene.claim()), [other])
  },

  'only a move has a new id': async (scene) => {
    for (const ending of [remove, archive(), release()]) {
      assert.deepEqual(await scene.settle(await scene.lease(), ending), { settled: true, newId: null }, ending.kind)
      await scene.engine.purgeQueue(scene.queue)
    }
    const { settled, newId } = await scene.settle(await scene.lease(), move(await scene.newQueue()))
    assert.equal(settled, true)
    assert.equal(typeof newId, 'string')
  },

  'a batch ends its leases in different ways, answered in order': async (scene) => {
    const other = await scene.newQueue()
    await scene.send(text('moved'), text('deleted'), text('released'), text('archived'), text('delayed'), text('kept'))
    const [moved, deleted, released, archived, delayed] = await scene.claim()
    assert(moved && deleted && released && archived && delayed)
    const results = await scene.engine.settle(scene.queue, [
      settlement(archived, archive()),
      settlement(moved, move(other)),
      settlement(delayed, release({ delayMs: long })),
      settlement(deleted, remove),
      settlement(released, release()),
    ])
    assert.deepEqual(
      results.map((result) => [result.settled, result.newId !== null]),
      [
        [true, false],
        [true, true],
        [true, false],
        [true, false],
        [true, false],
      ],
    )
    assert.deepEqual(dataOf(await scene.peek({ place: 'ready' })), ['released'])
    assert.deepEqual(dataOf(await scene.peek({ place: 'delayed' })), ['delayed'])
    assert.deepEqual(dataOf(await scene.peek({ place: 'leased' })), ['kept'])
    assert.deepEqual(dataOf(await scene.peek({ place: 'archived' })), ['archived'])
    assert.deepEqual(dataOf(await scene.peek({}, other)), ['moved'])
  },

  'a batch in any order settles all': async (scene) => {
    await scene.sendMany(100)
    const leased = await scene.claim()
    const results = await scene.engine.settle(
      scene.queue,
      leased.reverse().map((message) => settlement(message, remove)),
    )
    assert.equal(results.filter((result) => result.settled).length, 100)
    assert.deepEqual(await scene.peek(), [])
  },

  'every message of a batch gets its own meta': async (scene) => {
    await scene.sendMany(3)
    const leased = await scene.claim()
    await scene.engine.settle(
      scene.queue,
      leased.map((message, index) => settlement(message, release({ meta: { index } }))),
    )
    assert.deepEqual(
      (await scene.peek()).map((message) => message.meta),
      [{ index: 0 }, { index: 1 }, { index: 2 }],
    )
  },

  'there is nothing to settle in a missing queue': async (scene) => {
    const leased = await scene.lease()
    await assertRejects(scene.settle(leased, remove, scene.newName()), 'QUEUE_NOT_FOUND', 'settle')
  },
})
