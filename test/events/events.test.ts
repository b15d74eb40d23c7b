import { connect, TidingsError } from 'tidings'
import { Bus } from 'tidings/internal/bus/bus'
import type { Engine } from 'tidings/internal/port/engine'
import { describe, expect, test } from 'vitest'
import { query, until } from '../postgres/support.ts'
import { sharedServer } from '../support/shared-servers.ts'
import { databases, exactly, record } from './support.ts'

const server = await sharedServer('postgres18')
const openDirectly = databases()
const openOverHttp = databases('over HTTP')

describe.each(['direct', 'over HTTP'] as const)('%s', (way) => {
  const open = databases(way)

  test('namespaces, queues and prefixes: every reader gets the events of its selection, over one connection', async () => {
    const { bus, url } = await open(server, { channelPrefix: 'app', queuePattern: '(?<namespace>\\w+)_jobs' })
    const [all, orders, one, none] = [
      await record(bus, { prefix: 'app' }),
      await record(bus, { prefix: 'app', namespace: 'orders' }),
      await record(bus, { prefix: 'app', queue: 'hires_jobs' }),
      await record(bus),
    ]
    const names = ['orders_jobs', 'hires_jobs', 'other']
    for (const name of names) await bus.queue(name).create()
    for (const name of names) await bus.queue(name).send(name)

    const ready = (await exactly(all.seen, 6)).slice(3)
    expect(ready.map(({ queue, namespace }) => [queue, namespace])).toEqual([
      ['orders_jobs', 'orders'],
      ['hires_jobs', 'hires'],
      ['other', 'default'],
    ])
    expect(await exactly(orders.seen, 2)).toMatchObject([{ type: 'queue_created' }, { queue: 'orders_jobs' }])
    expect(await exactly(one.seen, 2)).toMatchObject([{ type: 'queue_created' }, { queue: 'hires_jobs' }])
    expect(none.seen).toEqual([])
    expect(orders.events.stats().channels).toEqual(['app.pgmq_queue_created', 'app.pgmq_message_ready.orders'])
    expect(await listeners(url)).toBe(1)

    // The others go on without it.
    await orders.events.stop()
    await bus.queue('orders_jobs').send('more')
    expect(await exactly(all.seen, 1)).toMatchObject([{ data: 'more' }])
    for (const { events } of [all, one, none]) await events.stop()
    // And again.
    const again = await record(bus, { prefix: 'app' })
    await bus.queue('orders_jobs').send('again')
    expect(await exactly(again.seen, 1)).toMatchObject([{ data: 'again' }])
  })

  test('a connection that breaks is made again, and what is due meanwhile is announced', async () => {
    const { bus, url } = await open(server)
    const queue = bus.queue('robust')
    await queue.create()
    const errors: unknown[] = []
    const { seen, events } = await record(bus, { onConnectionError: (error) => errors.push(error) })
    await queue.send('due', { delay: '300ms' })
    await query(
      url,
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
      WHERE datname = current_database() AND pid <> pg_backend_pid() AND query ~ 'LISTEN|announce_due|tidings[.]look'`,
    )
    await until(() => errors.length > 0, 'the handler was told')
    expect(events.stats()).toMatchObject({ connectionErrors: 1, lastErrorAt: expect.any(Date) })
    await until(() => events.stats().connected, 'it is connected again')
    await queue.send('after')
    expect((await exactly(seen, 2)).map((event) => 'data' in event && event.data).toSorted()).toEqual(['after', 'due'])
    expect(errors).toMatchObject([{ code: 'CONNECTION_LOST' }])
  })

  test('a notification that is no event goes to onParseError, is counted and ends nothing', async () => {
    const { bus, url } = await open(server)
    const queue = bus.queue('noisy')
    await queue.create()
    const errors: string[] = []
    const { seen, events } = await record(bus, {
      onParseError(error, { channel, text }) {
        errors.push(`${channel}: ${text}: ${error.message}`)
        throw new Error('the handler of errors is broken, too')
      },
    })
    for (const text of [
      '{"cut',
      '[]',
      '{"event_type":"unheard_of","queue_name":"q","namespace":"n","ready_at":"2026-01-01"}',
    ])
      await query(url, `SELECT pg_notify('pgmq_message_ready', $1)`, [text])
    await queue.send('good')
    expect(await exactly(seen, 1)).toMatchObject([{ data: 'good' }])
    expect(errors).toHaveLength(3)
    expect(errors[1]).toBe('pgmq_message_ready: []: it is not a JSON object')
    expect(events.stats()).toMatchObject({ parseErrors: 3, received: 1 })
  })

  test('a full buffer drops new events and counts them', async () => {
    const { bus } = await open(server)
    const queue = bus.queue('busy')
    await queue.create()
    const events = bus.events({ buffer: 20 })
    await events.start()
    const fill = async (until_: number) => {
      while (events.stats().received < until_) {
        const { received } = events.stats()
        await queue.send(received)
        await until(() => events.stats().received > received, 'it came')
      }
      return events.stats()
    }
    expect(await fill(15)).toMatchObject({ saturation: 0.75, health: 'healthy', dropped: 0 })
    expect(await fill(16)).toMatchObject({ saturation: 0.8, health: 'degraded' })
    expect(await fill(19)).toMatchObject({ saturation: 0.95, health: 'critical' })
    expect(await fill(25)).toMatchObject({ saturation: 1, health: 'critical', received: 25, dropped: 5 })
    const read: unknown[] = []
    for await (const event of events) {
      read.push('data' in event ? event.data : null)
      if (read.length === 20) break
    }
    expect(read).toEqual(Array.from({ length: 20 }, (_, index) => index))
    expect(events.state).toBe('stopped')
  })

  test('one reader: a handler that throws ends nothing, and may stop what it reads', async () => {
    const { bus } = await open(server)
    const queue = bus.queue('handled')
    await queue.create()
    const events = bus.events()
    const seen: unknown[] = []
    await events.listen(async (event) => {
      seen.push(event)
      if (seen.length === 1) throw new Error('no')
      await events.stop()
    })
    await expect(events.listen(() => {})).rejects.toMatchObject({ code: 'OPTION_CONFLICT' })
    await queue.send(1)
    await queue.send(2)
    await until(() => events.state === 'stopped', 'it was stopped')
    expect(seen).toHaveLength(2)
    expect(events.stats()).toMatchObject({ handlerErrors: 1 })
  })

  test('readers with the payload claim by id first, so that each message is handled once', async () => {
    const { bus, at } = await open(server)
    const other = await connect(at)
    const handled: unknown[] = []
    const passed: unknown[] = []
    for (const one of [bus, other]) {
      const queue = one.queue('claimed')
      await queue.create()
      await one.events({ queue: 'claimed' }).listen(async (event) => {
        if (event.type !== 'message_with_payload') return
        const message = await queue.readById(event.id)
        if (message === null) return void passed.push(event.data)
        handled.push(message.data)
        await message.delete()
      })
    }
    for (let index = 0; index < 20; index++) await bus.queue('claimed').send(index)
    await until(() => handled.length + passed.length === 40, 'both heard of all')
    expect(handled.toSorted((a, b) => Number(a) - Number(b))).toEqual(Array.from({ length: 20 }, (_, index) => index))
    await other.close()
  })

  test('closing the bus ends the loop; after that nothing starts', async () => {
    const { at } = await open(server)
    const bus = await connect(at)
    const events = bus.events()
    const late = bus.events()
    const loop = (async () => {
      for await (const _ of events) throw new Error('nothing was sent')
    })()
    await events.start()
    expect(events.stats().installed).toBe(true)
    await bus.close()
    await loop
    await expect(late.start()).rejects.toMatchObject({ code: 'CLOSED' })
  })

  test('a missing migration is reported', async () => {
    const { bus } = await open(server, null)
    const { events } = await record(bus)
    expect(events.stats()).toMatchObject({ connected: true, installed: false })
  })
})

async function listeners(url: string): Promise<number> {
  const text = `SELECT count(*)::integer AS count FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'tidings' AND pid <> pg_backend_pid()
      AND query ~ '^(UN)?LISTEN|announce_due|tidings[.]look'`
  return (await query(url, text))[0]!.count as number
}

test('engines without events refuse, and so do wrong options', async () => {
  const memory = await connect('memory:')
  expect(() => memory.events()).toThrow(expect.objectContaining({ code: 'UNSUPPORTED' }))
  await memory.close()
  const { bus } = await openDirectly(server, null)
  expect(() => bus.events({ prefix: 'no-dash' })).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }))
  expect(() => bus.events({ namespace: 'a b' })).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }))
  expect(() => bus.events({ buffer: 0 })).toThrow(expect.objectContaining({ code: 'RANGE' }))
})

test('a server that is down when listening begins is tried again until it is there', async () => {
  const errors: unknown[] = []
  let attempts = 0
  const listened: string[] = []
  const fake: Partial<Engine> = {
    name: 'fake',
    supports: new Set(['events']),
    history: {} as Engine['history'],
    async listen({ announcing }) {
      if (++attempts < 3) throw new TidingsError('CONNECTION_FAILED', 'nobody there')
      announcing({ installed: true, prefix: '' })
      return {
        listen: async (interests) => {
          listened.push(...interests)
          return new Map()
        },
        unlisten() {},
        close: async () => {},
      }
    },
    close: async () => {},
  }
  const bus = new Bus(fake as Engine)
  const events = bus.events({ namespace: 'x'.repeat(60), onConnectionError: (error) => errors.push(error) })
  await events.start()
  expect(events.stats()).toMatchObject({ connected: false, connectionErrors: 1 })
  await until(() => events.stats().connected, 'it is connected')
  expect(errors).toHaveLength(2)
  // A namespace too long for a channel's name comes through the one for all.
  expect(new Set(listened)).toEqual(
    new Set(['channel:pgmq_queue_created', 'channel:pgmq_message_ready', 'channel:pgmq_message_due']),
  )
  await bus.close()
  expect(events.state).toBe('stopped')
})

describe('channels of the application', () => {
  test('are heard over the same connection, until the listening is stopped', async () => {
    const { bus, url } = await openDirectly(server, null)
    const [one, two, other] = [[] as string[], [] as string[], [] as string[]]
    const first = await bus.listen('Shop "A"', (text) => void one.push(text))
    await bus.listen('Shop "A"', (text) => {
      two.push(text)
      throw new Error('of the handler')
    })
    await bus.listen('other', async (text) => void other.push(text))
    expect(await listeners(url)).toBe(1)
    await bus.queue('orders').create()
    const waiting = bus.queue('orders').read({ wait: '20s' })
    expect(first.isConnected).toBe(true)
    await query(url, `SELECT pg_notify('Shop "A"', 'open'), pg_notify('other', '')`)
    await until(() => one.length + two.length + other.length === 3, 'all were told')
    expect([one, two, other]).toEqual([['open'], ['open'], ['']])
    await first.stop()
    await query(url, `SELECT pg_notify('Shop "A"', 'closed')`)
    await until(() => two.length === 2, 'the other one still hears')
    expect(one).toEqual(['open'])
    await bus.queue('orders').send(1)
    expect(await waiting).toHaveLength(1)
  })

  test('are listened to again after the connection broke', async () => {
    const { bus, url } = await openDirectly(server, null)
    const heard: string[] = []
    const listening = await bus.listen('shop', (text) => void heard.push(text))
    await query(
      url,
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
      WHERE datname = current_database() AND pid <> pg_backend_pid() AND query ~ 'LISTEN|tidings[.]look'`,
    )
    await until(() => !listening.isConnected, 'it was lost')
    await until(() => listening.isConnected, 'it listens again')
    await query(url, "NOTIFY shop, 'again'")
    await until(() => heard.length > 0, 'it was told')
    expect(heard).toEqual(['again'])
  })

  test('are refused where they cannot be heard, and those that Tidings has for itself', async () => {
    const { bus } = await openDirectly(server, null)
    for (const name of ['', 'x'.repeat(64), 'tidings.orders', 'pgmq.q_orders.INSERT', 'pgmq_message_due'])
      await expect(bus.listen(name, () => {})).rejects.toMatchObject({ code: 'CONFIG_INVALID' })
    await expect(bus.listen('shop', 'handler' as never)).rejects.toMatchObject({ code: 'TYPE' })
    const { bus: remote } = await openOverHttp(server, null)
    await expect(remote.listen('shop', () => {})).rejects.toMatchObject({ code: 'CONFIG_INVALID' })
    await using memory = await connect('memory:')
    await expect(memory.listen('shop', () => {})).rejects.toMatchObject({ code: 'UNSUPPORTED' })
  })
})
