import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, inject, onTestFinished, test } from 'vitest'
import type { Bus } from '../../src/bus.ts'
import type { Channels, Engine } from '../../src/engine.ts'
import { eventsMigration } from '../../src/engines/postgres/events-migration.ts'
import { connect } from '../../src/index.ts'
import { createServer } from '../../src/server/index.ts'
import { exactly, record } from '../events/support.ts'
import { newDatabase, query, until } from '../postgres/support.ts'
import { freePort, removeDirectory, serverDirectory } from '../support/directories.ts'
import { startHttpServer, type TestHttpServer } from '../support/http-server.ts'
import { EventClient } from './event-client.ts'
import { ask, bearer, head, makeToken, RawClient } from './support.ts'

/** The database of a test, with what lets its queues tell of themselves. */
async function openDatabase(settings: Parameters<typeof eventsMigration>[0] = {}): Promise<{ url: string; bus: Bus }> {
  const database = await newDatabase(inject('postgres18'))
  onTestFinished(() => database.drop())
  await (await connect(database.url)).close()
  await query(database.url, eventsMigration(settings).up)
  return { url: database.url, bus: await open(database.url) }
}

async function open(url: string, token?: string): Promise<Bus> {
  const bus = await connect(url, token === undefined ? {} : { token })
  onTestFinished(() => bus.close())
  return bus
}

async function serve(url: string, ...args: string[]): Promise<TestHttpServer> {
  const server = await startHttpServer(url, ...args)
  onTestFinished(() => server.stop('SIGKILL'))
  return server
}

/** Hears what is announced from now on. */
async function listen(server: { readonly url: string }, search = '', headers = {}): Promise<EventClient> {
  const client = await EventClient.open(server, `/v1/events${search}`, headers)
  expect(await client.next('listening')).toEqual({ installed: true })
  return client
}

/** Whether another stream may begin, which then goes at once. */
async function hasRoom(server: TestHttpServer): Promise<boolean> {
  const client = await EventClient.open(server, '/v1/events').catch(() => null)
  client?.destroy()
  return client !== null
}

/** How many connections to the database listen. */
async function listeners(url: string): Promise<number> {
  const text = `SELECT FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
    AND (query ~ '^(UN)?LISTEN' OR query ~ 'announce_due')`
  return (await query(url, text)).length
}

const breakListeners = `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
  WHERE datname = current_database() AND pid <> pg_backend_pid() AND query ~ 'LISTEN|announce_due'`

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

  test('frees a place and what it listens to when its client goes', async () => {
    const { url } = await openDatabase()
    const server = await serve(url, '--max-event-streams', '2')
    const [first, second] = [await listen(server), await listen(server, '?namespace=orders')]
    for (const path of ['/v1/events', '/v1/channels?names=pgmq_queue_created'])
      expect(await ask(server, 'GET', path)).toMatchObject({ status: 429, body: { code: 'TOO_MANY_STREAMS' } })
    expect(await listeners(url)).toBe(1)
    first.destroy()
    await until(() => hasRoom(server), 'there was room for another')
    second.destroy()
    await until(async () => (await listeners(url)) === 0, 'nothing listens any more')
    await listen(server)
  })

  test('listens to no channel that nobody wants any more', async () => {
    const { url } = await openDatabase()
    const bus = await open(url)
    const listened: string[] = []
    const server = createServer(
      bus.through((engine) => noting(engine, listened)),
      { port: 0, stopDeadline: 0 },
    )
    onTestFinished(() => server.stop())
    await server.start()
    const [all, orders] = [await listen(server), await listen(server, '?namespace=orders')]
    const both = ['pgmq_message_due', 'pgmq_message_ready', 'pgmq_message_ready.orders', 'pgmq_queue_created']
    expect(listened.toSorted()).toEqual(both)
    orders.destroy()
    await until(() => listened.length === 3, 'one was enough')
    expect(listened).not.toContain('pgmq_message_ready.orders')
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
    await until(() => hasRoom(server), 'its place was free')
    slow.socket.resume()
    await slow.until(/event: error\ndata: .*the client reads too slowly/)
  })

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
  const openChannels: NonNullable<Engine['openChannels']> = async (listener) => {
    const channels = await engine.openChannels!(listener)
    const noted: Channels = {
      async listen(names) {
        await channels.listen(names)
        listened.push(...names.filter((name) => !listened.includes(name)))
      },
      async unlisten(names) {
        await channels.unlisten(names)
        for (const name of names) listened.splice(listened.indexOf(name), 1)
      },
      announceDue: () => channels.announceDue(),
      async close() {
        await channels.close()
        listened.length = 0
      },
    }
    return noted
  }
  return new Proxy(engine, {
    get: (target, name) => (name === 'openChannels' ? openChannels : bound(target, Reflect.get(target, name, target))),
  })
}

