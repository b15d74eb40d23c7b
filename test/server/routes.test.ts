import assert from 'node:assert/strict'
import { Bus } from 'tidings'
import { errorTable, TidingsError } from 'tidings/internal/core/errors'
import { MemoryEngine } from 'tidings/internal/engines/memory/memory'
import type { Wakeups } from 'tidings/internal/port/wakeups'
import { createServer, type Server } from 'tidings-server'
import { AckBoard } from 'tidings-server/internal/http/ack-board'
import { streamSubscription } from 'tidings-server/internal/streams/subscription-stream'
import { describe, onTestFinished, test } from 'vitest'
import { sharedServer } from '../support/shared-servers.ts'
import { EventClient } from './event-client.ts'
import { type Answer, ask, head, RawClient, startServer } from './support.ts'

const post = (server: { url: string }, path: string, body: unknown, headers?: Record<string, string>) =>
  ask(server, 'POST', path, { body, ...(headers ? { headers } : {}) })

async function startWithQueue(url = 'memory:', queue = `q${Math.random().toString(36).slice(2, 10)}`) {
  const server = await startServer({}, url)
  await ask(server, 'PUT', `/v1/queues/${queue}`)
  return { server, queue, at: `/v1/queues/${queue}` }
}

const idsOf = (answer: Answer): unknown[] => answer.body.messages.map((one: { msg_id: unknown }) => one.msg_id)
const only = (answer: Answer) => {
  assert.equal(answer.body.messages.length, 1)
  return answer.body.messages[0]
}

/** Asks with a socket of its own, which the test can destroy. */
function askRaw(server: { url: string }, method: string, path: string, body?: unknown): RawClient {
  const text = body === undefined ? '' : JSON.stringify(body)
  const headers = body === undefined ? [] : ['Content-Type: application/json', `Content-Length: ${text.length}`]
  return new RawClient(server.url).send(head(`${method} ${path}`, ...headers) + text)
}

