import pg from 'pg'
import { eventsMigration } from 'tidings/internal/engines/postgres/events-migration'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { sharedServer } from '../support/shared-servers.ts'
import { message, newDatabase, newName, openEngine, query, until } from './support.ts'

/** Every function of ours, with a call of it that passes nulls. */
const allFunctions = `SELECT format('%I.%I(%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid)) AS name,
    format('%I.%I()', n.nspname, p.proname) AS bare, p.prorettype = 'trigger'::regtype AS is_trigger,
    has_function_privilege('public', p.oid, 'EXECUTE') AS is_public, n.nspname = 'pgmq' AS of_pgmq,
    p.prosecdef AS of_owner,
    coalesce(array_to_string(p.proconfig, ',') LIKE '%search_path=pg_catalog, pg_temp%', false) AS is_pinned,
    format('SELECT %I.%I(%s)', n.nspname, p.proname, (
      SELECT string_agg('NULL::' || format_type(t, NULL), ', ' ORDER BY n)
      FROM unnest(p.proargtypes) WITH ORDINALITY AS a (t, n))) AS call
  FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
  WHERE n.nspname IN ('tidings', 'pgmq', 'tidings_events') ORDER BY 1`

/** For a connection that writes every name with its schema. */
const qualified = (url: string) => `${url}?options=-csearch_path%3Dpg_catalog`

const allTables = `SELECT format('%I.%I', n.nspname, c.relname) AS name
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE n.nspname IN ('tidings', 'pgmq', 'tidings_events') AND c.relkind IN ('r', 'p', 'v', 'S') ORDER BY 1`

