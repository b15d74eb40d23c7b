import assert from 'node:assert/strict'
import type { Position } from 'tidings/internal/port/topic-store'
import { group } from '../group.ts'
import { assertAtLeast, atOnce, long, only, type Scene, short } from '../scene.ts'
import { keepAll, newTopic, type StagedTopic } from '../topic-scene.ts'

/** A topic with messages from `first` to `last`; those before were read and removed. */
async function topicWith(scene: Scene, first: number, last: number): Promise<StagedTopic> {
  const topic = await newTopic(scene, { retention: { ...keepAll, whenRead: true } })
  if (first > 1) {
    await topic.appendMany(first - 1)
    await topic.subscribe('latest', 'reader')
    await scene.engine.maintain({ kind: 'due' })
    await topic.store.unsubscribe(topic.name, 'reader')
  }
  await topic.set({ retention: keepAll })
  await topic.appendMany(last - first + 1)
  const { firstOffset, lastOffset } = await topic.info()
  assert.deepEqual([firstOffset, lastOffset], [first, last], 'what is there')
  return topic
}

/** In a topic that has the messages 4 to 9: each position, and the cursor that it means. */
const positions: readonly (readonly [Position, number])[] = [
  ['earliest', 3],
  ['latest', 9],
  [{ offset: 4 }, 3],
  [{ offset: 7 }, 6],
  [{ offset: 9 }, 8],
  [{ offset: 10 }, 9],
  [{ offset: 11 }, 9],
  [{ offset: 1_000_000_000_000 }, 9],
  [{ offset: 2 }, 3],
  [{ offset: 0 }, 3],
  [{ time: 0 }, 3],
  [{ time: 4_000_000_000_000 }, 9],
]

/** From the place after message 7 of these. */
const places: readonly (readonly [Position, number])[] = [
  ...positions,
  [{ back: 0 }, 7],
  [{ back: 1 }, 6],
  [{ back: 4 }, 3],
  [{ back: 5 }, 3],
  [{ back: 1_000_000_000_000 }, 3],
]

