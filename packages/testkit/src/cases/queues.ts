import assert from 'node:assert/strict'
import { group } from '../group.ts'
import { archive, assertAtLeast, assertRejects, dataOf, long, only, text, waits } from '../scene.ts'

export const queues = group('queues', {
  'a queue is created once': async (scene) => {
    const name = scene.newName()
    assert.equal(await scene.engine.createQueue(name), true)
    await scene.sendTo(name, {})
    assert.equal(await scene.engine.createQueue(name), false)
    assert.equal((await scene.peek({}, name)).length, 1)
  },

  'queues are listed with the time of their creation': async (scene) => {
    await scene.send({})
    const { sentAt } = only(await scene.peek())
    const { createdAt } = only((await scene.engine.describe(null)).filter((info) => info.queue === scene.queue))
    assert(Number.isInteger(createdAt))
    assertAtLeast(sentAt, createdAt, 'sentAt')
    assert(createdAt > sentAt - long, 'created in this case')
    assert.equal((await scene.engine.stats(scene.queue)).createdAt, createdAt)
    assert.deepEqual(await scene.engine.describe(scene.queue), [{ queue: scene.queue, createdAt }])
  },

  'queues are listed by name': async (scene) => {
    // An alphabetical order would not count the signs.
    const names = ['z', '_', '-', '.', 'a', '9'].map((sign) => scene.newName(`case_list${sign}`))
    for (const name of names) await scene.engine.createQueue(name)
    const listed = (await scene.engine.describe(null)).map((info) => info.queue).filter((name) => names.includes(name))
    assert.deepEqual(listed, names.sort())
  },

  'a dropped queue is gone': async (scene) => {
    await scene.send({})
    assert.equal(await scene.engine.dropQueue(scene.queue), true)
    assert(!(await scene.engine.describe(null)).some((info) => info.queue === scene.queue))
    await assertRejects(scene.peek(), 'QUEUE_NOT_FOUND', 'peek')
    assert.equal(await scene.engine.dropQueue(scene.queue), false)
  },

  'a queue of the name of a dropped one is a new queue': async (scene) => {
    await scene.settle(await scene.lease(), archive())
    await scene.lease()
    await scene.send({}, ...waits.map((delayMs) => ({ delayMs })))
    await scene.engine.dropQueue(scene.queue)
    assert.equal(await scene.engine.createQueue(scene.queue), true)
    assert.deepEqual(await scene.peek(), [])
    assert.deepEqual(await scene.peek({ place: 'archived' }), [])
    const { ready, delayed, leased, archived } = await scene.engine.stats(scene.queue)
    assert.deepEqual([ready, delayed, leased, archived], [0, 0, 0, 0])
    await scene.send(text('new'))
    assert.deepEqual(dataOf(await scene.claim()), ['new'])
  },

  'a purge removes all messages but archived ones': async (scene) => {
    const archived = await scene.lease()
    await scene.settle(archived, archive())
    await scene.lease()
    await scene.leaseRunOut()
    await scene.send({}, { orderingKey: 'k' }, ...waits.map((delayMs) => ({ delayMs })))
    assert.equal(await scene.engine.purgeQueue(scene.queue), 6)
    assert.deepEqual(await scene.peek(), [])
    assert.equal(only(await scene.peek({ place: 'archived' })).id, archived.id)
    assert.equal(await scene.engine.purgeQueue(scene.queue), 0)
  },

  'a purged queue goes on': async (scene) => {
    await scene.send({ orderingKey: 'k' }, { orderingKey: 'k' })
    await scene.claimOne()
    await scene.engine.purgeQueue(scene.queue)
    const [id] = await scene.send({ orderingKey: 'k' })
    assert.equal((await scene.claimOne()).id, id)
  },

  'a purge leaves other queues alone': async (scene) => {
    const other = await scene.newQueue()
    await scene.sendTo(other, {})
    await scene.engine.purgeQueue(scene.queue)
    assert.equal((await scene.peek({}, other)).length, 1)
  },

  'names that are nearly the same are different queues': async (scene) => {
    const stem = scene.newName()
    // 47 bytes, the longest there are, which differ in the last only.
    const longest = stem.padEnd(46, 'x')
    const names = [`${stem}.b`, `${stem}-b`, `${stem}_b`, `${longest}1`, `${longest}2`]
    for (const name of names) {
      assert.equal(await scene.engine.createQueue(name), true, name)
      await scene.sendTo(name, text(name))
    }
    for (const name of names) assert.deepEqual(dataOf(await scene.pop(100, name)), [name])
    for (const name of names) assert.equal(await scene.engine.dropQueue(name), true, name)
  },

  'a queue may be named like part of a statement': async (scene) => {
    for (const name of [scene.newName('0'), scene.newName('_'), scene.newName('select-', '.from')]) {
      await scene.engine.createQueue(name)
      await scene.sendTo(name, text('x'))
      assert.deepEqual(dataOf(await scene.claim({}, name)), ['x'])
      assert.equal((await scene.engine.stats(name)).queue, name)
    }
  },
})
