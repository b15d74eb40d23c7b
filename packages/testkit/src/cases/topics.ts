import assert from 'node:assert/strict'
import { setImmediate as turn } from 'node:timers/promises'
import { group } from '../group.ts'
import { assertAtLeast, atOnce, dataOf, long, only, short, text, topicsOf } from '../scene.ts'
import { byNumber, keepAll, newTopic, numbers, once, StagedTopic } from '../topic-scene.ts'

const creating = group(
  'topics',
  {
    'a topic is created once, and keeps what it has': async (scene) => {
      const topic = new StagedTopic(scene, scene.newTopicName())
      assert.equal(await topic.store.createTopic(topic.name, { description: 'news' }), true)
      await topic.append({})
      assert.equal(await topic.store.createTopic(topic.name, {}), false)
      assert.deepEqual(await topic.offsets(), [1])
      assert.equal((await topic.info()).description, 'news')
    },

    'a new topic is empty and keeps everything': async (scene) => {
      const topic = await newTopic(scene)
      const { createdAt, ...info } = await topic.info()
      assert.deepEqual(info, {
        topic: topic.name,
        description: '',
        retention: keepAll,
        firstOffset: 1,
        lastOffset: 0,
        bytes: 0,
        subscriptions: 0,
        patterns: [],
        queues: [],
      })
      assert.deepEqual(await topic.read(), [])
      await scene.send({})
      const { sentAt } = only(await scene.peek())
      assert(Number.isInteger(createdAt), 'createdAt is a whole number')
      assertAtLeast(sentAt, createdAt, 'sentAt')
      assert(createdAt > sentAt - long, 'created in this case')
    },

    'settings that are given replace the old ones, retention as a whole': async (scene) => {
      const retention = { maxAgeMs: 1_000 * long, maxBytes: 10_000_000_000, whenRead: true }
      const topic = await newTopic(scene, { description: 'one', retention })
      const { createdAt } = await topic.info()
      const settings = async () => {
        const { description, retention } = await topic.info()
        return { description, retention }
      }
      assert.deepEqual(await settings(), { description: 'one', retention })
      await topic.set({ description: "o'two" })
      assert.deepEqual(await settings(), { description: "o'two", retention })
      const other = { ...keepAll, maxBytes: 7_000_000 }
      await topic.set({ retention: other })
      assert.deepEqual(await settings(), { description: "o'two", retention: other })
      await topic.set({ description: '', retention: keepAll })
      assert.deepEqual(await settings(), { description: '', retention: keepAll })
      assert.equal((await topic.info()).createdAt, createdAt)
    },

    'topics are listed by name, or one of them': async (scene) => {
      const store = topicsOf(scene.engine)
      // An alphabetical order would not count the signs.
      const names = ['z', '_', '-', '.', 'a', '9'].map((sign) => scene.newTopicName(`case_list${sign}`))
      for (const name of names) await store.createTopic(name, {})
      const listed = (await store.listTopics(null)).filter(({ topic }) => names.includes(topic))
      assert.deepEqual(
        listed.map(({ topic }) => topic),
        [...names].sort(),
      )
      for (const one of listed) assert.deepEqual(await store.listTopics(one.topic), [one])
    },

    'a topic and a queue may have one name': async (scene) => {
      const topic = await newTopic(scene)
      assert.equal(await scene.engine.createQueue(topic.name), true)
      await scene.sendTo(topic.name, text('queued'))
      await topic.append(text('published'))
      assert.deepEqual(dataOf(await scene.peek({}, topic.name)), ['queued'])
      assert.deepEqual(await topic.labels(), ['published'])
      await scene.engine.dropQueue(topic.name)
      assert.deepEqual(await topic.labels(), ['published'])
      await scene.engine.createQueue(topic.name)
      assert.equal(await topic.store.dropTopic(topic.name), true)
      assert.deepEqual(await scene.peek({}, topic.name), [])
    },

    'every valid name works': async (scene) => {
      const names = ['.b-c.d', '_', '-1', '_pkey', '.'].map((suffix) => scene.newTopicName('case.x-', suffix))
      names.push(scene.newTopicName('', 'n'.repeat(35)), scene.newTopicName('0', 'n'.repeat(33)))
      for (const name of names) {
        const topic = new StagedTopic(scene, name)
        await topic.store.createTopic(name, {})
        await topic.append(text(name))
        for (const subscription of ['a.b-c', '_', '0', '__proto__', 'n'.repeat(47)]) {
          assert.equal(await topic.subscribe('earliest', subscription), true)
          const { receipt } = await topic.hold('me', long, subscription)
          assert.equal(await topic.ack(1, receipt, subscription), true)
          assert.equal(await topic.cursor(subscription), 1)
        }
        assert.deepEqual(await topic.labels(), [name])
      }
    },

    'a dropped topic is gone with all that it had': async (scene) => {
      const topic = await newTopic(scene, { description: 'old', retention: { ...keepAll, whenRead: true } })
      const message = { dedup: { id: 'd', windowMs: long } }
      await topic.append(message, {})
      await topic.subscribe()
      const { receipt } = await topic.hold()
      assert.equal(await topic.store.dropTopic(topic.name), true)
      assert.equal(await topic.store.dropTopic(topic.name), false)
      assert(!(await topic.store.listTopics(null)).some((one) => one.topic === topic.name))

      assert.equal(await topic.store.createTopic(topic.name, {}), true)
      const { description, retention, lastOffset, subscriptions } = await topic.info()
      assert.deepEqual([description, retention, lastOffset, subscriptions], ['', keepAll, 0, 0])
      assert.deepEqual(await topic.read(), [])
      assert.deepEqual(await topic.append(message), [1])
      assert.equal(await topic.subscribe(), true)
      assert.equal(await topic.ack(1, receipt), false)
    },

    'a topic is created and dropped by one of many': async (scene) => {
      const topic = new StagedTopic(scene, scene.newTopicName())
      for (let round = 0; round < 3; round++) {
        const created = await atOnce(5, () => topic.store.createTopic(topic.name, {}))
        assert.equal(created.filter(Boolean).length, 1)
        const dropped = await atOnce(5, () => topic.store.dropTopic(topic.name))
        assert.equal(dropped.filter(Boolean).length, 1)
      }
    },
  },
  { needs: ['topics'] },
)

