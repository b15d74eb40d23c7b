import assert from 'node:assert/strict'
import { group } from '../group.ts'
import { boundQueues, idIn, publish, queuesOf } from '../routing-scene.ts'
import { assertRejects, dataOf, idsOf, long, newMessage, newStart, text } from '../scene.ts'

const joining = group(
  'routing',
  {
    'the copies appear when the transaction commits': async (scene) => {
      const start = newStart()
      const queues = await boundQueues(scene, 3, start)
      const wakes = await Promise.all(queues.map((queue) => scene.watch(queue)))
      const copies = await scene.transaction(async (transaction) => {
        const made = await publish(scene, start, text('new'), transaction)
        for (const queue of queues) assert.deepEqual(await scene.peek({}, queue), [])
        for (const one of wakes) one.clear()
        return made
      })
      assert.deepEqual(queuesOf(copies), queues)
      for (const [index, one] of wakes.entries())
        await one.next(async () => (await scene.peek({}, queues[index])).length === 1)
      for (const queue of queues) assert.deepEqual(idsOf(await scene.claim({}, queue)), [idIn(copies, queue)])
    },

    'a rollback leaves nothing in any queue': async (scene) => {
      const start = newStart()
      const queues = await boundQueues(scene, 3, start)
      const message = { dedup: { id: 'd', windowMs: long }, uniqueTarget: 't' }
      await scene.rollBack((transaction) => publish(scene, start, message, transaction))
      for (const queue of queues) assert.deepEqual(await scene.peek({}, queue), [])
      const again = await publish(scene, start, message)
      assert.deepEqual(
        again.map(({ duplicate }) => duplicate),
        [false, false, false],
      )
    },

    'a message that no pattern matches leaves the transaction as it was': async (scene) => {
      await scene.transaction(async (transaction) => {
        assert.deepEqual(await publish(scene, newStart(), {}, transaction), [])
        await scene.engine.send(scene.queue, [newMessage({})], transaction)
      })
      assert.equal((await scene.peek()).length, 1)
    },

    'an open transaction that has published holds no other caller up': async (scene) => {
      const start = newStart()
      const queues = await boundQueues(scene, 2, start)
      await scene.transaction(async (transaction) => {
        await publish(scene, start, text('open'), transaction)
        await publish(scene, start, text('meanwhile'))
        for (const queue of queues) {
          await scene.sendTo(queue, text('sent'))
          assert.deepEqual(dataOf(await scene.pop(10, queue)), ['meanwhile', 'sent'])
        }
        await scene.engine.bind({ pattern: `${start}.b`, queue: queues[0]! })
        await scene.engine.unbind({ pattern: start, queue: queues[1]! })
        await scene.engine.maintain({ kind: 'due' })
      })
      for (const queue of queues) assert.deepEqual(dataOf(await scene.pop(10, queue)), ['open'])
    },

    'order and priority go through a transaction': async (scene) => {
      const start = newStart()
      const queues = await boundQueues(scene, 2, start)
      await scene.transaction(async (transaction) => {
        await publish(scene, start, { ...text('plain') }, transaction)
        await publish(scene, start, { ...text('one'), orderingKey: 'k' }, transaction)
        await publish(scene, start, { ...text('two'), orderingKey: 'k' }, transaction)
        await publish(scene, start, { ...text('urgent'), priority: 2 }, transaction)
      })
      for (const queue of queues) {
        const labels = dataOf(await scene.claim({}, queue))
        assert.equal(labels[0], 'urgent')
        assert.deepEqual([...labels].sort(), ['one', 'plain', 'urgent'])
      }
    },
  },
  { needs: ['transactions'] },
)

const refusing = group(
  'routing',
  {
    'a transaction is refused, and nothing is published': async (scene) => {
      const start = newStart()
      await scene.engine.bind({ pattern: start, queue: scene.queue })
      const transaction = { query: () => Promise.resolve({ rows: [] }) }
      await assertRejects(publish(scene, start, {}, transaction), 'UNSUPPORTED', 'publish')
      assert.deepEqual(await scene.peek(), [])
    },
  },
  { lacks: ['transactions'] },
)

export const routingTransactions = [...joining, ...refusing]
