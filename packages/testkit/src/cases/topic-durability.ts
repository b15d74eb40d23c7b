import assert from 'node:assert/strict'
import { setImmediate as turn } from 'node:timers/promises'
import { group } from '../group.ts'
import { assertRejects, atOnce, dataOf, long, newStart, only, routed, short, text, topicsOf } from '../scene.ts'
import { byNumber, keepAll, newConsumer, newTopic, numbers, StagedTopic } from '../topic-scene.ts'

export const topicDurability = group(
  'durability',
  {
    'topics outlive the engine': async (scene) => {
      const topic = await newTopic(scene, { description: 'news', retention: { ...keepAll, maxBytes: 1_000_000 } })
      const start = newStart()
      await scene.engine.bind({ topic: topic.name, pattern: start })
      await scene.engine.bind({ topic: topic.name, queue: scene.queue })
      await topic.append({ ...text('one'), meta: { m: 1 }, headers: { h: 2 } }, text('two'))
      const [before, messages] = [await topic.info(), await topic.read()]
      await scene.engine.close()
      const second = await scene.secondEngine()
      const same = topic.by(second)
      assert.deepEqual(await same.info(), before)
      assert.deepEqual(await same.read(), messages)
      const copies = only(await second.publish([routed(start, text('three'))], null))
      assert.equal(copies.length, 2)
      assert.deepEqual(await same.offsets(), [1, 2, 3])
      assert.deepEqual(dataOf(await second.pop(scene.queue, 10)), ['one', 'two', 'three'])
    },

    'subscriptions outlive the engine': async (scene) => {
      const topic = await newTopic(scene)
      await topic.appendMany(5)
      await topic.subscribe()
      await topic.subscribe('latest', 'other')
      await topic.ack(3)
      const before = await topic.store.subscriptions(topic.name, null)
      await scene.engine.close()
      const same = topic.by(await scene.secondEngine())
      assert.deepEqual(await same.store.subscriptions(topic.name, null), before)
      assert.deepEqual(await same.offsets(await same.cursor()), [4, 5])
    },

    'a hold and its receipt outlive the engine': async (scene) => {
      const topic = await newTopic(scene)
      await topic.appendMany(3)
      await topic.subscribe()
      const { receipt } = await topic.hold()
      await scene.engine.close()
      const same = topic.by(await scene.secondEngine())
      const waiting = newConsumer()
      await same.holdInVain(waiting)
      assert.equal(await same.ack(2, receipt), true)
      assert.equal(await same.leave(receipt), true)
      assert.equal((await same.hold(waiting)).cursor, 2)
    },

    'dedup ids of topics outlive the engine': async (scene) => {
      const topic = await newTopic(scene)
      const message = { dedup: { id: 'd', windowMs: long } }
      await topic.append({}, message)
      await scene.engine.close()
      const same = topic.by(await scene.secondEngine())
      assert.deepEqual(await same.tryAppend(message), [{ offset: 2, duplicate: true }])
    },

    'publishers of several engines leave no gap, and each keeps its order': async (scene) => {
      const topic = await newTopic(scene)
      const topics = [topic, topic.by(await scene.secondEngine()), topic.by(await scene.secondEngine())]
      const total = 120
      const following = (async () => {
        const seen: number[] = []
        while (seen.length < total) {
          seen.push(...(await topics[1]!.offsets(seen.at(-1) ?? 0)))
          await turn()
        }
        return seen
      })()
      following.catch(() => {})
      const offsets = await atOnce(6, async (publisher) => {
        const own: number[] = []
        for (let round = 0; round < total / 12; round++)
          own.push(...(await topics[publisher % 3]!.append(text(`${publisher}`), text(`${publisher}`))))
        return own
      })
      assert.deepEqual(await following, numbers(1, total))
      assert.deepEqual(offsets.flat().sort(byNumber), numbers(1, total))
      const labels = await topic.labels()
      for (const [publisher, own] of offsets.entries()) {
        assert.deepEqual(own, [...own].sort(byNumber))
        for (const offset of own) assert.equal(labels[offset - 1], `${publisher}`)
      }
    },

    'a dedup id of a topic is taken for all engines': async (scene) => {
      const topic = await newTopic(scene)
      const topics = [topic, topic.by(await scene.secondEngine())]
      const message = { dedup: { id: 'd', windowMs: long } }
      const results = await atOnce(6, (index) => topics[index % 2]!.tryAppend(message))
      assert.equal(results.flat().filter(({ duplicate }) => !duplicate).length, 1)
      for (const { offset } of results.flat()) assert.equal(offset, 1)
    },

    'of several engines one has the subscription': async (scene) => {
      const topic = await newTopic(scene)
      await topic.subscribe()
      const topics = [topic, topic.by(await scene.secondEngine())]
      const holds = await atOnce(6, (index) => topics[index % 2]!.store.hold(topic.name, 's', newConsumer(), long))
      assert.equal(holds.filter(({ held }) => held).length, 1)
    },

    'a seek of one engine makes receipts of the other stale': async (scene) => {
      const topic = await newTopic(scene)
      await topic.appendMany(3)
      await topic.subscribe()
      const same = topic.by(await scene.secondEngine())
      const { receipt } = await topic.hold()
      assert.equal(await same.ack(2, receipt), true)
      await same.seek('earliest')
      assert.equal(await topic.ack(3, receipt), false)
      assert.equal(await topic.cursor(), 0)
    },

    'a holder whose engine is gone has vanished, for every engine': async (scene) => {
      const topic = await newTopic(scene)
      await topic.append({})
      await topic.subscribe()
      await topic.hold(newConsumer(), short)
      await scene.engine.close()
      const [second, third] = [topic.by(await scene.secondEngine()), topic.by(await scene.secondEngine())]
      for (const [index, same] of [second, third, second].entries()) {
        await scene.passTime(short)
        assert.equal((await same.hold(newConsumer(), short)).vanished, index + 1)
      }
    },

    'a topic wakes across engines': async (scene) => {
      const topic = await newTopic(scene)
      await topic.subscribe()
      const same = topic.by(await scene.secondEngine())
      const wakes = await same.watch()
      wakes.clear()
      await topic.append({})
      await wakes.next(async () => (await same.read()).length === 1)
      const { receipt } = await topic.hold()
      wakes.clear()
      await topic.leave(receipt)
      await wakes.next(async () => (await same.state()).consumer === null)
      await topic.ack(1)
      wakes.clear()
      await topic.seek('earliest')
      await wakes.next(async () => (await same.cursor()) === 0)
    },

    'a topic that one engine creates, links and drops is so for the other': async (scene) => {
      const second = await scene.secondEngine()
      const topic = new StagedTopic(scene, scene.newTopicName())
      const theirs = topicsOf(second)
      const start = newStart()
      await theirs.createTopic(topic.name, {})
      assert.deepEqual(await topic.append({}), [1])
      await second.bind({ topic: topic.name, pattern: start })
      await second.bind({ topic: topic.name, queue: scene.queue })
      assert.equal(only(await scene.engine.publish([routed(start)], null)).length, 2)
      await second.unbind({ topic: topic.name, queue: scene.queue })
      assert.equal(only(await scene.engine.publish([routed(start)], null)).length, 1)
      assert.deepEqual(await topic.append({}), [4])
      assert.equal((await scene.peek()).length, 1)
      await theirs.dropTopic(topic.name)
      await assertRejects(topic.tryAppend({}), 'TOPIC_NOT_FOUND', 'append')
      assert.deepEqual(only(await scene.engine.publish([routed(start)], null)), [])
      // The first engine's memory of the old topic is of no use now.
      await theirs.createTopic(topic.name, {})
      assert.deepEqual(await topic.append({}), [1])
    },
  },
  { needs: ['durable', 'topics'] },
)
