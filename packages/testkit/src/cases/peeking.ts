import assert from 'node:assert/strict'
import type { Peeked, Place } from 'tidings/internal/port/engine'
import { group } from '../group.ts'
import { archive, assertRejects, idsOf, long, only, release, waits } from '../scene.ts'

export const peeking = group('peeking', {
  'looking changes nothing': async (scene) => {
    const leased = await scene.leaseRunOut()
    const [id] = await scene.send({})
    const before = await scene.peek()
    assert.deepEqual(await scene.peek(), before)
    assert.equal((await scene.look(id)).readCount, 0)
    assert.deepEqual(idsOf(await scene.claim()), [leased.id, id])
  },

  'looking shows no receipts': async (scene) => {
    const leased = await scene.lease()
    await scene.settle(await scene.lease(), archive())
    await scene.settle(await scene.lease(), release())
    for (const place of [null, 'ready', 'leased', 'archived'] as const)
      for (const message of await scene.peek({ place })) assert.equal(message.receipt, null)
    assert.equal(only(await scene.peek({ place: 'leased' })).id, leased.id)
  },

  'every message is in its place': async (scene) => {
    const archived = await scene.lease()
    await scene.settle(archived, archive())
    const leased = await scene.lease()
    const ranOut = await scene.leaseRunOut()
    const released = await scene.lease()
    await scene.settle(released, release({ delayMs: long }))
    const [ready, ...delayed] = await scene.send({}, ...waits.map((delayMs) => ({ delayMs })))
    const places = {
      ready: [ranOut.id, ready!],
      delayed: [released.id, ...delayed],
      leased: [leased.id],
      archived: [archived.id],
    }
    for (const [place, ids] of Object.entries(places))
      assert.deepEqual(idsOf(await scene.peek({ place: place as keyof typeof places })), ids, place)
    assert.deepEqual(idsOf(await scene.peek()), [leased.id, ranOut.id, released.id, ready, ...delayed])
  },

  'messages are shown by id, not by priority or time': async (scene) => {
    const ids = await scene.send({}, { priority: 5 }, { delayMs: long }, { priority: -5 })
    await scene.claim({ limit: 1 })
    assert.deepEqual(idsOf(await scene.peek()), ids)
  },

  'a queue can be paged through': async (scene) => {
    const ids = await scene.sendMany(12)
    assert.deepEqual(idsOf(await scene.peek({ limit: 5 })), ids.slice(0, 5))
    assert.deepEqual(idsOf(await scene.peek({ limit: 5, afterId: ids[4]! })), ids.slice(5, 10))
    assert.deepEqual(idsOf(await scene.peek({ limit: 5, afterId: ids[9]! })), ids.slice(10))
    assert.deepEqual(await scene.peek({ limit: 5, afterId: ids[11]! }), [])
  },

  'paging goes on after a message that is gone': async (scene) => {
    const [first, second] = await scene.send({}, {})
    await scene.pop(1)
    assert.deepEqual(idsOf(await scene.peek({ afterId: first })), [second])
  },

  'a look at a part of the messages tells where to go on': async (scene) => {
    const ids = await scene.send({}, {}, {}, { delayMs: long }, {}, {}, {}, { delayMs: long }, {})
    const found: string[] = []
    let after: string | null = null
    for (let looks = 0; looks < 10; looks++) {
      const part: Peeked = await scene.peek({ place: 'delayed', afterId: after, scan: 3 })
      found.push(...idsOf(part))
      after = part.after ?? null
      if (after === null) break
    }
    assert.equal(after, null)
    assert.deepEqual(found, [ids[3], ids[7]])
    assert.equal((await scene.peek({ limit: 3, scan: 3 })).after, undefined)
  },

  'named messages are shown if they are there': async (scene) => {
    const [a, b, c] = await scene.send({}, {}, {})
    const gone = await scene.lease()
    await scene.delete(gone)
    assert.deepEqual(idsOf(await scene.peek({ ids: [c, gone.id, a] })), [a, c])
    assert.deepEqual(idsOf(await scene.peek({ ids: [c, b, a], limit: 2 })), [a, b])
    assert.deepEqual(await scene.peek({ ids: [] }), [])
  },

  'named messages are shown in the place that is asked for': async (scene) => {
    const archived = await scene.lease()
    await scene.settle(archived, archive())
    const [ready, delayed] = await scene.send({}, { delayMs: long })
    const ids = [archived.id, ready, delayed]
    assert.deepEqual(idsOf(await scene.peek({ ids, place: 'delayed' })), [delayed])
    assert.deepEqual(idsOf(await scene.peek({ ids, place: 'archived' })), [archived.id])
    assert.deepEqual(idsOf(await scene.peek({ ids })), [ready, delayed])
  },

  'messages are found by fields of their meta': async (scene) => {
    const [a, b, , foreign] = await scene.send(
      { meta: { target_id: '7', version: '1' } },
      { meta: { target_id: '7', version: '2' } },
      { meta: { target_id: '8' } },
      { meta: { target_id: 7 } },
      { meta: { other: '7' } },
      { meta: { target_id: { id: '7' } } },
      { meta: { target_id: null, done: true } },
    )
    assert.deepEqual(idsOf(await scene.peek({ meta: { target_id: '7' } })), [a, b, foreign])
    assert.deepEqual(idsOf(await scene.peek({ meta: { target_id: '7', version: '2' } })), [b])
    assert.deepEqual(await scene.peek({ meta: { target_id: '' } }), [])
    assert.equal((await scene.peek({ meta: { done: 'true' } })).length, 1)
    assert.equal((await scene.peek({ meta: {} })).length, 7)
  },

  'messages are found by meta in every state, with any form of body': async (scene) => {
    const meta = { target_id: '7' }
    const archived = await scene.lease({ meta, bare: true })
    await scene.settle(archived, archive())
    await scene.settle(await scene.lease({ meta: { target_id: '8' } }), archive())
    const leased = await scene.lease({ meta })
    const [ready, , delayed] = await scene.send({ meta, bare: true }, {}, { meta, delayMs: waits[1]! })
    assert.deepEqual(idsOf(await scene.peek({ meta })), [leased.id, ready, delayed])
    for (const [place, id] of Object.entries({ ready, delayed, leased: leased.id, archived: archived.id }))
      assert.equal(only(await scene.peek({ meta, place: place as Place })).id, id, place)
    assert.deepEqual(await scene.peek({ meta, place: 'leased', ids: [ready] }), [])
  },

  'messages found by meta can be paged through': async (scene) => {
    const [a, , c, , e] = await scene.send(...[1, 2, 1, 2, 1].map((id) => ({ meta: { target_id: `${id}` } })))
    const meta = { target_id: '1' }
    assert.deepEqual(idsOf(await scene.peek({ meta, limit: 2 })), [a, c])
    assert.deepEqual(idsOf(await scene.peek({ meta, limit: 2, afterId: c! })), [e])
  },

  'a missing queue has no places': async (scene) => {
    const missing = scene.newName()
    await assertRejects(scene.peek({}, missing), 'QUEUE_NOT_FOUND', 'peek')
    await assertRejects(scene.peek({ place: 'archived' }, missing), 'QUEUE_NOT_FOUND', 'peek')
  },
})