const subscribing = group(
  'subscriptions',
  {
    'a subscription begins at its position': async (scene) => {
      const topic = await topicWith(scene, 4, 9)
      for (const [index, [position, cursor]] of positions.entries()) {
        assert.equal(await topic.subscribe(position, `s${index}`), true)
        assert.equal(await topic.cursor(`s${index}`), cursor, JSON.stringify(position))
      }
    },

    'every position in an empty topic is its end': async (scene) => {
      const removed = await topicWith(scene, 5, 4)
      for (const [topic, end] of [
        [await newTopic(scene), 0],
        [removed, 4],
      ] as const)
        for (const [index, [position]] of positions.entries()) {
          await topic.subscribe(position, `s${index}`)
          assert.equal(await topic.cursor(`s${index}`), end, JSON.stringify(position))
        }
    },

    'a time is the place before the first message of then or later': async (scene) => {
      const topic = await newTopic(scene)
      for (let round = 0; round < 3; round++) {
        await topic.appendMany(2)
        await scene.passTime(short)
      }
      const messages = await topic.read()
      const second = messages[2]!.publishedAt
      const last = messages[5]!.publishedAt
      const times: readonly (readonly [number, number])[] = [
        [messages[0]!.publishedAt, 0],
        [second, 2],
        [second - short / 2, 2],
        [messages[3]!.publishedAt + 1, 4],
        [last - short / 2, 4],
        [last + 1, 6],
      ]
      for (const [index, [time, cursor]] of times.entries()) {
        await topic.subscribe({ time }, `s${index}`)
        assert.equal(await topic.cursor(`s${index}`), cursor, `subscribe, ${index}`)
        await topic.seek({ time }, 's0')
        assert.equal(await topic.cursor('s0'), cursor, `seek, ${index}`)
      }
    },

    'a subscription is created once, and keeps its place': async (scene) => {
      const topic = await topicWith(scene, 1, 5)
      assert.equal(await topic.subscribe({ offset: 3 }), true)
      const before = await topic.state()
      assert.equal(await topic.subscribe('latest'), false)
      assert.deepEqual(await topic.state(), before)
      assert.equal(before.cursor, 2)
    },

    'a subscription is created and removed by one of many': async (scene) => {
      const topic = await topicWith(scene, 1, 1)
      const created = await atOnce(5, () => topic.subscribe())
      assert.equal(created.filter(Boolean).length, 1)
      const removed = await atOnce(5, () => topic.store.unsubscribe(topic.name, 's'))
      assert.equal(removed.filter(Boolean).length, 1)
    },

    'a removed subscription is gone, and its name is free': async (scene) => {
      const topic = await topicWith(scene, 1, 5)
      await topic.subscribe('latest')
      await topic.subscribe('latest', 'other')
      await topic.hold('me')
      assert.equal(await topic.store.unsubscribe(topic.name, 's'), true)
      assert.equal(await topic.store.unsubscribe(topic.name, 's'), false)
      assert.equal((await topic.info()).subscriptions, 1)
      assert.equal(only(await topic.store.subscriptions(topic.name, null)).subscription, 'other')
      assert.equal(await topic.subscribe('earliest'), true)
      const { cursor, movedAt, consumer } = await topic.state()
      assert.deepEqual([cursor, movedAt, consumer], [0, null, null])
    },

    'topics have subscriptions of their own': async (scene) => {
      const [topic, other] = [await topicWith(scene, 1, 5), await topicWith(scene, 1, 5)]
      assert.equal(await topic.subscribe('earliest'), true)
      assert.equal(await other.subscribe('latest'), true)
      await topic.ack(2)
      await topic.seek('earliest', null)
      assert.deepEqual([await topic.cursor(), await other.cursor()], [0, 5])
      await topic.hold()
      await other.hold()
      await topic.store.unsubscribe(topic.name, 's')
      assert.equal(await other.cursor(), 5)
    },

    'subscriptions are listed by name': async (scene) => {
      const topic = await topicWith(scene, 1, 3)
      assert.deepEqual(await topic.store.subscriptions(topic.name, null), [])
      const names = ['sz', 's_b', 's-b', 's.b', 'sa', 's9']
      for (const [index, name] of names.entries()) await topic.subscribe({ offset: (index % 3) + 1 }, name)
      assert.equal((await topic.info()).subscriptions, names.length)
      const listed = await topic.store.subscriptions(topic.name, null)
      assert.deepEqual(
        listed.map(({ subscription }) => subscription),
        [...names].sort(),
      )
      for (const one of listed) assert.deepEqual(await topic.state(one.subscription), one)
    },

    'the state of a new subscription': async (scene) => {
      const topic = await topicWith(scene, 4, 9)
      await topic.subscribe({ offset: 8 })
      const { createdAt, ...state } = await topic.state()
      assert.deepEqual(state, { subscription: 's', cursor: 7, lag: 2, missed: 0, movedAt: null, consumer: null })
      await scene.send({})
      const { sentAt } = only(await scene.peek())
      assert(Number.isInteger(createdAt), 'createdAt is a whole number')
      assertAtLeast(sentAt, createdAt, 'sentAt')
      assert(createdAt > sentAt - long, 'created in this case')
    },

    'the lag counts the messages after the cursor': async (scene) => {
      const topic = await newTopic(scene)
      await topic.subscribe('earliest')
      const lag = async () => (await topic.state()).lag
      assert.equal(await lag(), 0)
      await topic.appendMany(3)
      assert.equal(await lag(), 3)
      await topic.ack(1)
      assert.equal(await lag(), 2)
      await topic.ack(3)
      assert.equal(await lag(), 0)
      await topic.appendMany(2)
      assert.equal(await lag(), 2)
    },
  },
  { needs: ['topics'] },
)

