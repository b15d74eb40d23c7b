import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import type { Retention } from 'tidings/internal/port/topic-store'
import { group } from '../group.ts'
import { long, patiently, type Scene, short, text, times } from '../scene.ts'
import { keepAll, newTopic, numbers, type StagedTopic } from '../topic-scene.ts'

const retaining = (scene: Scene, retention: Partial<Retention>) =>
  newTopic(scene, { retention: { ...keepAll, ...retention } })

const retain = (topic: StagedTopic, retention: Partial<Retention>) =>
  topic.set({ retention: { ...keepAll, ...retention } })

/** Does upkeep. @returns what is there then */
async function kept(topic: StagedTopic): Promise<number[]> {
  await topic.scene.engine.maintain({ kind: 'due' })
  for (;;) {
    const before = await topic.info()
    const offsets = await topic.offsets()
    const { firstOffset, lastOffset, bytes } = await topic.info()
    // What became too old between two looks is in one of them only.
    if (firstOffset !== before.firstOffset) continue
    assert.deepEqual(offsets, numbers(firstOffset, lastOffset), 'what is told and what is there')
    assert.equal(bytes === 0, offsets.length === 0, `${bytes} bytes in ${offsets.length} messages`)
    return offsets
  }
}

export const topicRetention = group(
  'topic retention',
  {
    'without a retention everything is kept': async (scene) => {
      const topic = await newTopic(scene)
      await topic.appendMany(3)
      await topic.subscribe('latest')
      await scene.passTime(short)
      assert.deepEqual(await kept(topic), [1, 2, 3])
    },

    'messages go when they are too old': async (scene) => {
      const topic = await retaining(scene, { maxAgeMs: short })
      await topic.subscribe()
      await topic.appendMany(3)
      await scene.passTime(2 * short)
      assert.deepEqual(await kept(topic), [])
      const { firstOffset, lastOffset } = await topic.info()
      assert.deepEqual([firstOffset, lastOffset], [4, 3])
    },

    'younger messages stay': (scene) =>
      patiently(async (maxAgeMs) => {
        const topic = await retaining(scene, { maxAgeMs })
        await topic.appendMany(2)
        await scene.passTime(maxAgeMs + 5)
        const before = await scene.now()
        await topic.appendMany(2)
        const first = await kept(topic)
        await retain(topic, { maxAgeMs: long })
        await topic.appendMany(1)
        const second = await kept(topic)
        if ((await scene.now()) - before >= maxAgeMs) return false
        assert.deepEqual(
          [first, second],
          [
            [3, 4],
            [3, 4, 5],
          ],
        )
        return true
      }),

    'the oldest go when there is too much': async (scene) => {
      const topic = await retaining(scene, {})
      const big = () => text(randomBytes(500).toString('hex'))
      await topic.append(...times(10, big))
      const { bytes } = await topic.info()
      await retain(topic, { maxBytes: bytes + 1_000 })
      assert.deepEqual(await kept(topic), numbers(1, 10))
      await retain(topic, { maxBytes: Math.round(bytes * 0.55) })
      assert.deepEqual(await kept(topic), numbers(6, 10))
      assert((await topic.info()).bytes <= bytes * 0.55)
      assert.deepEqual(await topic.append(big()), [11])
      assert.deepEqual(await kept(topic), numbers(7, 11))
      await retain(topic, { maxBytes: 1 })
      assert.deepEqual(await kept(topic), [])
    },

    'messages that every subscription has read go': async (scene) => {
      const topic = await retaining(scene, { whenRead: true })
      await topic.subscribe('earliest', 'fast')
      await topic.subscribe('earliest', 'slow')
      await topic.appendMany(6)
      await topic.ack(5, null, 'fast')
      assert.deepEqual(await kept(topic), numbers(1, 6))
      await topic.ack(2, null, 'slow')
      assert.deepEqual(await kept(topic), [3, 4, 5, 6])
      await topic.ack(6, null, 'slow')
      assert.deepEqual(await kept(topic), [6])
      await topic.store.unsubscribe(topic.name, 'fast')
      assert.deepEqual(await kept(topic), [])
    },

    'without subscriptions nothing counts as read': async (scene) => {
      const topic = await retaining(scene, { whenRead: true })
      await topic.appendMany(3)
      assert.deepEqual(await kept(topic), [1, 2, 3])
      // Upkeep may run at any time: what is read by the only subscription may go.
      await retain(topic, {})
      await topic.subscribe('latest')
      await topic.store.unsubscribe(topic.name, 's')
      await retain(topic, { whenRead: true })
      assert.deepEqual(await kept(topic), [1, 2, 3])
    },

    'each reason is enough': async (scene) => {
      const much = { maxAgeMs: 100 * long, maxBytes: 1_000_000, whenRead: true }
      const topic = await retaining(scene, much)
      await topic.subscribe('earliest')
      await topic.appendMany(5)
      await topic.ack(1)
      assert.deepEqual(await kept(topic), [2, 3, 4, 5])
      const { bytes } = await topic.info()
      await retain(topic, { ...much, maxBytes: Math.round(bytes * 0.6) })
      assert.deepEqual(await kept(topic), [4, 5])
      await scene.passTime(2 * short)
      await retain(topic, { ...much, maxAgeMs: short })
      assert.deepEqual(await kept(topic), [])
    },

    'a retention that is taken back removes nothing more': async (scene) => {
      const topic = await retaining(scene, { whenRead: true })
      await topic.subscribe('earliest')
      await topic.appendMany(4)
      await topic.ack(2)
      assert.deepEqual(await kept(topic), [3, 4])
      await retain(topic, {})
      await topic.ack(4)
      assert.deepEqual(await kept(topic), [3, 4])
    },

    'a removed offset is never given again': async (scene) => {
      const topic = await retaining(scene, { whenRead: true })
      await topic.subscribe('earliest')
      for (let round = 1; round <= 3; round++) {
        assert.deepEqual(await topic.appendMany(2), [2 * round - 1, 2 * round])
        await topic.ack(2 * round)
        assert.deepEqual(await kept(topic), [])
        await scene.engine.maintain({ kind: 'due' })
      }
      assert.deepEqual(await topic.appendMany(1), [7])
      const { firstOffset, lastOffset } = await topic.info()
      assert.deepEqual([firstOffset, lastOffset], [7, 7])
    },

    'a late subscription has missed the removed messages': async (scene) => {
      const topic = await retaining(scene, { maxAgeMs: short })
      await topic.subscribe('earliest')
      await topic.appendMany(6)
      await topic.ack(2)
      await topic.subscribe('latest', 'up_to_date')
      await scene.passTime(2 * short)
      await kept(topic)
      await retain(topic, {})
      await topic.appendMany(3)
      const { cursor, lag, missed } = await topic.state()
      assert.deepEqual([cursor, lag, missed], [2, 3, 4])
      assert.equal((await topic.state('up_to_date')).missed, 0)
      assert.deepEqual(await topic.offsets(cursor), [7, 8, 9])
      assert.equal((await topic.hold()).cursor, 2)
      await topic.ack(3)
      assert.equal((await topic.state()).missed, 3)
      await topic.ack(7)
      const then = await topic.state()
      assert.deepEqual([then.cursor, then.lag, then.missed], [7, 2, 0])
    },

    'no seek goes back to removed messages': async (scene) => {
      const topic = await retaining(scene, { maxAgeMs: short })
      await topic.subscribe('earliest')
      await topic.appendMany(6)
      await topic.ack(3)
      await scene.passTime(2 * short)
      await kept(topic)
      await retain(topic, {})
      await topic.appendMany(2)
      for (const position of ['earliest', { offset: 2 }, { back: 1 }, { time: 0 }] as const) {
        await topic.seek(position)
        const { cursor, lag, missed } = await topic.state()
        assert.deepEqual([cursor, lag, missed], [6, 2, 0], JSON.stringify(position))
      }
    },

    'topics are trimmed one by one': async (scene) => {
      const [topic, other] = [await retaining(scene, { whenRead: true }), await retaining(scene, {})]
      for (const one of [topic, other]) {
        await one.appendMany(3)
        await one.subscribe('latest')
      }
      assert.deepEqual(await kept(other), [1, 2, 3])
      assert.deepEqual(await topic.offsets(), [])
    },

    'upkeep runs while others publish and read': async (scene) => {
      const topic = await retaining(scene, { whenRead: true })
      await topic.subscribe('earliest')
      const seen: number[] = []
      const work = async () => {
        for (let round = 0; round < 20; round++) {
          await topic.appendMany(3)
          const offsets = await topic.offsets(seen.at(-1) ?? 0)
          seen.push(...offsets)
          await topic.ack(seen.at(-1) ?? 0)
        }
      }
      const upkeep = async () => {
        for (let round = 0; round < 5; round++) await scene.engine.maintain({ kind: 'due' })
      }
      await Promise.all([work(), upkeep(), upkeep()])
      assert.deepEqual(seen, numbers(1, 60))
      assert.equal((await topic.state()).missed, 0)
      assert.deepEqual(await kept(topic), [])
    },
  },
  { needs: ['topics'] },
)
