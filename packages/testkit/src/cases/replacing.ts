import assert from 'node:assert/strict'
import type { NewMessage } from 'tidings/internal/port/engine'
import { group } from '../group.ts'
import { boundQueues, publish } from '../routing-scene.ts'
import {
  assertRejects,
  assertSameTime,
  atOnce,
  dataOf,
  idsOf,
  long,
  move,
  newMessage,
  newStart,
  only,
  patiently,
  queueCopies,
  release,
  remove,
  routed,
  type Scene,
  settlement,
  short,
  text,
  times,
  waits,
} from '../scene.ts'
import { linkPattern, newTopic } from '../topic-scene.ts'

interface How extends Partial<NewMessage> {
  readonly id?: string
  readonly windowMs?: number | null
  readonly extend?: boolean
  readonly atMostMs?: number | null
}

/** A message that takes the place of an earlier one of its id. */
function latest(label: string, { id = 'id', windowMs = null, extend = false, atMostMs = null, ...rest }: How = {}) {
  return newMessage({ ...text(label), ...rest, dedup: { id, windowMs, replace: { extend, atMostMs } } })
}

async function sendLatest(scene: Scene, label: string, how?: How) {
  return only(await scene.engine.send(scene.queue, [latest(label, how)], null))
}

const replaced = (id: string) => ({ id, duplicate: false, replaced: true as const })
const isNew = (result: object) => 'duplicate' in result && result.duplicate === false && !('replaced' in result)