const appending = group(
  'topics',
  {
    'offsets are 1, 2, 3 and so on': async (scene) => {
      const [topic, other] = [await newTopic(scene), await newTopic(scene)]
      assert.deepEqual(await topic.append({}), [1])
      assert.deepEqual(await topic.append({}, {}, {}), [2, 3, 4])
      assert.deepEqual(await other.append({}), [1])
      assert.deepEqual(await topic.append({}), [5])
      assert.deepEqual(await topic.offsets(), [1, 2, 3, 4, 5])
      const { firstOffset, lastOffset } = await topic.info()
      assert.deepEqual([firstOffset, lastOffset], [1, 5])
    },

    'a message comes back as it was taken': async (scene) => {
      const topic = await newTopic(scene)
      const given = {
        data: '{"a":[1,"ü\\u0001\'",null,{"__proto__":2}]}',
        meta: { queue_name: 'elsewhere', routing_key: 'a.b', deep: { x: [1, null] }, o: "o'brien" },
        headers: { h: 'v', n: 2 },
      }
      await topic.append(given, { ...given, bare: true, priority: 4, orderingKey: 'k' }, {})
      const [first, second, plain] = await topic.read()
      assert(first && second && plain)
      for (const { offset, data, meta, headers, ...rest } of [first, second]) {
        assert.deepEqual([JSON.parse(data), meta, headers], [JSON.parse(given.data), given.meta, given.headers])
        assert.deepEqual(Object.keys(rest), ['publishedAt'], `what message ${offset} has`)
      }
      assert.deepEqual([plain.data, plain.meta, plain.headers], ['null', {}, {}])
    },

    'a read message is a copy': async (scene) => {
      const topic = await newTopic(scene)
      const meta = { deep: { m: 1 } }
      await topic.append({ meta })
      meta.deep.m = 2
      Object.assign(only(await topic.read()).meta.deep as object, { m: 3 })
      assert.deepEqual(only(await topic.read()).meta, { deep: { m: 1 } })
    },

    'a batch keeps its order': async (scene) => {
      const topic = await newTopic(scene)
      const labels = numbers(1, 100).map((number) => `m${number}`)
      const offsets = await topic.append(...labels.map(text))
      assert.deepEqual(offsets, numbers(1, 100))
      assert.deepEqual(await topic.labels(), labels)
    },

    'an empty batch is nothing': async (scene) => {
      const topic = await newTopic(scene)
      assert.deepEqual(await topic.append(), [])
      assert.deepEqual(await topic.append({}), [1])
    },

    'messages are read after an offset, up to a limit, and stay': async (scene) => {
      const topic = await newTopic(scene)
      await topic.appendMany(10)
      const offsets = async (after: number, limit: number) =>
        (await topic.read(after, limit)).map(({ offset }) => offset)
      assert.deepEqual(await offsets(0, 3), [1, 2, 3])
      assert.deepEqual(await offsets(3, 3), [4, 5, 6])
      assert.deepEqual(await offsets(8, 3), [9, 10])
      assert.deepEqual(await offsets(9, 1), [10])
      assert.deepEqual(await offsets(10, 3), [])
      assert.deepEqual(await offsets(1_000_000_000_000, 3), [])
      const before = await topic.read()
      assert.deepEqual(await topic.read(), before)
    },

    'reading changes nothing': async (scene) => {
      const topic = await newTopic(scene)
      await topic.subscribe()
      await topic.appendMany(3)
      const look = async () => [await topic.info(), await topic.state()]
      const before = await look()
      await topic.read()
      assert.deepEqual(await look(), before)
    },

    'the time of publishing is that of the storage and never goes back': async (scene) => {
      const topic = await newTopic(scene)
      await scene.send({})
      const { sentAt } = only(await scene.peek())
      await topic.appendMany(2)
      await scene.passTime(short)
      await topic.appendMany(2)
      const times = (await topic.read()).map(({ publishedAt }) => publishedAt)
      assert(times.every(Number.isInteger), 'whole milliseconds')
      assert.deepEqual(
        times,
        [...times].sort((a, b) => a - b),
      )
      assertAtLeast(times[0]!, sentAt, 'publishedAt')
      assert(times[0]! < sentAt + long, 'published in this case')
      assertAtLeast(times[2]!, times[1]! + short, 'publishedAt')
    },

    'a delay, a target and a key make no difference in the topic': async (scene) => {
      const topic = await newTopic(scene)
      const notBefore = (await topic.info()).createdAt + 100 * long
      await topic.append(
        { ...text('late'), delayMs: long },
        { ...text('at'), notBefore },
        { ...text('one'), uniqueTarget: 't', orderingKey: 'k' },
        { ...text('two'), uniqueTarget: 't', orderingKey: 'k', priority: 9 },
      )
      assert.deepEqual(await topic.labels(), ['late', 'at', 'one', 'two'])
    },

    'the size grows with data, meta and headers': async (scene) => {
      const topic = await newTopic(scene)
      let before = 0
      const much = numbers(1, 500).join()
      for (const message of [{}, { data: JSON.stringify(much) }, { meta: { much } }, { headers: { much } }]) {
        await topic.append(message)
        const { bytes } = await topic.info()
        assert(Number.isInteger(bytes), 'whole bytes')
        const atLeast = 'data' in message || 'meta' in message || 'headers' in message ? 500 : 1
        assert(bytes >= before + atLeast, `${bytes} bytes after ${before} and ${Object.keys(message)}`)
        before = bytes
      }
    },
  },
  { needs: ['topics'] },
)

