import assert from 'node:assert/strict'
import type { NewMessage, Transaction } from 'tidings/internal/port/engine'
import { group } from '../group.ts'
import {
  archive,
  assertRejects,
  dataOf,
  idsOf,
  long,
  move,
  newMessage,
  only,
  release,
  remove,
  rolledBack,
  type Scene,
  settlement,
  text,
  times,
} from '../scene.ts'

function sendIn(scene: Scene, transaction: Transaction, message: Partial<NewMessage>, queue = scene.queue) {
  return scene.engine.send(queue, [newMessage(message)], transaction)
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
      await scene.rollBack((transaction) => sendIn(scene, transaction, {}))
      assert.deepEqual(await scene.peek(), [])
      assert.equal((await scene.engine.stats(scene.queue)).ready, 0)
    },

    'a rollback frees the dedup id and the target': async (scene) => {
      const message = { dedup: { id: 'd', windowMs: long }, uniqueTarget: 't' }
      await scene.rollBack((transaction) => sendIn(scene, transaction, message))
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

    'an open transaction holds no other caller up': async (scene) => {
      await scene.send(text('before'))
      await scene.transaction(async (transaction) => {
        await sendIn(scene, transaction, text('open'))
        await scene.send(text('meanwhile'))
        assert.deepEqual(dataOf(await scene.pop()), ['before', 'meanwhile'])
        await scene.engine.maintain({ kind: 'due' })
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
      assert.deepEqual(dataOf(await scene.claimSoon({ limit: 1 })), ['late'])
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
      await scene.rollBack((transaction) =>
        assertRejects(sendIn(scene, transaction, {}, missing), 'QUEUE_NOT_FOUND', 'send'),
      )
    },
  },
  { needs: ['transactions'] },
)

const selectOne = (transaction: Transaction) => transaction.query('SELECT $1::text AS one', ['1'])

const settling = group(
  'transactions',
  {
    'leases end with a transaction, each in its way': async (scene) => {
      const other = await scene.newQueue()
      await scene.send(text('deleted'), text('archived'), text('released'), text('moved'))
      const [deleted, archived, released, moved] = await scene.claim()
      assert(deleted && archived && released && moved)
      await scene.transaction(async (transaction) => {
        const settlements = [
          settlement(deleted, remove),
          settlement(archived, archive()),
          settlement(released, release()),
          settlement(moved, move(other)),
        ]
        const results = await scene.engine.settle(scene.queue, settlements, transaction)
        assert.deepEqual(
          results.map(({ settled, newId }) => [settled, newId !== null]),
          [
            [true, false],
            [true, false],
            [true, false],
            [true, true],
          ],
        )
        assert.equal((await scene.peek({ place: 'leased' })).length, 4)
      })
      assert.deepEqual(dataOf(await scene.peek()), ['released'])
      assert.deepEqual(dataOf(await scene.peek({ place: 'archived' })), ['archived'])
      assert.deepEqual(dataOf(await scene.peek({}, other)), ['moved'])
    },

    'a rollback leaves a lease as it was': async (scene) => {
      for (const ending of [remove, archive(), release(), release({ delayMs: long }), move(await scene.newQueue())]) {
        const leased = await scene.lease()
        await scene.rollBack((transaction) => scene.settle(leased, ending, scene.queue, transaction))
        assert.equal(await scene.placeOf(leased.id), 'leased', ending.kind)
        assert.equal(await scene.delete(leased), true, ending.kind)
      }
    },

    'a stale receipt is stale in a transaction too, and the transaction goes on': async (scene) => {
      const stale = await scene.leaseRunOut()
      const fresh = await scene.claimOne()
      await scene.transaction(async (transaction) => {
        const result = await scene.settle(stale, remove, scene.queue, transaction)
        assert.deepEqual(result, { settled: false, newId: null })
        await sendIn(scene, transaction, text('sent'))
      })
      assert.equal(await scene.delete(fresh), true)
      assert.deepEqual(dataOf(await scene.peek()), ['sent'])
    },

    'a lease that was prolonged meanwhile ends by its new receipt': async (scene) => {
      const leased = await scene.lease()
      await scene.transaction(async (transaction) => {
        await selectOne(transaction)
        const receipt = await scene.extend(leased)
        assert(receipt !== null)
        const result = await scene.settle({ ...leased, receipt }, remove, scene.queue, transaction)
        assert.equal(result.settled, true)
      })
      assert.equal(await scene.placeOf(leased.id), 'gone')
    },
  },
  { needs: ['transactions'] },
)

const owning = group(
  'transactions',
  {
    "the engine's own: sends and settlements in it take effect together": async (scene) => {
      const leased = await scene.lease(text('old'))
      const answer = await scene.engine.transaction(async (transaction) => {
        assert.deepEqual((await selectOne(transaction)).rows, [{ one: '1' }])
        await sendIn(scene, transaction, text('new'))
        await scene.settle(leased, remove, scene.queue, transaction)
        assert.deepEqual(dataOf(await scene.peek()), ['old'])
        return 'answer'
      })
      assert.equal(answer, 'answer')
      assert.deepEqual(dataOf(await scene.peek()), ['new'])
    },

    "the engine's own: a rejection undoes everything and is passed on": async (scene) => {
      const leased = await scene.lease(text('old'))
      const outcome = scene.engine.transaction(async (transaction) => {
        await sendIn(scene, transaction, text('new'))
        await scene.settle(leased, remove, scene.queue, transaction)
        throw rolledBack
      })
      await assert.rejects(outcome, (error) => error === rolledBack)
      assert.deepEqual(dataOf(await scene.peek()), ['old'])
      assert.equal(await scene.delete(leased), true)
    },

    "the engine's own: it does not commit where a statement failed": async (scene) => {
      const outcome = scene.engine.transaction(async (transaction) => {
        await sendIn(scene, transaction, text('new'))
        await transaction.query('no statement', []).catch(() => {})
      })
      await assertRejects(outcome, 'STORAGE_FAILED', 'transaction')
      assert.deepEqual(await scene.peek(), [])
    },

    "the engine's own: it takes nothing after its end": async (scene) => {
      const committed = await scene.engine.transaction(async (transaction) => transaction)
      let failed: Transaction | undefined
      const outcome = scene.engine.transaction(async (transaction) => {
        failed = transaction
        throw rolledBack
      })
      await assert.rejects(outcome, rolledBack)
      for (const transaction of [committed, failed!]) {
        await assertRejects(selectOne(transaction), 'CLOSED', 'query')
        await assertRejects(sendIn(scene, transaction, {}), 'CLOSED', 'send')
      }
      assert.deepEqual(await scene.peek(), [])
    },

    "the engine's own: many that stay open hold up no other call": async (scene) => {
      let open = 0
      let finish = () => {}
      const finished = new Promise<void>((resolve) => {
        finish = resolve
      })
      const hold = async (transaction: Transaction) => {
        await sendIn(scene, transaction, {})
        open++
        await finished
      }
      const transactions = Promise.all(times(25, () => scene.engine.transaction(hold)))
      transactions.catch(() => {})
      // More than the storage has room for may wait for the others' ends.
      while (open < 5) await scene.engine.stats(scene.queue)
      await scene.send(text('meanwhile'))
      assert.equal(await scene.delete(await scene.claimOne()), true)
      finish()
      await transactions
      assert.equal((await scene.peek()).length, 25)
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

    'a settlement in a transaction is refused, and the lease stays good': async (scene) => {
      const transaction = { query: () => Promise.resolve({ rows: [] }) }
      const leased = await scene.lease()
      await assertRejects(scene.settle(leased, remove, scene.queue, transaction), 'UNSUPPORTED', 'settle')
      assert.equal(await scene.delete(leased), true)
    },

    "a transaction of the engine's own is refused, and its work is not begun": async (scene) => {
      let begun = false
      const work = async () => {
        begun = true
      }
      await assertRejects(scene.engine.transaction(work), 'UNSUPPORTED', 'transaction')
      assert.equal(begun, false)
    },
  },
  { lacks: ['transactions'] },
)

export const transactions = [...joining, ...settling, ...owning, ...refusing]
