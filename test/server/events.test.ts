import { setTimeout as wait } from 'node:timers/promises'
import { Bus } from 'tidings/internal/bus/bus'
import type { Engine } from 'tidings/internal/port/engine'
import { createServer } from 'tidings-server'
import { describe, expect, onTestFinished, test } from 'vitest'
import { query, until } from '../postgres/support.ts'
import { breakListeners, hasRoom, listen, listeners, open, openDatabase, serve } from './event-support.ts'
import { ask, head, RawClient } from './support.ts'

describe('GET /v1/events', () => {
  test('tells of queues, messages, batches and what is too large to be told', async () => {
    const { url, bus } = await openDatabase()
    const client = await listen(await serve(url))
    const queue = bus.queue('orders_queue')
    await queue.create()
    const common = { queue_name: 'orders_queue', namespace: 'orders', metadata: {} }
    const time = expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/)
    const metadata = { is_partitioned: false, is_unlogged: false }
    expect(await client.next('queue_created')).toEqual({ ...common, metadata, created_at: time })

    await queue.send({ name: 'Ada' }, { meta: { correlationId: 'c-1' } })
    const ready = { ...common, ready_at: time, delay_seconds: 0 }
    const meta = expect.objectContaining({ correlation_id: 'c-1' })
    const message = { name: 'Ada' }
    expect(await client.next('message_with_payload')).toEqual({ ...ready, msg_id: 1, message, meta })
    await queue.send('x'.repeat(9_000))
    expect(await client.next('message_ready')).toEqual({ ...ready, msg_id: 2 })
    await queue.sendBatch([{ data: 1 }, { data: 2 }])
    expect(await client.next('batch_ready')).toEqual({ ...ready, count: 2, msg_ids: [3, 4], truncated: false })
    await queue.sendBatch(Array.from({ length: 2_000 }, (_, data) => ({ data })))
    expect(await client.next('batch_ready')).toEqual({ ...ready, count: 2_000, msg_ids: null, truncated: true })

    const sentAt = Date.now()
    await queue.send('later', { delay: '1s' })
    expect(await client.next('message_with_payload')).toMatchObject({ message: 'later', delay_seconds: 1 })
    expect(Date.now() - sentAt).toBeGreaterThanOrEqual(1_000)
  })

  test('keeps every digit, and tells of data that nests too deeply without them', async () => {
    const { url, bus } = await openDatabase()
    await bus.queue('orders').create()
    const client = new RawClient((await serve(url)).url).send(head('GET /v1/events'))
    await client.until(/event: listening/)
    const insert = (message: string) =>
      query(url, `INSERT INTO pgmq.q_orders (vt, message) VALUES (clock_timestamp(), $1)`, [message])
    await insert('9007199254740993')
    expect(await client.until(/message_with_payload\ndata: .*\n/)).toContain('"message":9007199254740993')
    await insert('['.repeat(500) + ']'.repeat(500))
    expect(await client.until(/message_ready\ndata: .*\n/)).toContain('"msg_id":2')
    await insert('"after"')
    await client.until(/"message":"after"/)
  })

  test('tells of what was asked for: by prefix, namespace and queue', async () => {
    const { url, bus } = await openDatabase({ channelPrefix: 'app' })
    const server = await serve(url)
    const [all, orders, one, none] = [
      await listen(server, '?prefix=app'),
      await listen(server, '?prefix=app&namespace=orders'),
      await listen(server, '?prefix=app&queue=hires_queue'),
      await listen(server),
    ]
    for (const name of ['orders_queue', 'hires_queue', 'last']) {
      await bus.queue(name).create()
      await bus.queue(name).send(name)
    }
    for (const name of ['orders_queue', 'hires_queue', 'last']) {
      expect(await all.next('queue_created')).toMatchObject({ queue_name: name })
      expect(await all.next('message_with_payload')).toMatchObject({ message: name })
    }
    for (const [client, name] of [[orders, 'orders_queue'] as const, [one, 'hires_queue'] as const]) {
      expect(await client.next('queue_created')).toMatchObject({ queue_name: name })
      expect(await client.next('message_with_payload')).toMatchObject({ message: name })
    }
    // What else was for them has come by now.
    await query(url, `SELECT pg_notify('pgmq_queue_created', $1)`, [
      '{"event_type":"queue_created","queue_name":"end","namespace":"orders","created_at":"2026-01-01T00:00:00Z"}',
    ])
    expect(await none.next('queue_created')).toMatchObject({ queue_name: 'end' })
    await bus.queue('hires_queue').send('end')
    await bus.queue('orders_queue').send('end')
    for (const client of [orders, one])
      expect(await client.next('message_with_payload')).toMatchObject({ message: 'end' })
  })

  test('frees a place when its client goes', async () => {
    const { url } = await openDatabase()
    const server = await serve(url, '--max-event-streams', '2')
    const [first, second] = [await listen(server), await listen(server, '?namespace=orders')]
    for (const path of ['/v1/events', '/v1/channels?names=pgmq_queue_created'])
      expect(await ask(server, 'GET', path)).toMatchObject({ status: 429, body: { code: 'TOO_MANY_STREAMS' } })
    expect(await listeners(url)).toBe(1)
    first.destroy()
    await until(() => hasRoom(server), 'there was room for another')
    second.destroy()
    await listen(server)
  })

  test('listens to no channel that nobody wants any more', async () => {
    const { url } = await openDatabase()
    const bus = await open(url)
    const listened: string[] = []
    const server = createServer(new Bus(noting(bus.engine, listened)), { port: 0, stopDeadline: 0 })
    onTestFinished(() => server.stop())
    await server.start()
    const [all, orders] = [await listen(server), await listen(server, '?namespace=orders')]
    const both = ['pgmq_message_due', 'pgmq_message_ready', 'pgmq_message_ready.orders', 'pgmq_queue_created'].map(
      (channel) => `channel:${channel}`,
    )
    expect(listened.toSorted()).toEqual(both)
    orders.destroy()
    await until(() => listened.length === 3, 'one was enough')
    expect(listened).not.toContain('channel:pgmq_message_ready.orders')
    all.destroy()
    await until(() => listened.length === 0, 'the connection was given back')
  })

  test('ends with an error when the connection to the storage breaks, so that the client knows', async () => {
    const { url } = await openDatabase()
    const server = await serve(url)
    const client = await listen(server)
    await query(url, breakListeners)
    expect(await client.next('error')).toMatchObject({ code: 'CONNECTION_LOST' })
    await client.ended
    await listen(server)
  })

  test('ends with an error for a client that reads too slowly, whose place is free then', async () => {
    const { url } = await openDatabase()
    const server = await serve(url, '--max-event-streams', '1')
    const slow = new RawClient(server.url).send(head('GET /v1/events'))
    await slow.until(/event: listening/)
    slow.socket.pause()
    const flood = `SELECT pg_notify('pgmq_message_ready', json_build_object('event_type', 'message_ready',
      'queue_name', 'q', 'namespace', 'default', 'ready_at', '2026-01-01T00:00:00Z', 'msg_id', n,
      'metadata', json_build_object('pad', repeat('x', 7000)))::text) FROM generate_series(1, 3000) n`
    await query(url, flood)
    // Much has to come through first; the time of the test is the limit.
    while (!(await hasRoom(server))) await wait(50)
    slow.socket.resume()
    await slow.until(/event: error\ndata: .*the client reads too slowly/)
  }, 300_000)

  test('is over when the server stops', async () => {
    const { url } = await openDatabase()
    const server = await serve(url)
    const client = await listen(server)
    await server.stop('SIGTERM')
    await client.ended
  })
})

/** The engine, which keeps a list of the channels that are listened to. */
function noting(engine: Engine, listened: string[]): Engine {
  const listen: Engine['listen'] = async (listener) => {
    const listening = await engine.listen(listener)
    return {
      async listen(interests) {
        const refused = await listening.listen(interests)
        const channels = interests.filter((one) => one.startsWith('channel:'))
        listened.push(...channels.filter((one) => !listened.includes(one)))
        return refused
      },
      unlisten(interests) {
        listening.unlisten(interests)
        for (const one of interests) if (listened.includes(one)) listened.splice(listened.indexOf(one), 1)
      },
      close: () => listening.close(),
    }
  }
  return new Proxy(engine, {
    get: (target, name) => (name === 'listen' ? listen : bound(target, Reflect.get(target, name, target))),
  })
}

const bound = (target: Engine, member: unknown) => (typeof member === 'function' ? member.bind(target) : member)
