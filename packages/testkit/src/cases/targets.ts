import assert from 'node:assert/strict'
import { group } from '../group.ts'
import {
  archive,
  dataOf,
  long,
  move,
  newMessage,
  only,
  release,
  remove,
  type Scene,
  short,
  text,
  waits,
} from '../scene.ts'

async function sendFor(scene: Scene, uniqueTarget: string, label = 'message', queue = scene.queue) {
  return only(await scene.engine.send(queue, [newMessage({ ...text(label), uniqueTarget })], null))
}

export const targets = group('unique targets', {
  'a second message for a target is refused': async (scene) => {
    const first = await sendFor(scene, 'person-7', 'first')
    assert.equal(first.duplicate, false)
    assert.deepEqual(await sendFor(scene, 'person-7', 'second'), { id: first.id, duplicate: true })
    assert.deepEqual(dataOf(await scene.peek()), ['first'])
  },

  'a target is held wherever the first message waits': async (scene) => {
    for (const delayMs of waits) {
      const [id] = await scene.send({ uniqueTarget: 't', delayMs })
      await scene.engine.maintain({ kind: 'due' })
      assert.equal((await sendFor(scene, 't')).duplicate, true, `delayed for ${delayMs} ms`)
      await scene.engine.cancel(scene.queue, [id])
    }

    await sendFor(scene, 't')
    await scene.claimOne({ leaseMs: short })
    assert.equal((await sendFor(scene, 't')).duplicate, true, 'leased')
    await scene.passTime(short)
    assert.equal((await sendFor(scene, 't')).duplicate, true, 'lease ran out')
    await scene.settle(only(await scene.claimSoon()), release())
    assert.equal((await sendFor(scene, 't')).duplicate, true, 'released')
    await scene.engine.maintain({ kind: 'due' })
    assert.equal((await sendFor(scene, 't')).duplicate, true, 'after upkeep')
  },

  'a settled message holds no target': async (scene) => {
    const other = await scene.newQueue()
    for (const ending of [remove, archive(), move(other)]) {
      assert.equal((await sendFor(scene, 't')).duplicate, false, `before ${ending.kind}`)
      await scene.settle(await scene.claimOne(), ending)
    }
    assert.equal((await sendFor(scene, 't')).duplicate, false)
  },

  'a message that was popped, cancelled or purged holds no target': async (scene) => {
    await sendFor(scene, 't')
    await scene.pop()
    const { id, duplicate } = await sendFor(scene, 't')
    assert.equal(duplicate, false, 'after pop')
    await scene.engine.cancel(scene.queue, [id])
    assert.equal((await sendFor(scene, 't')).duplicate, false, 'after cancel')
    await scene.engine.purgeQueue(scene.queue)
    assert.equal((await sendFor(scene, 't')).duplicate, false, 'after purge')
    await scene.engine.dropQueue(scene.queue)
    await scene.engine.createQueue(scene.queue)
    assert.equal((await sendFor(scene, 't')).duplicate, false, 'after drop')
  },

  'the next message holds the target in its turn': async (scene) => {
    await sendFor(scene, 't')
    await scene.pop()
    const second = await sendFor(scene, 't')
    assert.deepEqual(await sendFor(scene, 't'), { id: second.id, duplicate: true })
  },

  'a moved message holds no target where it arrives': async (scene) => {
    const other = await scene.newQueue()
    await sendFor(scene, 't')
    await scene.settle(await scene.claimOne(), move(other))
    assert.equal((await sendFor(scene, 't', 'new', other)).duplicate, false)
    assert.equal((await scene.peek({}, other)).length, 2)
  },

  'different targets and different queues are free': async (scene) => {
    const other = await scene.newQueue()
    for (const target of ['t', 'T', 't ', '__proto__', "o'brien", 'x'.repeat(255)])
      assert.equal((await sendFor(scene, target)).duplicate, false, target)
    assert.equal((await sendFor(scene, 't', 'there', other)).duplicate, false)
    await scene.sendMany(2)
  },

  'a second message for a target within a batch': async (scene) => {
    const batch = ['a', 'b', 'a'].map((uniqueTarget) => newMessage({ ...text(uniqueTarget), uniqueTarget }))
    const results = await scene.engine.send(scene.queue, batch, null)
    assert.deepEqual(
      results.map((result) => result.duplicate),
      [false, false, true],
    )
    assert.equal(results[2]?.id, results[0]?.id)
    assert.deepEqual(dataOf(await scene.peek()), ['a', 'b'])
  },

  'the first of a batch gets the target, also with a dedup id': async (scene) => {
    const batch = ['z', 'm', 'a'].map((id) =>
      newMessage({ ...text(id), uniqueTarget: 't', dedup: { id, windowMs: long } }),
    )
    const results = await scene.engine.send(scene.queue, batch, null)
    assert.deepEqual(
      results.map((result) => result.duplicate),
      [false, true, true],
    )
    assert.deepEqual(dataOf(await scene.peek()), ['z'])
  },

  'a refused message leaves its dedup id free': async (scene) => {
    await sendFor(scene, 't')
    const refused = newMessage({ uniqueTarget: 't', dedup: { id: 'd', windowMs: long } })
    assert.equal(only(await scene.engine.send(scene.queue, [refused], null)).duplicate, true)
    await scene.pop()
    assert.equal(only(await scene.engine.send(scene.queue, [refused], null)).duplicate, false)
  },

  'a duplicate leaves its target free': async (scene) => {
    await scene.send({ dedup: { id: 'd', windowMs: long } })
    const duplicate = newMessage({ uniqueTarget: 't', dedup: { id: 'd', windowMs: long } })
    assert.equal(only(await scene.engine.send(scene.queue, [duplicate], null)).duplicate, true)
    assert.equal((await sendFor(scene, 't')).duplicate, false)
  },

  'a duplicate leaves its target free within its batch too': async (scene) => {
    await scene.send({ dedup: { id: 'd', windowMs: long } })
    const batch = [
      newMessage({ ...text('duplicate'), uniqueTarget: 't', dedup: { id: 'd', windowMs: long } }),
      newMessage({ ...text('new'), uniqueTarget: 't' }),
    ]
    const results = await scene.engine.send(scene.queue, batch, null)
    assert.deepEqual(
      results.map((result) => result.duplicate),
      [true, false],
    )
    assert.equal((await scene.look(results[1]!.id)).data, batch[1]!.data)
  },
})
