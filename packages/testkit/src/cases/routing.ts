import assert from 'node:assert/strict'
import { group } from '../group.ts'
import { boundQueues, idIn, publish, queuesOf } from '../routing-scene.ts'
import {
  assertAtLeast,
  assertRejects,
  assertSameTime,
  dataOf,
  idsOf,
  long,
  newStart,
  only,
  queueCopies,
  release,
  routed,
  text,
  waits,
} from '../scene.ts'

/** The start stands for a segment that is the case's own. */
const patterns: readonly (readonly [pattern: string, matching: readonly string[], other: readonly string[]])[] = [
  ['start.a.b', ['start.a.b'], ['start', 'start.a', 'start.a.b.c', 'start.b.a', 'start.A.b', 'start.a-b']],
  ['start.*', ['start.a', 'start.__proto__'], ['start', 'start.a.b', 'other.a']],
  ['*.start', ['a.start', '0.start'], ['start', 'a.b.start', 'a.start.b']],
  ['start.*.b', ['start.a.b', 'start.b.b'], ['start.b', 'start.a.a.b', 'start.a.bb']],
  ['start.#', ['start', 'start.a', 'start.a.b.c'], ['starts', 'a.start', 'start-a']],
  ['#.start', ['start', 'a.start', 'start.start', 'a.b.c.start'], ['start.a', 'astart']],
  ['start.#.b', ['start.b', 'start.a.b', 'start.b.b', 'start.a.c.b'], ['start', 'start.a', 'start.b.a']],
  ['start.#.*', ['start.a', 'start.a.b'], ['start']],
  ['start.*.#', ['start.a', 'start.a.b.c'], ['start']],
  ['#.start.#', ['start', 'a.start', 'start.a', 'a.start.b'], ['a', 'starts.a']],
  ['start.#.a.#.b', ['start.a.b', 'start.x.a.y.b', 'start.a.a.b.b'], ['start.b.a', 'start.a', 'start.a.b.c']],
  ['start.#.#', ['start', 'start.a'], ['a']],
  ['start.#.a.*.b', ['start.a.a.b', 'start.a.x.a.x.b'], ['start.a.b', 'start.a.x.y.b']],
]