const anywhere = group('replacing', {
  'a message that nobody has read gets data, meta and headers of the next one of its id': async (scene) => {
    const first = await sendLatest(scene, 'a', { meta: { m: 1, n: 1 }, headers: { h: 1, i: 1 } })
    assert(isNew(first))
    const { sentAt } = await scene.look(first.id)
    await scene.send({})
    assert.deepEqual(await sendLatest(scene, 'b', { meta: { m: 2 }, headers: { h: 2 } }), replaced(first.id))
    const message = (await scene.claim())[0]!
    assert.deepEqual([message.id, message.data, message.sentAt], [first.id, '"b"', sentAt])
    assert.deepEqual([message.meta, message.headers], [{ m: 2 }, { h: 2 }])
    assert.equal(message.readCount, 1)
    assert.equal((await scene.engine.stats(scene.queue)).ready, 0)
  },

  'a message that was read stays as it is, and the next one of its id waits': async (scene) => {
    const first = await sendLatest(scene, 'a', { windowMs: long })
    const leased = await scene.claimOne({ leaseMs: short })
    const second = await sendLatest(scene, 'b', { windowMs: long })
    assert(isNew(second))
    assert.deepEqual(await sendLatest(scene, 'c', { windowMs: long }), replaced(second.id))
    assert.equal((await scene.look(first.id)).data, '"a"')
    await scene.passTime(short)
    assert.deepEqual(await sendLatest(scene, 'd', { windowMs: long }), replaced(second.id), 'the lease ran out')
    await scene.settle(leased, release())
    assert.deepEqual(await sendLatest(scene, 'e', { windowMs: long }), replaced(second.id), 'it was released')
    assert.deepEqual(dataOf(await scene.peek()), ['a', 'e'])
  },

  'a message that was read and given back stays as it is': async (scene) => {
    for (const delayMs of [0, ...waits]) {
      const id = `${delayMs}`
      await sendLatest(scene, 'a', { id })
      await scene.settle(await scene.claimOne(), release({ delayMs }))
      const next = await sendLatest(scene, 'b', { id })
      assert(isNew(next), id)
      await scene.engine.cancel(scene.queue, [next.id])
      await scene.pop()
    }
    assert.deepEqual(dataOf(await scene.peek()), ['a', 'a'])
  },

  'a read that was taken back does not count': async (scene) => {
    const { id } = await sendLatest(scene, 'a')
    await scene.settle(await scene.claimOne(), release({ uncount: true, meta: { why: 1 } }))
    assert.deepEqual(await sendLatest(scene, 'b', { meta: { m: 2 } }), replaced(id))
    const message = await scene.claimOne()
    assert.deepEqual([message.data, message.meta], ['"b"', { m: 2 }])
  },

  'the place in line is that of the first': async (scene) => {
    const { id } = await sendLatest(scene, 'a', { priority: 5 })
    const keyed = await sendLatest(scene, 'c', { id: 'keyed', orderingKey: 'k' })
    await scene.send({ orderingKey: 'k' }, {})
    await sendLatest(scene, 'b')
    await sendLatest(scene, 'd', { id: 'keyed', orderingKey: 'other' })
    const claimed = await scene.claim()
    assert.equal(claimed.length, 3, 'one of the key')
    assert.deepEqual([claimed[0]!.id, claimed[0]!.priority, claimed[0]!.data], [id, 5, '"b"'])
    const inLine = claimed.find((message) => message.id === keyed.id)
    assert.deepEqual([inLine?.orderingKey, inLine?.data], ['k', '"d"'])
  },

  'without extend the time stays': async (scene) => {
    for (const delayMs of waits) {
      const { id } = await sendLatest(scene, 'a', { id: `${delayMs}`, delayMs })
      const { visibleAt } = await scene.look(id)
      assert.deepEqual(await sendLatest(scene, 'b', { id: `${delayMs}`, delayMs: 0 }), replaced(id))
      const message = await scene.look(id)
      assert.deepEqual([message.visibleAt, message.data], [visibleAt, '"b"'])
    }
    assert.deepEqual(await scene.claim(), [])
  },

  'extend moves the time, to later and to sooner': async (scene) => {
    for (const before of [0, ...waits])
      for (const after of [...waits, 0]) {
        const id = `${before} ${after}`
        const first = await sendLatest(scene, 'a', { id, delayMs: before })
        assert.deepEqual(await sendLatest(scene, 'b', { id, delayMs: after, extend: true }), replaced(first.id))
        assert.equal(await scene.placeOf(first.id), after === 0 ? 'ready' : 'delayed', id)
      }
    const claimed = await scene.claimSoon()
    assert.deepEqual(dataOf(claimed), ['b', 'b', 'b'])
  },

  'extend takes the time that is named': async (scene) => {
    const notBefore = (await scene.now()) + long
    const { id } = await sendLatest(scene, 'a')
    await sendLatest(scene, 'b', { extend: true, notBefore })
    assertSameTime((await scene.look(id)).visibleAt, notBefore, 'visibleAt')
  },

  'extend ends at most so long after the first was sent': async (scene) => {
    const { id } = await sendLatest(scene, 'a', { delayMs: long / 2 })
    const { sentAt } = await scene.look(id)
    await scene.passTime(short)
    await sendLatest(scene, 'b', { extend: true, delayMs: 2 * long, atMostMs: long })
    assertSameTime((await scene.look(id)).visibleAt, sentAt + long, 'visibleAt')
    await sendLatest(scene, 'c', { extend: true, delayMs: long, atMostMs: short })
    assert.deepEqual(dataOf(await scene.claimSoon()), ['c'], 'it is over')
  },

  'extend moves the time of a message that waits for its ordering key': async (scene) => {
    await scene.send({ orderingKey: 'k' })
    const { id } = await sendLatest(scene, 'a', { orderingKey: 'k' })
    await sendLatest(scene, 'b', { orderingKey: 'k', extend: true, delayMs: long })
    await scene.delete(await scene.claimOne())
    assert.equal(await scene.placeOf(id), 'delayed')
    await sendLatest(scene, 'c', { orderingKey: 'k', extend: true })
    assert.deepEqual(dataOf(await scene.claimSoon()), ['c'])
  },

  'a reader hears that a message can be read sooner': async (scene) => {
    await sendLatest(scene, 'a', { delayMs: long })
    const wakes = await scene.watch()
    wakes.clear()
    await sendLatest(scene, 'b', { extend: true })
    await wakes.next(async () => (await scene.claim()).length > 0)
    wakes.watch.close()
  },

  'after the window the next one is a new message': async (scene) => {
    await sendLatest(scene, 'a', { windowMs: short })
    await scene.passTime(short)
    assert(isNew(await sendLatest(scene, 'b', { windowMs: long })))
    assert.deepEqual(dataOf(await scene.peek()), ['a', 'b'])
  },

  'with extend the window begins anew, without it does not': (scene) =>
    patiently(async (windowMs) => {
      const [extend, other] = [`extend-${windowMs}`, `other-${windowMs}`]
      const ids = [extend, other]
      for (const id of ids) await sendLatest(scene, 'a', { id, windowMs })
      await scene.passTime(windowMs / 2)
      const second = await sendLatest(scene, 'b', { id: extend, windowMs: long, extend: true })
      if (isNew(second) || isNew(await sendLatest(scene, 'b', { id: other, windowMs: long }))) return false
      await scene.passTime(windowMs / 2)
      assert.deepEqual(await sendLatest(scene, 'c', { id: extend }), replaced(second.id))
      assert(isNew(await sendLatest(scene, 'c', { id: other })))
      return true
    }),

  'without a window the id is held as long as nobody has read the message': async (scene) => {
    const plain = newMessage({ dedup: { id: 'id', windowMs: long } })
    const { id } = await sendLatest(scene, 'a')
    await scene.passTime(short)
    await scene.engine.maintain({ kind: 'due' })
    assert.deepEqual(await scene.engine.send(scene.queue, [plain], null), [{ id, duplicate: true }])
    assert.deepEqual(await sendLatest(scene, 'b'), replaced(id))
    const leased = await scene.claimOne()
    await scene.engine.maintain({ kind: 'due' })
    assert(isNew(only(await scene.engine.send(scene.queue, [plain], null))), 'read')
    await scene.delete(leased)
  },

  'a message that is gone is not replaced': async (scene) => {
    const other = await scene.newQueue()
    const goings: ((id: string) => Promise<unknown>)[] = [
      async () => scene.delete(await scene.claimOne()),
      () => scene.pop(),
      (id) => scene.engine.cancel(scene.queue, [id]),
      () => scene.engine.purgeQueue(scene.queue),
      async () => scene.settle(await scene.claimOne(), move(other)),
    ]
    for (const windowMs of [null, long])
      for (const [index, go] of goings.entries()) {
        const { id } = await sendLatest(scene, 'gone', { id: `${index}`, windowMs })
        await go(id)
        const next = await sendLatest(scene, 'new', { id: `${index}`, windowMs })
        assert(isNew(next), `${index}, ${windowMs}`)
        await scene.engine.cancel(scene.queue, [next.id])
      }
    assert.deepEqual(dataOf(await scene.peek({}, other)), ['gone', 'gone'])
  },

  'within a batch the last of an id counts': async (scene) => {
    const before = await sendLatest(scene, 'before', { id: 'c' })
    const batch = [
      latest('a1', { id: 'a', meta: { m: 1 } }),
      latest('b1', { id: 'b', delayMs: long }),
      latest('c1', { id: 'c' }),
      latest('a2', { id: 'a' }),
      latest('a3', { id: 'a', meta: { m: 3 }, headers: { h: 3 } }),
      latest('b2', { id: 'b', extend: true }),
      latest('c2', { id: 'c' }),
      newMessage({ ...text('a4'), dedup: { id: 'a', windowMs: long } }),
    ]
    const results = await scene.engine.send(scene.queue, batch, null)
    const [a, b] = [results[0]!.id, results[1]!.id]
    assert.deepEqual(results, [
      { id: a, duplicate: false },
      { id: b, duplicate: false },
      replaced(before.id),
      replaced(a),
      replaced(a),
      replaced(b),
      replaced(before.id),
      { id: a, duplicate: true },
    ])
    const claimed = await scene.claimSoon()
    assert.deepEqual(dataOf(claimed).sort(), ['a3', 'b2', 'c2'])
    const last = claimed.find((message) => message.id === a)
    assert.deepEqual([last?.meta, last?.headers], [{ m: 3 }, { h: 3 }])
  },

  'what replaces makes the queue no longer': async (scene) => {
    const terms = { maxLength: 1 }
    const send = (...messages: NewMessage[]) => scene.engine.send(scene.queue, messages, null, terms)
    await send(latest('a'), latest('b'))
    await send(latest('c'))
    await assertRejects(send(latest('d'), latest('e', { id: 'other' })), 'QUEUE_FULL', 'send')
    assert.deepEqual(dataOf(await scene.peek()), ['c'])
    await scene.claimOne()
    await assertRejects(send(latest('f')), 'QUEUE_FULL', 'send')
  },

  'copies are replaced, each in its queue': async (scene) => {
    const start = newStart()
    const queues = await boundQueues(scene, 2, `${start}.*`)
    const first = queueCopies(await publish(scene, `${start}.a`, latest('a')))
    await scene.claimOne({}, queues[1]!)
    const second = queueCopies(await publish(scene, `${start}.b`, latest('b')))
    assert.deepEqual(second[0], { queue: queues[0]!, ...replaced(first[0]!.id) })
    assert(isNew(second[1]!))
    const found = await scene.look(first[0]!.id, queues[0])
    assert.deepEqual([found.data, found.meta], ['"b"', { queue_name: queues[0] }])
    assert.deepEqual(dataOf(await scene.peek({}, queues[1])), ['a', 'b'])
  },

  'whoever sends and reads at the same time: data are read once, or replaced before': async (scene) => {
    const rounds = 12
    const read = new Map<string, number[]>()
    const expected = new Map<string, number[]>()
    let sending = true
    const senders = times(4, async (index) => {
      const id = `${index}`
      // What the next one did not replace was read as it was.
      const lasting: number[] = []
      for (let round = 1; round <= rounds; round++) {
        const message = { ...latest('', { id }), data: `${round}`, headers: { id } }
        const result = only(await scene.engine.send(scene.queue, [message], null))
        if (isNew(result) && round > 1) lasting.push(round - 1)
      }
      expected.set(id, [...lasting, rounds])
    })
    const readSome = async (claim: 'claim' | 'claimSoon' = 'claim') => {
      const messages = await scene[claim]({ limit: 2 })
      for (const { headers, data } of messages) {
        const id = String(headers.id)
        read.set(id, [...(read.get(id) ?? []), Number(data)])
      }
      await scene.engine.settle(
        scene.queue,
        messages.map((message) => settlement(message, remove)),
      )
      return messages.length
    }
    const readers = atOnce(3, async () => {
      while (sending) await readSome()
    })
    const sent = Promise.all(senders).finally(() => {
      sending = false
    })
    await Promise.all([sent, readers])
    while ((await readSome('claimSoon')) > 0);
    for (const [id, data] of expected)
      assert.deepEqual(
        read.get(id)?.sort((a, b) => a - b),
        data,
        `of id ${id}`,
      )
  },

  'senders of many ids in opposite orders do not block each other': async (scene) => {
    const batch = times(20, (index) => latest('m', { id: `${index}` }))
    await atOnce(6, (index) => scene.engine.send(scene.queue, index % 2 === 0 ? batch : [...batch].reverse(), null))
    assert.equal((await scene.peek()).length, 20)
  },
})

