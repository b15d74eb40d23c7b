import assert from 'node:assert/strict'
import type { ClaimRequest, Engine } from 'tidings/internal/port/engine'
import type { Interest } from 'tidings/internal/port/listening'
import { group } from '../group.ts'
import {
  dataOf,
  idsOf,
  type Leased,
  leaseOf,
  listen,
  long,
  release,
  remove,
  type Scene,
  settlement,
  short,
  text,
  times,
  Wakes,
} from '../scene.ts'
import { newConsumer, type StagedTopic, subscribedTopic } from '../topic-scene.ts'

const held: Partial<ClaimRequest> = { held: true }

/** A process that the storage looks after. */
interface Process {
  readonly engine: Engine
  /** What it hears of the queue of the case, or of what it listens to instead. */
  readonly wakes: Wakes
  /** It is gone: its connection is, and it has settled nothing. */
  end(): Promise<void>
}

async function begin(scene: Scene, engine = scene.engine, other?: Interest): Promise<Process> {
  const wakes = new Wakes()
  const interest = other ?? (`queue:${scene.queue}` as const)
  const listening = await listen(engine, (one, dueMs) => one === interest && wakes.add(dueMs))
  assert.deepEqual(await listening.listen(['life', interest]), new Map())
  return { engine, wakes, end: () => listening.close() }
}

/** Another process on the same storage, which looks after those that are there. */
async function beginAnother(scene: Scene, interest?: Interest): Promise<Process> {
  return await begin(scene, scene.harness.secondEngine ? await scene.secondEngine() : scene.engine, interest)
}

/** Resolves once it was announced that so many messages are ready. */
const heard = (scene: Scene, { wakes }: Process, ready: number) =>
  wakes.next(async (dueMs) => dueMs === 0 && (await scene.peek({ place: 'ready' })).length === ready)

const metaOf = async (scene: Scene, { id }: Leased) => (await scene.look(id)).meta

