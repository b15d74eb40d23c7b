import assert from 'node:assert/strict'
import { isTidingsError } from 'tidings/internal/core/errors'
import type { Engine, NewMessage, SendResult, Transaction } from 'tidings/internal/port/engine'
import { group } from '../group.ts'
import {
  archive,
  assertRejects,
  atOnce,
  dataOf,
  long,
  move,
  newMessage,
  remove,
  routed,
  type Scene,
  text,
  times,
  waits,
} from '../scene.ts'

/** Sends a batch into the queue of the case, which may have so many messages with it. */
function sendUpTo(
  scene: Scene,
  maxLength: number,
  messages: readonly Partial<NewMessage>[],
  { engine = scene.engine, transaction = null }: { engine?: Engine; transaction?: Transaction | null } = {},
): Promise<SendResult[]> {
  return engine.send(scene.queue, messages.map(newMessage), transaction, { maxLength })
}

const assertFull = (sending: Promise<unknown>) => assertRejects(sending, 'QUEUE_FULL', 'send')
const lengthOf = async (scene: Scene) => (await scene.peek({ limit: 100_000 })).length
const two = [{}, {}]

/** Each sends one message after the other until the queue is full, or far too many. @returns how many were stored */
async function fill(scene: Scene, maxLength: number, engines: readonly Engine[]): Promise<number> {
  const counts = await atOnce(6, async (sender) => {
    for (let count = 0; count <= maxLength; count++)
      try {
        await sendUpTo(scene, maxLength, [{}], { engine: engines[sender % engines.length]! })
      } catch (error) {
        if (!isTidingsError(error, 'QUEUE_FULL')) throw error
        return count
      }
    return maxLength + 1
  })
  return counts.reduce((a, b) => a + b, 0)
}

const anywhere = group('limits', {
  'a batch that fits is stored, up to the last place': async (scene) => {
    assert.equal((await sendUpTo(scene, 3, [text('a'), text('b')])).length, 2)
    assert.equal((await sendUpTo(scene, 3, [text('c')])).length, 1)
    assert.deepEqual(dataOf(await scene.peek()), ['a', 'b', 'c'])
  },

  'a batch that does not fit is refused as a whole': async (scene) => {
    await scene.send(...two)
    await assertFull(sendUpTo(scene, 3, two))
    assert.equal(await lengthOf(scene), 2)
    assert.equal((await scene.claim()).length, 2)
  },

  'an empty queue refuses a batch beyond its limit': async (scene) => {
    await assertFull(sendUpTo(scene, 1, two))
    assert.equal(await lengthOf(scene), 0)
  },

  'the refusal says how long the queue is, and how long it may be': async (scene) => {
    await scene.send(...two)
    const error = await sendUpTo(scene, 2, [{}]).catch((error: unknown) => error)
    assert(isTidingsError(error, 'QUEUE_FULL'))
    assert.deepEqual(error.details, { queue: scene.queue, length: 2, maxLength: 2 })
  },

  'delayed and leased messages count': async (scene) => {
    await scene.send(...waits.map((delayMs) => ({ delayMs })))
    await scene.lease()
    await assertFull(sendUpTo(scene, 3, [{}]))
    await sendUpTo(scene, 4, [{}])
  },

  'delayed messages are refused like others': async (scene) => {
    await scene.send({})
    for (const delayMs of waits) await assertFull(sendUpTo(scene, 1, [{ delayMs }]))
    assert.equal(await lengthOf(scene), 1)
  },

  'archived messages do not count': async (scene) => {
    await scene.settle(await scene.lease(), archive())
    await sendUpTo(scene, 1, [{}])
    assert.equal(await lengthOf(scene), 1)
  },

  'the end of a message makes room': async (scene) => {
    const other = await scene.newQueue()
    for (const ending of [remove, archive(), move(other)]) {
      await sendUpTo(scene, 1, [{}])
      await assertFull(sendUpTo(scene, 1, [{}]))
      await scene.settle((await scene.claim())[0]!, ending)
    }
    await sendUpTo(scene, 1, [{}])
    await scene.pop()
    await sendUpTo(scene, 1, [{}])
    await scene.engine.purgeQueue(scene.queue)
    await sendUpTo(scene, 1, [{}])
  },

  'duplicates of stored messages do not count': async (scene) => {
    const first = { dedup: { id: 'd', windowMs: long } }
    const second = { uniqueTarget: 't' }
    await scene.send(first, second)
    const results = await sendUpTo(scene, 3, [first, second, {}])
    assert.deepEqual(
      results.map(({ duplicate }) => duplicate),
      [true, true, false],
    )
    const again = await sendUpTo(scene, 1, [second, first])
    assert(
      again.every(({ duplicate }) => duplicate),
      'only duplicates, so nothing is refused',
    )
  },

  'duplicates within a batch do not count': async (scene) => {
    const once = { dedup: { id: 'd', windowMs: long } }
    const target = { uniqueTarget: 't' }
    const results = await sendUpTo(scene, 2, [once, target, once, target])
    assert.deepEqual(
      results.map(({ duplicate }) => duplicate),
      [false, false, true, true],
    )
    assert.equal(await lengthOf(scene), 2)
  },

  'a refused message takes no dedup id and no target': async (scene) => {
    const first = { dedup: { id: 'd', windowMs: long } }
    const second = { uniqueTarget: 't' }
    await assertFull(sendUpTo(scene, 1, [first, second]))
    const results = await sendUpTo(scene, 2, [first, second])
    assert(
      results.every(({ duplicate }) => !duplicate),
      'nothing was there before',
    )
    assert.equal(await lengthOf(scene), 2)
  },

  'a refused message is no task': async (scene) => {
    const correlationId = scene.newName()
    const tracked = { correlationId, completionQueue: null }
    await assertFull(sendUpTo(scene, 0, [{ tracked }]))
    await sendUpTo(scene, 1, [{ tracked }])
    await assertFull(sendUpTo(scene, 1, [{ tracked }]))
    await scene.settle((await scene.claim())[0]!, remove)
    const state = await scene.engine.correlation(correlationId)
    assert.notEqual(state?.completedAt, null)
    assert.deepEqual(
      state?.queues.map(({ pending, done }) => [pending, done]),
      [[0, 1]],
    )
  },

  'a sender without a limit is not refused': async (scene) => {
    await sendUpTo(scene, 1, [{}])
    await scene.send({})
    await assertFull(sendUpTo(scene, 2, [{}]))
    await sendUpTo(scene, 3, [{}])
    assert.equal(await lengthOf(scene), 3)
  },

  'a message that comes by a binding or a move counts, but is not refused': async (scene) => {
    await sendUpTo(scene, 1, [{}])
    const routingKey = `case.${scene.queue}`
    await scene.engine.bind({ pattern: routingKey, queue: scene.queue })
    await scene.engine.publish([routed(routingKey)], null)
    const other = await scene.newQueue()
    await scene.sendTo(other, {})
    await scene.settle((await scene.claim({}, other))[0]!, move(scene.queue), other)
    await assertFull(sendUpTo(scene, 3, [{}]))
    await sendUpTo(scene, 4, [{}])
  },

  'a limit holds for one queue alone': async (scene) => {
    const other = await scene.newQueue()
    await scene.sendTo(other, {}, { delayMs: long * 100 })
    await sendUpTo(scene, 1, [{}])
  },

  'messages with ordering keys and priorities count': async (scene) => {
    await sendUpTo(scene, 3, [{ orderingKey: 'k' }, { orderingKey: 'k' }, { priority: 1 }])
    await assertFull(sendUpTo(scene, 3, [{ orderingKey: 'k' }]))
    await assertFull(sendUpTo(scene, 3, [{ priority: 2 }]))
  },

  'a missing queue is not a full one': async (scene) => {
    const missing = scene.newName()
    const sending = scene.engine.send(missing, [newMessage({})], null, { maxLength: 1 })
    await assertRejects(sending, 'QUEUE_NOT_FOUND', 'send')
  },

  'senders at the same time never exceed the limit': async (scene) => {
    assert.equal(await fill(scene, 25, [scene.engine]), 25)
    assert.equal(await lengthOf(scene), 25)
  },

  'batches at the same time never exceed the limit': async (scene) => {
    const stored = await atOnce(8, () =>
      sendUpTo(scene, 10, [{}, {}, { dedup: { id: 'one for all', windowMs: long } }]).then(
        (results) => results.filter(({ duplicate }) => !duplicate).length,
        (error: unknown) => {
          if (!isTidingsError(error, 'QUEUE_FULL')) throw error
          return 0
        },
      ),
    )
    const sum = stored.reduce((a, b) => a + b, 0)
    assert.equal(await lengthOf(scene), sum)
    assert.equal(sum, 9, 'one batch of three, and three of two')
  },
})