const routes = group('routing', {
  'a message goes into every queue with a matching pattern': async (scene) => {
    const start = newStart()
    const other = await scene.newQueue()
    const unbound = await scene.newQueue()
    await scene.engine.bind({ pattern: `${start}.paid`, queue: scene.queue })
    await scene.engine.bind({ pattern: `${start}.*`, queue: other })
    await scene.engine.bind({ pattern: `${start}.sent`, queue: unbound })
    const copies = await publish(scene, `${start}.paid`, text('one'))
    assert.deepEqual(queuesOf(copies), [scene.queue, other].sort())
    for (const { queue, id, duplicate } of queueCopies(copies)) {
      assert.equal(duplicate, false)
      const message = only(await scene.peek({}, queue))
      assert.deepEqual([message.id, dataOf([message])], [id, ['one']])
    }
    assert.deepEqual(await scene.peek({}, unbound), [])
  },

  'a pattern matches whole segments': async (scene) => {
    for (const [pattern, matching, other] of patterns) {
      const start = newStart()
      const own = (rule: string) => rule.replaceAll('start', start)
      await scene.engine.bind({ pattern: own(pattern), queue: scene.queue })
      for (const key of [...matching, ...other]) {
        const reached = (await publish(scene, own(key))).length > 0
        assert.equal(reached, matching.includes(key), `${pattern} and ${key}`)
      }
      await scene.engine.unbind({ pattern: own(pattern), queue: scene.queue })
    }
  },

  'the longest pattern meets the longest key': async (scene) => {
    const start = newStart()
    const pattern = `${start}${'.#.a'.repeat(50)}.b`
    const key = `${start}${'.a'.repeat(110)}`
    await scene.engine.bind({ pattern, queue: scene.queue })
    assert.deepEqual(await publish(scene, key), [])
    assert.equal((await publish(scene, `${key}.b`)).length, 1)
  },

  'a queue gets one copy, however many of its patterns match': async (scene) => {
    const start = newStart()
    for (const pattern of ['a', '*', '#', '#.a'])
      await scene.engine.bind({ pattern: `${start}.${pattern}`, queue: scene.queue })
    assert.deepEqual(queuesOf(await publish(scene, `${start}.a`)), [scene.queue])
    assert.equal((await scene.peek()).length, 1)
  },

  'a message that no pattern matches goes nowhere': async (scene) => {
    const start = newStart()
    await scene.engine.bind({ pattern: `${start}.a`, queue: scene.queue })
    assert.deepEqual(await publish(scene, `${start}.b`), [])
    assert.deepEqual(await scene.peek(), [])
    assert.deepEqual(await scene.engine.publish([], null), [])
  },

  'bind says whether the binding is new': async (scene) => {
    const pattern = `${newStart()}.a`
    const other = await scene.newQueue()
    assert.equal(await scene.engine.bind({ pattern, queue: scene.queue }), true)
    assert.equal(await scene.engine.bind({ pattern, queue: scene.queue }), false)
    assert.equal(await scene.engine.bind({ pattern, queue: other }), true)
    assert.equal((await publish(scene, pattern)).length, 2)
  },

  'unbind removes one binding and says whether it was there': async (scene) => {
    const start = newStart()
    const other = await scene.newQueue()
    for (const queue of [scene.queue, other]) await scene.engine.bind({ pattern: `${start}.*`, queue })
    await scene.engine.bind({ pattern: `${start}.b`, queue: scene.queue })
    assert.equal(await scene.engine.unbind({ pattern: `${start}.*`, queue: scene.queue }), true)
    assert.equal(await scene.engine.unbind({ pattern: `${start}.*`, queue: scene.queue }), false)
    assert.equal(await scene.engine.unbind({ pattern: `${start}.a`, queue: other }), false)
    assert.deepEqual(queuesOf(await publish(scene, `${start}.a`)), [other])
    assert.deepEqual(queuesOf(await publish(scene, `${start}.b`)), [scene.queue, other].sort())
  },

  'bindings are listed by queue and pattern, with their time': async (scene) => {
    const start = newStart()
    const queues = await boundQueues(scene, 2, `${start}.b`)
    const added = ['*', 'a-', 'a', 'B', '#', '_']
    for (const pattern of added) await scene.engine.bind({ pattern: `${start}.${pattern}`, queue: queues[1]! })
    const expected = [`${start}.b`, ...added.map((pattern) => `${start}.${pattern}`)].sort()
    const listed = await scene.engine.bindings(queues[1]!)
    assert.deepEqual(
      listed.map(({ pattern, queue }) => [pattern, queue]),
      expected.map((pattern) => [pattern, queues[1]]),
    )
    const all = (await scene.engine.bindings(null)).filter(({ queue }) => queues.includes(queue))
    assert.deepEqual(all, [...(await scene.engine.bindings(queues[0]!)), ...listed])

    await scene.send({})
    const { sentAt } = only(await scene.peek())
    for (const { boundAt } of listed) {
      assert(Number.isInteger(boundAt), 'boundAt is a whole number')
      assertAtLeast(sentAt, boundAt, 'sentAt')
      assert(boundAt > sentAt - long, 'bound in this case')
    }
  },

  'a second bind leaves the time of the first': async (scene) => {
    const pattern = `${newStart()}.a`
    await scene.engine.bind({ pattern, queue: scene.queue })
    const before = await scene.engine.bindings(scene.queue)
    await scene.passTime(20)
    await scene.engine.bind({ pattern, queue: scene.queue })
    assert.deepEqual(await scene.engine.bindings(scene.queue), before)
  },

  'dropping a queue removes its bindings': async (scene) => {
    const pattern = `${newStart()}.a`
    const queues = await boundQueues(scene, 2, pattern)
    const [dropped, kept] = queues as [string, string]
    await scene.engine.dropQueue(dropped)
    assert.deepEqual(queuesOf(await publish(scene, pattern)), [kept])
    const isTheirs = (queue: string) => queues.includes(queue)
    assert.deepEqual((await scene.engine.bindings(null)).map(({ queue }) => queue).filter(isTheirs), [kept])
    await scene.engine.createQueue(dropped)
    assert.deepEqual(await scene.engine.bindings(dropped), [])
    assert.deepEqual(queuesOf(await publish(scene, pattern)), [kept])
  },

  'a purge leaves the bindings': async (scene) => {
    const pattern = `${newStart()}.a`
    await scene.engine.bind({ pattern, queue: scene.queue })
    await scene.engine.purgeQueue(scene.queue)
    assert.equal((await publish(scene, pattern)).length, 1)
  },

  'a missing queue has no bindings to change or list': async (scene) => {
    const missing = scene.newName()
    await assertRejects(scene.engine.bind({ pattern: `${newStart()}.a`, queue: missing }), 'QUEUE_NOT_FOUND', 'bind')
    await assertRejects(
      scene.engine.unbind({ pattern: `${newStart()}.a`, queue: missing }),
      'QUEUE_NOT_FOUND',
      'unbind',
    )
    await assertRejects(scene.engine.bindings(missing), 'QUEUE_NOT_FOUND', 'bindings')
    await scene.engine.createQueue(missing)
    assert.deepEqual(await scene.engine.bindings(missing), [])
  },
})