export const lives = group('lives', {
  'what a process had in hand is given back when it is gone, and announced': async (scene) => {
    const me = await begin(scene)
    await scene.send({ ...text('a'), meta: { m: 1 } }, text('b'))
    const leased = await scene.claim(held)
    const you = await beginAnother(scene)
    you.wakes.clear()
    const before = await scene.now()
    await me.end()
    await heard(scene, you, 2)
    const after = await scene.now()
    for (const message of leased) {
      const { process_lost_at: lostAt, ...meta } = await metaOf(scene, message)
      assert.deepEqual(meta, message === leased[0] ? { m: 1 } : {})
      assert.equal(typeof lostAt, 'string')
      assert.equal(new Date(String(lostAt)).toISOString(), lostAt)
      assert(Date.parse(String(lostAt)) >= before - 1 && Date.parse(String(lostAt)) <= after + 1, String(lostAt))
    }
    const again = (await you.engine.claim(scene.queue, { limit: 10, leaseMs: long, ids: null })).messages
    assert.deepEqual(dataOf(again), ['a', 'b'])
    assert.deepEqual(
      times(2, (index) => again[index]?.readCount),
      [2, 2],
    )
  },

  'it is given back too when the engine was closed': async (scene) => {
    // Where one engine is the storage, another process is another listening of it.
    const me = scene.harness.secondEngine ? await beginAnother(scene) : await begin(scene)
    const [id] = await scene.send({})
    await me.engine.claim(scene.queue, { limit: 1, leaseMs: long, ids: null, held: true })
    const you = await begin(scene)
    you.wakes.clear()
    await (scene.harness.secondEngine ? me.engine.close() : me.end())
    await heard(scene, you, 1)
    assert.equal((await scene.claimOne()).id, id)
  },

  'of what was read ahead the read is taken back, and its meta says so': async (scene) => {
    const me = await begin(scene)
    await scene.send(text('a'), text('b'), text('c'))
    await scene.claim({ ...held, ahead: 2, limit: 3 })
    const you = await beginAnother(scene)
    await me.end()
    await heard(scene, you, 3)
    const back = await scene.peek()
    assert.deepEqual(
      back.map(({ readCount, meta }) => [readCount, typeof meta.process_lost_at, meta.read_ahead_lost]),
      [
        [1, 'string', undefined],
        [0, 'string', true],
        [0, 'string', true],
      ],
    )
    assert.deepEqual(
      (await scene.claim()).map(({ readCount }) => readCount),
      [2, 1, 1],
    )
  },

  'all of a claim may be read ahead, and more than there is': async (scene) => {
    const me = await begin(scene)
    await scene.send({}, {})
    await scene.claim({ ...held, ahead: 100 })
    const you = await beginAnother(scene)
    await me.end()
    await heard(scene, you, 2)
    for (const { readCount, meta } of await scene.peek()) assert.deepEqual([readCount, meta.read_ahead_lost], [0, true])
  },

  'what is begun at once is counted from the first, however little there is': async (scene) => {
    const me = await begin(scene)
    await scene.send({}, {}, {})
    await scene.claim({ ...held, ahead: 10, limit: 12 })
    const you = await beginAnother(scene)
    await me.end()
    await heard(scene, you, 3)
    assert.deepEqual(
      (await scene.peek()).map(({ readCount }) => readCount),
      [1, 1, 0],
    )
  },

  'only what is held is given back': async (scene) => {
    const ids = await scene.sendMany(4)
    await scene.claimOne({ ...held, ids: [ids[0]!] })
    const me = await begin(scene)
    await scene.claimOne({ ids: [ids[1]!] })
    await scene.claimOne({ held: false, limit: 1, ahead: 1, ids: [ids[2]!] })
    await scene.claimOne({ ...held, ids: [ids[3]!] })
    const you = await beginAnother(scene)
    await me.end()
    await heard(scene, you, 1)
    assert.deepEqual(idsOf(await scene.peek({ place: 'ready' })), [ids[3]])
    for (const { meta, readCount } of await scene.peek({ place: 'leased' }))
      assert.deepEqual([meta, readCount], [{}, 1])
  },

  'only what this process holds is given back': async (scene) => {
    const [mine, yours] = await scene.send({}, {})
    const me = await begin(scene)
    await scene.claimOne({ ...held, ids: [mine] })
    const you = await beginAnother(scene)
    await you.engine.claim(scene.queue, { limit: 1, leaseMs: long, ids: [yours], held: true })
    await me.end()
    await heard(scene, you, 1)
    assert.deepEqual(idsOf(await scene.peek({ place: 'leased' })), [yours])
    const them = await beginAnother(scene)
    await you.end()
    await heard(scene, them, 2)
  },

  'a lease that was extended is given back too': async (scene) => {
    const me = await begin(scene)
    const [first] = await scene.send({}, {})
    const leased = await scene.claim({ ...held, ahead: 1, limit: 2, leaseMs: long / 2 })
    for (let round = 0; round < 2; round++)
      for (const message of leased) Object.assign(message, { receipt: await scene.extend(message) })
    const you = await beginAnother(scene)
    await me.end()
    await heard(scene, you, 2)
    for (const { id, readCount } of await scene.peek()) assert.equal(readCount, id === first ? 1 : 0)
  },

  'what was settled does not come back': async (scene) => {
    const me = await begin(scene)
    await scene.sendMany(4)
    const [deleted, released, delayed, lost] = await scene.claim(held)
    await scene.settle(deleted!, remove)
    await scene.settle(released!, release({ meta: { m: 1 } }))
    await scene.settle(delayed!, release({ delayMs: long }))
    const you = await beginAnother(scene)
    await me.end()
    await heard(scene, you, 2)
    assert.deepEqual(idsOf(await scene.peek()), idsOf([released!, delayed!, lost!]))
    assert.deepEqual(await metaOf(scene, released!), { m: 1 })
    assert.deepEqual([await metaOf(scene, delayed!), await scene.placeOf(delayed!.id)], [{}, 'delayed'])
  },

  'who was taken for gone can settle and extend nothing': async (scene) => {
    const me = await begin(scene)
    await scene.send({}, {})
    const leased = await scene.claim({ ...held, ahead: 1, limit: 2 })
    const you = await beginAnother(scene)
    await me.end()
    await heard(scene, you, 2)
    const tries = async () => {
      const settled = await scene.engine.settle(
        scene.queue,
        leased.map((message) => settlement(message, remove)),
      )
      assert.deepEqual(
        settled.map((one) => one.settled),
        [false, false],
      )
      assert.deepEqual(await scene.engine.extend(scene.queue, leased.map(leaseOf), long), [null, null])
    }
    await tries()
    await scene.claim()
    await tries()
  },

  "what was given back is the next reader's, whoever else ends": async (scene) => {
    const me = await begin(scene)
    const [id] = await scene.send({})
    await scene.claimOne(held)
    const you = await beginAnother(scene)
    await me.end()
    await heard(scene, you, 1)
    const mine = await scene.claimOne()
    const them = await beginAnother(scene)
    await scene.send({})
    await them.engine.claim(scene.queue, { limit: 1, leaseMs: long, ids: null, held: true })
    you.wakes.clear()
    await them.end()
    await heard(scene, you, 1)
    assert.deepEqual(idsOf(await scene.peek({ place: 'leased' })), [id])
    assert.equal((await scene.look(id)).readCount, 2)
    assert.equal(await scene.delete(mine), true)
  },

  "a lease that ran out before is the next reader's": async (scene) => {
    const me = await begin(scene)
    const [id] = await scene.send({}, {})
    await scene.claimOne({ ...held, ids: [id], limit: 1, leaseMs: short, ahead: 1 })
    await scene.passTime(short)
    const again = await scene.claimOne({ limit: 1 })
    await scene.claimOne(held)
    const you = await beginAnother(scene)
    await me.end()
    await heard(scene, you, 1)
    assert.deepEqual([again.id, again.readCount, await scene.placeOf(id)], [id, 2, 'leased'])
    assert.deepEqual(await metaOf(scene, again), {})
  },

  'who begins after the end gives back too': async (scene) => {
    const me = await begin(scene)
    await scene.send({}, {})
    await scene.claim({ ...held, ahead: 1, limit: 2 })
    await me.end()
    const you = await beginAnother(scene)
    await heard(scene, you, 2)
    assert.deepEqual(
      (await scene.peek()).map(({ readCount }) => readCount),
      [1, 0],
    )
  },

  'a queue that is gone holds nothing up': async (scene) => {
    const other = await scene.newQueue()
    const me = await begin(scene)
    await scene.sendTo(other, {})
    await scene.send({})
    for (const queue of [other, scene.queue]) await scene.claimOne(held, queue)
    await scene.engine.dropQueue(other)
    const you = await beginAnother(scene)
    await me.end()
    await heard(scene, you, 1)
  },

  'all queues of a process are given back': async (scene) => {
    const queues = [scene.queue, await scene.newQueue(), await scene.newQueue()]
    const me = await begin(scene)
    for (const queue of queues) {
      await scene.sendTo(queue, {}, {})
      assert.equal((await scene.claim(held, queue)).length, 2)
    }
    const others = await Promise.all(
      queues.slice(1).map(async (queue) => ({ queue, by: await beginAnother(scene, `queue:${queue}`) })),
    )
    const you = await beginAnother(scene)
    await me.end()
    await heard(scene, you, 2)
    for (const { queue, by } of others)
      await by.wakes.next(async () => (await scene.peek({ place: 'ready' }, queue)).length === 2)
  },

  'a key goes on in order after its first message was given back': async (scene) => {
    const me = await begin(scene)
    await scene.send(...['a', 'b', 'c'].map((label) => ({ ...text(label), orderingKey: 'k' })))
    await scene.claimOne(held)
    const you = await beginAnother(scene)
    await me.end()
    await heard(scene, you, 3)
    for (const label of ['a', 'b', 'c']) {
      const message = await scene.claimOne()
      assert.deepEqual([dataOf([message]), message.orderingKey], [[label], 'k'])
      await scene.delete(message)
    }
  },

  'priority and place are kept': async (scene) => {
    const me = await begin(scene)
    const priorities = [0, 5, 0, 5]
    await scene.send(...priorities.map((priority, index) => ({ ...text(`${index}`), priority })))
    await scene.claim({ ...held, ahead: 2, limit: 3 })
    const you = await beginAnother(scene)
    await me.end()
    await heard(scene, you, 4)
    assert.deepEqual(dataOf(await scene.claimSoon()), ['1', '3', '0', '2'])
  },
})