const inTopics = group(
  'replacing',
  {
    'a topic keeps what it took': async (scene) => {
      const start = newStart()
      const topic = await newTopic(scene)
      await assertRejects(topic.tryAppend(latest('a')), 'OPTION_CONFLICT', 'append')
      await boundQueues(scene, 1, `${start}.*`)
      await linkPattern(topic, `${start}.a`)
      const batch = [routed(`${start}.b`, latest('b')), routed(`${start}.a`, latest('a'))]
      await assertRejects(scene.engine.publish(batch, null), 'OPTION_CONFLICT', 'publish')
      assert.deepEqual(await topic.read(), [])
      assert.equal((await scene.engine.publish([batch[0]!], null))[0]!.length, 1, 'where there is no topic')
      assert.equal(queueCopies((await scene.engine.publish([batch[0]!], null))[0]!)[0]!.replaced, true)
    },
  },
  { needs: ['topics'] },
)

const inTransactions = group(
  'replacing',
  {
    'a replacement belongs to its transaction': async (scene) => {
      const { id } = await sendLatest(scene, 'a')
      await scene.rollBack((transaction) => scene.engine.send(scene.queue, [latest('b')], transaction))
      assert.equal((await scene.look(id)).data, '"a"')
      await scene.transaction(async (transaction) => {
        const result = only(await scene.engine.send(scene.queue, [latest('c')], transaction))
        assert.deepEqual(result, replaced(id))
        assert.deepEqual(idsOf(await scene.claim()), [], 'nobody reads the old data any more')
      })
      assert.deepEqual(dataOf(await scene.claimSoon()), ['c'])
    },

    'a reader hears of the message that it passed over': async (scene) => {
      await sendLatest(scene, 'a')
      const wakes = await scene.watch()
      wakes.clear()
      await scene.transaction((transaction) => scene.engine.send(scene.queue, [latest('b')], transaction))
      await wakes.next(async () => (await scene.claim()).length > 0)
      wakes.watch.close()
    },
  },
  { needs: ['transactions'] },
)

export const replacing = [...anywhere, ...inTopics, ...inTransactions]
