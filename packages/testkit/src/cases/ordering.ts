import assert from 'node:assert/strict'
import { group } from '../group.ts'
import { archive, dataOf, idsOf, move, release, remove, short, text, waits } from '../scene.ts'

const keyed = (label: string, orderingKey = 'key') => ({ ...text(label), orderingKey })

export const ordering = group('ordering keys', {
  'one claim gives one message of a key': async (scene) => {
    await scene.send(keyed('a1', 'a'), keyed('a2', 'a'), keyed('b1', 'b'), text('free'), keyed('b2', 'b'), text('free'))
    assert.deepEqual(dataOf(await scene.claim()).sort(), ['a1', 'b1', 'free', 'free'])
  },

  'one pop gives one message of a key': async (scene) => {
    await scene.send(keyed('1'), keyed('2'), keyed('3'))
    assert.deepEqual(dataOf(await scene.pop()), ['1'])
    assert.deepEqual(dataOf(await scene.pop()), ['2'])
    assert.deepEqual(dataOf(await scene.pop()), ['3'])
  },

  'a key waits while its first message is leased': async (scene) => {
    await scene.send(keyed('1'), keyed('2'))
    const first = await scene.claimOne()
    assert.deepEqual(await scene.claim(), [])
    assert.deepEqual(await scene.pop(), [])
    await scene.delete(first)
    assert.deepEqual(dataOf(await scene.claim()), ['2'])
  },

  'a key waits while its first message is delayed': async (scene) => {
    for (const delayMs of waits) {
      const [, second] = await scene.send({ ...keyed('1'), delayMs }, keyed('2'))
      assert.deepEqual(await scene.claim(), [])
      assert.deepEqual(await scene.claim({ ids: [second] }), [])
      assert.deepEqual(await scene.pop(), [])
      await scene.engine.purgeQueue(scene.queue)
    }
  },

  'a key goes on in order when its delayed message is due': async (scene) => {
    await scene.send({ ...keyed('1'), delayMs: short }, keyed('2'))
    await scene.passTime(short)
    assert.deepEqual(dataOf(await scene.pop()), ['1'])
    assert.deepEqual(dataOf(await scene.pop()), ['2'])
  },

  'a key waits while its first message is backing off': async (scene) => {
    for (const delayMs of waits) {
      const [, second] = await scene.send(keyed('1'), keyed('2'))
      await scene.settle(await scene.claimOne(), release({ delayMs }))
      assert.deepEqual(await scene.claim(), [])
      assert.deepEqual(await scene.claim({ ids: [second] }), [])
      await scene.engine.purgeQueue(scene.queue)
    }
  },

  'a key goes on in order after backing off': async (scene) => {
    await scene.send(keyed('1'), { ...keyed('2'), priority: 9 })
    await scene.settle(await scene.claimOne(), release({ delayMs: short }))
    await scene.passTime(short)
    assert.deepEqual(dataOf(await scene.pop()), ['1'])
    assert.deepEqual(dataOf(await scene.pop()), ['2'])
  },

  'the first message of a key comes again before the second': async (scene) => {
    await scene.send(keyed('1'), keyed('2'))
    await scene.claimOne({ leaseMs: short })
    await scene.passTime(short)
    const again = await scene.claimOne()
    assert.deepEqual(dataOf([again]), ['1'])
    await scene.settle(again, release())
    assert.deepEqual(dataOf(await scene.claim()), ['1'])
  },

  'a lease that ran out still goes before the next of its key': async (scene) => {
    const [, second] = await scene.send(keyed('1'), keyed('2'))
    await scene.claimOne({ leaseMs: short })
    await scene.passTime(short)
    assert.deepEqual(await scene.claim({ ids: [second] }), [])
  },

  'a claim by ids does not jump the line of a key': async (scene) => {
    const [first, second] = await scene.send(keyed('1'), keyed('2'))
    assert.deepEqual(await scene.claim({ ids: [second] }), [])
    assert.deepEqual(idsOf(await scene.claim({ ids: [second, first] })), [first])
  },

  'priority does not overtake within a key': async (scene) => {
    await scene.send(keyed('1'), { ...keyed('2'), priority: 9 }, text('free'))
    assert.deepEqual(dataOf(await scene.claim()).sort(), ['1', 'free'])
  },

  'every end of the first message frees the next': async (scene) => {
    const other = await scene.newQueue()
    for (const ending of [remove, archive(), move(other)]) {
      await scene.send(keyed('1'), keyed('2'))
      await scene.settle(await scene.claimOne(), ending)
      assert.deepEqual(dataOf(await scene.pop()), ['2'], ending.kind)
    }
    for (const delayMs of waits) {
      const [first] = await scene.send({ ...keyed('1'), delayMs }, keyed('2'))
      await scene.engine.cancel(scene.queue, [first])
      assert.deepEqual(dataOf(await scene.pop()), ['2'], 'cancel')
    }
  },

  'a move within the queue puts a message behind its key': async (scene) => {
    await scene.send(keyed('1'), keyed('2'))
    await scene.settle(await scene.claimOne(), move(scene.queue))
    assert.deepEqual(dataOf(await scene.pop()), ['2'])
    assert.deepEqual(dataOf(await scene.pop()), ['1'])
  },

  'messages that wait for their key do not use up the limit': async (scene) => {
    await scene.send(...Array.from({ length: 50 }, (_, index) => keyed(`${index}`)), text('a'), text('b'), text('c'))
    assert.deepEqual(dataOf(await scene.claim({ limit: 3 })).sort(), ['0', 'a', 'b'])
  },

  'the same key in another queue is another key': async (scene) => {
    const other = await scene.newQueue()
    await scene.send(keyed('here'))
    await scene.sendTo(other, keyed('there'))
    await scene.claimOne()
    assert.deepEqual(dataOf(await scene.claim({}, other)), ['there'])
  },

  'any text is a key of its own': async (scene) => {
    const keys = ['k', 'K', 'k ', '__proto__', 'null', "o'brien", 'a/b:c', 'ключ', 'x'.repeat(255)]
    await scene.send(...keys.map((key) => keyed(`${key}1`, key)), ...keys.map((key) => keyed(`${key}2`, key)))
    const first = await scene.claim()
    assert.deepEqual(dataOf(first).sort(), keys.map((key) => `${key}1`).sort())
    for (const message of first) await scene.delete(message)
    assert.equal((await scene.claim()).length, keys.length)
  },
})