const fromTwo = group(
  'durability',
  {
    'senders of two engines never exceed the limit': async (scene) => {
      const engines = [scene.engine, await scene.secondEngine()]
      assert.equal(await fill(scene, 25, engines), 25)
      assert.equal(await lengthOf(scene), 25)
    },
  },
  { needs: ['durable'] },
)

const inTransactions = group(
  'limits',
  {
    'a transaction counts its own messages': async (scene) => {
      await scene.transaction(async (transaction) => {
        await sendUpTo(scene, 1, [{}], { transaction })
        await assertFull(sendUpTo(scene, 1, [{}], { transaction }))
      })
      assert.equal(await lengthOf(scene), 1)
    },

    'a refusal leaves the transaction usable': async (scene) => {
      const dedup = { id: 'd', windowMs: long }
      await scene.transaction(async (transaction) => {
        await assertFull(sendUpTo(scene, 1, [{ dedup }, {}], { transaction }))
        await scene.engine.send(scene.queue, [newMessage({ dedup })], transaction)
      })
      assert.equal(await lengthOf(scene), 1)
    },

    'a rollback leaves room': async (scene) => {
      const reason = new Error('rolled back on purpose')
      const work = scene.transaction(async (transaction) => {
        await sendUpTo(scene, 1, [{}], { transaction })
        throw reason
      })
      await assert.rejects(work, reason)
      await sendUpTo(scene, 1, [{}])
    },

    'a sender waits for an open transaction and counts its messages': async (scene) => {
      let others: Promise<PromiseSettledResult<unknown>[]> = Promise.resolve([])
      await scene.transaction(async (transaction) => {
        await sendUpTo(scene, 2, [{}], { transaction })
        others = Promise.allSettled(times(3, () => sendUpTo(scene, 2, [{}])))
      })
      const settled = await others
      assert.equal(settled.filter(({ status }) => status === 'fulfilled').length, 1)
      assert.equal(await lengthOf(scene), 2)
    },
  },
  { needs: ['transactions'] },
)

export const limits = [...anywhere, ...fromTwo, ...inTransactions]
