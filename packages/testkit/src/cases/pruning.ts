import assert from 'node:assert/strict'
import type { PruneRequest } from 'tidings/internal/port/engine'
import { group } from '../group.ts'
import { archive, idsOf, type Leased, long, patiently, type Scene } from '../scene.ts'

/** So that no two messages are archived at the same time, in ms. */
const moment = 5

const prune = (scene: Scene, request: Partial<PruneRequest>) =>
  scene.engine.maintain({
    kind: 'archive',
    queue: scene.queue,
    archivedForMs: null,
    keep: null,
    limit: 100,
    ...request,
  })

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

/**
 * Tries what leaves younger messages alone. The work is done when an archive of two messages has become old; it has
 * to be over before what it archives itself is as old.
 */
function besideTwoOldOnes<T>(
  scene: Scene,
  work: (ageMs: number) => Promise<T>,
  check: (done: T) => void,
): Promise<void> {
  return patiently(async (ageMs) => {
    await prune(scene, { keep: 0 })
    await fill(scene, 2)
    await scene.passTime(ageMs)
    const before = await scene.now()
    const done = await work(ageMs)
    if ((await scene.now()) - before >= ageMs) return false
    check(done)
    return true
  })
}

export const pruning = group('pruning', {
  'removes messages archived long ago': (scene) =>
    besideTwoOldOnes(
      scene,
      async (archivedForMs) => {
        const recent = await fill(scene, 2)
        const counts = [await prune(scene, { archivedForMs }), await prune(scene, { archivedForMs })]
        return { recent, counts, left: await archived(scene) }
      },
      ({ recent, counts, left }) => {
        assert.deepEqual(counts, [2, 0])
        assert.deepEqual(left, recent.reverse())
      },
    ),

  'counts the time from archiving, not from sending': (scene) =>
    patiently(async (archivedForMs) => {
      await prune(scene, { keep: 0 })
      const leased = await scene.lease()
      await scene.passTime(archivedForMs)
      const before = await scene.now()
      await scene.settle(leased, archive())
      const count = await prune(scene, { archivedForMs })
      if ((await scene.now()) - before >= archivedForMs) return false
      assert.equal(count, 0)
      assert.deepEqual(await archived(scene), [leased.id])
      return true
    }),

  'removes messages beyond the number, the longest archived first': async (scene) => {
    const [, , third, fourth] = await fill(scene, 4)
    assert.equal(await prune(scene, { keep: 2 }), 2)
    assert.deepEqual(await archived(scene), [fourth, third])
    assert.equal(await prune(scene, { keep: 2 }), 0)
    assert.equal(await prune(scene, { keep: 0 }), 2)
    assert.deepEqual(await archived(scene), [])
  },

  'needs one reason': (scene) =>
    besideTwoOldOnes(
      scene,
      async (archivedForMs) => {
        const recent = await fill(scene, 3)
        const counts = [
          await prune(scene, { archivedForMs, keep: 4 }),
          await prune(scene, { archivedForMs: long, keep: 2 }),
          await prune(scene, {}),
        ]
        return { recent, counts, left: await archived(scene) }
      },
      ({ recent, counts, left }) => {
        assert.deepEqual(counts, [2, 1, 0])
        assert.deepEqual(left, recent.slice(1).reverse())
      },
    ),

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
    assert.equal(
      await scene.engine.maintain({ kind: 'archive', queue: other, archivedForMs: 0, keep: 0, limit: 100 }),
      0,
    )
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

  'leaves the counts of a correlation': async (scene) => {
    const correlationId = scene.newName()
    const message = await scene.lease({ tracked: { correlationId, completionQueue: null } })
    await scene.settle(message, archive())
    const before = await scene.engine.correlation(correlationId)
    assert.equal(before?.queues[0]?.done, 1)
    await prune(scene, { keep: 0 })
    await scene.engine.maintain({ kind: 'due' })
    assert.deepEqual(await scene.engine.correlation(correlationId), before)
  },
})