const bound = (target: Engine, member: unknown) => (typeof member === 'function' ? member.bind(target) : member)

describe('tokens', () => {
  const [some, all, sender] = [
    makeToken({ name: 'some', scopes: ['read'], queues: ['orders.*'] }),
    makeToken({ name: 'all', scopes: ['read'] }),
    makeToken({ name: 'sender', scopes: ['send'] }),
  ]

  async function start() {
    const { url, bus } = await openDatabase()
    const folder = await serverDirectory('tokens')
    onTestFinished(() => removeDirectory(folder))
    const file = join(folder, 'tokens')
    const lines = [some, all, sender].map(({ entry }) => JSON.stringify(entry))
    writeFileSync(file, `${lines.join('\n')}\n`, { mode: 0o600 })
    return { url, bus, server: await serve(url, '--token-file', file) }
  }

  test('hear of no queue that does not exist for them', async () => {
    const { url, bus, server } = await start()
    const client = await listen(server, '', bearer(some.secret))
    const channels = await EventClient.open(
      server,
      '/v1/channels?names=pgmq_queue_created,pgmq_message_ready',
      bearer(some.secret),
    )
    await channels.next('listening')
    const parsed: unknown[] = []
    const [mine, everything] = [
      await record(await open(server.url, some.secret)),
      await record(await open(server.url, all.secret), { onParseError: (_, { text }) => parsed.push(text) }),
    ]
    await bus.queue('secret').create()
    await bus.queue('secret').send('s3cret')
    await bus.queue('secret').sendBatch([{ data: 1 }, { data: 2 }])
    // It might be of any queue.
    await query(url, `SELECT pg_notify('pgmq_message_ready', 's3cret')`)
    await bus.queue('orders.new').create()
    await bus.queue('orders.new').send(1)
    expect(await client.next('queue_created')).toMatchObject({ queue_name: 'orders.new' })
    expect(await client.next('message_with_payload')).toMatchObject({ queue_name: 'orders.new' })
    for (const text of ['"queue_name": "orders.new"', '"message_with_payload"'])
      expect((await channels.next('notified')).text).toContain(text)
    expect(await exactly(mine.seen, 2)).toMatchObject([{ type: 'queue_created' }, { queue: 'orders.new', data: 1 }])
    expect(await exactly(everything.seen, 5)).toMatchObject([
      { type: 'queue_created', queue: 'secret' },
      { data: 's3cret' },
      { type: 'batch_ready', queue: 'secret' },
      { type: 'queue_created', queue: 'orders.new' },
      { data: 1 },
    ])
    expect(parsed).toEqual(['s3cret'])
    expect(mine.events.stats()).toMatchObject({ received: 2, parseErrors: 0 })
  })

  test('need the scope read', async () => {
    const { server } = await start()
    for (const path of ['/v1/events', '/v1/channels?names=pgmq_queue_created'])
      expect(await ask(server, 'GET', path, { headers: bearer(sender.secret) })).toMatchObject({ status: 403 })
    const bus = await open(server.url, sender.secret)
    // Trying again would not mend it.
    await expect(bus.events().start()).rejects.toMatchObject({ code: 'FORBIDDEN' })
  })

  test('listen to channels of events only', async () => {
    const { server } = await start()
    const names = ['pgmq.q_orders', 'tidings', 'a b.pgmq_queue_created', `pgmq_message_ready.${'n'.repeat(60)}`, '']
    for (const name of names)
      expect(
        await ask(server, 'GET', `/v1/channels?names=${encodeURIComponent(name)}`, { headers: bearer(all.secret) }),
        name,
      ).toMatchObject({ status: 400, body: { code: 'CONFIG_INVALID' } })
    const many = Array.from({ length: 101 }, () => 'pgmq_queue_created').join(',')
    expect(await ask(server, 'GET', `/v1/channels?names=${many}`, { headers: bearer(all.secret) })).toMatchObject({
      status: 400,
    })
  })
})

