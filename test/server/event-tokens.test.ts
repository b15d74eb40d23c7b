import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createServer } from 'tidings-server'
import { describe, expect, onTestFinished, test } from 'vitest'
import { exactly, record } from '../events/support.ts'
import { queryAlone as query, until } from '../postgres/support.ts'
import { removeDirectory, serverDirectory } from '../support/directories.ts'
import { EventClient } from './event-client.ts'
import { listen, open, openDatabase, serve } from './event-support.ts'
import { ask, bearer, makeToken } from './support.ts'

describe('tokens of those who hear events', () => {
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
    return { url, bus, file, server: await serve(url, '--token-file', file) }
  }

  test('that are taken back hear nothing more, and others go on', async () => {
    const { bus, server, file } = await start()
    const [mine, other] = [await listen(server, '', bearer(some.secret)), await listen(server, '', bearer(all.secret))]
    writeFileSync(file, `${JSON.stringify(all.entry)}\n`, { mode: 0o600 })
    await until(async () => {
      const { status } = await ask(server, 'GET', '/v1', { headers: bearer(some.secret) })
      return status === 401
    }, 'the server has read the file')
    await bus.queue('orders.new').create()
    expect(await mine.next('error')).toMatchObject({ code: 'UNAUTHORIZED' })
    await mine.ended
    expect(await other.next('queue_created')).toMatchObject({ queue_name: 'orders.new' })
  })

  test('that expire hear nothing more', async () => {
    const { url, bus } = await openDatabase()
    // Later than a slow machine takes to listen.
    const expires = new Date(Date.now() + 15_000)
    const { secret, entry } = makeToken({ name: 'short', scopes: ['read'], expires: expires.toISOString() })
    const server = createServer(bus, { port: 0, stopDeadline: 0, tokens: [entry] })
    onTestFinished(() => server.stop())
    await server.start()
    const client = await listen(server, '', bearer(secret))
    await until(() => Date.now() >= expires.getTime(), 'its time is over')
    await query(url, `SELECT pgmq.create('late')`)
    expect(await client.next('error')).toMatchObject({ code: 'UNAUTHORIZED' })
  })

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