/** The next consumer can have it. */
const heardOf = (topic: StagedTopic, { wakes }: Process) =>
  wakes.next(async () => (await topic.state()).consumer === null)

export const topicLives = group(
  'topic lives',
  {
    'a subscription is free when the process of its consumer is gone, and announced': async (scene) => {
      const topic = await subscribedTopic(scene)
      const me = await begin(scene)
      await topic.store.hold(topic.name, 's', newConsumer(), long, true)
      const you = await beginAnother(scene, `topic:${topic.name}`)
      you.wakes.clear()
      await me.end()
      await heardOf(topic, you)
      assert.equal((await topic.hold()).vanished, 1)
    },

    'only a hold that is held ends with the process': async (scene) => {
      const [topic, other] = [await subscribedTopic(scene), await subscribedTopic(scene)]
      await topic.subscribe('earliest', 'plain')
      const me = await begin(scene)
      const plain = newConsumer()
      await topic.store.hold(topic.name, 'plain', plain, long)
      await other.hold('other')
      await topic.store.hold(topic.name, 's', newConsumer(), long / 2, true)
      const you = await beginAnother(scene, `topic:${topic.name}`)
      await me.end()
      await heardOf(topic, you)
      assert.deepEqual([(await topic.state('plain')).consumer, (await other.state()).consumer], [plain, 'other'])
    },

    'a hold that goes on stays held, and after leaving there is nothing to give back': async (scene) => {
      const topic = await subscribedTopic(scene)
      await topic.subscribe('earliest', 'left')
      const me = await begin(scene)
      const consumer = newConsumer()
      for (let round = 0; round < 2; round++) await topic.store.hold(topic.name, 's', consumer, long, true)
      const left = await topic.store.hold(topic.name, 'left', consumer, long, true)
      assert(left.held && (await topic.leave(left.receipt, 'left')))
      await topic.hold('next', long, 'left')
      const you = await beginAnother(scene, `topic:${topic.name}`)
      await me.end()
      await heardOf(topic, you)
      assert.equal((await topic.state('left')).consumer, 'next')
      assert.equal((await topic.hold(newConsumer())).vanished, 1)
    },

    'who was taken for gone cannot acknowledge once another has the subscription': async (scene) => {
      const topic = await subscribedTopic(scene)
      const me = await begin(scene)
      const hold = await topic.store.hold(topic.name, 's', newConsumer(), long, true)
      const you = await beginAnother(scene, `topic:${topic.name}`)
      await me.end()
      await heardOf(topic, you)
      await topic.hold()
      assert(hold.held)
      assert.equal(await topic.ack(1, hold.receipt), false)
    },
  },
  { needs: ['topics'] },
)
