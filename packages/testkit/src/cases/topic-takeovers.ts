import assert from 'node:assert/strict'
import { group } from '../group.ts'
import { atOnce, long, short, times } from '../scene.ts'
import { keepAll, newConsumer, type StagedTopic, subscribedTopic } from '../topic-scene.ts'

/** A consumer takes over and vanishes. @returns how many vanished before it */
async function vanish(topic: StagedTopic, subscription = 's'): Promise<number> {
  const { vanished } = await topic.hold(newConsumer(), short, subscription)
  await topic.scene.passTime(short)
  return vanished
}

/** The count that the next consumer is told. It leaves again. */
async function told(topic: StagedTopic, subscription = 's'): Promise<number> {
  const { vanished, receipt } = await topic.hold(newConsumer(), long, subscription)
  assert.equal(await topic.leave(receipt, subscription), true)
  return vanished
}

export const topicTakeovers = group(
  'topic takeovers',
  {
    'holders that vanish one after the other are counted': async (scene) => {
      const topic = await subscribedTopic(scene)
      for (const before of [0, 1, 2, 3]) assert.equal(await vanish(topic), before)
    },

    'a holder that goes on has not vanished': async (scene) => {
      const topic = await subscribedTopic(scene)
      const me = newConsumer()
      for (let round = 0; round < 2; round++) {
        assert.equal((await topic.hold(me, short)).vanished, 0)
        await scene.passTime(short)
      }
      const you = newConsumer()
      for (let round = 0; round < 3; round++) assert.equal((await topic.hold(you)).vanished, 1)
    },

    'a holder that leaves has not vanished, and those before it have': async (scene) => {
      const topic = await subscribedTopic(scene)
      for (let round = 0; round < 2; round++) assert.equal(await told(topic), 0)
      await vanish(topic)
      for (let round = 0; round < 3; round++) assert.equal(await told(topic), 1)
      assert.equal(await vanish(topic), 1)
      assert.equal(await told(topic), 2)
    },

    'a holder that leaves after its lease ran out has not vanished': async (scene) => {
      const topic = await subscribedTopic(scene)
      const { receipt } = await topic.hold(newConsumer(), short)
      await scene.passTime(short)
      assert.equal(await topic.leave(receipt), true)
      assert.equal(await told(topic), 0)
    },

    'of many that want to take over one finds it counted': async (scene) => {
      const topic = await subscribedTopic(scene)
      await vanish(topic)
      for (const before of [1, 2]) {
        const consumers = times(6, newConsumer)
        const holds = await atOnce(6, (index) => topic.store.hold(topic.name, 's', consumers[index]!, long))
        const winner = holds.findIndex(({ held }) => held)
        assert.equal((await topic.hold(consumers[winner], short)).vanished, before)
        await scene.passTime(short)
      }
    },

    'the count is for the message that is next: an acknowledgement ends it': async (scene) => {
      const topic = await subscribedTopic(scene)
      for (const receipt of [false, true]) {
        await vanish(topic)
        const me = newConsumer()
        const hold = await topic.hold(me, short)
        assert.equal(hold.vanished, 1)
        await topic.ack(hold.cursor, receipt ? hold.receipt : null)
        assert.equal((await topic.hold(me, short)).vanished, 1, 'what moves nothing changes nothing')
        await topic.ack(hold.cursor + 1, receipt ? hold.receipt : null)
        assert.equal((await topic.hold(me, short)).vanished, 0)
        await scene.passTime(short)
        assert.equal(await told(topic), 1, 'counted anew')
        await topic.ack(hold.cursor + 2)
      }
    },

    'a seek to any position ends the count': async (scene) => {
      const topic = await subscribedTopic(scene)
      for (const position of [{ back: 0 }, 'latest', 'earliest', { offset: 3 }] as const) {
        await topic.seek('earliest')
        await vanish(topic)
        assert.equal(await told(topic), 1)
        await topic.seek(position)
        await topic.seek('earliest', null)
        assert.equal(await told(topic), 0, JSON.stringify(position))
      }
    },

    'the count does not come back with the place': async (scene) => {
      const topic = await subscribedTopic(scene)
      for (let round = 0; round < 2; round++) {
        assert.equal(await vanish(topic), 0)
        assert.equal(await told(topic), 1)
        await topic.ack(2)
        await topic.seek('earliest')
      }
    },

    'where there is nothing to read no holder vanishes': async (scene) => {
      const topic = await subscribedTopic(scene)
      await vanish(topic)
      await topic.ack(5)
      for (let round = 0; round < 3; round++) assert.equal(await vanish(topic), 0)
      assert.equal(await told(topic), 0)
      await topic.append({})
      assert.equal(await vanish(topic), 0)
      assert.equal(await told(topic), 1)
    },

    'a message that was removed takes its count with it': async (scene) => {
      const topic = await subscribedTopic(scene)
      for (const before of [0, 1]) assert.equal(await vanish(topic), before)
      await topic.set({ retention: { ...keepAll, maxBytes: 1 } })
      await scene.engine.maintain({ kind: 'due' })
      await topic.set({ retention: keepAll })
      const { firstOffset } = await topic.info()
      assert.equal(firstOffset, 6, 'all are gone')
      assert.equal(await told(topic), 0)
      await topic.append({})
      assert.equal(await vanish(topic), 0)
      assert.equal(await told(topic), 1)
    },

    'every subscription has a count of its own': async (scene) => {
      const [topic, other] = [await subscribedTopic(scene), await subscribedTopic(scene)]
      await topic.subscribe('earliest', 'second')
      for (const before of [0, 1]) assert.equal(await vanish(topic), before)
      assert.equal(await vanish(topic, 'second'), 0)
      assert.deepEqual([await told(topic), await told(topic, 'second'), await told(other)], [2, 1, 0])
      await topic.ack(1, null, 'second')
      assert.equal(await told(topic), 2)
      await topic.seek({ back: 0 }, 'second')
      assert.equal(await told(topic), 2)
      await topic.store.unsubscribe(topic.name, 's')
      await topic.subscribe('earliest')
      assert.equal(await told(topic), 0, 'a new one begins at nothing')
    },
  },
  { needs: ['topics'] },
)
