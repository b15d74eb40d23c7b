import assert from 'node:assert/strict'
import { group } from '../group.ts'
import { assertAtLeast, dataOf, idsOf, long, move, only, settlement, short, text } from '../scene.ts'

export const moving = group('moving', {
  'a moved message starts anew in the other queue': async (scene) => {
    const other = await scene.newQueue()
    const leased = await scene.leaseRunOut({ ...text('body'), headers: { h: 1 }, priority: 2, orderingKey: 'k' })
    await scene.passTime(short)
    const { settled, newId } = await scene.settle(leased, move(other))
    assert.equal(settled, true)
    const copy = only(await scene.peek({}, other))
    assertAtLeast(copy.visibleAt, leased.sentAt + 2 * short, 'visibleAt')
    const { visibleAt, ...rest } = copy
    const { data, meta, headers, priority, orderingKey, group, sentAt } = leased
    assert.deepEqual(
      { ...rest, data: JSON.parse(rest.data) },
      {
        id: newId,
        data: JSON.parse(data),
        meta,
        headers,
        priority,
        orderingKey,
        group,
        sentAt,
        readCount: 0,
        firstReadAt: null,
        lastReadAt: null,
        archivedAt: null,
        receipt: null,
      },
    )
  },

  'a moved message is gone from its old queue': async (scene) => {
    const leased = await scene.lease()
    await scene.settle(leased, move(await scene.newQueue()))
    assert.equal(await scene.placeOf(leased.id), 'gone')
  },

  'meta is merged on the way': async (scene) => {
    const other = await scene.newQueue()
    const leased = await scene.lease({ meta: { kept: 1, removed: 1 } })
    await scene.settle(leased, move(other, { meta: { removed: null, error_message: 'boom' } }))
    assert.deepEqual((await scene.claimOne({}, other)).meta, { kept: 1, error_message: 'boom' })
  },

  'a bare message arrives whole': async (scene) => {
    const other = await scene.newQueue()
    const leased = await scene.lease({ data: '[1]', meta: { m: 1 }, headers: { h: 1 }, bare: true })
    await scene.settle(leased, move(other, { meta: { error_message: 'boom' } }))
    const copy = await scene.claimOne({}, other)
    assert.deepEqual([JSON.parse(copy.data), copy.meta, copy.headers], [[1], { m: 1, error_message: 'boom' }, { h: 1 }])
  },

  'a missing queue is created': async (scene) => {
    const missing = scene.newName()
    await scene.sendMany(2)
    const leased = await scene.claim()
    await scene.engine.settle(
      scene.queue,
      leased.map((message) => settlement(message, move(missing))),
    )
    assert.equal((await scene.engine.describe(null)).filter((info) => info.queue === missing).length, 1)
    assert.equal((await scene.claim({}, missing)).length, 2)
    assert.equal(await scene.engine.createQueue(missing), false)
  },

  'a moved message can be delayed': async (scene) => {
    const other = await scene.newQueue()
    await scene.settle(await scene.lease(), move(other, { delayMs: long }))
    const copy = only(await scene.peek({ place: 'delayed' }, other))
    assert.deepEqual(await scene.claim({}, other), [])
    assertAtLeast(copy.visibleAt, copy.sentAt + long, 'visibleAt')
  },

  'a batch arrives in its order': async (scene) => {
    const other = await scene.newQueue()
    await scene.send(text('a'), text('b'), text('c'))
    const [a, b, c] = await scene.claim()
    assert(a && b && c)
    const results = await scene.engine.settle(
      scene.queue,
      [c, a, b].map((message) => settlement(message, move(other))),
    )
    const arrived = await scene.peek({}, other)
    assert.deepEqual(dataOf(arrived), ['c', 'a', 'b'])
    assert.deepEqual(
      idsOf(arrived),
      results.map((result) => result.newId),
    )
  },

  'a batch goes to several queues': async (scene) => {
    const [left, right] = [await scene.newQueue(), scene.newName()]
    await scene.send(text('a'), text('b'))
    const [a, b] = await scene.claim()
    assert(a && b)
    await scene.engine.settle(scene.queue, [settlement(a, move(left)), settlement(b, move(right))])
    assert.deepEqual(dataOf(await scene.peek({}, left)), ['a'])
    assert.deepEqual(dataOf(await scene.peek({}, right)), ['b'])
  },

  'a move within a queue puts the message at its end': async (scene) => {
    await scene.send(text('a'), text('b'))
    const a = await scene.claimOne({ limit: 1 })
    const { newId } = await scene.settle(a, move(scene.queue))
    assert.notEqual(newId, a.id)
    assert.deepEqual(dataOf(await scene.claim()), ['b', 'a'])
  },

  'a message can be moved back': async (scene) => {
    const other = await scene.newQueue()
    const leased = await scene.lease(text('body'))
    await scene.settle(leased, move(other))
    await scene.settle(await scene.claimOne({}, other), move(scene.queue), other)
    const back = await scene.claimOne()
    assert.deepEqual([JSON.parse(back.data), back.readCount, back.sentAt], ['body', 1, leased.sentAt])
    assert.deepEqual(await scene.peek({}, other), [])
  },

  'a moved message joins the line of its key': async (scene) => {
    const other = await scene.newQueue()
    await scene.sendTo(other, { ...text('first'), orderingKey: 'k' })
    const leased = await scene.lease({ ...text('moved'), orderingKey: 'k' })
    await scene.settle(leased, move(other))
    const first = await scene.claimOne({}, other)
    assert.deepEqual(dataOf([first]), ['first'])
    await scene.delete(first, other)
    assert.deepEqual(dataOf(await scene.claim({}, other)), ['moved'])
  },
})