const deduplicating = group(
  'topics',
  {
    'a duplicate is stored nowhere and names the first': async (scene) => {
      const topic = await newTopic(scene)
      await topic.append({}, once('d', 'first'))
      assert.deepEqual(await topic.tryAppend(once('d', 'second')), [{ offset: 2, duplicate: true }])
      assert.deepEqual(await topic.append({}), [3])
      assert.deepEqual(await topic.labels(1), ['first', null])
    },

    'a duplicate within a batch leaves no gap': async (scene) => {
      const topic = await newTopic(scene)
      const results = await topic.tryAppend(...['a', 'b', 'a', 'c', 'b'].map((id) => once(id)))
      assert.deepEqual(
        results.map(({ offset, duplicate }) => [offset, duplicate]),
        [
          [1, false],
          [2, false],
          [1, true],
          [3, false],
          [2, true],
        ],
      )
      assert.deepEqual(await topic.labels(), ['a', 'b', 'c'])
    },

    'dedup ids are those of the topic': async (scene) => {
      const [topic, other] = [await newTopic(scene), await newTopic(scene)]
      const ids = ['a', 'A', 'a ', '__proto__', "o'brien", 'x'.repeat(255)]
      assert.deepEqual(await topic.append(...ids.map((id) => once(id))), numbers(1, ids.length))
      assert.deepEqual(await other.append(once('a')), [1])
      await scene.send(once('a'))
      assert.equal((await scene.peek()).length, 1)
    },

    'after the window the id is free, and taken again': async (scene) => {
      const topic = await newTopic(scene)
      await topic.append(once('d', 'first', short))
      await scene.passTime(short)
      assert.deepEqual(await topic.append(once('d', 'second')), [2])
      assert.deepEqual(await topic.tryAppend(once('d', 'third')), [{ offset: 2, duplicate: true }])
    },

    'an id stays taken when its message was removed': async (scene) => {
      const topic = await newTopic(scene, { retention: { ...keepAll, whenRead: true } })
      await topic.append(once('d'))
      await topic.subscribe('latest')
      await scene.engine.maintain({ kind: 'due' })
      assert.deepEqual(await topic.read(), [])
      assert.deepEqual(await topic.tryAppend(once('d')), [{ offset: 1, duplicate: true }])
    },

    'of many at once one has the dedup id': async (scene) => {
      const topic = await newTopic(scene)
      const batch = numbers(1, 10).map((number) => once(`${number}`))
      const results = await atOnce(6, (index) => topic.tryAppend(...(index % 2 === 0 ? batch : [...batch].reverse())))
      const firsts = results.flat().filter(({ duplicate }) => !duplicate)
      assert.deepEqual(firsts.map(({ offset }) => offset ?? 0).sort(byNumber), numbers(1, 10))
      assert.deepEqual(new Set(await topic.labels()), new Set(numbers(1, 10).map(String)))
    },
  },
  { needs: ['topics'] },
)

