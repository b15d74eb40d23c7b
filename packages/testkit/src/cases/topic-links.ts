import assert from 'node:assert/strict'
import { setImmediate as turn } from 'node:timers/promises'
import { group } from '../group.ts'
import { publish } from '../routing-scene.ts'
import { assertAtLeast, assertRejects, atOnce, dataOf, long, newStart, only, text, times } from '../scene.ts'
import { linkedTopic, linkPattern, linkQueue, namesOf, newTopic, once } from '../topic-scene.ts'

const queues = group(
  'topic links',
  {
    'a message of a topic goes into its linked queues too': async (scene) => {
      const topic = await newTopic(scene)
      const other = await scene.newQueue()
      await topic.append(text('before'))
      for (const queue of [scene.queue, other]) await linkQueue(topic, queue)
      const message = { meta: { queue_name: 'elsewhere', deep: { x: [1] } }, headers: { h: 'v' } }
      await topic.append({ ...text('one'), ...message, priority: 3 }, { ...text('two'), orderingKey: 'k' })
      assert.deepEqual(await topic.labels(), ['before', 'one', 'two'])
      for (const queue of [scene.queue, other]) {
        const [one, two] = await scene.peek({}, queue)
        assert(one && two)
        assert.deepEqual(dataOf([one, two]), ['one', 'two'])
        assert.deepEqual([one.meta, one.headers], [{ ...message.meta, queue_name: queue }, message.headers])
        assert.deepEqual([one.priority, one.orderingKey, two.priority, two.orderingKey], [3, null, 0, 'k'])
        assert.deepEqual(two.meta, { queue_name: queue })
      }
      assert.deepEqual((await topic.read(1))[0]?.meta, message.meta)
    },

    'a copy in a queue is a message of its own': async (scene) => {
      const topic = await linkedTopic(scene)
      await topic.append(text('one'), text('two'))
      const [leased] = await scene.claim()
      assert(leased)
      assert.equal(await scene.delete(leased), true)
      await scene.engine.purgeQueue(scene.queue)
      assert.deepEqual(await topic.labels(), ['one', 'two'])
    },

    'a topic may be linked to the queue of its name': async (scene) => {
      const topic = await newTopic(scene)
      await scene.engine.createQueue(topic.name)
      await linkQueue(topic, topic.name)
      await topic.append(text('one'), { ...text('late'), delayMs: long })
      assert.deepEqual(await topic.labels(), ['one', 'late'])
      assert.deepEqual(dataOf(await scene.pop(10, topic.name)), ['one'])
      assert.deepEqual((await topic.info()).queues, [topic.name])
      await scene.engine.dropQueue(topic.name)
      assert.deepEqual((await topic.info()).queues, [])
      assert.deepEqual(await topic.labels(), ['one', 'late'])
    },

    'a batch has its order in linked queues': async (scene) => {
      const topic = await linkedTopic(scene)
      const labels = times(50, (index) => `m${index}`)
      await topic.append(...labels.map(text))
      assert.deepEqual(dataOf(await scene.claim()), labels)
    },

    'delays hold in linked queues, not in the topic': async (scene) => {
      const topic = await linkedTopic(scene)
      await topic.append(text('now'), { ...text('late'), delayMs: long })
      assert.deepEqual(await topic.labels(), ['now', 'late'])
      assert.deepEqual(dataOf(await scene.peek({ place: 'ready' })), ['now'])
      const late = only(await scene.peek({ place: 'delayed' }))
      assertAtLeast(late.visibleAt, late.sentAt + long, 'visibleAt')
    },

    'dedup ids and targets of a linked queue are its own': async (scene) => {
      const topic = await linkedTopic(scene)
      await scene.send(once('d', 'sent'))
      await topic.append(once('d', 'appended'))
      assert.deepEqual(dataOf(await scene.pop()), ['sent'])
      await topic.append({ ...text('first'), uniqueTarget: 't' }, { ...text('second'), uniqueTarget: 't' })
      assert.deepEqual(dataOf(await scene.peek()), ['first'])
      assert.deepEqual(await topic.labels(), ['appended', 'first', 'second'])
    },

    'a duplicate in the topic is not in its linked queues': async (scene) => {
      const topic = await linkedTopic(scene)
      const late = await scene.newQueue()
      const results = await topic.tryAppend(once('d', 'first'), once('d', 'second'), once('e', 'third'))
      assert.deepEqual(
        results.map(({ duplicate }) => duplicate),
        [false, true, false],
      )
      await linkQueue(topic, late)
      await topic.tryAppend(once('d', 'again'))
      assert.deepEqual(dataOf(await scene.peek()), ['first', 'third'])
      assert.deepEqual(await scene.peek({}, late), [])
    },

    'a copy in a linked queue is a task, the message in the topic is none': async (scene) => {
      const topic = await linkedTopic(scene)
      const correlationId = scene.newName('c-')
      await topic.append({ tracked: { correlationId, completionQueue: null } })
      const state = await scene.engine.correlation(correlationId)
      assert.deepEqual(
        state?.queues.map(({ queue, pending }) => [queue, pending]),
        [[scene.queue, 1]],
      )
      await scene.delete(await scene.claimOne())
      assert((await scene.engine.correlation(correlationId))?.completedAt !== null, 'completed')
    },

    'an append wakes the readers of linked queues': async (scene) => {
      const topic = await linkedTopic(scene)
      const wakes = await scene.watch()
      wakes.clear()
      await topic.append({})
      await wakes.next(async (dueMs) => dueMs === 0 && (await scene.peek()).length === 1)
    },
  },
  { needs: ['topics'] },
)