describe('clients of the HTTP server of PGMQ', () => {
  test('in Python may say False, 0, a time with a space, and no ids', async () => {
    const server = await startServer()
    for (const no of ['False', 'false', '0'])
      assert.equal((await ask(server, 'PUT', `/v1/queues/orders?unlogged=${no}`)).status, 201, no)
    for (const yes of ['True', 'true', '1', ''])
      assert.equal((await ask(server, 'PUT', `/v1/queues/orders?unlogged=${yes}`)).body.code, 'UNSUPPORTED', yes)
    assert.equal((await ask(server, 'PUT', '/v1/queues/orders?unlogged=no')).body.code, 'TYPE')
    const far = '2031-11-22 04:00:00'
    for (const delay of [far, `${far}+00:00`, `${far}.123456+00:00`])
      assert.equal((await post(server, '/v1/queues/orders/messages', { message: 1, delay })).status, 201, delay)
    assert.equal((await ask(server, 'GET', '/v1/queues/orders/metrics')).body.delayed, 3)
    const peeked = await post(server, '/v1/queues/orders/peek', { ids: [2] })
    assert.equal(only(peeked).vt, '2031-11-22T04:00:00.000Z')
    assert.equal((await post(server, '/v1/queues/orders/messages', { message: 1, delay: 'in 2031' })).status, 400)
    for (const call of ['delete', 'archive'])
      assert.deepEqual((await post(server, `/v1/queues/orders/messages/${call}`, { msg_ids: [] })).body, {
        msg_ids: [],
      })
  })

  test('find queues, messages and figures in its shape', async () => {
    const server = await startServer()
    const put = await ask(server, 'PUT', '/v1/queues/orders')
    assert.deepEqual([put.status, put.body.queue_name, put.body.unlogged], [201, 'orders', false])
    const listed = (await ask(server, 'GET', '/v1/queues')).body.queues[0]
    assert.equal(new Date(listed.created_at).toISOString(), listed.created_at)
    assert.deepEqual(
      { ...listed, created_at: '' },
      { queue_name: 'orders', is_partitioned: false, is_unlogged: false, created_at: '' },
    )
    const sent = await post(server, '/v1/queues/orders/messages', { message: { n: 1 }, headers: null, delay: 0 })
    assert.deepEqual([sent.status, sent.body.msg_id], [201, 1])
    const batch = await post(server, '/v1/queues/orders/messages/batch', {
      messages: [{ n: 2 }, null],
      headers: [{ h: 1 }, null],
      delay: '2030-01-01T00:00:00Z',
    })
    assert.deepEqual([batch.status, batch.body.msg_ids], [201, [2, 3]])
    const read = only(await post(server, '/v1/queues/orders/read', { vt: 30, qty: 5, conditional: {} }))
    assert.deepEqual([read.msg_id, read.read_ct, read.message, read.headers], [1, 1, { n: 1 }, null])
    assert.equal(Date.parse(read.vt) - Date.parse(read.last_read_at), 30_000)
    const figures = (await ask(server, 'GET', '/v1/queues/orders/metrics')).body
    assert.deepEqual([figures.queue_length, figures.queue_visible_length, figures.total_messages], [3, 0, 3])
    const age = figures.newest_msg_age_sec
    assert(Number.isInteger(age) && age >= 0 && age < 30, `${age} s`)
    assert.deepEqual((await ask(server, 'GET', '/v1/metrics')).body.queues.length, 1)
    assert.deepEqual((await post(server, '/v1/queues/orders/purge', {})).body, { purged: 3 })
    assert.equal((await ask(server, 'DELETE', '/v1/queues/orders')).status, 204)
    const gone = await ask(server, 'DELETE', '/v1/queues/orders')
    assert.deepEqual([gone.status, gone.body.error], [404, 'queue_not_found'])
  })

  test('settle by id what they have read, and nothing that another reader has', async () => {
    const { server, at } = await startWithQueue()
    await post(server, `${at}/messages/batch`, { messages: [1, 2, 3, 4, 5] })
    await post(server, `${at}/read`, { qty: 2 })
    // Somebody else's, of whom this server knows nothing.
    await server.bus.engine.claim(at.split('/')[3]!, { limit: 1, leaseMs: 60_000, ids: null })
    assert.equal((await ask(server, 'DELETE', `${at}/messages/1`)).status, 204)
    assert.equal((await ask(server, 'DELETE', `${at}/messages/1`)).status, 404)
    const foreign = await ask(server, 'DELETE', `${at}/messages/3`)
    assert.deepEqual([foreign.status, foreign.body.code], [404, 'MESSAGE_NOT_FOUND'])
    assert.deepEqual((await post(server, `${at}/messages/archive`, { msg_ids: [2, 3, 4] })).body, { msg_ids: [2, 4] })
    assert.deepEqual((await post(server, `${at}/messages/delete`, { msg_ids: [3, 4, 5] })).body, { msg_ids: [5] })
    assert.deepEqual(idsOf(await post(server, `${at}/peek`, {})), [3])
    assert.deepEqual(idsOf(await post(server, `${at}/peek`, { place: 'archived' })), [2, 4])
  })

  test('say by vt when a message can be read again', async () => {
    const { server, at } = await startWithQueue()
    await post(server, `${at}/messages/batch`, { messages: [1, 2] })
    await post(server, `${at}/read`, {})
    const longer = await post(server, `${at}/messages/1/vt`, { vt: 600 })
    assert.equal(longer.status, 200)
    assert(Date.parse(longer.body.vt) > Date.now() + 500_000)
    assert.equal((await ask(server, 'DELETE', `${at}/messages/1`)).status, 204)
    const free = await post(server, `${at}/messages/2/vt`, { vt: new Date(Date.now() + 600_000).toISOString() })
    assert.deepEqual([free.status, free.body.read_ct, free.body.receipt], [200, 0, null])
    assert.deepEqual(idsOf(await post(server, `${at}/read`, {})), [])
    assert.equal((await post(server, `${at}/messages/9/vt`, { vt: 1 })).status, 404)
    await post(server, `${at}/messages`, { message: 3 })
    await post(server, `${at}/read`, {})
    assert.equal((await post(server, `${at}/messages/3/vt`, { vt: 0 })).body.receipt, null)
    assert.deepEqual(idsOf(await post(server, `${at}/read`, {})), [3])
  })

  test('read only what their condition fits', async () => {
    const { server, at } = await startWithQueue()
    await post(server, `${at}/messages/batch`, { messages: [{ k: 1, x: 0 }, { k: 2 }, 7, { k: 2, x: 1 }] })
    assert.deepEqual(idsOf(await post(server, `${at}/read`, { conditional: { k: 2 }, qty: 1 })), [2])
    const polled = await post(server, `${at}/read-poll`, { conditional: { k: 2 }, qty: 5, max_poll_seconds: 10 })
    assert.deepEqual(idsOf(polled), [4])
    assert.deepEqual(idsOf(await post(server, `${at}/read`, { qty: 5 })), [1, 3])
  })
})

