import assert from 'node:assert/strict'
import type { PruneRequest } from '../../engine.ts'
import { group } from '../group.ts'
import { archive, idsOf, type Leased, long, type Scene } from '../scene.ts'

/** Longer than a case needs between two of its steps, in ms. */
const aWhile = 1_500
/** So that no two messages are archived at the same time, in ms. */
const moment = 5

const prune = (scene: Scene, request: Partial<PruneRequest>) =>
  scene.engine.prune(scene.queue, { archivedForMs: null, keep: null, limit: 100, ...request })

const archived = async (scene: Scene) => idsOf(await scene.peek({ place: 'archived' }))

/** Archives so many new messages, the newest first. @returns their ids in the order of archiving */
async function fill(scene: Scene, count: number): Promise<string[]> {
  await scene.sendMany(count)
  const messages: Leased[] = (await scene.claim()).reverse()
  for (const message of messages) {
    await scene.settle(message, archive())
    await scene.passTime(moment)
  }
  return idsOf(messages)
}

export const pruning = group('pruning', {
  'removes what was archived long ago': async (scene) => {
    await fill(scene, 2)
    await scene.passTime(aWhile)
    const recent = await fill(scene, 2)
    assert.equal(await prune(scene, { archivedForMs: aWhile }), 2)
    assert.deepEqual(await archived(scene), recent.reverse())
    assert.equal(await prune(scene, { archivedForMs: aWhile }), 0)
  },

  'counts the time from archiving, not from sending': async (scene) => {
    const leased = await scene.lease()
    await scene.passTime(aWhile)
    await scene.settle(leased, archive())
    assert.equal(await prune(scene, { archivedForMs: aWhile }), 0)
    assert.deepEqual(await archived(scene), [leased.id])
  },

  'removes what is beyond the number, the longest archived first': async (scene) => {
    const [, , third, fourth] = await fill(scene, 4)
    assert.equal(await prune(scene, { keep: 2 }), 2)
    assert.deepEqual(await archived(scene), [fourth, third])
    assert.equal(await prune(scene, { keep: 2 }), 0)
    assert.equal(await prune(scene, { keep: 0 }), 2)
    assert.deepEqual(await archived(scene), [])
  },

  'needs one reason': async (scene) => {
    await fill(scene, 2)
    await scene.passTime(aWhile)
    const recent = await fill(scene, 3)
    assert.equal(await prune(scene, { archivedForMs: aWhile, keep: 4 }), 2)
    assert.equal(await prune(scene, { archivedForMs: long, keep: 2 }), 1)
    assert.deepEqual(await archived(scene), recent.slice(1).reverse())
    assert.equal(await prune(scene, {}), 0)
  },

  'keeps to its limit, and says how many it removed': async (scene) => {
    const ids = await fill(scene, 5)
    assert.equal(await prune(scene, { keep: 0, limit: 2 }), 2)
    assert.deepEqual(await archived(scene), ids.slice(2).reverse())
    assert.equal(await prune(scene, { keep: 0, limit: 2 }), 2)
    assert.equal(await prune(scene, { keep: 0, limit: 2 }), 1)
  },

  'touches nothing but this archive': async (scene) => {
    const [kept] = await fill(scene, 1)
    const other = await scene.newQueue()
    await scene.sendTo(other, {})
    await scene.lease()
    await scene.send({}, { delayMs: long })
    const before = await scene.peek()
    assert.equal(before.length, 3)
    assert.equal(await scene.engine.prune(other, { archivedForMs: 0, keep: 0, limit: 100 }), 0)
    assert.deepEqual(await archived(scene), [kept])
    assert.equal(await prune(scene, { keep: 0 }), 1)
    assert.deepEqual(await scene.peek(), before)
    assert.equal((await scene.peek({}, other)).length, 1)
  },

  'is safe from many at once': async (scene) => {
    const ids = await fill(scene, 10)
    const counts = await Promise.all([1, 2, 3, 4].map(() => prune(scene, { keep: 3 })))
    assert.equal(
      counts.reduce((a, b) => a + b),
      7,
    )
    assert.deepEqual(await archived(scene), ids.slice(7).reverse())
  },

  'leaves what is known of a correlation': async (scene) => {
    const correlationId = scene.newName()
    const message = await scene.lease({ tracked: { correlationId, completionQueue: null } })
    await scene.settle(message, archive())
    const before = await scene.engine.correlation(correlationId)
    assert.equal(before?.queues[0]?.done, 1)
    await prune(scene, { keep: 0 })
    await scene.engine.maintain()
    assert.deepEqual(await scene.engine.correlation(correlationId), before)
  },
})
