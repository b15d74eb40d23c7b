import assert from 'node:assert/strict'
import { group } from '../group.ts'
import { dataOf, long, release, short, text } from '../scene.ts'

export const releasing = group('releasing', {
  'a message that is given back can be read at once': async (scene) => {
    const leased = await scene.lease()
    await scene.settle(leased, release())
    const again = await scene.claimOne()
    assert.equal(again.id, leased.id)
    assert.equal(again.readCount, 2)
  },

  'given back with a delay it is delayed, not leased': async (scene) => {
    const leased = await scene.lease()
    await scene.settle(leased, release({ delayMs: long }))
    assert.equal(await scene.placeOf(leased.id), 'delayed')
    assert.deepEqual(await scene.claim(), [])
  },

  'given back with a delay it comes back when that is over': async (scene) => {
    const leased = await scene.lease()
    await scene.settle(leased, release({ delayMs: short }))
    await scene.passTime(short)
    assert.equal((await scene.claimOne()).id, leased.id)
  },

  'a delay replaces the rest of the lease': async (scene) => {
    const leased = await scene.lease({}, 10 * long)
    await scene.settle(leased, release({ delayMs: short }))
    await scene.passTime(short)
    assert.equal(await scene.placeOf(leased.id), 'ready')
  },

  'meta is merged and null takes a field away': async (scene) => {
    const leased = await scene.lease({ meta: { kept: { x: 1 }, changed: 1, removed: 1 } })
    await scene.settle(leased, release({ meta: { changed: { y: [2] }, removed: null, missing: null, added: 'a' } }))
    assert.deepEqual((await scene.claimOne()).meta, { kept: { x: 1 }, changed: { y: [2] }, added: 'a' })
  },

  'meta is merged by whole fields': async (scene) => {
    const leased = await scene.lease({ meta: { deep: { a: 1, b: 2 } } })
    await scene.settle(leased, release({ meta: { deep: { b: null } } }))
    assert.deepEqual((await scene.claimOne()).meta, { deep: { b: null } })
  },

  'meta of a bare message is merged too': async (scene) => {
    const leased = await scene.lease({ data: '[1]', meta: { a: 1, b: 2 }, headers: { h: 1 }, bare: true })
    await scene.settle(leased, release({ meta: { a: null, c: 3 } }))
    const again = await scene.claimOne()
    assert.deepEqual([JSON.parse(again.data), again.meta, again.headers], [[1], { b: 2, c: 3 }, { h: 1 }])
  },

  'a read can be taken back': async (scene) => {
    const first = await scene.lease()
    await scene.settle(first, release())
    await scene.settle(await scene.claimOne(), release({ uncount: true }))
    assert.equal((await scene.look(first.id)).readCount, 1)
    assert.equal((await scene.claimOne()).readCount, 2)
  },

  'all else stays as it was': async (scene) => {
    const leased = await scene.lease({
      ...text('body'),
      headers: { h: 1 },
      meta: { m: 1 },
      priority: 2,
      orderingKey: 'k',
    })
    await scene.settle(leased, release())
    const { visibleAt, ...released } = await scene.look(leased.id)
    const { visibleAt: leaseEnd, receipt, ...before } = leased
    assert.deepEqual(released, { ...before, receipt: null })
  },

  'a message that is given back goes to its old place': async (scene) => {
    await scene.send(text('old'), text('gone'), text('new'))
    const [old, gone] = await scene.claim({ limit: 2 })
    assert(old && gone)
    await scene.delete(gone)
    await scene.settle(old, release())
    assert.deepEqual(dataOf(await scene.claim({ limit: 1 })), ['old'])
  },
})
