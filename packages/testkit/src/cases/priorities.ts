import assert from 'node:assert/strict'
import { group } from '../group.ts'
import { dataOf, idsOf, long, release, text } from '../scene.ts'

export const priorities = group('priorities', {
  'higher goes first, then older': async (scene) => {
    const [low, a, high, b, medium, high2] = await scene.send(
      { priority: -5 },
      {},
      { priority: 9 },
      {},
      { priority: 5 },
      { priority: 9 },
    )
    assert.deepEqual(idsOf(await scene.claim()), [high, high2, medium, a, b, low])
  },

  'the limit takes the highest': async (scene) => {
    await scene.send(text('a'), text('b'), { ...text('urgent'), priority: 1 })
    assert.deepEqual(dataOf(await scene.claim({ limit: 1 })), ['urgent'])
    assert.deepEqual(dataOf(await scene.claim({ limit: 1 })), ['a'])
  },

  'a pop goes by priority too': async (scene) => {
    await scene.send({ ...text('low'), priority: -1 }, text('normal'), { ...text('high'), priority: 1 })
    assert.deepEqual(dataOf(await scene.pop(2)), ['high', 'normal'])
    assert.deepEqual(dataOf(await scene.pop(2)), ['low'])
  },

  'an urgent message passes a long line': async (scene) => {
    await scene.sendMany(200)
    await scene.claim({ limit: 50 })
    await scene.send({ ...text('urgent'), priority: 1 })
    assert.deepEqual(dataOf(await scene.claim({ limit: 1 })), ['urgent'])
  },

  'the low are read when the high are gone': async (scene) => {
    const [low] = await scene.send({ priority: -1 })
    await scene.send({ priority: 1 }, {})
    assert.equal((await scene.pop(2)).length, 2)
    assert.deepEqual(idsOf(await scene.claim()), [low])
  },

  'a high message that is not ready holds no other up': async (scene) => {
    await scene.send({ ...text('high'), priority: 9, delayMs: long }, text('low'))
    assert.deepEqual(dataOf(await scene.claim()), ['low'])
  },

  'a message keeps its priority when it is given back': async (scene) => {
    await scene.send(text('normal'), { ...text('high'), priority: 1 })
    await scene.settle(await scene.claimOne({ limit: 1 }), release())
    assert.deepEqual(dataOf(await scene.claim()), ['high', 'normal'])
  },

  'a claim by ids goes by priority too': async (scene) => {
    const [low, high] = await scene.send({}, { priority: 1 })
    assert.deepEqual(idsOf(await scene.claim({ ids: [low, high] })), [high, low])
  },
})
