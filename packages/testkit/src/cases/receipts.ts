import assert from 'node:assert/strict'
import { group } from '../group.ts'
import { archive, move, only, release, remove, settlement, text } from '../scene.ts'

export const receipts = group('receipts', {
  'a stale reader changes nothing': async (scene) => {
    const stale = await scene.leaseRunOut()
    const fresh = await scene.claimOne()
    const before = await scene.look(fresh.id)
    const other = await scene.newQueue()
    for (const ending of [remove, archive({ m: 1 }), release({ meta: { m: 1 } }), move(other)]) {
      assert.deepEqual(await scene.settle(stale, ending), { settled: false, newId: null }, ending.kind)
      assert.deepEqual(await scene.look(fresh.id), before, ending.kind)
    }
    assert.deepEqual(await scene.peek({}, other), [])
    assert.deepEqual(await scene.peek({ place: 'archived' }), [])
    assert(await scene.delete(fresh))
  },

  'a lease that ran out can be settled until the next reader comes': async (scene) => {
    const other = await scene.newQueue()
    for (const ending of [remove, archive(), release(), move(other)]) {
      const late = await scene.leaseRunOut()
      assert.equal((await scene.settle(late, ending)).settled, true, ending.kind)
      await scene.engine.purgeQueue(scene.queue)
    }
  },

  'a lease is settled once': async (scene) => {
    for (const ending of [remove, archive(), release()]) {
      const leased = await scene.lease()
      assert.equal((await scene.settle(leased, ending)).settled, true, ending.kind)
      assert.equal((await scene.settle(leased, ending)).settled, false, `${ending.kind} again`)
      assert.equal(await scene.delete(leased), false, `delete after ${ending.kind}`)
      await scene.engine.purgeQueue(scene.queue)
    }
  },

  'a lease that is twice in a batch is settled once': async (scene) => {
    for (const endings of [
      [remove, release(), remove],
      [remove, remove],
    ]) {
      const leased = await scene.lease()
      const settlements = endings.map((ending) => settlement(leased, ending))
      const results = await scene.engine.settle(scene.queue, settlements)
      assert.deepEqual(
        results.map((result) => result.settled),
        endings.map((_, index) => index === 0),
      )
    }
  },

  'a forged receipt is a stale one': async (scene) => {
    const leased = await scene.lease()
    const forged = [
      '',
      '0',
      'null',
      `${leased.receipt}x`,
      ` ${leased.receipt}`,
      "' or 1=1 --",
      '\u{1f680}',
      '\u0000',
      '\ud800',
      'x'.repeat(5_000),
    ]
    for (const receipt of forged) {
      assert.equal(await scene.delete({ ...leased, receipt }), false, receipt.slice(0, 20))
      assert.equal(await scene.extend({ ...leased, receipt }), null, receipt.slice(0, 20))
    }
    assert(await scene.delete(leased))
  },

  'an unread message has no receipt that fits': async (scene) => {
    const leased = await scene.lease()
    const [id] = await scene.send({})
    for (const receipt of [leased.receipt, '', '0', 'null']) {
      assert.equal(await scene.delete({ ...leased, id, receipt }), false)
      assert.equal(await scene.extend({ ...leased, id, receipt }), null)
    }
    assert.equal(await scene.placeOf(id), 'ready')
  },

  'a receipt is good for its message only': async (scene) => {
    const a = await scene.lease()
    await scene.passTime(2)
    const b = await scene.lease()
    assert.equal(await scene.delete({ ...a, receipt: b.receipt }), false)
    assert.equal(await scene.placeOf(a.id), 'leased')
  },

  'a receipt is good in its queue only': async (scene) => {
    const other = await scene.newQueue()
    const here = await scene.lease()
    await scene.passTime(2)
    await scene.sendTo(other, {})
    const there = await scene.claimOne({}, other)
    assert.equal(await scene.delete({ ...there, receipt: here.receipt }, other), false)
    assert.equal(await scene.delete({ ...here, receipt: there.receipt }), false)
    assert.equal(await scene.placeOf(there.id, other), 'leased')
  },

  'a receipt ends with the lease that is given back': async (scene) => {
    const leased = await scene.lease()
    await scene.settle(leased, release())
    assert.equal(await scene.extend(leased), null)
    assert.equal(await scene.delete(leased), false)
    assert.equal(await scene.placeOf(leased.id), 'ready')
  },

  'a read that was taken back does not make an old receipt good again': async (scene) => {
    const first = await scene.lease()
    await scene.settle(first, release({ uncount: true }))
    const second = await scene.claimOne()
    assert.equal(await scene.delete(first), false)
    assert.equal(await scene.extend(first), null)
    assert(await scene.delete(second))
  },

  'extending makes the old receipt stale': async (scene) => {
    const leased = await scene.lease()
    await scene.passTime(2)
    const receipt = await scene.extend(leased)
    assert(receipt !== null)
    assert.notEqual(receipt, leased.receipt)
    assert.equal(await scene.extend(leased), null)
    assert.equal(await scene.delete(leased), false)
    assert(await scene.delete({ ...leased, receipt }))
  },

  'a receipt does not outlive its queue': async (scene) => {
    const before = await scene.lease()
    await scene.engine.dropQueue(scene.queue)
    await scene.engine.createQueue(scene.queue)
    const after = await scene.lease()
    assert.equal(await scene.delete({ ...after, receipt: before.receipt }), false)
    assert.equal(await scene.delete(before), false)
    assert.equal(await scene.placeOf(after.id), 'leased')
  },

  'a receipt does not outlive a purge': async (scene) => {
    const leased = await scene.lease()
    await scene.engine.purgeQueue(scene.queue)
    assert.equal(await scene.delete(leased), false)
    assert.equal(await scene.extend(leased), null)
  },

  'in a batch the good ones count and the stale ones do nothing': async (scene) => {
    await scene.send(text('a'), text('b'), text('c'))
    const [a, b, c] = await scene.claim()
    assert(a && b && c)
    const stale = { ...b, receipt: a.receipt === 'x' ? 'y' : 'x' }
    const results = await scene.engine.settle(scene.queue, [
      settlement(a, remove),
      settlement(stale, remove),
      settlement(c, archive()),
    ])
    assert.deepEqual(
      results.map((result) => result.settled),
      [true, false, true],
    )
    assert.equal(only(await scene.peek()).id, b.id)
  },

  'a stale move creates no queue': async (scene) => {
    const leased = await scene.lease()
    const missing = scene.newName()
    assert.equal((await scene.settle({ ...leased, receipt: 'stale' }, move(missing))).settled, false)
    assert.deepEqual(
      (await scene.engine.describe(null)).filter((info) => info.queue === missing),
      [],
    )
  },
})
