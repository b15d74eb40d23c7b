import assert from 'node:assert/strict'
import { setImmediate as turn } from 'node:timers/promises'
import { group } from '../group.ts'
import { publish } from '../routing-scene.ts'
import {
  atOnce,
  dataOf,
  idsOf,
  newStart,
  only,
  queueCopies,
  routed,
  text,
  times,
  topicCopies,
  topicsOf,
} from '../scene.ts'
import { linkedTopic, linkPattern, linkQueue, namesOf, newTopic, numbers, once } from '../topic-scene.ts'

const patterns = group(
  'topic routing',
  {
    'a published message goes into every topic with a matching pattern': async (scene) => {
      const start = newStart()
      const [topic, other, unlinked] = [await newTopic(scene), await newTopic(scene), await newTopic(scene)]
      await linkPattern(topic, `${start}.paid`)
      await linkPattern(other, `${start}.*`)
      await linkPattern(unlinked, `${start}.sent`)
      const copies = await publish(scene, `${start}.paid`, { ...text('one'), meta: { m: 1 }, headers: { h: 2 } })
      assert.deepEqual(
        copies,
        [topic.name, other.name].sort().map((name) => ({ topic: name, offset: 1, duplicate: false })),
      )
      for (const one of [topic, other]) {
        const { data, meta, headers } = only(await one.read())
        assert.deepEqual([data, meta, headers], ['"one"', { m: 1 }, { h: 2 }])
      }
      assert.deepEqual(await unlinked.read(), [])
    },

    'a pattern of a topic matches whole segments': async (scene) => {
      for (const [pattern, matching, other] of [
        ['start.#.b', ['start.b', 'start.a.c.b'], ['start', 'start.b.a']],
        ['*.start.*', ['a.start.b'], ['start.b', 'a.start', 'a.b.start.c']],
        ['start', ['start'], ['starts', 'start.a', 'a.start']],
      ] as const) {
        const start = newStart()
        const own = (rule: string) => rule.replaceAll('start', start)
        const topic = await newTopic(scene)
        await linkPattern(topic, own(pattern))
        for (const key of [...matching, ...other]) {
          const reached = (await publish(scene, own(key))).length > 0
          assert.equal(reached, (matching as readonly string[]).includes(key), `${pattern} and ${key}`)
        }
        assert.deepEqual(await topic.offsets(), numbers(1, matching.length))
      }
    },

    'a topic takes a message once, however many of its patterns match': async (scene) => {
      const start = newStart()
      const topic = await newTopic(scene)
      for (const pattern of ['a', '*', '#', '#.a']) await linkPattern(topic, `${start}.${pattern}`)
      assert.equal((await publish(scene, `${start}.a`)).length, 1)
      assert.deepEqual(await topic.offsets(), [1])
    },

    'copies are told by queue, then by topic': async (scene) => {
      const start = newStart()
      const topicNames = ['_', 't', '-'].map((sign) => scene.newTopicName(`case${sign}`))
      const queueNames = ['_', 'q', '-'].map((sign) => scene.newName(`case${sign}`))
      const store = topicsOf(scene.engine)
      for (const name of topicNames) {
        await store.createTopic(name, {})
        await scene.engine.bind({ topic: name, pattern: `${start}.#` })
      }
      for (const name of queueNames) {
        await scene.engine.createQueue(name)
        await scene.engine.bind({ pattern: `${start}.#`, queue: name })
      }
      await scene.engine.bind({ topic: topicNames[0]!, queue: scene.queue })
      const copies = await publish(scene, `${start}.a`)
      assert.deepEqual(namesOf(copies), [[...queueNames, scene.queue].sort(), [...topicNames].sort()].flat())
      assert.deepEqual(
        queueCopies(copies).map(({ duplicate }) => duplicate),
        times(4, () => false),
      )
    },

    'each message of a batch goes its own way': async (scene) => {
      const start = newStart()
      const [topic, other] = [await linkedTopic(scene), await newTopic(scene)]
      await linkPattern(topic, `${start}.#`)
      await linkPattern(other, `${start}.b`)
      const keys = [`${start}.a`, `${start}.b`, `${newStart()}.b`, `${start}.b`]
      const results = await scene.engine.publish(
        keys.map((key, index) => routed(key, text(`${index}`))),
        null,
      )
      const offsets = results.map((copies) =>
        [topic, other].map(({ name }) => topicCopies(copies).find((copy) => copy.topic === name)?.offset ?? null),
      )
      assert.deepEqual(offsets, [
        [1, null],
        [2, 1],
        [null, null],
        [3, 2],
      ])
      assert.deepEqual(await topic.labels(), ['0', '1', '3'])
      assert.deepEqual(await other.labels(), ['1', '3'])
      const queued = await scene.peek()
      assert.deepEqual(dataOf(queued), ['0', '1', '3'])
      assert.deepEqual(
        idsOf(queued),
        results.flatMap((copies) => queueCopies(copies).map(({ id }) => id)),
      )
    },
  },
  { needs: ['topics'] },
)

