import assert from 'node:assert/strict'
import { group } from '../group.ts'
import { assertAtLeast, leaseOf, long, patiently, short } from '../scene.ts'

export const extending = group('extending', {
  'a lease lasts longer': async (scene) => {
    const leased = await scene.lease({}, long)
    await scene.extend(leased, 10 * long)
    const { visibleAt } = await scene.look(leased.id)
    assertAtLeast(visibleAt, leased.lastReadAt! + 10 * long, 'visibleAt')
    assert(visibleAt < leased.lastReadAt! + 11 * long, 'counted from now, not from the end of the lease')
  },

  'a lease may last for months': async (scene) => {
    const months = 9_999_999_000
    const leased = await scene.lease({}, months)
    assertAtLeast((await scene.look(leased.id)).visibleAt, leased.lastReadAt! + months, 'visibleAt')
    await scene.extend(leased, months)
    assertAtLeast((await scene.look(leased.id)).visibleAt, leased.lastReadAt! + months, 'visibleAt')
    assert.deepEqual(await scene.claim(), [])
  },

  'a lease lasts from now, which may be shorter': async (scene) => {
    const leased = await scene.lease({}, 10 * long)
    assert(await scene.extend(leased, short))
    await scene.passTime(short)
    assert.equal((await scene.claimOne()).id, leased.id)
  },

  'an extended lease outlasts its first end': (scene) =>
    patiently(async (leaseMs) => {
      const leased = await scene.lease({}, leaseMs)
      if ((await scene.extend(leased)) === null) {
        await scene.delete(leased)
        return false
      }
      await scene.passTime(leaseMs)
      assert.deepEqual(await scene.claim(), [])
      return true
    }),

  'a lease that ran out is not extended': async (scene) => {
    const late = await scene.leaseRunOut()
    assert.equal(await scene.extend(late), null)
    assert.equal(await scene.placeOf(late.id), 'ready')
    assert(await scene.delete(late), 'its newest reader may still settle it')
  },

  'the lease of another reader is not extended': async (scene) => {
    const stale = await scene.leaseRunOut()
    const fresh = await scene.claimOne()
    const before = await scene.look(fresh.id)
    assert.equal(await scene.extend(stale, 10 * long), null)
    assert.deepEqual(await scene.look(fresh.id), before)
  },

  'an extended lease can be extended again': async (scene) => {
    const leased = await scene.lease()
    let receipt: string | null = leased.receipt
    for (let round = 0; round < 3; round++) {
      receipt = await scene.extend({ ...leased, receipt })
      assert(receipt !== null)
    }
    assert(await scene.delete({ ...leased, receipt }))
  },

  'extending counts no read': async (scene) => {
    const leased = await scene.lease()
    await scene.passTime(2)
    await scene.extend(leased)
    const { readCount, firstReadAt, lastReadAt } = await scene.look(leased.id)
    assert.deepEqual([readCount, firstReadAt, lastReadAt], [1, leased.firstReadAt, leased.lastReadAt])
  },

  'a batch is answered in order': async (scene) => {
    await scene.sendMany(3)
    const [a, b, c] = await scene.claim()
    assert(a && b && c)
    await scene.delete(b)
    const receipts = await scene.engine.extend(scene.queue, [c, b, a].map(leaseOf), long)
    assert.deepEqual(
      receipts.map((receipt) => receipt !== null),
      [true, false, true],
    )
    assert(await scene.delete({ ...c, receipt: receipts[0]! }))
    assert(await scene.delete({ ...a, receipt: receipts[2]! }))
  },
})
