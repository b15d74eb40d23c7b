import assert from 'node:assert/strict'
import type { Transaction } from 'tidings/internal/port/engine'
import { group } from '../group.ts'
import {
  assertRejects,
  dataOf,
  long,
  newMessage,
  newStart,
  only,
  queueCopies,
  routed,
  type Scene,
  text,
  topicCopies,
} from '../scene.ts'
import { newTopic, StagedTopic } from '../topic-scene.ts'

type Begin = (transaction: Transaction) => Promise<unknown>

/** Runs `work` while transactions are open that have begun like this; it may commit them, by their numbers. */
async function whileOpen<T>(
  scene: Scene,
  begins: readonly Begin[],
  work: (commit: (index: number) => Promise<void>) => Promise<T>,
): Promise<T> {
  const open: { end(): void; committed: Promise<void> }[] = []
  const commit = async (index: number) => {
    open[index]!.end()
    await open[index]!.committed
  }
  try {
    for (const begin of begins) {
      const { promise: begun, resolve: hasBegun, reject } = promised()
      const { promise: ended, resolve: end } = promised()
      const committed = scene.transaction(async (transaction) => {
        await begin(transaction)
        hasBegun()
        await ended
      })
      committed.catch(reject)
      open.push({ end, committed })
      await begun
    }
    return await work(commit)
  } finally {
    for (const { end } of open) end()
    await Promise.allSettled(open.map(({ committed }) => committed))
  }
}

function promised() {
  let resolve = () => {}
  let reject = (_reason: unknown) => {}
  const promise = new Promise<void>((resolved, rejected) => {
    resolve = resolved
    reject = rejected
  })
  return { promise, resolve, reject }
}

const pending = { offset: null, duplicate: false }

