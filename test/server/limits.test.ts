import assert from 'node:assert/strict'
import { setTimeout as wait } from 'node:timers/promises'
import { describe, test } from 'vitest'
import { connect } from '../../src/index.ts'
import { ask, startServer } from './support.ts'

const at = '/v1/queues/orders'

async function start() {
  const server = await startServer()
  const call = async (path: string, body: unknown) => ask(server, 'POST', `${at}${path}`, { body })
  await ask(server, 'PUT', at)
  return { server, call }
}

const dataOf = ({ body }: { body: { messages: { message: unknown }[] } }) => body.messages.map(({ message }) => message)

describe('over HTTP', () => {
  test.each(['/read', '/read-poll', '/pop'])('what has expired is not handed out: %s', async (path) => {
    const { server, call } = await start()
    await call('/messages', { message: 'expired', ttl_ms: 10 })
    await call('/messages/batch', { entries: [{ message: 'good', ttl_ms: 60_000 }] })
    // Time itself is what is tested.
    await wait(25)
    assert.deepEqual(dataOf(await call(path, { qty: 10 })), ['good'])
    const letters = await ask(server, 'GET', `${at}/dead-letters`)
    assert.deepEqual(dataOf(letters), ['expired'])
    assert.match(letters.body.messages[0].meta.error_message, /^expired at /)
  })

  test('a time to live that ends before the message is ready is refused', async () => {
    const { call } = await start()
    const answer = await call('/messages', { message: 1, ttl_ms: 10, delay_ms: 20 })
    assert.deepEqual([answer.status, answer.body.code], [400, 'OPTION_CONFLICT'])
    assert.match(answer.body.message, /^ttl_ms is 10ms/)
  })

  test('a full queue answers with 429', async () => {
    const { call } = await start()
    assert.equal((await call('/messages', { message: 1, max_length: 1 })).status, 201)
    const refused = await call('/messages', { message: 2, max_length: 1 })
    assert.deepEqual([refused.status, refused.body.code], [429, 'QUEUE_FULL'])
    assert.deepEqual(refused.body.details, { queue: 'orders', length: 1, maxLength: 1 })
  })
})

describe('an answer that would be very large', () => {
  test('ends early and says so, and our own client asks on', async () => {
    const { server, call } = await start()
    await ask(server, 'PUT', '/v1/topics/news')
    const large = { entries: Array.from({ length: 4 }, (_, index) => ({ message: index + 'x'.repeat(900_000) })) }
    for (let batch = 0; batch < 8; batch++) {
      assert.equal((await call('/messages/batch', large)).status, 201)
      assert.equal((await ask(server, 'POST', '/v1/topics/news/messages', { body: large })).status, 201)
    }
    const peeked = await call('/peek', { limit: 100_000 })
    const { body: rest } = await call('/peek', { limit: 100_000, after: peeked.body.messages.at(-1).id })
    assert.deepEqual([peeked.body.more, rest.more], [true, false])
    assert.equal(dataOf(peeked).length + rest.messages.length, 32)
    const read = await ask(server, 'GET', '/v1/topics/news/messages?limit=100000')
    assert.equal(read.body.more, true)
    assert(read.body.messages.length < 32)
    const bus = await connect(server.url)
    assert.equal((await bus.queue('orders').peek({ limit: 1_000 })).length, 32)
    assert.equal((await bus.topic('news').read({ limit: 1_000 })).length, 32)
    await bus.close()
  })
})