const moving = group(
  'subscriptions',
  {
    'an acknowledgement moves the cursor forward, never back': async (scene) => {
      const topic = await topicWith(scene, 1, 9)
      await topic.subscribe('earliest')
      for (const [offset, cursor] of [
        [3, 3],
        [2, 3],
        [3, 3],
        [0, 3],
        [8, 8],
        [4, 8],
      ] as const) {
        assert.equal(await topic.ack(offset), true, `${offset}`)
        assert.equal(await topic.cursor(), cursor, `after ${offset}`)
      }
    },

    'an acknowledgement ends at the end of the topic': async (scene) => {
      const topic = await topicWith(scene, 1, 3)
      await topic.subscribe('earliest')
      assert.equal(await topic.ack(1_000_000), true)
      assert.equal(await topic.cursor(), 3)
      await topic.append({})
      assert.equal((await topic.state()).lag, 1)
      assert.deepEqual(await topic.offsets(await topic.cursor()), [4])
    },

    'acknowledgements that cross end at the highest': async (scene) => {
      const topic = await topicWith(scene, 1, 20)
      await topic.subscribe('earliest')
      await atOnce(20, (index) => topic.ack(20 - index))
      assert.equal(await topic.cursor(), 20)
    },

    'subscriptions move by themselves': async (scene) => {
      const topic = await topicWith(scene, 1, 5)
      for (const name of ['one', 'two']) await topic.subscribe('earliest', name)
      await topic.ack(4, null, 'one')
      assert.deepEqual([await topic.cursor('one'), await topic.cursor('two')], [4, 0])
      assert.equal(await topic.seek({ offset: 3 }, 'two'), 1)
      assert.deepEqual([await topic.cursor('one'), await topic.cursor('two')], [4, 2])
      assert.equal((await topic.read()).length, 5)
    },

    'every move has its time': async (scene) => {
      const topic = await topicWith(scene, 1, 5)
      await topic.subscribe('earliest')
      let last = (await topic.state()).createdAt
      for (const move of [() => topic.ack(2), () => topic.ack(3), () => topic.seek('earliest')]) {
        await scene.passTime(short)
        await move()
        const { movedAt, createdAt } = await topic.state()
        assert(movedAt !== null && Number.isInteger(movedAt))
        assertAtLeast(movedAt, last + short, 'movedAt')
        assert(movedAt < createdAt + long, 'moved in this case')
        last = movedAt
      }
      await topic.ack(4)
      const { movedAt } = await topic.state()
      await scene.passTime(short)
      // A call that changes nothing is no move.
      await topic.ack(3)
      assert.equal((await topic.state()).movedAt, movedAt)
    },

    'a seek goes to every position, forward and back': async (scene) => {
      const topic = await topicWith(scene, 4, 9)
      await topic.subscribe({ offset: 8 })
      for (const [position, cursor] of places) {
        await topic.seek({ offset: 8 })
        assert.equal(await topic.seek(position), 1)
        assert.equal(await topic.cursor(), cursor, JSON.stringify(position))
        assert.equal((await topic.state()).lag, 9 - cursor)
      }
    },

    'what a seek would do is told, and nothing is moved': async (scene) => {
      const topic = await topicWith(scene, 4, 9)
      await topic.subscribe({ offset: 8 })
      const { receipt } = await topic.hold()
      const before = await topic.state()
      for (const [position, to] of places)
        assert.deepEqual(await topic.planSeek(position), [{ subscription: 's', from: 7, to }], JSON.stringify(position))
      assert.deepEqual(await topic.state(), before)
      assert.equal(await topic.ack(8, receipt), true, 'the receipt is good')
      await topic.subscribe('latest', 'a')
      assert.deepEqual(await topic.planSeek({ back: 1 }, null), [
        { subscription: 'a', from: 9, to: 8 },
        { subscription: 's', from: 8, to: 7 },
      ])
    },

    'a seek moves all subscriptions of the topic, each from its place': async (scene) => {
      const topic = await topicWith(scene, 1, 9)
      assert.equal(await topic.seek('earliest', null), 0)
      for (const [name, offset] of [
        ['one', 3],
        ['two', 6],
        ['three', 9],
      ] as const)
        await topic.subscribe({ offset }, name)
      const cursors = async () => [await topic.cursor('one'), await topic.cursor('two'), await topic.cursor('three')]
      assert.deepEqual(await cursors(), [2, 5, 8])
      assert.equal(await topic.seek({ back: 3 }, null), 3)
      assert.deepEqual(await cursors(), [0, 2, 5])
      assert.equal(await topic.seek('latest', null), 3)
      assert.deepEqual(await cursors(), [9, 9, 9])
    },

    'messages are read again after a seek back': async (scene) => {
      const topic = await topicWith(scene, 1, 3)
      await topic.subscribe('earliest')
      await topic.ack(3)
      assert.deepEqual(await topic.offsets(await topic.cursor()), [])
      await topic.seek({ offset: 2 })
      assert.deepEqual(await topic.offsets(await topic.cursor()), [2, 3])
      assert.equal(await topic.ack(2), true)
      assert.equal(await topic.cursor(), 2)
    },
  },
  { needs: ['topics'] },
)

export const subscriptions = [...subscribing, ...moving]
