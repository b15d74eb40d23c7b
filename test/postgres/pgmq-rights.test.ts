import { Bus } from 'tidings/internal/bus/bus'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { sharedServer } from '../support/shared-servers.ts'
import { message, newDatabase, newName, openEngine, query } from './support.ts'

/** What wrappers in a schema of their own look like: the rights of the caller, an empty search_path, named arguments. */
const wrappers = `CREATE SCHEMA pgmq_public;
  CREATE FUNCTION pgmq_public.send(queue_name text, message jsonb, sleep_seconds integer DEFAULT 0) RETURNS SETOF bigint
    LANGUAGE plpgsql SET search_path = '' AS $$
    BEGIN RETURN QUERY SELECT * FROM pgmq.send(queue_name := queue_name, msg := message, delay := sleep_seconds); END $$;
  CREATE FUNCTION pgmq_public.send_batch(queue_name text, messages jsonb[], sleep_seconds integer DEFAULT 0)
    RETURNS SETOF bigint LANGUAGE plpgsql SET search_path = '' AS $$
    BEGIN RETURN QUERY SELECT * FROM pgmq.send_batch(queue_name := queue_name, msgs := messages, delay := sleep_seconds); END $$;
  CREATE FUNCTION pgmq_public.read(queue_name text, sleep_seconds integer, n integer) RETURNS SETOF pgmq.message_record
    LANGUAGE plpgsql SET search_path = '' AS $$
    BEGIN RETURN QUERY SELECT * FROM pgmq.read(queue_name := queue_name, vt := sleep_seconds, qty := n); END $$;
  CREATE FUNCTION pgmq_public.pop(queue_name text) RETURNS SETOF pgmq.message_record
    LANGUAGE plpgsql SET search_path = '' AS $$
    BEGIN RETURN QUERY SELECT * FROM pgmq.pop(queue_name := queue_name); END $$;
  CREATE FUNCTION pgmq_public.archive(queue_name text, message_id bigint) RETURNS boolean
    LANGUAGE plpgsql SET search_path = '' AS $$
    BEGIN RETURN pgmq.archive(queue_name := queue_name, msg_id := message_id); END $$;
  CREATE FUNCTION pgmq_public.delete(queue_name text, message_id bigint) RETURNS boolean
    LANGUAGE plpgsql SET search_path = '' AS $$
    BEGIN RETURN pgmq.delete(queue_name := queue_name, msg_id := message_id); END $$`

