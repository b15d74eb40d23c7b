import assert from 'node:assert/strict'
import { group } from '../group.ts'
import {
  archive,
  assertAtLeast,
  assertRejects,
  idsOf,
  long,
  move,
  newMessage,
  only,
  release,
  remove,
  short,
  waits,
} from '../scene.ts'
import { counts, Tasks } from '../tasks.ts'

const deadLetter = { meta: { dead_lettered_at: '2026-01-01T00:00:00.000Z', error_message: 'boom' } }
const redriven = { meta: { dead_lettered_at: null, error_message: null } }

const tracking = group('correlation', {
  'tasks are counted by queue and by where they are': async (scene) => {
    const tasks = new Tasks(scene)
    const other = await scene.newQueue()
    await tasks.send(6)
    await tasks.send(1, other)
    await scene.send({})
    const [deleted, archived, dead, , back] = await scene.claim({ limit: 5 })
    assert(deleted && archived && dead && back)
    await scene.settle(deleted, remove)
    await scene.settle(archived, archive())
    await scene.settle(dead, move(scene.newName(), deadLetter))
    await scene.settle(back, release({ delayMs: long }))
    const { queues, startedAt, completedAt } = await tasks.state()
    const here = counts(scene.queue, { pending: 2, running: 1, done: 2, dead: 1 })
    const there = counts(other, { pending: 1 })
    assert.deepEqual(queues, scene.queue < other ? [here, there] : [there, here])
    // A storage may note a task a moment before it stores the message.
    assert(Math.abs(startedAt - deleted.sentAt) < long / 10, 'startedAt is the time of sending')
    assert.equal(completedAt, null)
  },

  'nothing is known of a correlation without tasks': async (scene) => {
    const tasks = new Tasks(scene)
    await scene.send({ meta: { correlation_id: tasks.id } })
    assert.equal(await scene.engine.correlation(tasks.id), null)
  },

  'a task looks like any other message': async (scene) => {
    const tasks = new Tasks(scene)
    const fields = { meta: { m: 1 }, headers: { h: 1 } }
    await scene.send(tasks.task(fields), tasks.task({ ...fields, bare: true }))
    for (const { meta, headers } of await scene.peek()) assert.deepEqual({ meta, headers }, fields)
    const archived = await scene.claimOne({ limit: 1 })
    assert.deepEqual(archived.headers, { h: 1 })
    await scene.settle(archived, archive())
    assert.deepEqual(only(await scene.peek({ place: 'archived' })).headers, { h: 1 })
    assert.deepEqual(only(await scene.pop()).headers, { h: 1 })
  },

  'one message tells of the end of the last task': async (scene) => {
    const tasks = new Tasks(scene)
    const other = await scene.newQueue()
    await tasks.send(2)
    await tasks.send(1, other)
    await tasks.endAll()
    await tasks.isNotTold('a task in another queue is left')
    await tasks.endAll(archive(), other)
    await tasks.isTold({ done: 3 })
  },

  'tasks of one batch end together': async (scene) => {
    const tasks = new Tasks(scene)
    const others = new Tasks(scene)
    await scene.send(tasks.task(), others.task(), tasks.task(), others.task(), {})
    await tasks.endAll()
    await tasks.isTold({ done: 2 })
    await others.isTold({ done: 2 })
  },

  'the message of a completion arrives in a queue that is there, too, and wakes': async (scene) => {
    const tasks = new Tasks(scene)
    await scene.engine.createQueue(tasks.completionQueue)
    const wakes = await scene.watch(tasks.completionQueue)
    wakes.clear()
    await tasks.send()
    await tasks.endAll()
    await wakes.next(async () => (await tasks.told()).length === 1)
    await tasks.isTold({ done: 1 })
  },

  'without a completion queue the end is only noted': async (scene) => {
    const tasks = new Tasks(scene)
    const tracked = { correlationId: tasks.id, completionQueue: null }
    await scene.send({ tracked }, { tracked })
    await tasks.endAll()
    const { completedAt, startedAt } = await tasks.state()
    assertAtLeast(completedAt, startedAt, 'completedAt')
  },

  'the first completion queue that is named is told': async (scene) => {
    const tasks = new Tasks(scene)
    const late = { correlationId: tasks.id, completionQueue: scene.newName() }
    await scene.send({ tracked: { ...late, completionQueue: null } }, tasks.task(), { tracked: late })
    await tasks.endAll()
    await tasks.isTold({ done: 3 })
    assert(!(await scene.engine.describe(null)).some(({ queue }) => queue === late.completionQueue))
  },

  'a task that is sent before its parent ends has to end as well': async (scene) => {
    const tasks = new Tasks(scene)
    const other = await scene.newQueue()
    await tasks.send()
    for (let depth = 0; depth < 3; depth++) {
      const queue = depth % 2 === 0 ? scene.queue : other
      const parent = await scene.claimOne({ limit: 1 }, queue)
      await tasks.send(1, depth % 2 === 0 ? other : scene.queue)
      await scene.delete(parent, queue)
      await tasks.isNotTold(`at depth ${depth}`)
    }
    await tasks.endAll(remove, other)
    await tasks.isTold({ done: 4 })
  },

  'a task that is read again counts once, and a stale receipt ends nothing': async (scene) => {
    const tasks = new Tasks(scene)
    const stale = await scene.leaseRunOut(tasks.task())
    await tasks.isHere({ pending: 1 }, 'its lease has run out')
    const again = await scene.claimOne()
    assert.equal(await scene.delete(stale), false)
    await tasks.isHere({ running: 1 }, 'it is read again')
    await tasks.isNotTold('with a stale receipt')
    await scene.settle(again, release())
    await tasks.isHere({ pending: 1 }, 'it was given back')
    await tasks.endAll()
    await tasks.isTold({ done: 1 })
  },

  'a delayed task is pending': async (scene) => {
    const tasks = new Tasks(scene)
    await scene.send(...waits.map((delayMs) => tasks.task({ delayMs })), tasks.task({ delayMs: short }))
    await tasks.isHere({ pending: 3 }, 'sent')
    await scene.passTime(short)
    await scene.settle(await scene.claimOne(), release({ delayMs: long }))
    await tasks.isHere({ pending: 3 }, 'given back')
  },

  'a dead letter ends its task, in a queue or in the archive': async (scene) => {
    const tasks = new Tasks(scene)
    const dlq = scene.newName()
    await tasks.send(3)
    const [moved, archived, elsewhere] = await scene.claim()
    assert(moved && archived && elsewhere)
    await scene.settle(moved, move(dlq, deadLetter))
    await scene.settle(archived, archive(deadLetter.meta))
    await tasks.isNotTold('one is left')
    await scene.settle(elsewhere, move(dlq, deadLetter))
    await tasks.isHere({ dead: 3 }, 'they count where they died')
    await tasks.isTold({ dead: 3 })
    await tasks.endAll(remove, dlq)
    await tasks.isHere({ dead: 3 }, 'they stay dead when they are removed')
  },

  'a bare dead letter ends its task': async (scene) => {
    const tasks = new Tasks(scene)
    await scene.send(tasks.task({ bare: true }), tasks.task({ bare: true }))
    await tasks.endAll(move(scene.newName(), deadLetter))
    await tasks.isTold({ dead: 2 })
  },

  'a message that moves on takes its task along': async (scene) => {
    const tasks = new Tasks(scene)
    const other = await scene.newQueue()
    await tasks.send()
    await tasks.endAll(move(other))
    assert.deepEqual((await tasks.state()).queues, [counts(other, { pending: 1 })])
    await scene.claim({}, other)
    assert.deepEqual((await tasks.state()).queues, [counts(other, { running: 1 })])
    await tasks.isNotTold('it was moved')
  },

  'a dead letter that is moved back is to be done again': async (scene) => {
    const tasks = new Tasks(scene)
    const dlq = scene.newName()
    await tasks.send(2)
    await scene.settle(await scene.claimOne({ limit: 1 }), move(dlq, deadLetter))
    await tasks.endAll(move(scene.queue, redriven), dlq)
    await tasks.isHere({ pending: 2 }, 'moved back')
    await tasks.endAll()
    await tasks.isTold({ done: 2 })
  },

  'an end is told once and not again': async (scene) => {
    const tasks = new Tasks(scene)
    const dlq = scene.newName()
    await tasks.send()
    await tasks.endAll(move(dlq, deadLetter))
    const { completedAt } = await tasks.state()
    await tasks.endAll(move(scene.queue, redriven), dlq)
    await tasks.send()
    await tasks.isHere({ pending: 2 }, 'begun again')
    await tasks.endAll()
    await tasks.isHere({ done: 2 }, 'ended again')
    await tasks.isTold({ dead: 1 })
    assert.equal((await tasks.state()).completedAt, completedAt)
  },

  'a first failure is told at once, the end later, each once': async (scene) => {
    const tasks = new Tasks(scene, 'anyFailed', 'allEnded')
    const dlq = scene.newName()
    await tasks.send(4)
    const [done, dead, archived, last] = await scene.claim()
    assert(done && dead && archived && last)
    await scene.delete(done)
    await tasks.isToldOf({}, 'one is done')
    assert.equal((await tasks.state()).failedAt, null)
    await scene.settle(dead, move(dlq, deadLetter))
    await tasks.isToldOf({ anyFailed: [1, 1, 0] }, 'one is dead')
    const { failedAt, startedAt } = await tasks.state()
    assertAtLeast(failedAt, startedAt, 'failedAt')
    await scene.settle(archived, archive(deadLetter.meta))
    await tasks.isToldOf({ anyFailed: [1, 1, 0] }, 'another is dead')
    await scene.delete(last)
    await tasks.isToldOf({ anyFailed: [1, 1, 0], allEnded: [2, 2, 0] }, 'the last has ended')
    const state = await tasks.state()
    assert.deepEqual([state.failedAt, state.doneAt], [failedAt, null])
  },

  'that all are done is told when the dead ones are done after all': async (scene) => {
    const tasks = new Tasks(scene, 'allDone')
    const dlq = scene.newName()
    await tasks.send(2)
    await scene.settle(await scene.claimOne({ limit: 1 }), move(dlq, deadLetter))
    await tasks.endAll()
    await tasks.isToldOf({}, 'one is dead')
    assert.equal((await tasks.state()).doneAt, null)
    await tasks.endAll(move(scene.queue, redriven), dlq)
    await tasks.endAll()
    await tasks.isToldOf({ allDone: [2, 0, 0] }, 'done after all')
    const { completedAt, doneAt } = await tasks.state()
    assertAtLeast(doneAt, completedAt ?? 0, 'doneAt')
    await tasks.send()
    await tasks.endAll()
    await tasks.isToldOf({ allDone: [2, 0, 0] }, 'and once')
  },

  'with a cancelled task not all are done': async (scene) => {
    const tasks = new Tasks(scene, 'anyFailed', 'allDone', 'allEnded')
    const [cancelled] = await tasks.send(2)
    await scene.engine.cancel(scene.queue, [cancelled!])
    await tasks.endAll()
    await tasks.isToldOf({ allEnded: [1, 0, 1] }, 'ended')
  },

  'one end may be several milestones': async (scene) => {
    const tasks = new Tasks(scene, 'anyFailed', 'allDone', 'allEnded')
    const others = new Tasks(scene, 'anyFailed', 'allDone', 'allEnded')
    await tasks.send()
    await tasks.endAll(move(scene.newName(), deadLetter))
    await tasks.isToldOf({ anyFailed: [0, 1, 0], allEnded: [0, 1, 0] }, 'it is dead')
    await scene.engine.bind({ pattern: others.id, queue: scene.queue })
    await scene.engine.publish([{ ...newMessage(others.task()), routingKey: others.id }], null)
    await others.endAll()
    await others.isToldOf({ allDone: [1, 0, 0], allEnded: [1, 0, 0] }, 'it is done')
  },

  'the first task that names a queue says what it is told of': async (scene) => {
    const tasks = new Tasks(scene, 'anyFailed')
    const late = { correlationId: tasks.id, completionQueue: tasks.completionQueue, milestones: ['allDone'] as const }
    await scene.send({ tracked: { ...late, completionQueue: null } }, tasks.task(), { tracked: late })
    await tasks.endAll()
    await tasks.isToldOf({}, 'all are done')
    assert.notEqual((await tasks.state()).doneAt, null)
  },

  'a popped task is done': async (scene) => {
    const tasks = new Tasks(scene)
    await tasks.send(2)
    await scene.pop(1)
    await tasks.isHere({ pending: 1, done: 1 }, 'popped one')
    await scene.pop(1)
    await tasks.isTold({ done: 2 })
  },

  'a cancelled task is over': async (scene) => {
    const tasks = new Tasks(scene)
    const ids = await scene.send(tasks.task(), ...waits.map((delayMs) => tasks.task({ delayMs })))
    await scene.engine.cancel(scene.queue, ids.slice(0, 2))
    await tasks.isHere({ pending: 1, cancelled: 2 }, 'cancelled two')
    await scene.engine.cancel(scene.queue, ids)
    await tasks.isTold({ cancelled: 3 })
  },

  'a purged task is cancelled': async (scene) => {
    const tasks = new Tasks(scene)
    await tasks.send(3)
    await scene.claimOne({ limit: 1 })
    await scene.delete(await scene.claimOne({ limit: 1 }))
    await scene.send(tasks.task({ delayMs: 100 * long }))
    await scene.engine.purgeQueue(scene.queue)
    await tasks.isTold({ done: 1, cancelled: 3 })
  },

  'tasks of a dropped queue are cancelled, and a new queue starts anew': async (scene) => {
    const tasks = new Tasks(scene)
    const others = new Tasks(scene)
    await tasks.send(2)
    await scene.engine.dropQueue(scene.queue)
    await tasks.isTold({ cancelled: 2 })
    await scene.engine.createQueue(scene.queue)
    await others.send(1)
    await scene.delete(await scene.claimOne())
    await others.isTold({ done: 1 })
    await tasks.isHere({ cancelled: 2 }, 'the old ones')
  },

  'a duplicate is no task': async (scene) => {
    const tasks = new Tasks(scene)
    const message = newMessage(tasks.task({ dedup: { id: 'd', windowMs: long } }))
    await scene.engine.send(scene.queue, [message, message], null)
    await tasks.isHere({ pending: 1 }, 'sent twice')
  },

  'every copy of a published message is a task': async (scene) => {
    const tasks = new Tasks(scene)
    const other = await scene.newQueue()
    for (const queue of [scene.queue, other]) await scene.engine.bind({ pattern: `${tasks.id}.#`, queue })
    await scene.engine.publish([{ ...newMessage(tasks.task()), routingKey: tasks.id }], null)
    assert.equal((await tasks.state()).queues.length, 2)
    await tasks.endAll()
    await tasks.isNotTold('a copy is left')
    await tasks.endAll(remove, other)
    await tasks.isTold({ done: 2 })
  },

  'of many that end the last tasks at the same time one tells': async (scene) => {
    const tasks = new Tasks(scene)
    for (let round = 0; round < 5; round++) {
      const again = new Tasks(scene)
      await again.send(8)
      const leased = await scene.claim()
      await Promise.all(leased.map((message) => scene.delete(message)))
      await again.isTold({ done: 8 })
    }
    assert.equal(await scene.engine.correlation(tasks.id), null)
  },

  'upkeep leaves tasks alone': async (scene) => {
    const tasks = new Tasks(scene)
    await scene.send(tasks.task({ delayMs: 100 * long }), tasks.task(), tasks.task(), tasks.task())
    const [archived, , back] = await scene.claim()
    assert(archived && back)
    await scene.settle(archived, archive())
    await scene.settle(back, release({ delayMs: long }))
    await scene.engine.maintain({ kind: 'due' })
    await tasks.isHere({ pending: 2, running: 1, done: 1 }, 'after upkeep')
    assert.equal(idsOf(await tasks.told()).length, 0)
  },
})