describe('data', () => {
  test('keeps integers that a number cannot hold, in both forms', async () => {
    for (const url of ['memory:', await sharedServer('postgres18')]) {
      const { server, at } = await startWithQueue(url)
      const large = '12345678901234567891'
      await ask(server, 'POST', `${at}/messages`, {
        text: `{"message":{"n":${large}}}`,
      })
      await post(server, `${at}/messages`, { data: `[${large}]` }, { 'tidings-data': 'text' })
      const asked = await fetch(`${server.url}${at}/peek`, { method: 'POST' })
      const text = await asked.text()
      assert.equal(text.match(new RegExp(large, 'g'))?.length, 2)
      const exact = await post(server, `${at}/peek`, {}, { 'tidings-data': 'text' })
      assert.deepEqual(
        exact.body.messages.map((one: { data: string }) => one.data.replaceAll(' ', '')),
        [`{"n":${large}}`, `[${large}]`],
      )
      await ask(server, 'DELETE', at)
    }
  })

  test('comes in the form that the header says, and in one only', async () => {
    const { server, at } = await startWithQueue()
    const text = { 'tidings-data': 'text' }
    for (const [body, headers] of [
      [{ message: 1 }, text],
      [{ data: '1' }, {}],
      [{ data: '1', message: 1 }, {}],
      [{}, {}],
    ] as const) {
      const answer = await post(server, `${at}/messages`, body, headers)
      assert.deepEqual([answer.status, answer.body.code], [400, 'TYPE'], JSON.stringify(body))
    }
    for (const data of ['{"a":', '"\\ud800"', '"\\u0000"', `${'['.repeat(200)}${']'.repeat(200)}`]) {
      const answer = await post(server, `${at}/messages`, { data }, text)
      assert.equal(answer.status, 400, data.slice(0, 20))
      assert.match(answer.body.code, /^BODY_/)
    }
  })

  test('carries meta in the names of the wire, and what the server says about the queue', async () => {
    const { server, at, queue } = await startWithQueue()
    const meta = { correlation_id: 'c', queue_name: 'elsewhere', own: { x: 1 } }
    await post(server, `${at}/messages`, { message: 1, meta })
    assert.deepEqual(only(await post(server, `${at}/peek`, {})).meta, {
      queue_name: queue,
      correlation_id: 'c',
      own: { x: 1 },
    })
  })
})