const rules = group(
  'topic links',
  {
    'links are told, each once': async (scene) => {
      const start = newStart()
      const topic = await newTopic(scene)
      const others = [await scene.newQueue(), await scene.newQueue()]
      const given = ['b', 'B', 'a-', 'a', '*', '#'].map((end) => `${start}.${end}`)
      for (const pattern of given) assert.equal(await linkPattern(topic, pattern), true)
      for (const queue of others) assert.equal(await linkQueue(topic, queue), true)
      assert.equal(await linkPattern(topic, given[0]!), false)
      assert.equal(await linkQueue(topic, others[0]), false)
      const { patterns, queues } = await topic.info()
      assert.deepEqual([patterns, queues], [[...given].sort(), [...others].sort()])
      assert.deepEqual(await scene.engine.bindings(others[0]!), [])
    },

    'unlink removes one rule and says whether it was there': async (scene) => {
      const start = newStart()
      const [topic, other] = [await linkedTopic(scene), await linkedTopic(scene)]
      for (const one of [topic, other]) await linkPattern(one, `${start}.*`)
      await linkPattern(topic, `${start}.b`)
      const unlink = (pattern: string) => scene.engine.unbind({ topic: topic.name, pattern })
      assert.equal(await unlink(`${start}.*`), true)
      assert.equal(await unlink(`${start}.*`), false)
      assert.equal(await unlink(`${start}.a`), false)
      assert.deepEqual(namesOf(await publish(scene, `${start}.a`)), [scene.queue, other.name])
      assert.deepEqual(namesOf(await publish(scene, `${start}.b`)).slice(1), [topic.name, other.name].sort())
      await scene.pop()
      assert.equal(await scene.engine.unbind({ topic: topic.name, queue: scene.queue }), true)
      assert.equal(await scene.engine.unbind({ topic: topic.name, queue: scene.queue }), false)
      await topic.append({})
      assert.deepEqual(await scene.peek(), [])
      const { patterns, queues } = await topic.info()
      assert.deepEqual([patterns, queues], [[`${start}.b`], []])
    },

    'dropping a topic removes its links': async (scene) => {
      const start = newStart()
      const topic = await linkedTopic(scene)
      await linkPattern(topic, start)
      await topic.store.dropTopic(topic.name)
      assert.deepEqual(await publish(scene, start), [])
      await topic.store.createTopic(topic.name, {})
      assert.deepEqual(await publish(scene, start), [])
      await topic.append({})
      assert.deepEqual(await scene.peek(), [])
      const { patterns, queues } = await topic.info()
      assert.deepEqual([patterns, queues], [[], []])
    },

    'dropping a queue removes its links': async (scene) => {
      const topic = await linkedTopic(scene)
      await scene.engine.dropQueue(scene.queue)
      assert.deepEqual((await topic.info()).queues, [])
      await topic.append({})
      await scene.engine.createQueue(scene.queue)
      await topic.append({})
      assert.deepEqual(await scene.peek(), [])
      assert.deepEqual((await topic.info()).queues, [])
      assert.equal(await linkQueue(topic), true)
    },

    'a missing queue is not linked': async (scene) => {
      const topic = await newTopic(scene)
      const missing = scene.newName()
      await assertRejects(linkQueue(topic, missing), 'QUEUE_NOT_FOUND', 'link')
      await assertRejects(scene.engine.unbind({ topic: topic.name, queue: missing }), 'QUEUE_NOT_FOUND', 'unlink')
      await scene.engine.createQueue(missing)
      await topic.append({})
      assert.deepEqual(await scene.peek({}, missing), [])
    },

    'a link is made and removed by one of many': async (scene) => {
      const topic = await newTopic(scene)
      for (const link of [{ pattern: newStart() }, { queue: scene.queue }]) {
        const made = await atOnce(5, () => scene.engine.bind({ topic: topic.name, ...link }))
        assert.equal(made.filter(Boolean).length, 1)
        const removed = await atOnce(5, () => scene.engine.unbind({ topic: topic.name, ...link }))
        assert.equal(removed.filter(Boolean).length, 1)
      }
    },

    'a queue that is dropped meanwhile takes nothing from the topic': async (scene) => {
      const topic = await newTopic(scene)
      const dropped = await scene.newQueue()
      let over = false
      const appending = atOnce(2, async () => {
        let count = 0
        for (; !over; count++) {
          await topic.append({})
          await turn()
        }
        return count
      })
      appending.catch(() => {})
      try {
        for (let round = 0; round < 5; round++) {
          await linkQueue(topic, dropped)
          await turn()
          await scene.engine.dropQueue(dropped)
          await turn()
          await scene.engine.createQueue(dropped)
        }
      } finally {
        over = true
      }
      const [one, two] = await appending
      assert.deepEqual(await topic.store.read(topic.name, 0, 100_000).then((all) => all.length), one! + two!)
    },
  },
  { needs: ['topics'] },
)

export const topicLinks = [...queues, ...rules]
