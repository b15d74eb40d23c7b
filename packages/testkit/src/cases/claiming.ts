import assert from 'node:assert/strict'
import { group } from '../group.ts'
import { assertAtLeast, assertSameTime, idsOf, long, only, release, short, waits } from '../scene.ts'

export const claiming = group('claiming', {
  'the oldest come first': async (scene) => {
    const early = await scene.send({}, {}, {})
    const late = await scene.send({}, {})
    assert.deepEqual(idsOf(await scene.claim()), [...early, ...late])
  },

  'no more than the limit, and the rest next time': async (scene) => {
    const ids = await scene.sendMany(5)
    assert.deepEqual(idsOf(await scene.claim({ limit: 2 })), ids.slice(0, 2))
    assert.deepEqual(idsOf(await scene.claim({ limit: 2 })), ids.slice(2, 4))
    assert.deepEqual(idsOf(await scene.claim({ limit: 2 })), ids.slice(4))
  },

  'an empty queue gives nothing and expects nothing': async (scene) => {
    const claim = await scene.engine.claim(scene.queue, { limit: 10, leaseMs: long, ids: null })
    assert.deepEqual(claim, { messages: [], nextDueMs: null })
  },

  'a leased message is hidden': async (scene) => {
    const leased = await scene.lease()
    assert.deepEqual(await scene.claim(), [])
    assert.deepEqual(await scene.claim({ ids: [leased.id] }), [])
    assert.deepEqual(await scene.pop(), [])
    assert.equal(await scene.placeOf(leased.id), 'leased')
  },

  'a lease that ran out gives the message to the next reader': async (scene) => {
    const first = await scene.leaseRunOut()
    const second = await scene.claimOne()
    assert.equal(second.id, first.id)
    assert.notEqual(second.receipt, first.receipt)
  },

  'a message whose lease ran out is read in its place': async (scene) => {
    const first = await scene.lease({}, short)
    const [newer] = await scene.send({}, {})
    await scene.passTime(short)
    assert.deepEqual(idsOf(await scene.claim({ limit: 2 })), [first.id, newer])
  },

  'reads are counted and timed': async (scene) => {
    const first = await scene.leaseRunOut()
    assert.equal(first.readCount, 1)
    assertAtLeast(first.firstReadAt, first.sentAt, 'firstReadAt')
    assert.equal(first.lastReadAt, first.firstReadAt)
    const second = await scene.claimOne()
    assert.equal(second.readCount, 2)
    assert.equal(second.firstReadAt, first.firstReadAt)
    assertAtLeast(second.lastReadAt, first.lastReadAt! + short, 'lastReadAt')
    assert.equal(second.sentAt, first.sentAt)
  },

  'a message that is not claimed is not touched': async (scene) => {
    const [, second] = await scene.send({}, {})
    const before = await scene.look(second)
    await scene.claim({ limit: 1 })
    assert.deepEqual(await scene.look(second), before)
  },

  'visibleAt is the end of the lease': async (scene) => {
    const leased = await scene.lease({}, 61_234)
    assertSameTime(leased.visibleAt, leased.lastReadAt! + 61_234, 'visibleAt')
    assert.equal((await scene.look(leased.id)).visibleAt, leased.visibleAt)
  },

  'every lease has its own receipt and its own length': async (scene) => {
    const [brief, lasting] = await scene.send({}, {})
    const a = await scene.claimOne({ ids: [brief], leaseMs: short })
    const b = await scene.claimOne({ ids: [lasting] })
    assert.notEqual(a.receipt, b.receipt)
    await scene.passTime(short)
    assert.equal(await scene.placeOf(brief), 'ready')
    assert.equal(await scene.placeOf(lasting), 'leased')
  },

  'a claim by ids takes only these, if they are ready': async (scene) => {
    const leased = await scene.lease()
    const [a, b, c, delayed] = await scene.send({}, {}, {}, { delayMs: long })
    const [settled] = await scene.send({})
    assert(await scene.delete(await scene.claimOne({ ids: [settled] })))
    const claimed = await scene.claim({ ids: [c, settled, delayed, leased.id, a] })
    assert.deepEqual(idsOf(claimed), [a, c])
    assert.equal(await scene.placeOf(b), 'ready')
  },

  'a claim by ids keeps the limit': async (scene) => {
    const [a, b] = await scene.send({}, {})
    assert.deepEqual(idsOf(await scene.claim({ ids: [b, a], limit: 1 })), [a])
  },

  'a claim by no ids takes nothing': async (scene) => {
    await scene.send({})
    assert.deepEqual(await scene.claim({ ids: [] }), [])
  },

  'a claim says when the next delayed message is due': async (scene) => {
    for (const delayMs of [...waits].reverse()) {
      await scene.send({ delayMs: 2 * delayMs }, { delayMs }, { delayMs: 3 * delayMs })
      assertWithin(await scene.nextDueMs(), delayMs)
    }
  },

  'a claim says when the next lease runs out': async (scene) => {
    await scene.lease({}, long)
    await scene.send({ delayMs: 10 * long })
    assertWithin(await scene.nextDueMs(), long)
  },

  'a claim says when a message that was given back is due': async (scene) => {
    await scene.settle(await scene.lease(), release({ delayMs: long }))
    assertWithin(await scene.nextDueMs(), long)
  },

  'the time until the next is due counts down': async (scene) => {
    await scene.send({ delayMs: long })
    const before = await scene.nextDueMs()
    await scene.passTime(short)
    const after = await scene.nextDueMs()
    assert(before !== null && after !== null && after <= before - short + 1, `from ${before} to ${after}`)
  },

  'waiting for the time that a claim says is enough': async (scene) => {
    const [id] = await scene.send({ delayMs: short })
    const { messages, nextDueMs } = await scene.engine.claim(scene.queue, { limit: 1, leaseMs: long, ids: null })
    // On a busy machine the message is due already.
    if (messages.length === 0) await scene.passTime(nextDueMs ?? 0)
    assert.equal((messages[0] ?? (await scene.claimOne())).id, id)
  },

  'popped messages are gone': async (scene) => {
    const ids = await scene.sendMany(3)
    const popped = await scene.pop(2)
    assert.deepEqual(idsOf(popped), ids.slice(0, 2))
    assert.deepEqual(idsOf(await scene.peek()), ids.slice(2))
    assert.deepEqual(await scene.peek({ place: 'archived' }), [])
    assert.deepEqual(idsOf(await scene.pop(2)), ids.slice(2))
    assert.deepEqual(await scene.pop(2), [])
  },

  'a pop counts as a read and leaves no lease': async (scene) => {
    const first = await scene.leaseRunOut({ data: '"body"', meta: { m: 1 }, headers: { h: 1 } })
    const popped = only(await scene.pop())
    assert.equal(popped.receipt, null)
    assert.equal(popped.readCount, 2)
    assert.equal(popped.firstReadAt, first.firstReadAt)
    assertAtLeast(popped.lastReadAt, first.lastReadAt! + short, 'lastReadAt')
    assert.deepEqual([JSON.parse(popped.data), popped.meta, popped.headers], ['body', { m: 1 }, { h: 1 }])
    assert.equal(await scene.delete(first), false)
  },
})

function assertWithin(ms: number | null, most: number): void {
  assert(ms !== null && Number.isInteger(ms) && ms > 0 && ms <= most, `nextDueMs is ${ms}`)
}
