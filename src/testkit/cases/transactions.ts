import assert from 'node:assert/strict'
import type { NewMessage, Transaction } from '../../engine.ts'
import { group } from '../group.ts'
import { assertRejects, dataOf, idsOf, long, newMessage, only, type Scene, text } from '../scene.ts'

function sendIn(scene: Scene, transaction: Transaction, message: Partial<NewMessage>, queue = scene.queue) {
  return scene.engine.send(queue, [newMessage(message)], transaction)
}

/** Runs `work` in a transaction that is rolled back. */
async function rolledBack(scene: Scene, work: (transaction: Transaction) => Promise<unknown>): Promise<void> {
  const reason = new Error('rolled back on purpose')
  const outcome = scene.transaction(async (transaction) => {
    await work(transaction)
    throw reason
  })
  await assert.rejects(outcome, reason)
}

const joining = group(
  'transactions',
  {
    'a message appears when its transaction commits': async (scene) => {
      const id = await scene.transaction(async (transaction) => {
        const sent = only(await sendIn(scene, transaction, text('new')))
        assert.equal(sent.duplicate, false)
        assert.deepEqual(await scene.peek(), [])
        assert.deepEqual(await scene.claim(), [])
        return sent.id
      })
      assert.equal((await scene.claimOne()).id, id)
    },

    'a rollback leaves nothing': async (scene) => {
      await rolledBack(scene, (transaction) => sendIn(scene, transaction, {}))
      assert.deepEqual(await scene.peek(), [])
      assert.equal((await scene.engine.stats(scene.queue)).ready, 0)
    },

    'a rollback frees the dedup id and the target': async (scene) => {
      const message = { dedup: { id: 'd', windowMs: long }, uniqueTarget: 't' }
      await rolledBack(scene, (transaction) => sendIn(scene, transaction, message))
      const [id] = await scene.send(message)
      assert.deepEqual(idsOf(await scene.peek()), [id])
    },

    'duplicates are found within a transaction': async (scene) => {
      const message = { dedup: { id: 'd', windowMs: long } }
      const [before] = await scene.send({ ...text('before'), dedup: { id: 'before', windowMs: long } })
      await scene.transaction(async (transaction) => {
        const first = only(await sendIn(scene, transaction, message))
        assert.deepEqual(await sendIn(scene, transaction, message), [{ id: first.id, duplicate: true }])
        const again = await sendIn(scene, transaction, { dedup: { id: 'before', windowMs: long } })
        assert.deepEqual(again, [{ id: before, duplicate: true }])
      })
      assert.equal((await scene.peek()).length, 2)
      assert.equal(only(await scene.engine.send(scene.queue, [newMessage(message)], null)).duplicate, true)
    },

    'one transaction sends to several queues': async (scene) => {
      const other = await scene.newQueue()
      await scene.transaction(async (transaction) => {
        await sendIn(scene, transaction, text('here'))
        await sendIn(scene, transaction, text('there'), other)
      })
      assert.deepEqual(dataOf(await scene.peek()), ['here'])
      assert.deepEqual(dataOf(await scene.peek({}, other)), ['there'])
    },

    'everything that a message carries goes through a transaction': async (scene) => {
      const message = { ...text('body'), meta: { m: [1] }, headers: { h: "o'brien" }, priority: 3, orderingKey: 'k' }
      await scene.transaction((transaction) => sendIn(scene, transaction, { ...message, delayMs: long }))
      const { data, meta, headers, priority, orderingKey } = only(await scene.peek({ place: 'delayed' }))
      assert.deepEqual({ data: JSON.stringify(JSON.parse(data)), meta, headers, priority, orderingKey }, message)
    },

    'an open transaction holds nobody up': async (scene) => {
      await scene.send(text('before'))
      await scene.transaction(async (transaction) => {
        await sendIn(scene, transaction, text('open'))
        await scene.send(text('meanwhile'))
        assert.deepEqual(dataOf(await scene.pop()), ['before', 'meanwhile'])
        await scene.engine.maintain()
        await scene.engine.stats(scene.queue)
      })
      assert.deepEqual(dataOf(await scene.pop()), ['open'])
    },

    'a message that commits late is not passed over': async (scene) => {
      await scene.transaction(async (transaction) => {
        await sendIn(scene, transaction, text('late'))
        for (let round = 0; round < 3; round++) {
          await scene.send(text('meanwhile'))
          await scene.delete(await scene.claimOne())
        }
      })
      assert.deepEqual(dataOf(await scene.claim({ limit: 1 })), ['late'])
    },

    'a commit wakes': async (scene) => {
      const wakes = await scene.watch()
      wakes.clear()
      await scene.transaction((transaction) => sendIn(scene, transaction, text('new')))
      await wakes.next(async () => (await scene.peek()).length === 1)
    },

    'a commit wakes a watch that began after the send': async (scene) => {
      const wakes = await scene.transaction(async (transaction) => {
        await sendIn(scene, transaction, text('new'))
        const begun = await scene.watch()
        // The reader looks once, as it has to, and finds nothing yet.
        assert.deepEqual(await scene.peek(), [])
        begun.clear()
        return begun
      })
      await wakes.next(async () => (await scene.peek()).length === 1)
    },

    'a missing queue is missing in a transaction too': async (scene) => {
      const missing = scene.newName()
      await rolledBack(scene, (transaction) =>
        assertRejects(sendIn(scene, transaction, {}, missing), 'QUEUE_NOT_FOUND', 'send'),
      )
    },
  },
  { needs: ['transactions'] },
)

const refusing = group(
  'transactions',
  {
    'a transaction is refused, and nothing is stored': async (scene) => {
      const transaction = { query: () => Promise.resolve({ rows: [] }) }
      await assertRejects(sendIn(scene, transaction, {}), 'UNSUPPORTED', 'send')
      assert.deepEqual(await scene.peek(), [])
    },
  },
  { lacks: ['transactions'] },
)

export const transactions = [...joining, ...refusing]
