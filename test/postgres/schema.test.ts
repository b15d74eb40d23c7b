import { migrations } from 'tidings/internal/engines/postgres/sql.gen'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { sharedServer } from '../support/shared-servers.ts'
import { message, newDatabase, newName, openEngine, query } from './support.ts'

describe.each(['postgres15', 'postgres18'] as const)('the schema on %s', (server) => {
  let url: string
  let drop: () => Promise<void>

  beforeAll(async () => {
    ;({ url, drop } = await newDatabase(await sharedServer(server)))
  })
  afterAll(() => drop())

  test('is installed once by many processes at the same time', async () => {
    const engines = await Promise.all(Array.from({ length: 8 }, () => openEngine(url)))
    const queue = newName('many')
    const created = await Promise.all(engines.map((engine) => engine.createQueue(queue)))
    expect(created.filter(Boolean)).toHaveLength(1)
    const versions = await query(url, 'SELECT version, name FROM tidings.migration ORDER BY version')
    expect(versions).toEqual(migrations.map(({ name }, index) => ({ version: index + 1, name })))
    await Promise.all(engines.map((engine) => engine.close()))
  })

  test('of a newer program is refused with one clear line', async () => {
    await (await openEngine(url)).close()
    await query(url, "INSERT INTO tidings.migration (version, name, fingerprint) VALUES (99, 'future', '')")
    try {
      await expect(openEngine(url)).rejects.toMatchObject({
        code: 'SCHEMA_NEWER',
        message: `the schema has version 99 and works with programs of version 99 or newer; this one is of version ${migrations.length}`,
      })
    } finally {
      await query(url, 'DELETE FROM tidings.migration WHERE version = 99')
    }
  })

  test('cannot be installed by a role without rights, but is used by one', async () => {
    const role = newName('role')
    await query(url, `CREATE ROLE ${role} LOGIN`)
    const bare = await newDatabase(await sharedServer(server))
    const as = (database: string) => database.replace('tidings@', `${role}@`)
    try {
      await expect(openEngine(as(bare.url))).rejects.toMatchObject({ code: 'SCHEMA_MISSING' })

      await (await openEngine(url)).close()
      await query(
        url,
        `GRANT USAGE ON SCHEMA tidings, pgmq TO ${role}; GRANT SELECT ON ALL TABLES IN SCHEMA tidings, pgmq TO ${role}`,
      )
      const engine = await openEngine(as(url))
      await expect(engine.createQueue(newName('denied'))).rejects.toMatchObject({ code: 'PERMISSION_DENIED' })
      await engine.close()
    } finally {
      await bare.drop()
      await query(url, `DROP OWNED BY ${role}; DROP ROLE ${role}`)
    }
  })

  test('grants nothing to everybody, and pins the path of every function that cannot be inlined', async () => {
    await (await openEngine(url)).close()
    const functions = await query(
      url,
      `SELECT p.proname AS name, l.lanname AS language, has_function_privilege('public', p.oid, 'EXECUTE') AS public,
        coalesce(p.proconfig::text LIKE '%search_path=pg_catalog, pg_temp%', false) AS pinned
      FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
      WHERE p.pronamespace = 'tidings'::regnamespace`,
    )
    expect(functions.length).toBeGreaterThan(20)
    expect(functions.filter((one) => one.public)).toEqual([])
    expect(functions.filter((one) => one.language === 'plpgsql' && !one.pinned)).toEqual([])
  })

  test('lays queues out like PGMQ: names, types and order of columns', async () => {
    const engine = await openEngine(url)
    const queue = newName('wire')
    await engine.createQueue(queue)
    const columns = async (table: string) =>
      (
        await query(
          url,
          `SELECT string_agg(attname || ' ' || format_type(atttypid, atttypmod), ', ' ORDER BY attnum) AS list
          FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0`,
          [`pgmq.${table}`],
        )
      )[0]?.list
    const start =
      'msg_id bigint, read_ct integer, enqueued_at timestamp with time zone, last_read_at timestamp with time zone'
    const end = 'vt timestamp with time zone, message jsonb, headers jsonb'
    expect(await columns(`q_${queue}`)).toBe(`${start}, ${end}`)
    expect(await columns(`a_${queue}`)).toBe(`${start}, archived_at timestamp with time zone, ${end}`)
    // The included server was built without lz4.
    const [packed] = await query(
      url,
      `SELECT array_agg(DISTINCT attcompression::text) AS how FROM pg_attribute
      WHERE attname = 'message' AND attrelid = ANY ($1::regclass[])`,
      [[`pgmq.q_${queue}`, `pgmq.a_${queue}`]],
    )
    expect(packed).toEqual({ how: [server === 'postgres18' ? '' : 'l'] })
    expect(
      await query(url, 'SELECT is_partitioned, is_unlogged FROM pgmq.meta WHERE queue_name = $1', [queue]),
    ).toEqual([{ is_partitioned: false, is_unlogged: false }])
    await engine.close()
  })

  test('keeps queues apart whose names could meet in those of indexes and sequences', async () => {
    const engine = await openEngine(url)
    const base = newName('a')
    const names = [`${base}_pkey`, base, `${base}_msg_id_seq`, `${base}_expr_msg_id_idx`, `${base}.x`, `${base}-x`]
    // Those that exist as tables first, then their queue, and the other way round.
    for (const name of names.slice(0, 2)) expect(await engine.createQueue(name)).toBe(true)
    for (const name of names.slice(4)) expect(await engine.createQueue(name)).toBe(true)
    for (const name of names.slice(2, 4)) {
      // The sequence and the indexes of `base` have these names already: one clear refusal, nothing half done.
      await expect(engine.createQueue(name)).rejects.toMatchObject({ code: 'QUEUE_NAME_CONFLICT' })
    }
    await engine.send(base, [message({ data: '1' })], null)
    for (const name of [names[0]!, ...names.slice(4)])
      expect(await engine.peek(name, { place: null, limit: 1, afterId: null, ids: null })).toEqual([])
    await engine.close()
  })
})