const racing = group(
  'topics',
  {
    'many publishers leave no gap, and each keeps its order': async (scene) => {
      const topic = await newTopic(scene)
      const offsets = await atOnce(8, async (publisher) => {
        const own: number[] = []
        for (let round = 0; round < 10; round++)
          own.push(...(await topic.append(text(`${publisher}/${round}`), text(`${publisher}/${round}+`))))
        return own
      })
      assert.deepEqual(offsets.flat().sort(byNumber), numbers(1, 160))
      const labels = await topic.labels()
      for (const [publisher, own] of offsets.entries()) {
        assert.deepEqual(own, [...own].sort(byNumber))
        const expected = numbers(0, 9).flatMap((round) => [`${publisher}/${round}`, `${publisher}/${round}+`])
        assert.deepEqual(
          own.map((offset) => labels[offset - 1]),
          expected,
        )
      }
    },

    'a reader that follows the end passes over nothing': async (scene) => {
      const topic = await newTopic(scene)
      const total = 100
      const following = (async () => {
        const seen: number[] = []
        while (seen.length < total) {
          seen.push(...(await topic.offsets(seen.at(-1) ?? 0)))
          await turn()
        }
        return seen
      })()
      following.catch(() => {})
      await atOnce(5, async () => {
        for (let round = 0; round < total / 10; round++) await topic.append({}, {})
      })
      assert.deepEqual(await following, numbers(1, total))
    },
  },
  { needs: ['topics'] },
)

export const topics = [...creating, ...appending, ...deduplicating, ...racing]
