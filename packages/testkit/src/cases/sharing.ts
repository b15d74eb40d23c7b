import assert from 'node:assert/strict'
import type { JsonObject } from 'tidings/internal/core/json'
import type { ClaimRequest } from 'tidings/internal/port/engine'
import type { QueueLimit } from 'tidings/internal/port/queue-limits'
import { group } from '../group.ts'
import {
  archive,
  atOnce,
  dataOf,
  idsOf,
  listen,
  long,
  move,
  patiently,
  release,
  remove,
  type Scene,
  short,
  text,
  times,
} from '../scene.ts'

const limit = (scene: Scene, ...limits: QueueLimit[]) =>
  scene.engine.configure(scene.queue, { limits: limits as unknown as JsonObject[] })

const of = (group: string | null, label = group ?? 'none') => ({ ...text(label), group })
const many = (count: number, group: string | null) => times(count, (index) => of(group, `${group}${index + 1}`))

const ask = (scene: Scene, request: Partial<ClaimRequest> = {}) =>
  scene.engine.claim(scene.queue, { limit: 100, leaseMs: long, ids: null, ...request })

/** Nothing can be claimed, because of limits. @returns when to come again */
async function assertHeldBack(scene: Scene, request: Partial<ClaimRequest> = {}): Promise<number> {
  const { messages, nextDueMs, heldBack } = await ask(scene, request)
  assert.deepEqual([messages, heldBack], [[], true])
  assert(nextDueMs === null || nextDueMs > 0, 'not at once')
  return nextDueMs ?? Number.POSITIVE_INFINITY
}

/** The same where the time may be over already. @returns null if it was, and something was claimed */
async function heldBackFor(scene: Scene): Promise<number | null> {
  const { messages, nextDueMs, heldBack } = await ask(scene)
  if (messages.length > 0) return null
  assert.equal(heldBack, true)
  assert(nextDueMs !== null && nextDueMs > 0, 'it is known when')
  return nextDueMs
}

/** What is read one message after the other, by a reader that comes again when the engine says so. */
async function inTurn(scene: Scene, count: number): Promise<unknown[]> {
  const found: unknown[] = []
  while (found.length < count) {
    const [message] = await scene.claimSoon({ limit: 1 })
    if (message === undefined) break
    found.push(...dataOf([message]))
    await scene.delete(message)
  }
  return found
}

const rarely = { count: 1, periodMs: long }