describe('errors', () => {
  test('have the status of their code, and say the same in both ways', async () => {
    const { server, at } = await startWithQueue()
    const wrong: [string, string, unknown, keyof typeof errorTable][] = [
      ['POST', '/v1/queues/nothing/read', {}, 'QUEUE_NOT_FOUND'],
      ['POST', `${at}/read`, { qty: 0 }, 'LIMIT_RANGE'],
      ['POST', `${at}/read`, { vt: 1, lease_ms: 1 }, 'OPTION_CONFLICT'],
      ['POST', `${at}/read`, { vtt: 1 }, 'OPTION_UNKNOWN'],
      ['POST', `${at}/settle`, { settlements: [{ id: '1', receipt: 'r', kind: 'move' }] }, 'TYPE'],
      ['POST', `${at}/settle`, { settlements: [{ id: '1', receipt: 'r', kind: 'burn' }] }, 'TYPE'],
      ['POST', `${at}/extend`, { leases: [{ id: '1', receipt: 'r' }], lease_ms: 0 }, 'LEASE_RANGE'],
      ['POST', `${at}/messages/batch`, { entries: [] }, 'BATCH_SIZE'],
      ['POST', `${at}/messages/batch`, { messages: [1], entries: [{ message: 1 }] }, 'OPTION_CONFLICT'],
      ['POST', `${at}/messages/batch`, { messages: [1, 2], headers: [{}] }, 'BATCH_SIZE'],
      ['POST', `${at}/messages`, { message: 1, headers: { 'x-pgmq-group': 'g' } }, 'HEADERS_INVALID'],
      ['POST', `${at}/messages`, { message: 1, delay: -1 }, 'DELAY_RANGE'],
      ['POST', `${at}/messages`, { message: 1, delay: 1, delay_ms: 1 }, 'OPTION_CONFLICT'],
      ['DELETE', `${at}/messages/a.b`, undefined, 'MESSAGE_ID_INVALID'],
      ['PUT', `${at}/bindings/a..b`, undefined, 'PATTERN_INVALID'],
      ['POST', '/v1/publish', { message: 1 }, 'TYPE'],
      ['POST', '/v1/publish', { message: 1, routing_key: 'a b' }, 'KEY_INVALID'],
      ['GET', '/v1/correlations/none', undefined, 'CORRELATION_NOT_FOUND'],
      ['GET', '/v1/topics/nothing', undefined, 'TOPIC_NOT_FOUND'],
      ['GET', '/v1/events', undefined, 'UNSUPPORTED'],
      ['GET', '/v1/channels?names=pgmq_queue_created', undefined, 'UNSUPPORTED'],
      ['GET', '/v1/channels?names=pgmq.q_orders', undefined, 'CONFIG_INVALID'],
    ]
    for (const [method, path, body, code] of wrong) {
      const answer = await ask(server, method, path, { body })
      const where = `${method} ${path} ${JSON.stringify(body)} ${JSON.stringify(answer.body)}`
      assert.equal(answer.body.code, code, where)
      assert.equal(answer.status, errorTable[code].httpStatus, where)
      assert.deepEqual([answer.body.error, answer.body.detail], [code.toLowerCase(), answer.body.message], where)
    }
  })

  test('that nobody foresaw keep to themselves what they say', async () => {
    const engine = new MemoryEngine()
    engine.stats = () => Promise.reject(new Error('postgres://user:secret@host'))
    const server = await serve(engine)
    const answer = await ask(server, 'GET', '/v1/queues/q/metrics')
    assert.deepEqual([answer.status, answer.body.code], [500, 'STORAGE_FAILED'])
    assert(!JSON.stringify(answer.body).includes('secret'))
  })

  test.each([
    ['STORAGE_FAILED', 500],
    ['CONNECTION_FAILED', 503],
    ['CONNECTION_LOST', 503],
    ['OUTCOME_UNKNOWN', 503],
    ['STORAGE_FULL', 507],
    ['PERMISSION_DENIED', 403],
  ] as const)('of the storage tell neither where it is nor what it said: %s', async (code, status) => {
    const cause = new Error('secret words')
    const details = { sqlState: 'secret', comesBack: true }
    const engine = new MemoryEngine()
    const error = new TidingsError(code, 'Storage at /secret/place: secret', {
      cause,
      details,
      hint: 'Look at /secret.',
    })
    engine.stats = () => Promise.reject(error)
    const answer = await ask(await serve(engine), 'GET', '/v1/queues/q/metrics')
    assert.deepEqual([answer.status, answer.body.code], [status, code])
    assert.match(answer.body.message, /storage/)
    assert.deepEqual(answer.body.details, { comesBack: true })
    assert(!JSON.stringify(answer.body).includes('secret'))
  })
})

/** A server on an engine of the test's own. */
async function serve(engine: MemoryEngine): Promise<Server & { bus: Bus }> {
  const bus = new Bus(engine)
  const server = createServer(bus, { port: 0, stopDeadline: 0 })
  onTestFinished(async () => {
    await server.stop()
    await bus.close()
  })
  await server.start()
  return Object.assign(server, { bus })
}