/** Stores messages while a reader looks: a message that is seen in one destination must be in the next one too. */
async function seenTogether(
  places: readonly (() => Promise<unknown[]>)[],
  store: (label: string) => Promise<unknown>,
): Promise<void> {
  const prefix = newStart()
  let storing = true
  const watching = (async () => {
    for (let round = 0; storing; round++) {
      const seen = (await places[round % places.length]!()).filter((label) => String(label).startsWith(prefix))
      const then = new Set(await places[(round + 1) % places.length]!())
      assert.deepEqual(
        seen.filter((label) => !then.has(label)),
        [],
      )
      await turn()
    }
  })()
  watching.catch(() => {})
  try {
    for (let index = 0; index < 20; index++) await store(`${prefix}/${index}`)
  } finally {
    storing = false
    await watching
  }
}

const both = group(
  'topic routing',
  {
    'a published message goes through a topic into its queues': async (scene) => {
      const start = newStart()
      const topic = await linkedTopic(scene)
      await linkPattern(topic, start)
      const copies = await publish(scene, start, text('one'))
      const queued = only(await scene.peek())
      assert.deepEqual(copies, [
        { queue: scene.queue, id: queued.id, duplicate: false },
        { topic: topic.name, offset: 1, duplicate: false },
      ])
      assert.deepEqual(dataOf([queued]), ['one'])
      assert.deepEqual(queued.meta, { queue_name: scene.queue })
    },

    'a queue gets one copy, whichever ways lead there': async (scene) => {
      const start = newStart()
      const [topic, other] = [await linkedTopic(scene), await linkedTopic(scene)]
      for (const one of [topic, other]) await linkPattern(one, `${start}.#`)
      await scene.engine.bind({ pattern: start, queue: scene.queue })
      const copies = await publish(scene, start)
      assert.deepEqual(namesOf(copies), [scene.queue, ...[topic.name, other.name].sort()])
      assert.equal((await scene.peek()).length, 1)
    },

    'a duplicate is one in each topic, and goes by no way through it': async (scene) => {
      const start = newStart()
      const [there, fresh] = [await linkedTopic(scene), await newTopic(scene)]
      const [bound, behind] = [await scene.newQueue(), await scene.newQueue()]
      await linkQueue(fresh, behind)
      for (const topic of [there, fresh]) await linkPattern(topic, start)
      await scene.engine.bind({ pattern: start, queue: bound })
      await there.append(once('d', 'before'))
      const copies = await publish(scene, start, once('d', 'published'))
      assert.deepEqual(
        queueCopies(copies).map(({ queue }) => queue),
        [bound, behind].sort(),
      )
      assert.deepEqual(
        topicCopies(copies),
        [
          { topic: there.name, offset: 1, duplicate: true },
          { topic: fresh.name, offset: 1, duplicate: false },
        ].sort((a, b) => (a.topic < b.topic ? -1 : 1)),
      )
      assert.deepEqual(dataOf(await scene.peek()), ['before'])
      for (const queue of [bound, behind]) assert.deepEqual(dataOf(await scene.peek({}, queue)), ['published'])
      assert.deepEqual(await there.labels(), ['before'])
    },

    'a bound queue gets a message that its topic has already': async (scene) => {
      const start = newStart()
      const topic = await newTopic(scene)
      await topic.append(once('d', 'before'))
      await linkQueue(topic)
      await linkPattern(topic, start)
      await scene.engine.bind({ pattern: start, queue: scene.queue })
      await publish(scene, start, once('d', 'published'))
      assert.deepEqual(dataOf(await scene.peek()), ['published'])
    },

    'publishers of the same dedup ids do not block each other': async (scene) => {
      const start = newStart()
      const [topic, other] = [await linkedTopic(scene), await linkedTopic(scene)]
      for (const one of [topic, other]) await linkPattern(one, start)
      await scene.engine.bind({ pattern: start, queue: scene.queue })
      const batch = times(10, (index) => ({ ...once(`${index}`, `m${index}`), uniqueTarget: `${index}` }))
      const reversed = [...batch].reverse()
      const publishAll = (messages: typeof batch) =>
        scene.engine.publish(
          messages.map((message) => routed(start, message)),
          null,
        )
      const ways = [
        () => publishAll(batch),
        () => publishAll(reversed),
        () => topic.tryAppend(...batch),
        () => other.tryAppend(...reversed),
      ]
      await atOnce(8, async (index) => void (await ways[index % 4]!()))
      const labels = times(10, (index) => `m${index}`)
      for (const one of [topic, other]) assert.deepEqual((await one.labels()).sort(), labels)
      assert.deepEqual(dataOf(await scene.peek()).sort(), labels)
    },

    'all copies appear at once': async (scene) => {
      const start = newStart()
      const topic = await linkedTopic(scene)
      const bound = await scene.newQueue()
      await linkPattern(topic, start)
      await scene.engine.bind({ pattern: start, queue: bound })
      const inTopic = () => topic.labels()
      const inQueue = async () => dataOf(await scene.peek())
      const inBound = async () => dataOf(await scene.peek({}, bound))
      await seenTogether([inTopic, inQueue], (label) => topic.append(text(label)))
      await seenTogether([inBound, inTopic, inQueue], (label) => publish(scene, start, text(label)))
    },
  },
  { needs: ['topics'] },
)

export const topicRouting = [...patterns, ...both]
