import { eventsMigration } from 'tidings/internal/engines/postgres/events-migration'
import { describe, expect, test } from 'vitest'
import { newName, query, until } from '../postgres/support.ts'
import { sharedServer } from '../support/shared-servers.ts'
import { databases, exactly, record } from './support.ts'

/** Sends a message and waits for its event, so that everything before it has come, too. */
async function nothingBefore(seen: { readonly type: string; readonly queue: string }[], send: () => Promise<unknown>) {
  await send()
  await until(() => seen.length > 0, 'the event after came')
  return seen.splice(0)
}

describe.each([
  ['PostgreSQL 15', 'direct', await sharedServer('postgres15')],
  ['PostgreSQL 18', 'direct', await sharedServer('postgres18')],
  ['PostgreSQL 18', 'over HTTP', await sharedServer('postgres18')],
] as const)('%s, %s', (_, way, server) => {
  const open = databases(way)

  test('existing and new queues announce their messages', async () => {
    const { bus, url } = await open(server, null)
    const before = bus.queue('worker_orders_queue')
    await before.create()
    await query(url, eventsMigration().up)
    const { seen, events } = await record(bus)

    const id = await before.send({ name: 'Ada' }, { meta: { correlationId: 'c-1' } })
    expect(await exactly(seen, 1)).toEqual([
      {
        type: 'message_with_payload',
        id,
        queue: 'worker_orders_queue',
        namespace: 'orders',
        data: { name: 'Ada' },
        meta: expect.objectContaining({ correlationId: 'c-1' }),
        metadata: {},
        readyAt: expect.any(Date),
        delaySeconds: 0,
      },
    ])

    const after = bus.queue('hires_queue')
    await after.create()
    await after.send(1)
    expect(await exactly(seen, 2)).toMatchObject([
      { type: 'queue_created', queue: 'hires_queue', namespace: 'hires', metadata: { is_partitioned: false } },
      { type: 'message_with_payload', queue: 'hires_queue', namespace: 'hires', data: 1 },
    ])
    expect(events.stats()).toMatchObject({ connected: true, received: 3, dropped: 0, health: 'healthy' })
    await events.stop()
    expect(events.stats().connected).toBe(false)
  })

  test('a batch is one event; ids that do not fit are left out', async () => {
    const { bus } = await open(server)
    const queue = bus.queue('many')
    await queue.create()
    const { seen } = await record(bus)
    const sent = await queue.sendBatch([{ data: 1 }, { data: 2 }, { data: 3 }])
    await queue.sendBatch(Array.from({ length: 2_000 }, (_, data) => ({ data })))
    expect(await exactly(seen, 2)).toMatchObject([
      { type: 'batch_ready', count: 3, ids: sent.map(({ id }) => id), truncated: false },
      { type: 'batch_ready', count: 2_000, ids: null, truncated: true },
    ])
  })

  test('the limit counts bytes, not characters', async () => {
    const { bus } = await open(server, { maxPayloadSize: 1_000 })
    const queue = bus.queue('texts', { envelope: 'none' })
    await queue.create()
    const { seen } = await record(bus)
    await queue.send('')
    await exactly(seen, 1)
    const types: string[] = []
    for (const characters of [150, 180, 200, 230, 260]) {
      await queue.send('😀'.repeat(characters))
      types.push((await exactly(seen, 1))[0]!.type)
    }
    // As characters, all would fit.
    expect(types[0]).toBe('message_with_payload')
    expect(types.at(-1)).toBe('message_ready')
    expect(types.toSorted().toReversed()).toEqual(types)
  })

  test('an event of exactly the limit is whole, one of a byte more comes without its data', async () => {
    const { url, bus } = await open(server, { maxPayloadSize: 7_999 })
    const { seen } = await record(bus)
    const size = async (text: string) =>
      Number(
        (
          await query(
            url,
            `SELECT octet_length(jsonb_build_object('queue_name', 'q', 'namespace', 'default', 'ready_at',
               tidings_events.iso(now()), 'delay_seconds', 0, 'event_type', 'message_with_payload', 'msg_id', 1,
               'message', $1::text)::text) AS bytes`,
            [text],
          )
        )[0]!.bytes,
      )
    const room = 7_999 - (await size(''))
    const full = 'é😀'.repeat(Math.floor(room / 6)) + 'x'.repeat(room % 6)
    expect(await size(full)).toBe(7_999)
    const announce = (text: string) =>
      query(url, `SELECT tidings_events.announce('q', ARRAY[1]::bigint[], to_jsonb($1::text), 0)`, [text])
    await announce(full)
    await announce(`${full}x`)
    const [whole, signal] = await exactly(seen, 2)
    expect(whole).toMatchObject({ type: 'message_with_payload', data: full })
    expect(signal).toMatchObject({ type: 'message_ready', id: '1' })
    expect(signal).not.toHaveProperty('data')
  })

  test('without data, a message is announced by its id alone, and so is one that was delayed', async () => {
    const { url, bus } = await open(server, { withData: false, withMetadata: false })
    await bus.queue('quiet').create()
    const { seen } = await record(bus)
    await query(
      url,
      `INSERT INTO pgmq.q_quiet (vt, message) VALUES (clock_timestamp(), '"secret"'); INSERT INTO pgmq.q_quiet (vt, message)
      VALUES (clock_timestamp() + interval '200 milliseconds', '"secret"')`,
    )
    const events = await exactly(seen, 2)
    expect(events).toMatchObject([
      { type: 'message_ready', id: '1' },
      { type: 'message_ready', id: '2' },
    ])
    expect(JSON.stringify(events)).not.toContain('secret')
    await bus.queue('more').create()
    expect((await exactly(seen, 1)).map(({ type, metadata }) => [type, metadata])).toEqual([['queue_created', {}]])
  })

  test('a delayed message is announced once, when it is due, for any number of listeners', async () => {
    const { bus, url } = await open(server)
    const queue = bus.queue('later')
    await queue.create()
    const first = await record(bus)
    const second = await record(bus)
    const startedAt = Date.now()
    const id = await queue.send('due', { delay: '600ms' })
    const gone = await queue.send('cancelled', { delay: '30s' })
    await queue.cancel(gone)
    await query(url, 'UPDATE tidings_events.due SET due = clock_timestamp() WHERE $1 = ANY (msg_ids)', [gone])
    for (const { seen } of [first, second]) {
      expect(await exactly(seen, 1)).toMatchObject([{ type: 'message_with_payload', id, data: 'due' }])
      expect(Date.now() - startedAt).toBeGreaterThanOrEqual(600)
    }
    // One that was put off is announced at its new time.
    const late = await queue.send('late', { delay: '30s' })
    const putOffAt = Date.now()
    // In one step, so that its first time cannot have come before.
    await query(
      url,
      `UPDATE pgmq.q_later SET vt = clock_timestamp() + interval '500 milliseconds';
      UPDATE tidings_events.due SET due = clock_timestamp(); SELECT pg_notify('pgmq_message_due', '0')`,
    )
    expect(await exactly(first.seen, 1)).toMatchObject([{ id: late }])
    expect(Date.now() - putOffAt).toBeGreaterThanOrEqual(500)
    expect(await query(url, 'SELECT FROM tidings_events.due')).toHaveLength(0)
  })

  test('a delayed batch is one event, also if it waited beside the queue', async () => {
    const { bus, url } = await open(server)
    const queue = bus.queue('later')
    await queue.create()
    const at = new Date(Date.now() + 30_000)
    await queue.sendBatch([
      { data: 1, at },
      { data: 2, at },
    ])
    await queue.send('long', { delay: '5m' })
    await query(
      url,
      `UPDATE pgmq.q_later SET vt = now() + interval '400 milliseconds';
      UPDATE tidings_events.due SET due = now() + interval '400 milliseconds';
      UPDATE tidings.delayed SET due = now() + interval '1200 milliseconds'`,
    )
    const { seen } = await record(bus)
    // What is due at the same time, by a slow clock, comes in any order.
    const events = await exactly(seen, 2)
    expect(events.toSorted((a, b) => a.type.localeCompare(b.type))).toMatchObject([
      { type: 'batch_ready', count: 2 },
      { type: 'message_with_payload', data: 'long', delaySeconds: expect.any(Number) },
    ])
  })

  test('down removes everything', async () => {
    const { bus, url } = await open(server)
    const queue = bus.queue('plain')
    await queue.create()
    const { seen } = await record(bus)
    await queue.send(1)
    await exactly(seen, 1)
    await query(url, eventsMigration().down)
    await queue.send(2)
    await bus.queue('another').create()
    const left = await query(url, `SELECT FROM pg_trigger WHERE tgname = 'tidings_events'`)
    expect(left).toHaveLength(0)
    await query(url, eventsMigration().up)
    expect(await nothingBefore(seen, () => queue.send(3))).toMatchObject([{ data: 3 }])
  })

  // A server keeps what its clients hold in that schema.
  test.runIf(way === 'direct')('on plain tables of PGMQ, without schema tidings', async () => {
    const { bus, url } = await open(server, null)
    await query(url, 'DROP SCHEMA tidings CASCADE')
    await query(
      url,
      `CREATE TABLE pgmq.q_bare (msg_id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY, read_ct integer DEFAULT 0,
        enqueued_at timestamptz DEFAULT now(), vt timestamptz, message jsonb, headers jsonb)`,
    )
    await query(url, eventsMigration().up)
    const { seen } = await record(bus)
    await query(url, `INSERT INTO pgmq.q_bare (vt, message) VALUES (clock_timestamp(), '{"from": "elsewhere"}')`)
    expect(await exactly(seen, 1)).toMatchObject([{ queue: 'bare', data: { from: 'elsewhere' }, meta: {} }])
  })

  test('a role that may only send needs no rights on the schema of the events', async () => {
    const { bus, url } = await open(server)
    const queue = bus.queue('shared')
    await queue.create()
    const { seen } = await record(bus)
    const role = newName('sender')
    await query(url, `CREATE ROLE ${role} LOGIN`)
    await query(url, `GRANT USAGE ON SCHEMA pgmq TO ${role}`)
    await query(url, `GRANT INSERT ON pgmq.q_shared TO ${role}`)
    const own = new URL(url)
    own.username = role
    await query(
      own.href,
      `INSERT INTO pgmq.q_shared (vt, message) VALUES
      (clock_timestamp(), '1'), (clock_timestamp() + interval '200 milliseconds', '2')`,
    )
    expect(await exactly(seen, 2)).toMatchObject([
      { queue: 'shared', data: 1 },
      { queue: 'shared', data: 2 },
    ])
    await query(url, `DROP OWNED BY ${role}; DROP ROLE ${role}`)
  })

  test('a message that is rolled back is not announced', async () => {
    const { bus, url } = await open(server)
    const queue = bus.queue('undone')
    await queue.create()
    const { seen } = await record(bus)
    await query(url, `BEGIN; INSERT INTO pgmq.q_undone (vt, message) VALUES (now(), '1'); ROLLBACK`)
    expect(await nothingBefore(seen, () => queue.send(2))).toMatchObject([{ data: 2 }])
  })

  test('the installed prefix is reported for every selection', async () => {
    const { bus } = await open(server, { channelPrefix: 'shop' })
    for (const prefix of ['shop', 'wrong'])
      expect((await record(bus, { prefix })).events.stats()).toMatchObject({ prefix: 'shop.', installed: true })
  })
})