const inTransactions = group(
  'correlation',
  {
    'a task counts when its transaction commits': async (scene) => {
      const tasks = new Tasks(scene)
      await scene.transaction(async (transaction) => {
        await scene.engine.send(scene.queue, [newMessage(tasks.task())], transaction)
        assert.equal(await scene.engine.correlation(tasks.id), null)
      })
      await tasks.isHere({ pending: 1 }, 'committed')
    },

    'tasks that are sent and settled in one transaction do not end in between': async (scene) => {
      const tasks = new Tasks(scene)
      await tasks.send()
      const parent = await scene.claimOne()
      await scene.transaction(async (transaction) => {
        await scene.settle(parent, remove, scene.queue, transaction)
        await scene.engine.send(scene.queue, [newMessage(tasks.task())], transaction)
      })
      await tasks.isNotTold('the child is left')
      await tasks.endAll()
      await tasks.isTold({ done: 2 })
    },

    'a rollback leaves a task as it was': async (scene) => {
      const tasks = new Tasks(scene)
      await tasks.send()
      const leased = await scene.claimOne()
      await scene.rollBack((transaction) => scene.settle(leased, remove, scene.queue, transaction))
      await tasks.isHere({ running: 1 }, 'rolled back')
      await scene.delete(leased)
      await tasks.isTold({ done: 1 })
    },

    'a failure that is rolled back is not told': async (scene) => {
      const tasks = new Tasks(scene, 'anyFailed')
      await tasks.send()
      const leased = await scene.claimOne()
      await scene.rollBack((transaction) => scene.settle(leased, archive(deadLetter.meta), scene.queue, transaction))
      await tasks.isToldOf({}, 'rolled back')
      await scene.settle(leased, archive(deadLetter.meta))
      await tasks.isToldOf({ anyFailed: [0, 1, 0] }, 'dead')
    },

    'open transactions hold up neither senders nor others that end tasks': async (scene) => {
      const tasks = new Tasks(scene)
      await tasks.send(2)
      const [held, free] = await scene.claim()
      assert(held && free)
      await scene.transaction(async (transaction) => {
        await scene.settle(held, remove, scene.queue, transaction)
        await scene.engine.send(scene.queue, [newMessage(tasks.task())], transaction)
        await tasks.send()
        await scene.delete(free)
        await scene.pop()
        await tasks.isNotTold('one is open')
      })
      await tasks.endAll()
      await tasks.isTold({ done: 4 })
    },

    'the last tasks of two transactions that are open at the same time end once': async (scene) => {
      const tasks = new Tasks(scene)
      await tasks.send(2)
      const [one, two] = await scene.claim()
      assert(one && two)
      await scene.transaction(async (outer) => {
        await scene.settle(one, remove, scene.queue, outer)
        await scene.transaction(async (inner) => void (await scene.settle(two, remove, scene.queue, inner)))
        await tasks.isNotTold('one is open')
      })
      await tasks.isTold({ done: 2 })
    },

    'a missing queue stays missing for a task, too': async (scene) => {
      const tasks = new Tasks(scene)
      const send = scene.engine.send(scene.newName(), [newMessage(tasks.task())], null)
      await assertRejects(send, 'QUEUE_NOT_FOUND', 'send')
      assert.equal(await scene.engine.correlation(tasks.id), null)
    },
  },
  { needs: ['transactions'] },
)

export const correlation = [...tracking, ...inTransactions]