export const sharing = group(
  'sharing',
  {
    'a queue has no more leases in force than its limit': async (scene) => {
      await limit(scene, { per: 'queue', concurrency: 2 })
      await scene.send({}, {}, {})
      const { messages, heldBack } = await ask(scene)
      assert.deepEqual([messages.length, heldBack], [2, true])
      await assertHeldBack(scene)
      assert.equal((await scene.peek({ place: 'ready' })).length, 1)
    },

    'every end of a lease frees its slot': async (scene) => {
      const other = await scene.newQueue()
      await limit(scene, { per: 'queue', concurrency: 1 }, { per: 'group', concurrency: 1 })
      for (const ending of [remove, archive(), move(other), release({ delayMs: long }), release()]) {
        await scene.send(of('a'), of('a'))
        const leased = await scene.claimOne()
        await assertHeldBack(scene)
        await scene.settle(leased, ending)
        await scene.claimOne()
        await scene.engine.purgeQueue(scene.queue)
      }
    },

    'a lease that has run out has freed its slot, and the claim said when': async (scene) => {
      await limit(scene, { per: 'queue', concurrency: 1 }, { per: 'group', concurrency: 1 })
      await patiently(async (leaseMs) => {
        await scene.engine.purgeQueue(scene.queue)
        await scene.send(of('a'), of('a'))
        const first = await scene.claimOne({ leaseMs })
        const dueMs = await heldBackFor(scene)
        if (dueMs === null) return false
        assert(dueMs <= leaseMs, 'with the lease')
        await scene.passTime(dueMs)
        await scene.claimOne()
        // It may still be settled where nobody has read it since, and frees nothing more by that.
        await scene.delete(first)
        await assertHeldBack(scene)
        return true
      })
    },

    'an extension keeps the slot': async (scene) => {
      await limit(scene, { per: 'group', concurrency: 1 })
      await patiently(async (leaseMs) => {
        await scene.engine.purgeQueue(scene.queue)
        await scene.send(of('a'), of('a'))
        const [leased] = await scene.claim({ leaseMs })
        if ((await scene.extend(leased!)) === null) return false
        await scene.passTime(leaseMs)
        await assertHeldBack(scene)
        return true
      })
    },

    'a limit per group holds for each group, and not for messages without one': async (scene) => {
      await limit(scene, { per: 'group', concurrency: 1 })
      await scene.send(...many(2, 'a'), ...many(2, 'b'), of(null), of(null))
      assert.deepEqual(dataOf(await scene.claim()).sort(), ['a1', 'b1', 'none', 'none'])
      await assertHeldBack(scene)
    },

    'messages that are held back do not use up what a claim may take': async (scene) => {
      await limit(scene, { per: 'group', concurrency: 1 })
      await scene.send(...many(40, 'a'), of('b'), of('c'))
      assert.deepEqual(dataOf(await scene.claim({ limit: 3 })).sort(), ['a1', 'b', 'c'])
    },

    'all limits have to have room': async (scene) => {
      await limit(scene, { per: 'queue', concurrency: 3 }, { per: 'group', concurrency: 2, rate: rarely, burst: 2 })
      await scene.send(...many(3, 'a'), ...many(3, 'b'))
      assert.equal((await scene.claim()).length, 3)
      await scene.engine.purgeQueue(scene.queue)
      await scene.send(of('a'), of('b'), of('a'), of('b'))
      assert.equal((await scene.claim()).length, 1)
    },

    'claims at the same time do not exceed limits together': async (scene) => {
      await limit(scene, { per: 'queue', concurrency: 5 }, { per: 'group', rate: rarely, burst: 2 })
      await scene.send(...many(20, 'a'), ...many(20, 'b'), ...many(20, 'c'))
      const claimed = (await atOnce(8, () => scene.claim({ limit: 2 }))).flat()
      assert.equal(claimed.length, 5)
      for (const name of ['a', 'b', 'c']) assert(claimed.filter((one) => one.group === name).length <= 2, name)
    },

    'a claim by ids keeps to limits': async (scene) => {
      await limit(scene, { per: 'group', concurrency: 1 })
      const ids = await scene.send(of('a'), of('a'), of('b'))
      assert.deepEqual(idsOf(await scene.claim({ ids })), [ids[0], ids[2]])
      await assertHeldBack(scene, { ids: [ids[1]] })
    },

    'a pop keeps to limits and is charged': async (scene) => {
      await limit(scene, { per: 'queue', rate: rarely, burst: 3 }, { per: 'group', concurrency: 1 })
      await scene.send(...many(5, 'a'))
      assert.deepEqual(dataOf(await scene.pop(1)), ['a1'])
      const leased = await scene.claimOne()
      assert.deepEqual(await scene.pop(), [])
      await scene.delete(leased)
      assert.deepEqual(dataOf(await scene.pop(1)), ['a3'])
      assert.deepEqual(await scene.pop(), [])
    },

    'nothing is read ahead in a queue with limits': async (scene) => {
      const process = await listen(scene.engine, () => {})
      await process.listen(['life', `queue:${scene.queue}`])
      await scene.send({}, {}, {}, {})
      const ahead = { held: true, limit: 3, ahead: 2 }
      assert.equal((await ask(scene, { ...ahead, limit: 2 })).messages.length, 2)
      await limit(scene, { per: 'queue', concurrency: 10 })
      const { messages, heldBack } = await ask(scene, ahead)
      assert.deepEqual([messages.length, heldBack], [1, true])
      assert.equal((await ask(scene, { ...ahead, limit: 5 })).heldBack ?? false, false)
      await process.close()
    },

    'a rate lets through its burst, and says when the next may come': async (scene) => {
      await limit(scene, { per: 'queue', rate: { count: 2, periodMs: 2 * long }, burst: 2 })
      await scene.send({}, {}, {})
      assert.equal((await scene.claim({ leaseMs: 10 * long })).length, 2)
      const dueMs = await assertHeldBack(scene, { leaseMs: 10 * long })
      assert(dueMs <= long && dueMs > long / 2, `${dueMs} is what one message has to wait`)
    },

    'a rate goes on when its time has come, one message after the other': (scene) =>
      patiently(async (periodMs) => {
        await scene.engine.dropQueue(scene.queue)
        await scene.engine.createQueue(scene.queue)
        await limit(scene, { per: 'queue', rate: { count: 1, periodMs } })
        await scene.send({}, {}, {})
        await scene.claimOne()
        const dueMs = await heldBackFor(scene)
        if (dueMs === null) return false
        await scene.passTime(dueMs)
        await scene.claimOne()
        return (await heldBackFor(scene)) !== null
      }),

    'a rate is charged for what was leased, and for no more': async (scene) => {
      await limit(scene, { per: 'queue', rate: rarely, burst: 3 })
      await scene.send({}, {}, {}, {})
      assert.equal((await scene.claim({ maxBytes: 1 })).length, 1)
      assert.equal((await scene.claim({ limit: 1 })).length, 1)
      assert.equal((await scene.claim()).length, 1)
    },

    'a retry is charged again': async (scene) => {
      await limit(scene, { per: 'group', rate: rarely, burst: 2 })
      await scene.send(of('a'))
      for (const _ of [1, 2]) await scene.settle(await scene.claimOne(), release({ uncount: true }))
      await assertHeldBack(scene)
    },

    'a rate per group or per ordering key is one for each': async (scene) => {
      for (const [per, field] of [
        ['group', 'group'],
        ['orderingKey', 'orderingKey'],
      ] as const) {
        await limit(scene, { per, rate: rarely })
        await scene.send(...['a', 'b', 'a', 'b'].map((key) => ({ ...text(key), [field]: key })), text('free'))
        assert.deepEqual((await inTurn(scene, 5)).sort(), ['a', 'b', 'free'])
        assert((await assertHeldBack(scene)) > long / 2, 'when the rate lets one through')
        await scene.engine.purgeQueue(scene.queue)
      }
    },

    'limits of one kind with several periods hold together': async (scene) => {
      const often = { per: 'queue', rate: { count: 1_000, periodMs: 1 }, burst: 1_000 } as const
      await limit(scene, often, { per: 'queue', rate: rarely })
      await scene.send({}, {})
      assert.equal((await scene.claim()).length, 1)
    },

    'a release may hold back its group, and says until when': async (scene) => {
      const [id] = await scene.send(...many(2, 'a'), of('b'), of(null))
      const leased = await scene.claimOne({ ids: [id!] })
      await scene.settle(leased, release({ delayMs: long, uncount: true, hold: 'group' }))
      assert.deepEqual((await inTurn(scene, 3)).sort(), ['b', 'none'])
      const dueMs = await assertHeldBack(scene, { leaseMs: 10 * long })
      assert(dueMs <= long && dueMs > long / 2, `held back for ${dueMs}`)
    },

    'a release may hold back the whole queue, and that ends with its time': (scene) =>
      patiently(async (delayMs) => {
        await scene.engine.purgeQueue(scene.queue)
        const [id] = await scene.send(of('a'), of('b'), of(null))
        await scene.settle(await scene.claimOne({ ids: [id] }), release({ delayMs, hold: 'queue' }))
        const dueMs = await heldBackFor(scene)
        if (dueMs === null) return false
        await scene.passTime(dueMs)
        assert.equal((await inTurn(scene, 3)).length, 3)
        return true
      }),

    'a shorter hold does not end a longer one': async (scene) => {
      await scene.send(...many(3, 'a'))
      const [first, second] = await scene.claim({ limit: 2 })
      for (const [message, delayMs] of [
        [first!, long],
        [second!, 1],
      ] as const)
        await scene.settle(message, release({ delayMs, hold: 'group' }))
      await scene.passTime(short)
      await assertHeldBack(scene)
    },

    'a message that is made ready ends the holds of its group and of the queue, and no others': async (scene) => {
      const { engine, queue } = scene
      await scene.send(...many(2, 'a'), ...many(2, 'b'), ...many(2, null))
      const [a, b, none] = ['a1', 'b1', 'null1']
      const leased = new Map((await scene.claim({ limit: 3 })).map((one) => [dataOf([one])[0], one]))
      for (const [label, hold] of [
        [a, 'group'],
        [b, 'group'],
        [none, 'queue'],
      ] as const)
        await scene.settle(leased.get(label)!, release({ delayMs: long, hold }))
      await assertHeldBack(scene)
      assert.deepEqual(await engine.makeReady(queue, [leased.get(a)!.id]), [true])
      assert.deepEqual((await inTurn(scene, 4)).sort(), ['a1', 'a2', 'null2'])
      await assertHeldBack(scene, { leaseMs: 10 * long })
      const [held] = await scene.peek({ place: 'ready' })
      assert.deepEqual(await engine.makeReady(queue, [held!.id]), [true], 'it was ready, and held back')
      assert.deepEqual(await inTurn(scene, 1), ['b2'])
    },

    'limits change at once, and their change ends holds': async (scene) => {
      await scene.send(...many(6, 'a'))
      await limit(scene, { per: 'queue', concurrency: 1 })
      const first = await scene.claimOne()
      await limit(scene, { per: 'queue', concurrency: 3 })
      assert.equal((await scene.claim()).length, 2)
      await limit(scene, { per: 'group', concurrency: 3 })
      await assertHeldBack(scene)
      await scene.settle(first, release({ delayMs: long, hold: 'group' }))
      await assertHeldBack(scene)
      await scene.engine.configure(scene.queue, { limits: null })
      const { messages, heldBack = false } = await ask(scene)
      assert.deepEqual([messages.length, heldBack], [3, false])
    },

    'a change of a rate keeps what was charged': async (scene) => {
      await limit(scene, { per: 'queue', rate: rarely })
      await scene.send({}, {})
      await scene.claimOne()
      await limit(scene, { per: 'queue', rate: { ...rarely, count: 2 } })
      assert((await assertHeldBack(scene)) > long / 4, 'most of it')
    },

    'groups take turns': async (scene) => {
      await scene.send(...many(6, 'a'), ...many(2, 'b'), ...many(2, null))
      const found = await inTurn(scene, 6)
      assert.deepEqual(found.sort(), ['a1', 'a2', 'b1', 'b2', 'null1', 'null2'])
      assert.deepEqual(await inTurn(scene, 4), ['a3', 'a4', 'a5', 'a6'])
    },

    'a claim of several messages takes of all groups': async (scene) => {
      await scene.send(...many(8, 'a'), ...many(8, 'b'))
      const groups = (await scene.claim({ limit: 4 })).map((message) => message.group)
      assert.deepEqual(groups.sort(), ['a', 'a', 'b', 'b'])
    },

    'a group with a greater weight gets more': async (scene) => {
      await scene.engine.configure(scene.queue, { weights: { a: 3 } })
      await scene.send(...many(20, 'a'), ...many(20, 'b'))
      const found = await inTurn(scene, 12)
      const ofA = found.filter((label) => String(label).startsWith('a')).length
      assert(ofA >= 8 && ofA <= 10, `${ofA} of 12 are of the group that weighs three times as much`)
    },

    'a group that comes later starts with the others': async (scene) => {
      await scene.send(...many(12, 'a'))
      await inTurn(scene, 6)
      await scene.send(...many(6, 'b'))
      const found = await inTurn(scene, 6)
      const ofB = found.filter((label) => String(label).startsWith('b')).length
      assert(ofB >= 2 && ofB <= 4, `${ofB} of 6 are of the group that came later`)
    },

    'a group that is empty now and then has no more turns than others': async (scene) => {
      await scene.send(of('a', 'a'), ...many(6, 'b'))
      const found: unknown[] = []
      for (const _ of times(6, () => 0)) {
        found.push(...(await inTurn(scene, 1)))
        if (found.at(-1) === 'a') await scene.send(of('a', 'a'))
      }
      const ofA = found.filter((label) => label === 'a').length
      assert(ofA >= 2 && ofA <= 4, `${ofA} of 6 are of the group with one message at a time`)
    },

    'within a group messages go by priority, then oldest first': async (scene) => {
      await scene.send({ ...of('a', 'low'), priority: -1 }, of('a', '1'), of('a', '2'), {
        ...of('a', 'high'),
        priority: 9,
      })
      assert.deepEqual(await inTurn(scene, 4), ['high', '1', '2', 'low'])
    },

    'a delayed message of a group comes when it is due': async (scene) => {
      await scene.send({ ...of('a', 'soon'), delayMs: short }, { ...of('a', 'later'), delayMs: long }, of('b', 'now'))
      await scene.passTime(short)
      assert.deepEqual((await inTurn(scene, 3)).sort(), ['now', 'soon'])
    },

    'ordering keys hold within groups': async (scene) => {
      const keyed = (label: string, group: string) => ({ ...of(group, label), orderingKey: 'key' })
      await scene.send(keyed('1', 'a'), keyed('2', 'b'), of('b', 'free'))
      const leased = await scene.claim()
      assert.deepEqual(dataOf(leased).sort(), ['1', 'free'])
      for (const one of leased) await scene.delete(one)
      assert.deepEqual(await inTurn(scene, 1), ['2'])
    },

    'a group is told by every look, and kept by a move': async (scene) => {
      const other = await scene.newQueue()
      const [id] = await scene.send(of('gr\u00fcn'), of(null))
      assert.deepEqual([(await scene.look(id)).group, 'gr\u00fcn'], ['gr\u00fcn', 'gr\u00fcn'])
      const [leased, none] = await scene.claim()
      assert.deepEqual([leased?.group, none?.group].sort(), ['gr\u00fcn', null])
      await scene.settle(leased!.group === null ? none! : leased!, move(other))
      assert.deepEqual(
        (await scene.pop(1, other)).map((message) => message.group),
        ['gr\u00fcn'],
      )
    },

    'any text is a group of its own': async (scene) => {
      const names = ['g', 'G', 'g ', '__proto__', 'null', 'queue', "o'brien", 'a/b:c', '1:g', 'x'.repeat(255)]
      await limit(scene, { per: 'group', concurrency: 1, rate: rarely })
      await scene.send(...names.map((name) => of(name)), ...names.map((name) => of(name)))
      const claimed = await scene.claim()
      assert.deepEqual(dataOf(claimed).sort(), names.toSorted())
      for (const message of claimed) await scene.delete(message)
      await assertHeldBack(scene)
    },

    'stats count what is held back': async (scene) => {
      const heldBack = async () => (await scene.engine.stats(scene.queue)).heldBack
      await limit(scene, { per: 'group', concurrency: 1 })
      await scene.send(...many(3, 'a'), ...many(2, null))
      assert.equal(await heldBack(), 0)
      await scene.claim()
      assert.equal(await heldBack(), 2)
      await limit(scene, { per: 'queue', concurrency: 3 })
      await assertHeldBack(scene)
      assert.equal(await heldBack(), 2)
      assert.equal((await scene.engine.stats(scene.queue)).ready, 2)
    },

    'the end of a lease wakes who waits for its slot': async (scene) => {
      for (const per of ['queue', 'group'] as const) {
        await limit(scene, { per, concurrency: 1 })
        await scene.send(of('a'), of('a'))
        const leased = await scene.claimOne()
        const wakes = await scene.watch()
        await assertHeldBack(scene)
        wakes.clear()
        await scene.delete(leased)
        await wakes.next((dueMs) => dueMs === 0)
        await scene.engine.purgeQueue(scene.queue)
      }
    },

    'a purge frees all slots': async (scene) => {
      await limit(scene, { per: 'queue', concurrency: 1 }, { per: 'group', concurrency: 1 })
      await scene.send(of('a'))
      await scene.claimOne()
      await scene.engine.purgeQueue(scene.queue)
      await scene.send(of('a'))
      await scene.claimOne()
    },

    'the slots of a process that is gone are free': async (scene) => {
      await limit(scene, { per: 'group', concurrency: 1 })
      const engine = scene.harness.secondEngine ? await scene.secondEngine() : scene.engine
      const gone = await listen(engine, () => {})
      await gone.listen(['life', `queue:${scene.queue}`])
      await scene.send(of('a'), of('a'))
      const request = { limit: 1, leaseMs: long, ids: null, held: true }
      assert.equal((await engine.claim(scene.queue, request)).messages.length, 1)
      const watching = await listen(scene.engine, () => {})
      await watching.listen(['life', `queue:${scene.queue}`])
      await gone.close()
      while ((await scene.peek({ place: 'leased' })).length > 0) await scene.passTime(short)
      await scene.claimOne({ limit: 1 })
      await assertHeldBack(scene)
      await watching.close()
    },
  },
  { needs: ['limits'] },
)
