import assert from 'node:assert/strict'
import { setTimeout as wait } from 'node:timers/promises'
import { type Bus, connect } from 'tidings'
import type { ServerOptions } from 'tidings-server'
import { describe, onTestFinished, test } from 'vitest'
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

describe('what would be more than the server takes at once', () => {
  const most = { maxBodyBytes: 65_536 }
  const large = Array.from({ length: 10 }, (_, index) => index + '"'.repeat(12_000))

  async function connectTo(options: ServerOptions): Promise<Bus> {
    const bus = await connect((await startServer(options)).url)
    onTestFinished(() => bus.close())
    return bus
  }

  test('is sent in parts, if it was not one batch', async () => {
    const bus = await connectTo(most)
    const queue = bus.queue<string>('orders')
    await queue.create()
    await bus.bind('#', queue)
    const topic = bus.topic<string>('news')
    await topic.create()
    await Promise.all(large.flatMap((one) => [queue.send(one), topic.publish(one), bus.publish('Orders.Paid', one)]))
    const labels = (found: readonly { readonly data: unknown }[]) => found.map(({ data }) => String(data).slice(0, 1))
    const digits = [...'0123456789']
    assert.deepEqual(labels(await queue.peek({ limit: 100 })).sort(), [...digits, ...digits].sort())
    assert.deepEqual(labels(await topic.read({ limit: 100 })), digits)
    const reason = 'x'.repeat(20_000)
    await Promise.all((await queue.read({ limit: 20 })).map((message) => message.deadLetter(reason)))
    assert.equal((await queue.deadLetters.redrive()).length, 20)
    await Promise.all((await queue.read({ limit: 20 })).map((message) => message.archive()))
    assert.equal((await queue.replay()).length, 20)
  })

  test('is refused before it is sent, if it was', async () => {
    const queue = (await connectTo(most)).queue<string>('orders')
    await queue.create()
    await assert.rejects(queue.sendBatch(large.map((data) => ({ data }))), { code: 'BODY_TOO_LARGE' })
    assert.deepEqual(await queue.peek(), [])
  })

  test('is ten sends of half a megabyte', async () => {
    const queue = (await connectTo({})).queue<string>('orders')
    const half = Array.from({ length: 10 }, (_, index) => index + 'x'.repeat(500_000))
    await Promise.all(half.map((one) => queue.send(one)))
    assert.equal((await queue.stats()).ready, 10)
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

  /** 32 messages of 900 kB: 29 MB, of which 18 fit into one answer. */
  async function startWithLarge() {
    const started = await start()
    const large = { entries: Array.from({ length: 4 }, (_, index) => ({ message: index + 'x'.repeat(900_000) })) }
    for (let batch = 0; batch < 8; batch++) await started.call('/messages/batch', large)
    return started
  }

  test.each(['/read', '/pop'])('takes no more than it says: %s', async (path) => {
    const { call } = await startWithLarge()
    const first = await call(path, { qty: 10_000 })
    assert.equal(first.body.more, true)
    const size = first.body.messages.length
    assert(size >= 1 && size * 900_000 < 25_000_000, `${size} messages`)
    if (path === '/read') assert.deepEqual([size, first.body.next_due_ms], [18, 0])
    const rest = await call(path, { qty: 10_000 })
    assert.deepEqual([rest.body.more, rest.body.messages.length], [false, 32 - size])
    const ids = [...first.body.messages, ...rest.body.messages].map(({ id }: { id: string }) => Number(id))
    assert.deepEqual(
      ids,
      Array.from({ length: 32 }, (_, index) => index + 1),
    )
    const counts = rest.body.messages.map(({ read_ct }: { read_ct: number }) => read_ct)
    // Giving back what did not fit was no read.
    if (path === '/read') assert.deepEqual(new Set(counts), new Set([1]))
  })

  test('is read to its end by our own client, as fast as it asks', async () => {
    const { server } = await startWithLarge()
    const bus = await connect(server.url)
    const queue = bus.queue('orders')
    assert.equal((await queue.read({ limit: 1_000 })).length, 18)
    assert.equal((await queue.pop({ limit: 1_000, wait: '1m' })).length, 14)
    await bus.close()
  })

  test('may be one of dead letters, which goes on after an id', async () => {
    const { server } = await startWithLarge()
    const queue = server.bus.queue('orders')
    while ((await queue.stats()).ready > 0)
      await Promise.all((await queue.read({ limit: 100 })).map((message) => message.deadLetter('broken')))
    const first = await ask(server, 'GET', `${at}/dead-letters?limit=1000`)
    assert.equal(first.body.more, true)
    assert(first.body.messages.length < 30)
    const last = first.body.messages.at(-1).id
    const rest = await ask(server, 'GET', `${at}/dead-letters?limit=1000&after=${last}`)
    assert.deepEqual([rest.body.more, rest.body.messages.length], [false, 32 - first.body.messages.length])
  })
})