describe('a client that goes away', () => {
  test.each(['memory:', 'postgres'])('while it waits takes nothing with it (%s)', async (storage) => {
    const { server, at } = await startWithQueue(storage === 'postgres' ? await sharedServer('postgres18') : storage)
    const watched = watchedOnce(server.bus.wakeups)
    const waiting = askRaw(server, 'POST', `${at}/read`, { wait_ms: 60_000 })
    await watched
    waiting.socket.destroy()
    await noticed(server)
    await post(server, `${at}/messages`, { message: 1 })
    assert.equal(only(await post(server, `${at}/read`, { wait_ms: 20_000 })).read_ct, 1)
    await ask(server, 'DELETE', at)
  })

  test('before it has the answer gives its leases back, uncounted', async () => {
    const engine = new MemoryEngine()
    const server = await serve(engine)
    await engine.createQueue('q')
    await post(server, '/v1/queues/q/messages', { message: 1 })
    const claim = engine.claim.bind(engine)
    const [claimed, goOn] = [newGate(), newGate()]
    engine.claim = async (...args) => {
      const result = await claim(...args)
      claimed.open()
      await goOn.opened
      return result
    }
    const client = askRaw(server, 'POST', '/v1/queues/q/read', {})
    await claimed.opened
    client.socket.destroy()
    await noticed(server)
    engine.claim = claim
    goOn.open()
    const message = only(await post(server, '/v1/queues/q/read', { wait_ms: 20_000 }))
    assert.equal(message.read_ct, 1)
  })

  test.each(['memory:', 'postgres'])(
    'in the middle of a stream gives back what it has not settled (%s)',
    async (storage) => {
      const { server, at } = await startWithQueue(storage === 'postgres' ? await sharedServer('postgres18') : storage)
      await post(server, `${at}/messages/batch`, { messages: [1, 2, 3] })
      const stream = await EventClient.open(server, `${at}/stream?prefetch=3`)
      const [first] = [await stream.next('message'), await stream.next('message'), await stream.next('message')]
      const settlement = { id: first!.id, receipt: first!.receipt, kind: 'delete' }
      assert.deepEqual(
        (await post(server, `${at}/settle`, { settlements: [settlement] })).body.results[0].settled,
        true,
      )
      stream.destroy()
      const again = []
      while (again.length < 2) {
        const read = await post(server, `${at}/read`, { qty: 2 - again.length, wait_ms: 20_000 })
        again.push(...read.body.messages)
      }
      assert.deepEqual(again.map(({ message, read_ct }) => [message, read_ct]).sort(), [
        [2, 1],
        [3, 1],
      ])
      await ask(server, 'DELETE', at)
    },
  )

  test.each(['memory:', 'postgres'])('leaves the subscription that its stream held (%s)', async (storage) => {
    const server = await startServer({}, storage === 'postgres' ? await sharedServer('postgres18') : storage)
    const at = `/v1/topics/t${Math.random().toString(36).slice(2, 10)}`
    await ask(server, 'PUT', at)
    await ask(server, 'PUT', `${at}/subscriptions/s`, { body: { from: 'earliest' } })
    await post(server, `${at}/messages`, { entries: [{ message: 1 }, { message: 2 }] })
    const first = await EventClient.open(server, `${at}/subscriptions/s/stream`)
    const { receipt } = await first.next('holding')
    await first.next('message')
    assert.deepEqual((await post(server, `${at}/subscriptions/s/ack`, { offset: 1, receipt })).body, { acked: true })
    const second = await EventClient.open(server, `${at}/subscriptions/s/stream?lease_ms=60000`)
    first.destroy()
    assert.equal((await second.next('holding')).cursor, 1)
    assert.deepEqual((await second.next('message')).message, 2)
    second.destroy()
    await ask(server, 'DELETE', at)
  })
})

describe('streams', () => {
  test('hold back what would be more than may be unsettled', async () => {
    const { server, at } = await startWithQueue()
    await post(server, `${at}/messages/batch`, { messages: [1, 2, 3] })
    const stream = await EventClient.open(server, `${at}/stream?prefetch=2`)
    const first = await stream.next('message')
    await stream.next('message')
    assert.deepEqual(idsOf(await post(server, `${at}/peek`, { place: 'ready' })), [3])
    const held = [{ id: first.id, receipt: first.receipt }]
    const { receipts } = (await post(server, `${at}/extend`, { leases: held, lease_ms: 60_000 })).body
    assert.deepEqual(idsOf(await post(server, `${at}/peek`, { place: 'ready' })), [3])
    await post(server, `${at}/settle`, { settlements: [{ id: first.id, receipt: receipts[0], kind: 'delete' }] })
    assert.equal((await stream.next('message')).message, 3)
    // Settling by id counts as well.
    await ask(server, 'DELETE', `${at}/messages/2`)
    await post(server, `${at}/messages`, { message: 4 })
    assert.equal((await stream.next('message')).message, 4)
    stream.destroy()
  })

  test('go on when a lease has run out', async () => {
    const { server, at } = await startWithQueue()
    await post(server, `${at}/messages`, { message: 1 })
    const stream = await EventClient.open(server, `${at}/stream?prefetch=1&lease_ms=50`)
    assert.equal((await stream.next('message')).read_ct, 1)
    assert.equal((await stream.next('message')).read_ct, 2)
    stream.destroy()
  })

  test('of a subscription send again from where it was moved to', async () => {
    const server = await startServer()
    await ask(server, 'PUT', '/v1/topics/t')
    await ask(server, 'PUT', '/v1/topics/t/subscriptions/s', { body: { from: 'earliest' } })
    await post(server, '/v1/topics/t/messages', { entries: [{ message: 1 }, { message: 2 }] })
    const stream = await EventClient.open(server, '/v1/topics/t/subscriptions/s/stream?prefetch=2')
    const { receipt } = await stream.next('holding')
    assert.deepEqual([(await stream.next('message')).offset, (await stream.next('message')).offset], [1, 2])
    await post(server, '/v1/topics/t/messages', { message: 3 })
    await post(server, '/v1/topics/t/subscriptions/s/ack', { offset: 2, receipt })
    assert.equal((await stream.next('message')).offset, 3)
    await post(server, '/v1/topics/t/subscriptions/s/seek', { position: { offset: 2 } })
    const moved = await stream.next('holding')
    assert.equal(moved.cursor, 1)
    assert.notEqual(moved.receipt, receipt)
    assert.equal((await stream.next('message')).offset, 2)
    stream.destroy()
  })

  test('an acknowledgement by hand goes forward, or is refused', async () => {
    const server = await startServer()
    await ask(server, 'PUT', '/v1/topics/t')
    await ask(server, 'PUT', '/v1/topics/t/subscriptions/s', { body: { from: 'earliest' } })
    await post(server, '/v1/topics/t/messages', { entries: [{ message: 1 }, { message: 2 }, { message: 3 }] })
    const ack = async (offset: number) => {
      const { status, body } = await ask(server, 'POST', '/v1/topics/t/subscriptions/s/ack', { body: { offset } })
      return { status, answer: body.code ?? body.acked }
    }
    assert.deepEqual(await ack(2), { status: 200, answer: true })
    assert.deepEqual(await ack(2), { status: 200, answer: true })
    assert.deepEqual(await ack(1), { status: 400, answer: 'RANGE' })
    assert.deepEqual(await ack(9), { status: 200, answer: true })
  })

  test('end with an error that says why', async () => {
    const engine = new MemoryEngine()
    const server = await serve(engine)
    await engine.createQueue('q')
    const watched = watchedOnce(server.bus.wakeups)
    const stream = await EventClient.open(server, '/v1/queues/q/stream')
    await watched
    await engine.dropQueue('q')
    assert.equal((await stream.next('error')).code, 'QUEUE_NOT_FOUND')
    await stream.ended
  })
})

