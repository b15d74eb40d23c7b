import assert from 'node:assert/strict'
import { group } from '../group.ts'
import { assertAtLeast, assertRejects, dataOf, idsOf, newMessage, text } from '../scene.ts'

const values = [
  null,
  true,
  0,
  -1.5,
  1e21,
  '',
  'text',
  [],
  {},
  [1, [2, [3]], { a: [null] }],
  { '': 1, 'a b': { c: 'quote " backslash \\ newline \n tab \t slash /' } },
  'Grüße, 你好, 🚀, \u2028, \u007f, %s, $1, {{x}}',
]

export const sending = group('sending', {
  'a message comes back as it was sent': async (scene) => {
    const message = { data: '{"a":[1,"b"]}', meta: { target_id: 't', deep: { x: [1] } }, headers: { h: 'v', n: 2 } }
    const [id] = await scene.send(message)
    const leased = await scene.claimOne()
    assert.equal(leased.id, id)
    assert.deepEqual(JSON.parse(leased.data), { a: [1, 'b'] })
    assert.deepEqual(leased.meta, message.meta)
    assert.deepEqual(leased.headers, message.headers)
    assert.equal(leased.priority, 0)
    assert.equal(leased.orderingKey, null)
  },

  'an unread message has times of sending only': async (scene) => {
    const [id] = await scene.send({})
    const message = await scene.look(id)
    assert(Number.isInteger(message.sentAt), 'sentAt is a whole number')
    assert(Number.isInteger(message.visibleAt), 'visibleAt is a whole number')
    assertAtLeast(message.visibleAt, message.sentAt, 'visibleAt')
    const { readCount, firstReadAt, lastReadAt, archivedAt, receipt } = message
    assert.deepEqual(
      { readCount, firstReadAt, lastReadAt, archivedAt, receipt },
      { readCount: 0, firstReadAt: null, lastReadAt: null, archivedAt: null, receipt: null },
    )
  },

  'options of a message do not change its headers and meta': async (scene) => {
    const [id] = await scene.send({
      meta: { m: 1 },
      headers: { h: 1 },
      priority: 3,
      orderingKey: 'key',
      dedup: { id: 'd', windowMs: 1_000 },
      uniqueTarget: 't',
    })
    const message = await scene.look(id)
    assert.deepEqual([message.meta, message.headers], [{ m: 1 }, { h: 1 }])
    assert.deepEqual([message.priority, message.orderingKey], [3, 'key'])
  },

  'any JSON value is data': async (scene) => {
    await scene.send(...values.map((value) => ({ data: JSON.stringify(value) })))
    assert.deepEqual(dataOf(await scene.claim()), values)
  },

  'an integer beyond 2^53 is kept exactly': async (scene) => {
    const [id] = await scene.send({ data: '{"n":12345678901234567891}' })
    assert.match((await scene.look(id)).data, /12345678901234567891/)
  },

  'a long text is kept whole': async (scene) => {
    const value = 'x€'.repeat(100_000)
    const [id] = await scene.send({ data: JSON.stringify(value) })
    assert.equal(JSON.parse((await scene.look(id)).data), value)
  },

  'names of the language are plain fields': async (scene) => {
    const fields = JSON.parse('{"__proto__":{"polluted":1},"constructor":2,"toString":3}')
    const [id] = await scene.send({ data: JSON.stringify(fields), meta: fields, headers: fields })
    const message = await scene.look(id)
    for (const stored of [JSON.parse(message.data), message.meta, message.headers]) {
      assert.deepEqual(Object.keys(stored).sort(), ['__proto__', 'constructor', 'toString'])
      assert.equal(stored.polluted, undefined)
    }
  },

  'data that looks like an envelope is data': async (scene) => {
    const data = { data: 1, meta: { queue_name: 'x' } }
    const [enveloped, bare] = await scene.send(
      { data: JSON.stringify(data), meta: { m: 1 } },
      { data: JSON.stringify(data), meta: { m: 2 }, bare: true },
    )
    for (const [id, m] of [
      [enveloped, 1],
      [bare, 2],
    ] as const) {
      const message = await scene.look(id)
      assert.deepEqual(JSON.parse(message.data), data)
      assert.deepEqual(message.meta, { m })
    }
  },

  'a bare message reads like any other': async (scene) => {
    const message = { data: '[1,2]', meta: { m: { x: null } }, headers: { h: 1 }, priority: 2, orderingKey: 'k' }
    const [id] = await scene.send({ ...message, bare: true })
    const stored = await scene.look(id)
    assert.deepEqual(JSON.parse(stored.data), [1, 2])
    assert.deepEqual([stored.meta, stored.headers], [message.meta, message.headers])
    assert.deepEqual([stored.priority, stored.orderingKey], [2, 'k'])
  },

  'results and messages have the order of the batch': async (scene) => {
    const labels = Array.from({ length: 1_000 }, (_, index) => `m${index}`)
    const ids = await scene.send(...labels.map(text))
    assert.equal(new Set(ids).size, labels.length)
    const messages = await scene.claim({ limit: labels.length })
    assert.deepEqual(idsOf(messages), ids)
    assert.deepEqual(dataOf(messages), labels)
  },

  'an id is not used again': async (scene) => {
    const [first] = await scene.send({})
    await scene.pop()
    const [second] = await scene.send({})
    assert.notEqual(second, first)
  },

  'changes that the caller makes after sending stay outside': async (scene) => {
    const meta = { m: 'before' }
    const [id] = await scene.send({ meta })
    meta.m = 'after'
    assert.deepEqual((await scene.look(id)).meta, { m: 'before' })
  },

  'changes that a reader makes stay outside': async (scene) => {
    const leased = await scene.lease({ meta: { deep: { m: 'before' } } })
    Object.assign(leased.meta.deep as object, { m: 'after' })
    assert.deepEqual((await scene.look(leased.id)).meta, { deep: { m: 'before' } })
  },

  'queues do not mix': async (scene) => {
    const other = await scene.newQueue()
    await scene.send(text('here'))
    await scene.sendTo(other, text('there'))
    assert.deepEqual(dataOf(await scene.claim()), ['here'])
    assert.deepEqual(dataOf(await scene.claim({}, other)), ['there'])
  },

  'sending does not create the queue': async (scene) => {
    const missing = scene.newName()
    await assertRejects(scene.engine.send(missing, [newMessage({})], null), 'QUEUE_NOT_FOUND', 'send')
    const names = (await scene.engine.describe(null)).map((info) => info.queue)
    assert(!names.includes(missing))
  },
})
