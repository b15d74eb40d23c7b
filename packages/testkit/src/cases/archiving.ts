import assert from 'node:assert/strict'
import { group } from '../group.ts'
import { archive, assertAtLeast, idsOf, type Leased, text } from '../scene.ts'

export const archiving = group('archiving', {
  'an archived message keeps its history': async (scene) => {
    const leased = await scene.leaseRunOut({ ...text('body'), headers: { h: 1 }, priority: 2, orderingKey: 'k' })
    await scene.settle(leased, archive())
    const { archivedAt, visibleAt, ...kept } = await scene.look(leased.id)
    const { archivedAt: notYet, visibleAt: leaseEnd, ...before } = leased
    assert.deepEqual(kept, { ...before, receipt: null })
    assertAtLeast(archivedAt, leased.visibleAt, 'archivedAt')
  },

  'an archived message is not in the queue': async (scene) => {
    const leased = await scene.leaseRunOut()
    await scene.settle(leased, archive())
    assert.deepEqual(await scene.peek(), [])
    assert.deepEqual(await scene.claim(), [])
    assert.deepEqual(await scene.claim({ ids: [leased.id] }), [])
    assert.equal(await scene.placeOf(leased.id), 'archived')
  },

  'meta is merged on the way': async (scene) => {
    const leased = await scene.lease({ meta: { kept: 1, removed: 1 } })
    await scene.settle(leased, archive({ removed: null, outcome: 'done' }))
    assert.deepEqual((await scene.look(leased.id)).meta, { kept: 1, outcome: 'done' })
  },

  'the archive is read by id, in any order of archiving': async (scene) => {
    const ids = await scene.sendMany(3)
    const [a, b, c] = (await scene.claim()) as [Leased, Leased, Leased]
    for (const message of [c, a, b]) await scene.settle(message, archive())
    assert.deepEqual(idsOf(await scene.peek({ place: 'archived' })), ids)
  },

  'the archive can be paged through': async (scene) => {
    const ids = await scene.sendMany(5)
    for (const message of await scene.claim()) await scene.settle(message, archive())
    const page = async (afterId: string | null) => idsOf(await scene.peek({ place: 'archived', limit: 2, afterId }))
    assert.deepEqual(await page(null), ids.slice(0, 2))
    assert.deepEqual(await page(ids[1]!), ids.slice(2, 4))
    assert.deepEqual(await page(ids[3]!), ids.slice(4))
    assert.deepEqual(await page(ids[4]!), [])
  },
})