test('a stream of a subscription that cannot begin leaves nothing behind', async () => {
  let followers = 0
  class Board extends AckBoard {
    override follow(...args: Parameters<AckBoard['follow']>) {
      followers++
      const unfollow = super.follow(...args)
      return () => {
        followers--
        unfollow()
      }
    }
  }
  const { signal } = new AbortController()
  const settings = { prefetch: 1, leaseMs: 1_000, toText: () => '', signal }
  const { stored, wakeups } = new Bus(new MemoryEngine())
  const subscription = stored.topic('gone').subscription('s')
  const streaming = streamSubscription(subscription, wakeups, settings, new Board(), { send: async () => true })
  await assert.rejects(streaming, { code: 'TOPIC_NOT_FOUND' })
  assert.equal(followers, 0)
})

describe('waiting', () => {
  test('ends with the first message', async () => {
    const { server, at } = await startWithQueue()
    const watched = watchedOnce(server.bus.wakeups)
    const reading = post(server, `${at}/read`, { wait_ms: 60_000 })
    await watched
    await post(server, `${at}/messages`, { message: 1 })
    assert.equal(only(await reading).message, 1)
  })

  test('on a subscription ends with the first message too', async () => {
    const server = await startServer()
    await ask(server, 'PUT', '/v1/topics/t')
    await ask(server, 'PUT', '/v1/topics/t/subscriptions/s')
    const reading = ask(server, 'GET', '/v1/topics/t/subscriptions/s/messages?wait_ms=60000')
    await post(server, '/v1/topics/t/messages', { message: 1 })
    assert.equal(only(await reading).offset, 1)
    assert.equal(only(await ask(server, 'GET', '/v1/topics/t/subscriptions/s/messages')).offset, 1)
  })
})

/** Two answers of the server: by then it has seen what happened to its sockets before. */
async function noticed(server: { url: string }): Promise<void> {
  for (let round = 0; round < 2; round++) await ask(server, 'GET', '/v1')
}

/** Resolves when somebody watches a queue. */
function watchedOnce(wakeups: Wakeups): Promise<void> {
  const subscribe = wakeups.subscribe.bind(wakeups)
  return new Promise((resolve) => {
    wakeups.subscribe = async (subscriber) => {
      wakeups.subscribe = subscribe
      const watching = await subscribe(subscriber)
      resolve()
      return watching
    }
  })
}

function newGate(): { opened: Promise<void>; open: () => void } {
  let open = () => {}
  const opened = new Promise<void>((resolve) => {
    open = resolve
  })
  return { opened, open }
}