describe('bus.events() through a server', () => {
  test('is there where the storage of the server has events', async () => {
    const { url } = await openDatabase()
    const [postgres, memory] = [await open((await serve(url)).url), await open((await serve('memory:')).url)]
    expect([...postgres.engine.supports].toSorted()).toEqual(['durable', 'events', 'topics'])
    expect([...memory.engine.supports]).toEqual(['topics'])
    expect(() => memory.events()).toThrow(expect.objectContaining({ code: 'UNSUPPORTED' }))
  })

  test('goes on when the server is back, and says that it was away', async () => {
    const { url, bus } = await openDatabase()
    const port = String(await freePort())
    const first = await serve(url, '--port', port)
    const remote = await open(first.url)
    const errors: unknown[] = []
    const { seen, events } = await record(remote, { onConnectionError: (error) => errors.push(error) })
    await bus.queue('orders').create()
    await exactly(seen, 1)
    await first.stop('SIGKILL')
    await until(() => errors.length > 0, 'it was told')
    expect(errors[0]).toMatchObject({ code: 'CONNECTION_LOST' })
    expect(events.stats().connected).toBe(false)
    await serve(url, '--port', port)
    await until(() => events.stats().connected, 'it is connected again')
    await bus.queue('orders').send('again')
    expect(await exactly(seen, 1)).toMatchObject([{ data: 'again' }])
  })

  test('waits for a place where all are taken', async () => {
    const { url, bus } = await openDatabase()
    const server = await serve(url, '--max-event-streams', '1')
    const client = await listen(server)
    const errors: unknown[] = []
    const { seen, events } = await record(await open(server.url), { onConnectionError: (error) => errors.push(error) })
    expect(errors).toMatchObject([{ code: 'TOO_MANY_STREAMS' }])
    client.destroy()
    await until(() => events.stats().connected, 'it got one')
    await bus.queue('orders').create()
    await exactly(seen, 1)
  })

  test('takes one stream for all who listen to the same, and further ones for more', async () => {
    const { url, bus } = await openDatabase()
    const server = await serve(url, '--max-event-streams', '2')
    const remote = await open(server.url)
    const names = ['orders_queue', 'hires_queue']
    const [first, second, narrow] = [
      await record(remote),
      await record(remote),
      await record(remote, { namespace: 'hires' }),
    ]
    expect((await ask(server, 'GET', '/v1/events')).status).toBe(429)
    for (const name of names) await bus.queue(name).create()
    for (const name of names) await bus.queue(name).send(name)
    for (const { seen } of [first, second])
      expect((await exactly(seen, 4)).map(({ queue }) => queue)).toEqual([...names, ...names])
    expect((await exactly(narrow.seen, 2)).map(({ type }) => type).toSorted()).toEqual([
      'message_with_payload',
      'queue_created',
    ])
    await narrow.events.stop()
    await until(() => hasRoom(server), 'its stream has ended')
    const many = Array.from({ length: 120 }, (_, n) => remote.events({ namespace: `n${n}` }))
    await first.events.stop()
    await second.events.stop()
    await Promise.all(many.map((events) => events.start()))
    await until(() => many.every((events) => events.stats().connected), 'all are connected')
  })

  test('tells of what could not be announced', async () => {
    const { url } = await openDatabase()
    const server = await serve(url)
    const errors: unknown[] = []
    const { events } = await record(await open(server.url), { onConnectionError: (error) => errors.push(error) })
    await query(url, 'ALTER TABLE tidings_events.due RENAME TO gone')
    // Somebody looks for what is due.
    await query(url, `SELECT pg_notify('pgmq_message_due', '0')`)
    await until(() => errors.length > 0, 'it was told')
    expect(errors[0]).toMatchObject({ message: expect.stringContaining('tidings_events.due') })
    expect(events.stats().connected).toBe(true)
  })
})
