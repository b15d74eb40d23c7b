import assert from 'node:assert/strict'
import type { PeekRequest } from 'tidings/internal/port/engine'
import { group } from '../group.ts'
import { archive, dataOf, idsOf, long, move, newMessage, only, patiently, type Scene, short, text } from '../scene.ts'

async function sendOnce(scene: Scene, label: string, windowMs = long, id = 'dedup-id', queue = scene.queue) {
  return only(await scene.engine.send(queue, [newMessage({ ...text(label), dedup: { id, windowMs } })], null))
}

export const dedup = group('dedup', {
  'a duplicate is not stored and names the first': async (scene) => {
    const first = await sendOnce(scene, 'first')
    assert.equal(first.duplicate, false)
    assert.deepEqual(await sendOnce(scene, 'second'), { id: first.id, duplicate: true })
    assert.deepEqual(dataOf(await scene.peek()), ['first'])
  },

  'different ids are different messages': async (scene) => {
    for (const id of ['a', 'A', 'a ', '__proto__', "o'brien", 'x'.repeat(255)])
      assert.equal((await sendOnce(scene, id, long, id)).duplicate, false, id)
    assert.equal((await scene.peek()).length, 6)
  },

  'messages without an id are never duplicates': async (scene) => {
    await scene.sendMany(3)
    assert.equal((await scene.peek()).length, 3)
  },

  'a duplicate within a batch': async (scene) => {
    const messages = ['a', 'b', 'a', 'c', 'b'].map((id) => newMessage({ ...text(id), dedup: { id, windowMs: long } }))
    const results = await scene.engine.send(scene.queue, messages, null)
    assert.deepEqual(
      results.map((result) => result.duplicate),
      [false, false, true, false, true],
    )
    assert.equal(results[2]?.id, results[0]?.id)
    assert.equal(results[4]?.id, results[1]?.id)
    assert.deepEqual(dataOf(await scene.peek()), ['a', 'b', 'c'])
  },

  'the id stays taken when the first message is gone': async (scene) => {
    const other = await scene.newQueue()
    const first = await sendOnce(scene, 'deleted', long, 'deleted')
    await scene.delete(await scene.claimOne())
    assert.deepEqual(await sendOnce(scene, 'again', long, 'deleted'), { id: first.id, duplicate: true })
    await sendOnce(scene, 'popped', long, 'popped')
    await scene.pop()
    for (const ending of [archive(), move(other)]) {
      await sendOnce(scene, ending.kind, long, ending.kind)
      await scene.settle(await scene.claimOne(), ending)
    }
    const cancelled = await sendOnce(scene, 'cancelled', long, 'cancelled')
    await scene.engine.cancel(scene.queue, [cancelled.id])
    await sendOnce(scene, 'purged', long, 'purged')
    await scene.engine.purgeQueue(scene.queue)
    for (const id of ['popped', 'archive', 'move', 'cancelled', 'purged'])
      assert.equal((await sendOnce(scene, 'again', long, id)).duplicate, true, id)
    assert.deepEqual(await scene.peek(), [])
  },

  'the message that was sent with an id is found by it, while the id is taken': async (scene) => {
    const { queue } = scene
    const sentWith = async (dedupId: string, more: Partial<PeekRequest> = {}, name = queue) =>
      idsOf(await scene.peek({ dedupId, ...more }, name))
    assert.deepEqual(await sentWith('a'), [])
    const [first, other] = [await sendOnce(scene, 'first', long, 'a'), await sendOnce(scene, 'other', long, "A'/?")]
    await sendOnce(scene, 'again', long, 'a')
    assert.deepEqual([await sentWith('a'), await sentWith("A'/?")], [[first.id], [other.id]])
    assert.deepEqual(await sentWith('a', { place: 'delayed' }), [])
    assert.deepEqual(await sentWith('a', { afterId: first.id }), [])
    assert.deepEqual(await sentWith('a', {}, await scene.newQueue()), [], 'an id is taken in one queue')
    const brief = await sendOnce(scene, 'brief', short, 'b')
    await scene.passTime(short)
    assert.deepEqual([await sentWith('b'), await scene.placeOf(brief.id)], [[], 'ready'], 'the id is free')
    await scene.settle(await scene.claimOne({ ids: [first.id] }), archive())
    assert.deepEqual([await sentWith('a'), await sentWith('a', { place: 'archived' })], [[], [first.id]])
  },

  'after the window the id is free, and taken again': async (scene) => {
    const first = await sendOnce(scene, 'first', short)
    await scene.passTime(short)
    const second = await sendOnce(scene, 'second', long)
    assert.equal(second.duplicate, false)
    assert.notEqual(second.id, first.id)
    assert.deepEqual(await sendOnce(scene, 'third'), { id: second.id, duplicate: true })
    assert.deepEqual(dataOf(await scene.peek()), ['first', 'second'])
  },

  'a duplicate does not make the window longer': (scene) =>
    patiently(async (windowMs) => {
      const id = `window-${windowMs}`
      await sendOnce(scene, 'first', windowMs, id)
      await scene.passTime(windowMs / 2)
      if (!(await sendOnce(scene, 'second', windowMs, id)).duplicate) return false
      await scene.passTime(windowMs / 2)
      assert.equal((await sendOnce(scene, 'third', long, id)).duplicate, false)
      return true
    }),

  'the window of the first message counts': async (scene) => {
    await sendOnce(scene, 'first', long)
    await scene.passTime(short)
    assert.equal((await sendOnce(scene, 'second', 1)).duplicate, true)
    await scene.passTime(short)
    assert.equal((await sendOnce(scene, 'third', 1)).duplicate, true)
  },

  'upkeep forgets nothing within the window': async (scene) => {
    await sendOnce(scene, 'lasting', long, 'lasting')
    await sendOnce(scene, 'brief', short, 'brief')
    await scene.passTime(short)
    await scene.engine.maintain({ kind: 'due' })
    assert.equal((await sendOnce(scene, 'again', long, 'lasting')).duplicate, true)
    assert.equal((await sendOnce(scene, 'again', long, 'brief')).duplicate, false)
  },

  'ids count within their queue': async (scene) => {
    const other = await scene.newQueue()
    await sendOnce(scene, 'here')
    assert.equal((await sendOnce(scene, 'there', long, 'dedup-id', other)).duplicate, false)
  },

  'a dropped queue forgets its ids': async (scene) => {
    await sendOnce(scene, 'before')
    await scene.engine.dropQueue(scene.queue)
    await scene.engine.createQueue(scene.queue)
    assert.equal((await sendOnce(scene, 'after')).duplicate, false)
    assert.deepEqual(dataOf(await scene.peek()), ['after'])
  },
})