describe.each(['postgres15', 'postgres18'] as const)('what a role without rights may do on %s', (server) => {
  const stranger = newName('stranger')
  let url: string
  let strangerUrl: string
  let drop: () => Promise<void>

  beforeAll(async () => {
    ;({ url, drop } = await newDatabase(await sharedServer(server)))
    const engine = await openEngine(url)
    await engine.createQueue('orders')
    await engine.send('orders', [message({ data: '"secret"', delayMs: 100 })], null)
    await engine.close()
    await query(url, eventsMigration().up)
    await query(
      url,
      `CREATE ROLE ${stranger} LOGIN; GRANT TEMP ON DATABASE ${new URL(url).pathname.slice(1)} TO PUBLIC`,
    )
    const own = new URL(url)
    own.username = stranger
    strangerUrl = own.href
  })
  afterAll(async () => {
    await query(url, `DROP OWNED BY ${stranger}; DROP ROLE ${stranger}`)
    await drop()
  })

  test("no function but PGMQ's is granted to everybody, and each has a fixed search_path", async () => {
    const functions = await query(url, allFunctions)
    expect(functions.length).toBeGreaterThan(130)
    expect(functions.filter((one) => one.is_public !== one.of_pgmq).map((one) => one.name)).toEqual([])
    // Which of these have more rights than the caller: they tell nothing and change nothing that a caller sees.
    const mighty = functions.filter((one) => one.is_public && one.of_owner).map((one) => String(one.bare))
    expect(mighty.every((name) => /^pgmq\._tidings_\w+\(\)$/.test(name))).toBe(true)
    expect(functions.filter((one) => !one.is_pinned).map((one) => one.name)).toEqual([])
  })

  test('doctor names what an early migration left open', async () => {
    await query(
      url,
      'GRANT EXECUTE ON FUNCTION tidings_events.announce_due(), tidings_events.iso(timestamptz) TO PUBLIC',
    )
    const engine = await openEngine(url)
    const found = async () => (await engine.diagnose()).filter(({ level }) => level === 'problem')
    expect(await found()).toMatchObject([
      { check: 'permissions', message: expect.stringContaining('tidings_events.announce_due and 1 more') },
    ])
    await query(url, 'REVOKE ALL ON ALL FUNCTIONS IN SCHEMA tidings_events FROM PUBLIC')
    expect(await found()).toEqual([])
    await engine.close()
  })

  test('who may not drop or purge a queue is told whose it is', async () => {
    const other = newName('other')
    await query(
      url,
      `CREATE ROLE ${other} LOGIN; GRANT USAGE ON SCHEMA tidings, pgmq TO ${other};
      GRANT ALL ON ALL TABLES IN SCHEMA tidings TO ${other}; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA pgmq TO ${other};
      GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA tidings TO ${other}`,
    )
    const [{ owner }] = (await query(url, 'SELECT current_user AS owner')) as [{ owner: string }]
    const as = new URL(url)
    as.username = other
    const engine = await openEngine(as.href)
    for (const refused of [() => engine.dropQueue('orders'), () => engine.purgeQueue('orders')])
      await expect(refused()).rejects.toMatchObject({
        code: 'PERMISSION_DENIED',
        message: expect.stringMatching(/must be owner of|permission denied for/),
        hint: `Queue "orders" belongs to role "${owner}": do it as that role, or as a member of it.`,
      })
    await engine.close()
    await query(url, `DROP OWNED BY ${other}; DROP ROLE ${other}`)
  })

  test('it can call no function and use no table', async () => {
    const client = new pg.Client({ connectionString: strangerUrl })
    await client.connect()
    const codeOf = (text: string) =>
      client.query(text).then(
        () => 'allowed',
        (error: { code: string }) => error.code,
      )
    try {
      await client.query('CREATE TEMP TABLE q_orders (msg_id bigint)')
      const attempts: string[] = []
      for (const { bare, is_trigger, call } of await query(qualified(url), allFunctions))
        attempts.push(
          is_trigger
            ? `CREATE TRIGGER t AFTER INSERT ON q_orders FOR EACH ROW EXECUTE FUNCTION ${String(bare)}`
            : String(call),
        )
      for (const { name } of await query(qualified(url), allTables)) attempts.push(`SELECT * FROM ${String(name)}`)
      expect(attempts.length).toBeGreaterThan(150)
      const answers: [text: string, code: string][] = []
      for (const text of attempts) answers.push([text, await codeOf(text)])
      expect(answers.filter(([, code]) => code !== '42501')).toEqual([])
    } finally {
      await client.end()
    }
  })

  test('with the right to call the functions, it still cannot make them read a queue of the owner', async () => {
    const heard: string[] = []
    const client = new pg.Client({ connectionString: strangerUrl })
    client.on('notification', ({ payload }) => heard.push(payload ?? ''))
    await client.connect()
    await query(url, `GRANT USAGE ON SCHEMA tidings_events TO ${stranger}`)
    await query(url, `GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA tidings_events TO ${stranger}`)
    try {
      await client.query('LISTEN pgmq_message_ready; LISTEN pgmq_message_due')
      await client.query(`CREATE TEMP TABLE q_orders (msg_id bigint, enqueued_at timestamptz, vt timestamptz, message jsonb);
        CREATE TRIGGER t AFTER INSERT ON q_orders REFERENCING NEW TABLE AS inserted
          FOR EACH STATEMENT EXECUTE FUNCTION tidings_events.on_insert();
        INSERT INTO q_orders VALUES (1, now(), now(), '"forged"'), (1, now(), now() + interval '1 millisecond', '1')`)
      await client.query('SELECT pg_sleep(0.15)')
      await client.query('SELECT tidings_events.announce_due()')
      await client.query("NOTIFY pgmq_message_ready, 'the end'")
      await until(() => heard.includes('the end'), 'the last notification came')
      expect(heard).toEqual(['the end'])
    } finally {
      await client.end()
    }
  })

  test('a queue of another role runs no code with the rights of the owner', async () => {
    const heard: string[] = []
    const client = new pg.Client({ connectionString: strangerUrl })
    await client.connect()
    await query(url, `GRANT USAGE, CREATE ON SCHEMA pgmq TO ${stranger}; GRANT INSERT ON pgmq.meta TO ${stranger}`)
    const listener = new pg.Client({ connectionString: url })
    listener.on('notification', ({ payload }) => heard.push(payload ?? ''))
    await listener.connect()
    await listener.query('LISTEN pgmq_message_ready')
    try {
      // As whom its function runs is noted by it: nobody may find the owner there.
      await client.query(`CREATE TABLE pgmq.who (name name); GRANT INSERT ON pgmq.who TO PUBLIC;
        CREATE FUNCTION pgmq.evil() RETURNS jsonb LANGUAGE plpgsql AS $$
          BEGIN INSERT INTO pgmq.who VALUES (current_user); RETURN '1'; END $$;
        GRANT EXECUTE ON FUNCTION pgmq.evil() TO PUBLIC;
        CREATE TABLE pgmq.q_mine (msg_id bigint, read_ct integer, enqueued_at timestamptz, vt timestamptz, message jsonb);
        INSERT INTO pgmq.meta (queue_name, is_partitioned, is_unlogged) VALUES ('mine', false, false);
        CREATE TRIGGER t AFTER INSERT ON pgmq.q_mine REFERENCING NEW TABLE AS inserted
          FOR EACH STATEMENT EXECUTE FUNCTION tidings_events.on_insert();
        INSERT INTO pgmq.q_mine VALUES (1, 0, now(), now() + interval '1 millisecond', '1')`)
      // Also what was noted before: a view in place of the table.
      await query(url, `INSERT INTO tidings_events.due (due, queue_name, msg_ids) VALUES (now(), 'mine', '{1}')`)
      await client.query(`DROP TABLE pgmq.q_mine;
        CREATE VIEW pgmq.q_mine AS SELECT 1::bigint AS msg_id, 0 AS read_ct, now() AS enqueued_at, now() AS vt, pgmq.evil() AS message`)
      await client.query('SELECT tidings_events.announce_due()')
      expect((await client.query('SELECT * FROM pgmq.who')).rows).toEqual([])
      await listener.query("NOTIFY pgmq_message_ready, 'the end'")
      await until(() => heard.includes('the end'), 'the last notification came')
      expect(heard.filter((text) => text.includes('mine'))).toEqual([])
    } finally {
      await client.end()
      await listener.end()
    }
  })
})