const joining = group(
  'topic transactions',
  {
    'a message appears when its transaction commits': async (scene) => {
      const topic = await newTopic(scene)
      await scene.transaction(async (transaction) => {
        assert.deepEqual(await topic.appendIn(transaction, text('one'), text('two')), [pending, pending])
        assert.deepEqual(await topic.appendIn(transaction, text('three')), [pending])
        assert.deepEqual(await topic.read(), [])
        assert.equal((await topic.info()).lastOffset, 0)
      })
      assert.deepEqual(await topic.labels(), ['one', 'two', 'three'])
      assert.deepEqual(await topic.offsets(), [1, 2, 3])
      const { firstOffset, lastOffset, bytes } = await topic.info()
      assert.deepEqual([firstOffset, lastOffset, bytes > 0], [1, 3, true])
    },

    'everything that a message carries goes through a transaction': async (scene) => {
      const topic = await newTopic(scene)
      const given = { data: '{"a":[1]}', meta: { m: [1, null] }, headers: { h: "o'brien" } }
      await scene.transaction((transaction) => topic.appendIn(transaction, { ...given, delayMs: long }))
      const { data, meta, headers } = only(await topic.read())
      assert.deepEqual([JSON.parse(data), meta, headers], [{ a: [1] }, given.meta, given.headers])
    },

    'a rollback leaves nothing, and no gap': async (scene) => {
      const topic = await newTopic(scene)
      const message = { dedup: { id: 'd', windowMs: long } }
      await topic.append({})
      await scene.rollBack((transaction) => topic.appendIn(transaction, message, {}, {}))
      assert.deepEqual(await topic.offsets(), [1])
      assert.deepEqual(await topic.append(message), [2])
      await scene.rollBack((transaction) => topic.appendIn(transaction, {}))
      assert.deepEqual(await topic.append({}), [3])
      assert.deepEqual(await topic.offsets(), [1, 2, 3])
    },

    'duplicates are found within a transaction': async (scene) => {
      const topic = await newTopic(scene)
      const once = (id: string) => ({ dedup: { id, windowMs: long } })
      await topic.append({}, once('before'))
      await scene.transaction(async (transaction) => {
        assert.deepEqual(await topic.appendIn(transaction, once('new')), [pending])
        const again = await topic.appendIn(transaction, once('new'), once('before'), {})
        assert.deepEqual(again, [{ offset: null, duplicate: true }, { offset: 2, duplicate: true }, pending])
      })
      assert.deepEqual(await topic.offsets(), [1, 2, 3, 4])
      assert.deepEqual(await topic.tryAppend(once('new')), [{ offset: 3, duplicate: true }])
    },

    'an open transaction holds no other caller up': async (scene) => {
      const topic = await newTopic(scene)
      await topic.subscribe()
      await scene.transaction(async (transaction) => {
        await topic.appendIn(transaction, text('open'))
        assert.deepEqual(await topic.append(text('meanwhile')), [1])
        assert.deepEqual(await topic.append(text('again')), [2])
        assert.deepEqual(await topic.labels(), ['meanwhile', 'again'])
        const { receipt } = await topic.hold()
        assert.equal(await topic.ack(2, receipt), true)
        assert.equal(await topic.seek('earliest'), 1)
        await topic.set({ description: 'new' })
        await scene.engine.bind({ topic: topic.name, pattern: newStart() })
        assert.equal(await topic.subscribe('latest', 'other'), true)
        assert.equal(await topic.store.unsubscribe(topic.name, 'other'), true)
        await scene.engine.maintain({ kind: 'due' })
      })
      assert.deepEqual(await topic.labels(), ['meanwhile', 'again', 'open'])
    },

    'a subscription that has read everything still gets messages that commit late': async (scene) => {
      const topic = await newTopic(scene)
      await topic.subscribe()
      const late: Begin = (transaction) => topic.appendIn(transaction, text('late'))
      await whileOpen(scene, [late], async (commit) => {
        for (let round = 1; round <= 3; round++) {
          const [offset] = await topic.append(text(`meanwhile ${round}`))
          assert.equal(offset, round)
          await topic.ack(offset!)
        }
        await topic.subscribe('latest', 'end')
        assert.equal((await topic.state()).lag, 0)
        await commit(0)
      })
      assert.deepEqual(await topic.offsets(), [1, 2, 3, 4])
      for (const name of ['s', 'end']) {
        const { cursor, lag } = await topic.state(name)
        assert.deepEqual([cursor, lag], [3, 1], name)
        assert.deepEqual(await topic.labels(cursor), ['late'])
      }
      assert.deepEqual(await topic.append({}), [5])
    },

    'transactions that commit in another order leave no gap': async (scene) => {
      const topic = await newTopic(scene)
      const begins = ['a', 'b', 'c'].map(
        (label): Begin =>
          async (transaction) => {
            await topic.appendIn(transaction, text(`${label}1`))
            await topic.appendIn(transaction, text(`${label}2`))
          },
      )
      const seen: unknown[] = []
      const follow = async () => {
        const messages = await topic.read(seen.length)
        assert.equal(messages[0]?.offset, seen.length + 1)
        seen.push(...dataOf(messages))
      }
      await whileOpen(scene, begins, async (commit) => {
        await commit(2)
        await follow()
        await topic.append(text('plain'))
        await commit(0)
        await follow()
        await commit(1)
        await follow()
      })
      assert.deepEqual(seen, ['c1', 'c2', 'plain', 'a1', 'a2', 'b1', 'b2'])
    },

    'the time of publishing follows the offsets': async (scene) => {
      const topic = await newTopic(scene)
      const late: Begin = (transaction) => topic.appendIn(transaction, text('late'))
      const publishedAt = await whileOpen(scene, [late], async () => {
        await scene.passTime(50)
        await topic.append(text('meanwhile'))
        return only(await topic.read()).publishedAt
      })
      const [, second] = await topic.read()
      assert(second && second.publishedAt >= publishedAt, `${second?.publishedAt} after ${publishedAt}`)
      await topic.subscribe({ time: second.publishedAt + 1 })
      assert.equal(await topic.cursor(), 2)
    },

    'copies in linked queues come with the transaction': async (scene) => {
      const topic = await newTopic(scene)
      await scene.engine.bind({ topic: topic.name, queue: scene.queue })
      await scene.rollBack((transaction) => topic.appendIn(transaction, text('no')))
      await scene.transaction(async (transaction) => {
        await topic.appendIn(transaction, text('one'))
        assert.deepEqual(await scene.peek(), [])
      })
      const { data, meta } = only(await scene.peek())
      assert.deepEqual([data, meta], ['"one"', { queue_name: scene.queue }])
      assert.deepEqual(await topic.labels(), ['one'])
    },

    'a message published in a transaction has no offset yet': async (scene) => {
      const start = newStart()
      const topic = await newTopic(scene)
      const other = await scene.newQueue()
      await scene.engine.bind({ topic: topic.name, pattern: start })
      await scene.engine.bind({ topic: topic.name, queue: scene.queue })
      await scene.engine.bind({ pattern: start, queue: other })
      await scene.rollBack((transaction) => scene.engine.publish([routed(start)], transaction))
      await scene.transaction(async (transaction) => {
        const copies = only(await scene.engine.publish([routed(start, text('one'))], transaction))
        assert.deepEqual(
          queueCopies(copies).map(({ queue, duplicate }) => [queue, duplicate]),
          [scene.queue, other].sort().map((queue) => [queue, false]),
        )
        assert.deepEqual(topicCopies(copies), [{ topic: topic.name, ...pending }])
        assert.deepEqual(await topic.read(), [])
        assert.deepEqual(only(await scene.engine.publish([routed(newStart())], transaction)), [])
      })
      assert.deepEqual(await topic.offsets(), [1])
      for (const queue of [scene.queue, other]) assert.deepEqual(dataOf(await scene.peek({}, queue)), ['one'])
    },

    "the engine's own transaction takes a message for a topic": async (scene) => {
      const topic = await newTopic(scene)
      await scene.engine.transaction(async (transaction) => {
        assert.deepEqual(await topic.appendIn(transaction, text('one')), [pending])
        await scene.engine.send(scene.queue, [newMessage(text('sent'))], transaction)
        assert.deepEqual(await topic.read(), [])
      })
      assert.deepEqual(await topic.labels(), ['one'])
      const reason = new Error('rolled back on purpose')
      const outcome = scene.engine.transaction(async (transaction) => {
        await topic.appendIn(transaction, text('two'))
        throw reason
      })
      await assert.rejects(outcome, reason)
      assert.deepEqual(await topic.append({}), [2])
    },

    'a commit wakes': async (scene) => {
      const topic = await newTopic(scene)
      const wakes = await scene.transaction(async (transaction) => {
        await topic.appendIn(transaction, text('one'))
        const begun = await topic.watch()
        // The reader looks once, as it has to, and finds nothing yet.
        assert.deepEqual(await topic.read(), [])
        begun.clear()
        return begun
      })
      await wakes.next(async () => (await topic.read()).length === 1)
    },

    'a missing topic is missing in a transaction too': async (scene) => {
      const missing = new StagedTopic(scene, scene.newTopicName())
      await scene.rollBack((transaction) =>
        assertRejects(missing.appendIn(transaction, {}), 'TOPIC_NOT_FOUND', 'append'),
      )
    },
  },
  { needs: ['topics', 'transactions'] },
)

const refusing = group(
  'topic transactions',
  {
    'a transaction is refused, and nothing is stored': async (scene) => {
      const topic = await newTopic(scene)
      const start = newStart()
      await scene.engine.bind({ topic: topic.name, pattern: start })
      await scene.engine.bind({ topic: topic.name, queue: scene.queue })
      const transaction = { query: () => Promise.resolve({ rows: [] }) }
      await assertRejects(topic.appendIn(transaction, {}), 'UNSUPPORTED', 'append')
      await assertRejects(scene.engine.publish([routed(start)], transaction), 'UNSUPPORTED', 'publish')
      assert.deepEqual(await topic.read(), [])
      assert.deepEqual(await scene.peek(), [])
      assert.deepEqual(await topic.append({}), [1])
    },
  },
  { needs: ['topics'], lacks: ['transactions'] },
)

export const topicTransactions = [...joining, ...refusing]
