import assert from 'node:assert/strict'
import { decode, encode } from '@msgpack/msgpack'
import fc from 'fast-check'
import { bytes, type Serializer } from 'tidings'
import { describe, test } from 'vitest'
import { z } from 'zod'
import { refusal, scene } from './support.ts'

interface Reading {
  readonly at: Date
  readonly raw: Uint8Array
}

const msgpack: Serializer<Reading> = { serialize: encode, deserialize: (stored) => decode(stored) as Reading }
const reading: Reading = { at: new Date(1_000), raw: new Uint8Array([0, 255, 128]) }

describe('a serializer', () => {
  test('gives back any bytes, wherever they are read', async () => {
    const { bus } = scene()
    const queue = bus.queue('q', { serializer: bytes })
    await fc.assert(
      fc.asyncProperty(fc.uint8Array(), async (data) => {
        await queue.send(data)
        const [read] = await queue.read()
        assert.deepEqual(read!.data, data)
        await read!.release()
        const [popped] = await queue.pop()
        assert.deepEqual(popped!.data, data)
      }),
    )
  })

  test('gives a handler and a loop what was sent', async () => {
    const { bus } = scene()
    const queue = bus.queue('q', { serializer: msgpack })
    await queue.sendBatch([{ data: reading }, { data: reading }])
    const handled: Reading[] = []
    const worker = queue.work(({ data }) => void handled.push(data), { maxMessages: 1 })
    await worker.finished
    for await (const { data } of queue.consume({ wait: 0 })) handled.push(data)
    assert.deepEqual(handled, [reading, reading])
  })

  test('is that of a topic, too', async () => {
    const { bus } = scene()
    const topic = bus.topic('t', { serializer: msgpack })
    await topic.publish(reading)
    const read: Reading[] = []
    for await (const { data } of topic.consume('s', { from: 'earliest', untilEmpty: 1, wait: 0 })) read.push(data)
    assert.deepEqual(read, [reading])
  })

  test('says in meta how the data is stored, and only for what it stored', async () => {
    const { bus } = scene()
    const queue = bus.queue('q', { serializer: bytes })
    const plain = bus.queue('q')
    await queue.send(new Uint8Array([104, 105]))
    const [stored] = await plain.peek()
    assert.deepEqual([stored!.data, stored!.meta.dataEncoding], ['aGk=', 'base64'])
    // The meta of one message is sent on with another.
    await bus.queue('other').send('text', { meta: stored!.meta })
    assert.equal((await bus.queue('other').peek())[0]!.meta.dataEncoding, undefined)
  })

  test('leaves JSON of other senders as it is', async () => {
    const { bus } = scene()
    await bus.queue('q').send('aGk=')
    const [message] = await bus.queue('q', { serializer: bytes }).read()
    assert.equal(message!.data, 'aGk=')
  })

  test('comes before the schema', async () => {
    const { bus } = scene()
    const schema = z.object({ at: z.date() })
    const queue = bus.queue('q', { schema, serializer: msgpack })
    await refusal(() => queue.send({ raw: 1 } as never), 'BODY_INVALID')
    await queue.send({ at: reading.at })
    assert.deepEqual((await queue.pop())[0]!.data, { at: reading.at })
  })

  test('that cannot read a message makes a dead letter of it', async () => {
    const { bus } = scene()
    await bus.queue('q', { serializer: bytes }).send(new Uint8Array([0xc1]))
    const queue = bus.queue('q', { serializer: msgpack })
    assert.deepEqual(await queue.pop(), [])
    const [dead] = await queue.deadLetters.list()
    assert.match(dead!.meta.errorMessage!, /data of message 1 in queue 'q' cannot be read by the serializer/)
    assert.equal(dead!.meta.dataEncoding, 'base64')
    // Who looks at it gets the bytes.
    assert.deepEqual(dead!.data, new Uint8Array([0xc1]))
  })

  test('shows what was sent to who only looks', async () => {
    const { bus } = scene()
    const queue = bus.queue('q', { serializer: msgpack })
    await queue.send(reading, { meta: { targetId: 'a' } })
    assert.deepEqual((await queue.peek())[0]!.data.at, reading.at)
    assert.deepEqual((await queue.peek({ meta: { targetId: 'a' } }))[0]!.data, reading)
    await (await queue.read())[0]!.deadLetter('no')
    assert.deepEqual((await queue.deadLetters.list())[0]!.data, reading)
    await bus.queue('q', { serializer: bytes }).send(new Uint8Array([0xc1]))
    await bus.queue('q').send('JSON of another sender')
    const shown: unknown[] = (await queue.peek()).map(({ data }) => data)
    assert.deepEqual(shown, [new Uint8Array([0xc1]), 'JSON of another sender'])
  })

  test('that refuses the data stores nothing', async () => {
    const { bus } = scene()
    const refusing = {
      serialize: () => {
        throw new Error('no')
      },
      deserialize: (one: Uint8Array) => one,
    }
    const refused = await refusal(
      () => bus.queue('q', { serializer: refusing }).send(1 as never),
      'BODY_UNSERIALIZABLE',
    )
    assert.equal(refused.message, 'data is 1, which the serializer refuses')
    const wrong = { ...refusing, serialize: () => 'text' as never }
    const made = await refusal(() => bus.queue('q', { serializer: wrong }).send(1 as never), 'BODY_UNSERIALIZABLE')
    assert.equal(made.message, 'the serializer made "text" of data; it must be a Uint8Array')
    await refusal(() => bus.queue('q', { serializer: bytes }).send('text' as never), 'TYPE')
    const small = bus.queue('q', { serializer: bytes, maxMessageBytes: 10 })
    await refusal(() => small.send(new Uint8Array(9)), 'BODY_TOO_LARGE')
    assert.deepEqual(await bus.queues(), [])
  })

  test('has both functions', () => {
    const { bus } = scene()
    assert.throws(() => bus.queue('q', { serializer: {} as never }), { code: 'TYPE' })
    assert.throws(() => bus.topic('t', { serializer: 1 as never }), { code: 'TYPE' })
  })
})
