import assert from 'node:assert/strict'
import { group } from '../group.ts'
import { atOnce, long, short, topicsOf } from '../scene.ts'
import { newConsumer, subscribedTopic } from '../topic-scene.ts'

export const topicConsumers = group(
  'topic consumers',
  {
    'a hold tells where to go on': async (scene) => {
      const topic = await subscribedTopic(scene)
      await topic.ack(2)
      const { receipt, cursor } = await topic.hold('me')
      assert.equal(cursor, 2)
      assert(typeof receipt === 'string' && receipt !== '', 'a hold has a receipt')
      assert.equal((await topic.state()).consumer, 'me')
      assert.deepEqual(await topic.offsets(cursor), [3, 4, 5])
    },

    'one consumer has the subscription at a time': async (scene) => {
      const topic = await subscribedTopic(scene)
      const [first, second] = [newConsumer(), newConsumer()]
      await topic.hold(first)
      const retryMs = await topic.holdInVain(second)
      assert(Number.isInteger(retryMs) && retryMs > 0 && retryMs <= long, `retry in ${retryMs} ms`)
      assert.equal((await topic.state()).consumer, first)
    },

    'of many at once one has the subscription': async (scene) => {
      const topic = await subscribedTopic(scene)
      for (let round = 0; round < 3; round++) {
        const holds = await atOnce(6, () => topic.store.hold(topic.name, 's', newConsumer(), long))
        const held = holds.filter((hold) => hold.held)
        assert.equal(held.length, 1)
        assert.equal(await topic.leave(held[0]!.receipt), true)
      }
    },

    'a subscription is held by itself': async (scene) => {
      const topic = await subscribedTopic(scene)
      await topic.subscribe('earliest', 'other')
      const { receipt } = await topic.hold('me')
      const other = await topic.hold('you', long, 'other')
      assert.equal(await topic.ack(1, receipt, 'other'), false)
      assert.equal(await topic.ack(1, other.receipt), false)
      assert.deepEqual([await topic.cursor(), await topic.cursor('other')], [0, 0])
    },

    'the holder goes on as long as it likes, and its receipts stay good': async (scene) => {
      const topic = await subscribedTopic(scene)
      const me = newConsumer()
      const first = await topic.hold(me, short)
      const renewed = await topic.hold(me, long)
      await scene.passTime(short)
      await topic.holdInVain()
      assert.equal(await topic.ack(1, first.receipt), true)
      assert.equal(await topic.ack(2, renewed.receipt), true)
      const again = await topic.hold(me)
      assert.equal(again.cursor, 2)
      for (const { receipt } of [first, renewed, again]) assert.equal(await topic.ack(3, receipt), true)
      assert.equal(await topic.cursor(), 3)
    },

    'after the lease ran out another consumer takes over': async (scene) => {
      const topic = await subscribedTopic(scene)
      const [first, second] = [newConsumer(), newConsumer()]
      const old = await topic.hold(first, short)
      await topic.ack(2, old.receipt)
      const tried = await topic.store.hold(topic.name, 's', second, long)
      if (!tried.held) {
        assert(tried.retryMs > 0 && tried.retryMs <= short, `retry in ${tried.retryMs} ms`)
        await scene.passTime(tried.retryMs)
      }
      const taken = await topic.hold(second)
      assert.equal(taken.cursor, 2)
      assert.equal((await topic.state()).consumer, second)
      await topic.holdInVain(first)
      assert.equal(await topic.ack(3, old.receipt), false)
      assert.equal(await topic.leave(old.receipt), false)
      assert.equal(await topic.cursor(), 2)
      await topic.holdInVain()
      assert.equal(await topic.ack(3, taken.receipt), true)
    },

    'a stale receipt changes nothing': async (scene) => {
      const topic = await subscribedTopic(scene)
      const old = await topic.hold(newConsumer(), short)
      await scene.passTime(short)
      await topic.hold('me')
      const before = await topic.state()
      for (const receipt of [old.receipt, 'none', '', '\u0000', '\ud800']) {
        assert.equal(await topic.ack(4, receipt), false)
        assert.equal(await topic.leave(receipt), false)
      }
      assert.deepEqual(await topic.state(), before)
      assert.equal(before.consumer, 'me')
    },

    'a lease that ran out leaves the receipt good until another consumer comes': async (scene) => {
      const topic = await subscribedTopic(scene)
      const me = newConsumer()
      const { receipt } = await topic.hold(me, short)
      await scene.passTime(short)
      assert.equal((await topic.state()).consumer, null)
      assert.equal(await topic.ack(1, receipt), true)
      const again = await topic.hold(me)
      assert.equal(again.cursor, 1)
      assert.equal(await topic.ack(2, receipt), true)
      assert.equal(await topic.ack(3, again.receipt), true)
    },

    'a receipt stays stale when its consumer comes back': async (scene) => {
      const topic = await subscribedTopic(scene)
      const [first, second] = [newConsumer(), newConsumer()]
      const old = await topic.hold(first, short)
      await scene.passTime(short)
      const { receipt } = await topic.hold(second)
      assert.equal(await topic.leave(receipt), true)
      const fresh = await topic.hold(first)
      assert.equal(await topic.ack(1, old.receipt), false)
      assert.equal(await topic.ack(1, receipt), false)
      assert.equal(await topic.ack(1, fresh.receipt), true)
    },

    'leaving lets the next one in at once': async (scene) => {
      const topic = await subscribedTopic(scene)
      const { receipt } = await topic.hold(newConsumer(), 100 * long)
      await topic.ack(3, receipt)
      assert.equal(await topic.leave(receipt), true)
      assert.equal((await topic.state()).consumer, null)
      const { cursor } = await topic.hold(newConsumer())
      assert.equal(cursor, 3)
    },

    'without a receipt an acknowledgement counts, with any holder': async (scene) => {
      const topic = await subscribedTopic(scene)
      const { receipt } = await topic.hold('me')
      assert.equal(await topic.ack(2, null), true)
      assert.equal((await topic.state()).consumer, 'me')
      assert.equal(await topic.ack(3, receipt), true)
      assert.equal(await topic.cursor(), 3)
    },

    'a seek makes receipts stale, and the consumer goes on from there': async (scene) => {
      const topic = await subscribedTopic(scene)
      const me = newConsumer()
      for (const all of [false, true]) {
        const { receipt } = await topic.hold(me)
        await topic.ack(4, receipt)
        await topic.seek({ offset: 2 }, all ? null : 's')
        // Messages in hand belong to the position before.
        assert.equal(await topic.ack(5, receipt), false)
        assert.equal(await topic.leave(receipt), false)
        assert.equal((await topic.state()).consumer, me)
        await topic.holdInVain()
        const again = await topic.hold(me)
        assert.equal(again.cursor, 1)
        assert.equal(await topic.ack(5, receipt), false)
        assert.equal(await topic.ack(3, again.receipt), true)
        await topic.leave(again.receipt)
      }
    },

    'a seek to the place where it is makes receipts stale too': async (scene) => {
      const topic = await subscribedTopic(scene)
      const { receipt } = await topic.hold()
      await topic.seek({ back: 0 })
      assert.equal(await topic.ack(1, receipt), false)
      assert.equal(await topic.cursor(), 0)
    },

    'a seek of one subscription leaves the receipts of others': async (scene) => {
      const topic = await subscribedTopic(scene)
      await topic.subscribe('earliest', 'other')
      const { receipt } = await topic.hold()
      await topic.seek('latest', 'other')
      assert.equal(await topic.ack(1, receipt), true)
    },

    'a receipt does not outlive its subscription': async (scene) => {
      const topic = await subscribedTopic(scene)
      const me = newConsumer()
      const { receipt } = await topic.hold(me)
      await topic.store.unsubscribe(topic.name, 's')
      await topic.subscribe('earliest')
      assert.equal(await topic.ack(1, receipt), false)
      await topic.hold(me)
      assert.equal(await topic.ack(1, receipt), false)
      assert.equal(await topic.cursor(), 0)
    },

    'appending and reading need no hold': async (scene) => {
      const topic = await subscribedTopic(scene)
      await topic.hold()
      assert.deepEqual(await topic.append({}), [6])
      assert.equal((await topic.read()).length, 6)
      assert.equal((await topicsOf(scene.engine).listTopics(topic.name))[0]?.subscriptions, 1)
    },
  },
  { needs: ['topics'] },
)
