import assert from 'node:assert/strict'
import { group } from '../group.ts'
import { assertAtLeast, assertSameTime, dataOf, idsOf, long, only, patiently, short, text, waits } from '../scene.ts'

const tenYears = 10 * 366 * 24 * 60 * 60_000

export const delays = group('delays', {
  'a delayed message waits for its time': async (scene) => {
    for (const delayMs of waits) {
      const [id] = await scene.send({ delayMs })
      assert.deepEqual(await scene.claim(), [])
      assert.deepEqual(await scene.claim({ ids: [id] }), [])
      assert.deepEqual(await scene.pop(), [])
      assert.equal(await scene.placeOf(id), 'delayed')
    }
  },

  'a message can be read when its delay is over': async (scene) => {
    const [claimed, popped] = await scene.send({ delayMs: short }, { delayMs: short })
    await scene.passTime(short)
    assert.equal((await scene.claimOne({ limit: 1 })).id, claimed)
    assert.deepEqual(idsOf(await scene.pop()), [popped])
  },

  'a delay is kept to the millisecond': async (scene) => {
    const [id] = await scene.send({ delayMs: 61_234 })
    const { sentAt, visibleAt } = await scene.look(id)
    assertAtLeast(visibleAt, sentAt + 61_234, 'visibleAt')
    assert(visibleAt < sentAt + 90_000, 'not much later either')
  },

  'a message can wait for ten years': async (scene) => {
    const [id] = await scene.send({ delayMs: tenYears })
    const { sentAt, visibleAt } = await scene.look(id)
    assertAtLeast(visibleAt, sentAt + tenYears, 'visibleAt')
  },

  'a message can be read at the time that it names': async (scene) => {
    const [first] = await scene.send({})
    const now = (await scene.look(first)).sentAt
    const [later, soon] = await scene.send({ notBefore: now + 3_600_000 }, { notBefore: now + short })
    assertSameTime((await scene.look(later)).visibleAt, now + 3_600_000, 'visibleAt')
    await scene.passTime(short)
    assert.deepEqual(idsOf(await scene.claim()), [first, soon])
  },

  'the time that a message names goes before its delay': async (scene) => {
    const [first] = await scene.send({})
    const now = (await scene.look(first)).sentAt
    const [id] = await scene.send({ notBefore: now, delayMs: long })
    assert.equal(await scene.placeOf(id), 'ready')
  },

  'a time that is past is now': async (scene) => {
    const [first] = await scene.send({})
    const now = (await scene.look(first)).sentAt
    const [id] = await scene.send({ notBefore: now - 3_600_000 })
    const { sentAt, visibleAt } = await scene.look(id)
    assertAtLeast(visibleAt, sentAt, 'visibleAt')
    assert.deepEqual(idsOf(await scene.claim()), [first, id])
  },

  'a delayed message holds no other up': async (scene) => {
    await scene.send({ ...text('late'), delayMs: long }, text('now'), { ...text('later'), delayMs: long }, text('too'))
    assert.deepEqual(dataOf(await scene.claim()), ['now', 'too'])
  },

  'a message that came due is read in its place': async (scene) => {
    await scene.send({ ...text('due'), delayMs: short }, text('newer'), text('newest'))
    await scene.passTime(short)
    assert.deepEqual(dataOf(await scene.claim({ limit: 2 })), ['due', 'newer'])
  },

  'a message that came due behind settled ones is found': (scene) =>
    patiently(async (delayMs) => {
      const [due, other] = await scene.send({ delayMs }, {})
      const first = only(await scene.claimSoon({ limit: 1 }))
      await scene.delete(first)
      await scene.passTime(delayMs)
      const second = only(await scene.claimSoon({ limit: 1 }))
      assert.deepEqual([first.id, second.id].sort(), [due, other].sort())
      return first.id === other
    }),
})