describe.each(['postgres15', 'postgres18'] as const)("a role with PGMQ's own rights on %s", (server) => {
  const [client, anon, service] = [newName('client'), newName('anon'), newName('service')]
  let url: string
  let drop: () => Promise<void>
  let bus: Bus
  const as = (role: string, text: string, values: unknown[] = []) => {
    const own = new URL(url)
    own.username = role
    return query(own.href, text, values)
  }

  beforeAll(async () => {
    ;({ url, drop } = await newDatabase(await sharedServer(server)))
    bus = new Bus(await openEngine(url))
    for (const queue of ['mine', 'other', 'secured']) await bus.queue(queue).create()
    await query(
      url,
      `CREATE ROLE ${client} LOGIN; CREATE ROLE ${anon} LOGIN; CREATE ROLE ${service} LOGIN BYPASSRLS;
      GRANT USAGE ON SCHEMA pgmq TO ${client}, ${anon}, ${service};
      GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON pgmq.q_mine, pgmq.a_mine TO ${client};
      GRANT USAGE ON SEQUENCE pgmq.q_mine_msg_id_seq TO ${client};
      ${wrappers};
      GRANT USAGE ON SCHEMA pgmq_public TO ${anon}, ${service};
      GRANT SELECT, INSERT, UPDATE, DELETE ON pgmq.q_secured, pgmq.a_secured TO ${anon}, ${service};
      GRANT USAGE ON SEQUENCE pgmq.q_secured_msg_id_seq TO ${anon}, ${service};
      ALTER TABLE pgmq.q_secured ENABLE ROW LEVEL SECURITY`,
    )
  })
  afterAll(async () => {
    await bus.close()
    await query(url, `DROP OWNED BY ${client}, ${anon}, ${service}`)
    await drop()
    await query(await sharedServer(server), `DROP ROLE ${client}, ${anon}, ${service}`)
  })

  test('sends, reads and settles with every verb, also what Tidings has delayed for long', async () => {
    const { ids } = await sendDelayed('mine', 4)
    expect(await as(client, `SELECT pgmq.send('mine', '1')::int AS id`)).toEqual([{ id: 5 }])
    expect(await as(client, `SELECT pgmq.send_batch('mine', ARRAY['2', '3']::jsonb[])::int AS id`)).toHaveLength(2)
    expect(
      await as(
        client,
        `SELECT queue_length::int AS all, queue_visible_length::int AS ready, total_messages::int AS total
        FROM pgmq.metrics('mine')`,
      ),
    ).toEqual([{ all: 7, ready: 3, total: 7 }])
    expect(await as(client, `SELECT msg_id::int AS id FROM pgmq.read('mine', 30, 1)`)).toEqual([{ id: 5 }])
    expect(await as(client, `SELECT msg_id::int AS id FROM pgmq.pop('mine')`)).toEqual([{ id: 6 }])
    expect(await as(client, `SELECT pgmq.delete('mine', $1::bigint) AS done`, [ids[0]])).toEqual([{ done: true }])
    expect(await as(client, `SELECT pgmq.archive('mine', $1::bigint) AS done`, [ids[1]])).toEqual([{ done: true }])
    expect(await as(client, `SELECT msg_id FROM pgmq.set_vt('mine', $1::bigint, 0)`, [ids[2]])).toHaveLength(1)
    expect((await bus.queue('mine').readById(ids[2]!))?.id).toBe(ids[2])
    expect(await as(client, `SELECT pgmq.purge_queue('mine')::int AS purged`)).toEqual([{ purged: 4 }])
    expect(await bus.queue('mine').stats()).toMatchObject({ ready: 0, leased: 0, delayed: 0, archived: 1 })
  })

  test('finds what has come due meanwhile', async () => {
    await sendDelayed('mine', 1)
    await query(url, "UPDATE tidings.delayed SET due = now() - interval '1 s'")
    expect(await as(client, `SELECT message -> 'data' AS data FROM pgmq.pop('mine')`)).toEqual([{ data: 'later' }])
  })

  test('delays for long beside the table, and short in it', async () => {
    const apart = () => query(url, `SELECT msg_id::int AS id FROM tidings.delayed WHERE queue_name = 'mine'`)
    const [long] = await as(client, `SELECT pgmq.send('mine', '"later"', '{"a": 1}', 3600)::int AS id`)
    const [short] = await as(client, `SELECT pgmq.send('mine', '"soon"', 30)::int AS id`)
    expect(await apart()).toEqual([long])
    expect(await as(client, `SELECT msg_id::int AS id FROM pgmq.q_mine`)).toEqual([short])
    expect(await as(client, `SELECT * FROM pgmq.read('mine', 0, 10)`)).toEqual([])
    expect(await bus.queue('mine').stats()).toMatchObject({ delayed: 2 })
    await query(url, `UPDATE tidings.delayed SET due = now()`)
    expect(await as(client, `SELECT msg_id::int AS id, message, headers FROM pgmq.pop('mine')`)).toEqual([
      { ...long, message: 'later', headers: { a: 1 } },
    ])
    await as(client, `SELECT pgmq.purge_queue('mine')`)
  })

  test('delays for long in the table where a trigger looks at what is inserted', async () => {
    await query(url, `SELECT pgmq.enable_notify_insert('mine')`)
    await as(client, `SELECT pgmq.send('mine', '1', 3600)`)
    expect(await as(client, `SELECT FROM pgmq.q_mine`)).toHaveLength(1)
    await query(url, `SELECT pgmq.disable_notify_insert('mine'), pgmq.purge_queue('mine')`)
  })

  test('reaches a worker, and makes and drops queues where it may', async () => {
    let handled: ((data: unknown) => void) | undefined
    const first = new Promise((resolve) => {
      handled = resolve
    })
    const worker = bus.queue('mine').work(({ data }) => handled?.(data))
    await as(client, `SELECT pgmq.send('mine', '"woken"')`)
    expect(await first).toBe('woken')
    await worker.stop()
    await expect(as(client, `SELECT pgmq.create('own')`)).rejects.toMatchObject({ code: '42501' })
    await query(url, `GRANT CREATE ON SCHEMA pgmq TO ${client}; GRANT SELECT, INSERT, DELETE ON pgmq.meta TO ${client}`)
    await as(client, `SELECT pgmq.create('own'); SELECT pgmq.send('own', '1')`)
    await bus.queue('own').send('ours')
    expect(await as(client, `SELECT pgmq.drop_queue('own') AS dropped`)).toEqual([{ dropped: true }])
    await query(url, `REVOKE CREATE ON SCHEMA pgmq FROM ${client}; REVOKE ALL ON pgmq.meta FROM ${client}`)
    expect(await query(url, `SELECT FROM tidings.queue WHERE queue_name = 'own'`)).toEqual([])
  })

  test('has no more than that: not another queue, not what is beside the tables', async () => {
    const { ids } = await sendDelayed('other', 2)
    const refused = [
      `SELECT pgmq.send('other', '1')`,
      `SELECT pgmq.send('other', '1', 3600)`,
      `SELECT pgmq.read('other', 0, 1)`,
      `SELECT pgmq.pop('other')`,
      `SELECT pgmq.metrics('other')`,
      `SELECT pgmq.purge_queue('other')`,
      `SELECT pgmq.drop_queue('other')`,
      `SELECT pgmq.delete('other', ${ids[0]}::bigint)`,
      `SELECT pgmq.archive('other', ${ids[0]}::bigint)`,
      `SELECT pgmq.set_vt('other', ${ids[0]}::bigint, 0)`,
      `SELECT pgmq.create('more')`,
      'SELECT * FROM tidings.delayed',
      `SELECT tidings.recall('other', NULL)`,
    ]
    for (const text of refused) await expect(as(client, text), text).rejects.toMatchObject({ code: '42501' })
    // What everybody may call changes nothing that anybody sees, and tells nothing.
    for (const text of [
      `SELECT pgmq._tidings_promote('other')`,
      `SELECT pgmq._tidings_recall('other', NULL)`,
      `SELECT pgmq._tidings_maintain('other')`,
      `SELECT pgmq._tidings_purged('other')`,
      `SELECT pgmq._tidings_announce('other', now())`,
      `SELECT pgmq._tidings_created('other')`,
      `SELECT pgmq._tidings_postpone('other', ARRAY['1'::jsonb], NULL, now() + interval '1 h')`,
    ])
      await as(client, text)
    expect(await as(client, `SELECT * FROM pgmq._tidings_delayed('other')`)).toMatchObject([
      { length: '0', oldest: null },
    ])
    expect(await bus.queue('other').stats()).toMatchObject({ ready: 0, delayed: 2, leased: 0 })
    await expect(as(client, `SELECT pgmq._tidings_create('more', 'more', false)`)).rejects.toMatchObject({
      code: '42501',
    })
  })

  test('works through wrappers with the rights of their caller, and row level security applies', async () => {
    await bus.queue('secured').send('hidden')
    const send = `SELECT pgmq_public.send('secured', '1', 0)::int AS id`
    for (const delay of ['0', '3600'])
      await expect(as(anon, send.replace('0)', `${delay})`))).rejects.toThrow(
        'new row violates row-level security policy for table "q_secured"',
      )
    expect(await as(anon, `SELECT * FROM pgmq_public.read('secured', 0, 10)`)).toEqual([])
    expect(await as(anon, `SELECT pgmq_public.delete('secured', 1) AS done`)).toEqual([{ done: false }])

    expect(await as(service, send)).toEqual([{ id: 4 }])
    expect(await as(service, `SELECT pgmq_public.send_batch('secured', ARRAY['2', '3']::jsonb[], 0)`)).toHaveLength(2)
    expect(await as(service, `SELECT * FROM pgmq_public.read('secured', 0, 10)`)).toHaveLength(4)
    expect(await as(service, `SELECT msg_id::int AS id FROM pgmq_public.pop('secured')`)).toEqual([{ id: 1 }])
    expect(await as(service, `SELECT pgmq_public.delete('secured', 4) AS done`)).toEqual([{ done: true }])
    expect(await as(service, `SELECT pgmq_public.archive('secured', 5) AS done`)).toEqual([{ done: true }])

    await query(
      url,
      `CREATE POLICY own ON pgmq.q_secured TO ${anon} USING (message = '"for anon"') WITH CHECK (message = '"for anon"')`,
    )
    await as(anon, `SELECT pgmq_public.send('secured', '"for anon"')`)
    expect(await as(anon, `SELECT message FROM pgmq_public.read('secured', 0, 10)`)).toEqual([{ message: 'for anon' }])
  })

  async function sendDelayed(queue: string, count: number): Promise<{ ids: string[] }> {
    const engine = await openEngine(url)
    const sent = await engine.send(queue, Array(count).fill(message({ data: '"later"', delayMs: 3_600_000 })), null)
    await engine.close()
    return { ids: sent.map(({ id }) => id) }
  }
})
