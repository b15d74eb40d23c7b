import { describe, expect, test } from 'vitest'
import { exactly, record } from '../events/support.ts'
import { queryAlone as query, until } from '../postgres/support.ts'
import { freePort } from '../support/directories.ts'
import { hasRoom, listen, open, openDatabase, serve } from './event-support.ts'
import { ask } from './support.ts'

describe('bus.events() through a server', () => {
  test('is there where the storage of the server has events', async () => {
    const { url } = await openDatabase()
    const [postgres, memory] = [await open((await serve(url)).url), await open((await serve('memory:')).url)]
    expect([...postgres.engine.supports].toSorted()).toEqual(['durable', 'events', 'limits', 'topics'])
    expect([...memory.engine.supports]).toEqual(['limits', 'topics'])
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
    await bus.queue('n119_queue').create()
    const many = Array.from({ length: 120 }, (_, n) => remote.events({ namespace: `n${n}` }))
    await first.events.stop()
    await second.events.stop()
    await Promise.all(many.map((events) => events.start()))
    await until(async () => {
      await bus.queue('n119_queue').send(1)
      return many.at(-1)!.stats().received > 0
    }, 'the last of them hears, too')
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
    expect(errors[0]).toMatchObject({ code: 'STORAGE_FAILED', hint: expect.stringContaining('log of the server') })
    expect(events.stats().connected).toBe(true)
  })
})
