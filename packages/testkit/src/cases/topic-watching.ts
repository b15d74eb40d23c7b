import assert from 'node:assert/strict'
import { group } from '../group.ts'
import { assertRejects, long, newStart, routed, text } from '../scene.ts'
import { newConsumer, newTopic } from '../topic-scene.ts'

export const topicWatching = group(
  'topic watching',
  {
    'an append wakes, and the message is there': async (scene) => {
      const topic = await newTopic(scene)
      const wakes = await topic.watch()
      for (let round = 1; round <= 3; round++) {
        wakes.clear()
        await topic.append(text(`news ${round}`))
        await wakes.next(async () => (await topic.read()).length === round)
      }
    },

    'a message that is published under a linked pattern wakes': async (scene) => {
      const topic = await newTopic(scene)
      const start = newStart()
      await scene.engine.bind({ topic: topic.name, pattern: start })
      const wakes = await topic.watch()
      wakes.clear()
      await scene.engine.publish([routed(start)], null)
      await wakes.next(async () => (await topic.read()).length === 1)
    },

    'a delay does not put the wake off': async (scene) => {
      const topic = await newTopic(scene)
      const wakes = await topic.watch()
      wakes.clear()
      await topic.append({ delayMs: long })
      await wakes.next(async () => (await topic.read()).length === 1)
    },

    'a seek wakes': async (scene) => {
      const topic = await newTopic(scene)
      await topic.subscribe()
      await topic.appendMany(3)
      const wakes = await topic.watch()
      for (const subscription of ['s', null]) {
        await topic.ack(3)
        wakes.clear()
        await topic.seek('earliest', subscription)
        await wakes.next(async () => (await topic.cursor()) === 0)
      }
    },

    'leaving wakes consumers that wait for the subscription': async (scene) => {
      const topic = await newTopic(scene)
      await topic.subscribe()
      const { receipt } = await topic.hold()
      const wakes = await topic.watch()
      const waiting = newConsumer()
      await topic.holdInVain(waiting)
      wakes.clear()
      await topic.leave(receipt)
      await wakes.next(async () => (await topic.store.hold(topic.name, 's', waiting, long)).held)
    },

    'all watches of a topic are woken': async (scene) => {
      const topic = await newTopic(scene)
      const both = [await topic.watch(), await topic.watch()]
      for (const wakes of both) wakes.clear()
      await topic.append({})
      for (const wakes of both) await wakes.next()
    },

    'topics are watched one by one, and apart from queues': async (scene) => {
      const [topic, other] = [await newTopic(scene), await newTopic(scene)]
      await scene.engine.createQueue(topic.name)
      const [here, there, queue] = [await topic.watch(), await other.watch(), await scene.watch(topic.name)]
      for (const [wakes, append] of [
        [here, () => topic.append({})],
        [there, () => other.append({})],
        [queue, () => scene.sendTo(topic.name, {})],
      ] as const) {
        wakes.clear()
        await append()
        await wakes.next()
      }
    },

    'a closed watch is silent, and the others are not': async (scene) => {
      const topic = await newTopic(scene)
      const [closed, open] = [await topic.watch(), await topic.watch()]
      closed.watch.close()
      closed.watch.close()
      closed.clear()
      for (let round = 0; round < 3; round++) {
        open.clear()
        await topic.append({})
        await open.next()
      }
      assert.equal(closed.count, 0)
    },

    'a reader that waits for wakes gets every message': async (scene) => {
      const topic = await newTopic(scene)
      const wakes = await topic.watch()
      const total = 50
      let cursor = 0
      const reading = wakes.next(async () => {
        for (const offset of await topic.offsets(cursor)) assert.equal(offset, ++cursor)
        return cursor === total
      })
      for (let sent = 0; sent < total; sent++) await topic.append({})
      await reading
    },

    'a watch can be closed after its topic and its engine': async (scene) => {
      const topic = await newTopic(scene)
      const wakes = await topic.watch()
      const later = await topic.watch()
      await topic.store.dropTopic(topic.name)
      wakes.watch.close()
      await scene.engine.close()
      later.watch.close()
      await assertRejects(topic.watch(), 'CLOSED', 'watchTopic')
    },
  },
  { needs: ['topics'] },
)