const copies = group('routing', {
  'a copy carries everything, and the name of its queue': async (scene) => {
    const start = newStart()
    const queues = await boundQueues(scene, 2, `${start}.#`)
    const message = {
      data: '{"a":[1,"b"]}',
      meta: { queue_name: 'elsewhere', routing_key: start, target_id: 't', deep: { x: [1, null] } },
      headers: { h: 'v', n: 2 },
    }
    for (const [bare, more] of [
      [false, { priority: 3 }],
      [true, { orderingKey: 'k' }],
    ] as const) {
      const copies = await publish(scene, start, { ...message, ...more, bare })
      for (const queue of queues) {
        const stored = await scene.look(idIn(copies, queue), queue)
        assert.deepEqual(JSON.parse(stored.data), { a: [1, 'b'] })
        assert.deepEqual(stored.meta, { ...message.meta, queue_name: queue })
        assert.deepEqual(stored.headers, message.headers)
        const { priority, orderingKey } = stored
        assert.deepEqual({ priority, orderingKey }, { priority: 0, orderingKey: null, ...more })
      }
    }
  },

  'every copy is a message of its own': async (scene) => {
    const pattern = `${newStart()}.a`
    const [first, second] = (await boundQueues(scene, 2, pattern)) as [string, string]
    await publish(scene, pattern, { meta: { deep: { m: 1 } } })
    const leased = await scene.claimOne({}, first)
    Object.assign(leased.meta.deep as object, { m: 2 })
    await scene.settle(leased, release({ meta: { own: 1 } }), first)
    const other = only(await scene.peek({}, second))
    assert.deepEqual([other.readCount, other.meta], [0, { deep: { m: 1 }, queue_name: second }])
    assert.equal((await scene.pop(10, second)).length, 1)
    assert.equal((await scene.peek({}, first)).length, 1)
  },

  'a batch has its order in every queue': async (scene) => {
    const start = newStart()
    const queues = await boundQueues(scene, 2, `${start}.#`)
    const labels = Array.from({ length: 50 }, (_, index) => `m${index}`)
    const results = await scene.engine.publish(
      labels.map((label, index) => routed(`${start}.${index % 3}`, text(label))),
      null,
    )
    for (const queue of queues) {
      const messages = await scene.claim({}, queue)
      assert.deepEqual(dataOf(messages), labels)
      assert.deepEqual(
        idsOf(messages),
        results.map((copies) => idIn(copies, queue)),
      )
    }
  },

  'each message of a batch goes its own way': async (scene) => {
    const start = newStart()
    const both = scene.queue
    const [some] = (await boundQueues(scene, 1, `${start}.b`)) as [string]
    await scene.engine.bind({ pattern: `${start}.#`, queue: both })
    const keys = [`${start}.a`, `${start}.b`, `${newStart()}.b`, `${start}.b`]
    const results = await scene.engine.publish(
      keys.map((key, index) => routed(key, text(`${index}`))),
      null,
    )
    assert.deepEqual(results.map(queuesOf), [[both], [both, some].sort(), [], [both, some].sort()])
    assert.deepEqual(dataOf(await scene.peek({}, both)), ['0', '1', '3'])
    assert.deepEqual(dataOf(await scene.peek({}, some)), ['1', '3'])
  },

  'a delay holds in every queue': async (scene) => {
    const start = newStart()
    const queues = await boundQueues(scene, 2, start)
    await publish(scene, start, text('now'))
    const { sentAt } = only(await scene.peek({}, queues[0]))
    for (const delayMs of waits) await publish(scene, start, { ...text(`${delayMs}`), delayMs })
    await publish(scene, start, { ...text('at'), notBefore: sentAt + long })
    for (const queue of queues) {
      assert.deepEqual(dataOf(await scene.peek({ place: 'ready' }, queue)), ['now'])
      const delayed = await scene.peek({ place: 'delayed' }, queue)
      assert.deepEqual(dataOf(delayed), [...waits.map(String), 'at'])
      for (const [index, delayMs] of waits.entries())
        assertAtLeast(delayed[index]!.visibleAt, sentAt + delayMs, 'visibleAt')
      assertSameTime(delayed.at(-1)!.visibleAt, sentAt + long, 'visibleAt')
    }
  },

  'priorities and ordering keys hold in every queue': async (scene) => {
    const start = newStart()
    const queues = await boundQueues(scene, 2, start)
    await publish(scene, start, text('plain'))
    await publish(scene, start, { ...text('first'), priority: 5 })
    for (const queue of queues) assert.deepEqual(dataOf(await scene.pop(10, queue)), ['first', 'plain'])

    for (const label of ['one', 'two']) await publish(scene, start, { ...text(label), orderingKey: 'k' })
    for (const queue of queues) {
      const leased = await scene.claimOne({}, queue)
      assert.deepEqual(dataOf([leased]), ['one'])
      assert.deepEqual(await scene.claim({}, queue), [])
      await scene.delete(leased, queue)
      assert.deepEqual(dataOf(await scene.claim({}, queue)), ['two'])
    }
  },

  'a dedup id is one of each queue': async (scene) => {
    const start = newStart()
    const [first, second] = (await boundQueues(scene, 2, start)) as [string, string]
    const dedup = { id: 'd', windowMs: long }
    const [there] = await scene.sendTo(first, { ...text('before'), dedup })
    const copies = await publish(scene, start, { ...text('published'), dedup })
    const fresh = idIn(copies, second)
    assert.deepEqual(copies, [
      { queue: first, id: there, duplicate: true },
      { queue: second, id: fresh, duplicate: false },
    ])
    assert.deepEqual(dataOf(await scene.peek({}, first)), ['before'])
    assert.deepEqual(dataOf(await scene.peek({}, second)), ['published'])
    const again = await publish(scene, start, { dedup })
    assert.deepEqual(
      queueCopies(again).map(({ id, duplicate }) => [id, duplicate]),
      [
        [there, true],
        [fresh, true],
      ],
    )
  },

  'a target is held in each queue': async (scene) => {
    const start = newStart()
    const queues = await boundQueues(scene, 2, start)
    await publish(scene, start, { uniqueTarget: 't' })
    await scene.pop(1, queues[0])
    const copies = await publish(scene, start, { uniqueTarget: 't' })
    assert.deepEqual(
      copies.map(({ duplicate }) => duplicate),
      [false, true],
    )
  },

  'a publish wakes the readers of every queue': async (scene) => {
    const start = newStart()
    const queues = await boundQueues(scene, 2, start)
    const wakes = await Promise.all(queues.map((queue) => scene.watch(queue)))
    for (const one of wakes) one.clear()
    await publish(scene, start)
    for (const [index, one] of wakes.entries())
      await one.next(async () => (await scene.peek({}, queues[index])).length === 1)
    for (const one of wakes) one.clear()
    await publish(scene, start, { delayMs: long })
    for (const one of wakes) assertAtLeast(await one.next((dueMs) => dueMs > 0), long / 2, 'dueMs')
  },
})

export const routing = [...routes, ...copies]
