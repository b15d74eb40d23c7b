import type { Bus } from 'tidings/internal/bus/bus'
import { connect } from 'tidings/internal/connect'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { pgmqPeer } from '../support/pgmq-peer.ts'
import { sharedServer } from '../support/shared-servers.ts'
import { type PgmqClient, type PgmqDatabase, pgmqDatabase } from './pgmq-support.ts'
import { newDatabase, newName, query } from './support.ts'

describe.each(['postgres15', 'postgres18'] as const)("topics by PGMQ's functions on %s", (server) => {
  let db: PgmqDatabase
  let client: PgmqClient
  let bus: Bus
  let a: string
  let b: string

  beforeAll(async () => {
    db = await pgmqDatabase(await sharedServer(server))
    client = db.client
    bus = await connect(db.url)
  })
  afterAll(async () => {
    await bus.close()
    await db.close()
  })
  beforeEach(async () => {
    await client.rows('DELETE FROM pgmq.topic_bindings')
    ;[a, b] = [newName('a'), newName('b')]
    for (const queue of [a, b]) await client.call('create($1)', [queue])
  })

  const bind = (pattern: string, queue: string) => client.call('bind_topic($1, $2)', [pattern, queue])
  const lengthOf = async (queue: string) =>
    (await client.rows('SELECT queue_length AS n FROM pgmq.metrics($1)', [queue]))[0]?.n
  const routed = async (key: string) =>
    (await client.rows('SELECT pattern, queue_name AS queue FROM pgmq.test_routing($1)', [key])).map(
      ({ pattern, queue }) => `${pattern} ${queue}`,
    )

  test('what is wrong with a key or a pattern', async () => {
    const long = 'x'.repeat(256)
    const faults: [string | null, string][] = [
      [null, 'cannot be NULL or empty'],
      ['', 'cannot be NULL or empty'],
      [long, 'length cannot exceed 255 characters, got 256 characters'],
      ['.a!', 'contains invalid characters. Only alphanumeric, dots, CHARACTERS are allowed. Got: .a!'],
      ['a b', 'contains invalid characters. Only alphanumeric, dots, CHARACTERS are allowed. Got: a b'],
      ['ä', 'contains invalid characters. Only alphanumeric, dots, CHARACTERS are allowed. Got: ä'],
      ['.a', 'cannot start with a dot. Got: .a'],
      ['a.', 'cannot end with a dot. Got: a.'],
      ['a..b', 'cannot contain consecutive dots. Got: a..b'],
    ]
    for (const [text, fault] of faults) {
      const key = `P0001 routing_key ${fault.replace('CHARACTERS', 'hyphens, and underscores')}`
      const pattern = `P0001 pattern ${fault.replace('CHARACTERS', 'hyphens, underscores, *, and #')}`
      expect(await client.failure('validate_routing_key($1)', [text])).toBe(key)
      for (const call of ['test_routing($1)', "send_topic($1, '1')", "send_batch_topic($1, ARRAY['1']::jsonb[])"])
        expect(await client.failure(call, [text])).toBe(key)
      expect(await client.failure('validate_topic_pattern($1)', [text])).toBe(pattern)
      expect(await client.failure('bind_topic($1, $2)', [text, a])).toBe(pattern)
    }
    expect(await client.failure("validate_routing_key('a.*')")).toMatch(
      /^P0001 routing_key contains invalid characters/,
    )
    const ofPatterns = {
      'a.**': 'consecutive stars (**). Use # for multi-segment matching. Got: a.**',
      'a.##': 'consecutive hashes (##). A single # already matches zero or more segments. Got: a.##',
      'a.*#': 'adjacent wildcards (*# or #*). Separate wildcards with dots. Got: a.*#',
      '#*.a': 'adjacent wildcards (*# or #*). Separate wildcards with dots. Got: #*.a',
    }
    for (const [pattern, fault] of Object.entries(ofPatterns))
      expect(await client.failure('validate_topic_pattern($1)', [pattern])).toBe(
        `P0001 pattern cannot contain ${fault}`,
      )
    for (const pattern of ['a*b', '*', '#', 'a.#.b', 'a-b_c.D9', 'x'.repeat(255)])
      expect(await client.call('validate_topic_pattern($1)', [pattern])).toEqual([true])
    expect(await client.call("validate_routing_key('a-b_c.D9')")).toEqual([true])
  })

  test('binding: what it needs, twice, and the end of it', async () => {
    const none = 'P0001 queue_name cannot be NULL or empty'
    expect(await client.failure('bind_topic($1, NULL)', ['a'])).toBe(none)
    expect(await client.failure("bind_topic($1, '')", ['a'])).toBe(none)
    const missing = (name: string) => `P0001 Queue "${name}" does not exist. Create the queue first using pgmq.create()`
    expect(await client.failure('bind_topic($1, $2)', ['a', 'nope'])).toBe(missing('nope'))
    expect(await client.failure('bind_topic($1, $2)', ['a', a.toUpperCase()])).toBe(missing(a.toUpperCase()))
    await bind('x.*', a)
    const [first] = await client.rows('SELECT * FROM pgmq.topic_bindings')
    await bind('x.*', a)
    expect(await client.rows('SELECT * FROM pgmq.topic_bindings')).toEqual([first])
    expect(await client.failure("unbind_topic(NULL, 'a')")).toBe('P0001 pattern cannot be NULL or empty')
    expect(await client.failure("unbind_topic('a', '')")).toBe(none)
    expect(await client.call('unbind_topic($1, $2)', ['x.*', a])).toEqual([true])
    expect(await client.call('unbind_topic($1, $2)', ['x.*', a])).toEqual([false])
    await bind('x.*', a)
    await client.call('drop_queue($1)', [a])
    expect(await client.rows('SELECT * FROM pgmq.topic_bindings')).toEqual([])
  })

  test('bindings are listed with what they match', async () => {
    const regexes = {
      'logs.error': '^logs\\.error$',
      'logs.*': '^logs\\.[^.]+$',
      'logs.#': '^logs\\..*$',
      'app.*.logs.#': '^app\\.[^.]+\\.logs\\..*$',
      '#': '^.*$',
      'a*b': '^a[^.]+b$',
    }
    for (const pattern of Object.keys(regexes)) await bind(pattern, a)
    await bind('logs.#', b)
    const listed = await client.rows('SELECT * FROM pgmq.list_topic_bindings($1)', [a])
    expect(Object.fromEntries(listed.map((row) => [row.pattern, row.compiled_regex]))).toEqual(regexes)
    expect(listed.every((row) => row.queue_name === a && row.bound_at instanceof Date)).toBe(true)
    // The newest first, then by pattern and queue.
    await client.rows("UPDATE pgmq.topic_bindings SET bound_at = 'epoch' WHERE pattern <> 'logs.#'")
    expect(
      (await client.rows('SELECT pattern, queue_name FROM pgmq.list_topic_bindings()')).map((row) => row.pattern),
    ).toEqual([
      'logs.#',
      'logs.#',
      ...Object.keys(regexes)
        .filter((pattern) => pattern !== 'logs.#')
        .sort(),
    ])
    expect(await client.rows("SELECT * FROM pgmq.list_topic_bindings('nope')")).toEqual([])
  })

  test('the table of bindings is changed by clients themselves', async () => {
    await client.rows('INSERT INTO pgmq.topic_bindings (pattern, queue_name) VALUES ($1, $2)', ['x.*', a])
    await client.rows("UPDATE pgmq.topic_bindings SET pattern = 'y.#' WHERE pattern = 'x.*'")
    expect(await client.rows('SELECT pattern, queue_name, compiled_regex FROM pgmq.topic_bindings')).toEqual([
      { pattern: 'y.#', queue_name: a, compiled_regex: '^y\\..*$' },
    ])
    expect(await bus.bindings(a)).toMatchObject([{ pattern: 'y.#' }])
    await client.rows("DELETE FROM pgmq.topic_bindings WHERE pattern = 'y.#'")
    expect(await bus.bindings(a)).toEqual([])
  })

  test('which bindings match a key: all of them, by pattern', async () => {
    for (const pattern of ['events.#', '#', 'data.#.processed', '#.error', 'logs.*']) await bind(pattern, a)
    await bind('logs.#', a)
    expect(await routed('events')).toEqual([`# ${a}`])
    expect(await routed('events.x.y')).toEqual([`# ${a}`, `events.# ${a}`])
    expect(await routed('error')).toEqual([`# ${a}`])
    expect(await routed('x.error')).toEqual([`# ${a}`, `#.error ${a}`])
    expect(await routed('data.processed')).toEqual([`# ${a}`])
    expect(await routed('data.a.b.processed')).toEqual([`# ${a}`, `data.#.processed ${a}`])
    expect(await routed('logs.a')).toEqual([`# ${a}`, `logs.# ${a}`, `logs.* ${a}`])
  })

  test('one copy a queue, however many of its bindings match', async () => {
    await bind('logs.*', a)
    await bind('logs.#', a)
    await bind('logs.#', b)
    expect(await client.call(`send_topic('logs.x', '{"n": 1}')`)).toEqual([2])
    expect(await client.call("send_topic('logs.x', '1', 0)")).toEqual([2])
    expect(await client.call(`send_topic('logs.x', '2', '{"h": 1}', 0)`)).toEqual([2])
    expect(await client.call("send_topic('logs.x', '3', NULL, 3600)")).toEqual([2])
    expect(await client.call("send_topic('nobody', '1')")).toEqual([0])
    expect(await client.rows('SELECT message, headers FROM pgmq.read($1, 0, 9)', [a])).toEqual([
      { message: { n: 1 }, headers: null },
      { message: 1, headers: null },
      { message: 2, headers: { h: 1 } },
    ])
    expect(await lengthOf(b)).toBe(4)
    expect(await client.failure("send_topic('logs.x', NULL)")).toBe('P0001 msg cannot be NULL')
    expect(await client.failure("send_topic('logs.x', '1', -1)")).toBe('P0001 delay cannot be negative, got: -1')
  })

  test('batches, in all their forms', async () => {
    await bind('x', b)
    await bind('x', a)
    expect(await client.rows("SELECT * FROM pgmq.send_batch_topic('x', ARRAY['1', NULL]::jsonb[])")).toEqual([
      { queue_name: a, msg_id: 1 },
      { queue_name: a, msg_id: 2 },
      { queue_name: b, msg_id: 1 },
      { queue_name: b, msg_id: 2 },
    ])
    for (const rest of [
      `ARRAY['{"h": 1}']::jsonb[]`,
      '0',
      '-5',
      'now()',
      `ARRAY['{"h": 1}']::jsonb[], 0`,
      `ARRAY['{"h": 1}']::jsonb[], now()`,
    ])
      expect(
        await client.rows(`SELECT * FROM pgmq.send_batch_topic('x', ARRAY['1']::jsonb[], ${rest})`),
        rest,
      ).toHaveLength(2)
    expect(await client.rows("SELECT * FROM pgmq.send_batch_topic('y', ARRAY['1']::jsonb[])")).toEqual([])
    expect(await client.failure("send_batch_topic('x', '{}'::jsonb[])")).toBe('P0001 msgs cannot be NULL or empty')
    expect(await client.failure("send_batch_topic('x', ARRAY['1']::jsonb[], ARRAY['1', '2']::jsonb[])")).toBe(
      'P0001 headers array length (2) must match msgs array length (1)',
    )
    const headers = (await client.rows('SELECT headers FROM pgmq.read($1, 0, 99)', [a])).map((row) => row.headers)
    expect(headers.filter((one) => one !== null)).toEqual(Array(3).fill({ h: 1 }))
  })

  test('bindings of Tidings are the same, each by the rule of its side, from both sides', async () => {
    await bind('events.#', a)
    expect(await bus.bind('events.#', b)).toBe(true)
    expect((await bus.bindings()).map(({ pattern, queue }) => `${pattern} ${queue}`).sort()).toEqual([
      `events.# ${a}`,
      `events.# ${b}`,
    ])
    expect(await routed('events')).toEqual([`events.# ${b}`])
    expect((await bus.publish('events', 1)).length).toBe(1)
    expect(await client.call("send_topic('events', '1')")).toEqual([1])
    expect((await bus.publish('events.x', 1)).length).toBe(2)
    expect(await client.call("send_topic('events.x', '1')")).toEqual([2])
    expect([await lengthOf(a), await lengthOf(b)]).toEqual([2, 4])
    // Bound from both sides, the wider rule counts.
    expect(await bus.bind('events.#', a)).toBe(false)
    expect(await routed('events')).toHaveLength(2)
    expect(await bus.unbind('events.#', a)).toBe(true)
    expect(await client.call('unbind_topic($1, $2)', ['events.#', b])).toEqual([true])
    expect(await bus.bindings()).toEqual([])
    // Only PGMQ has such patterns.
    await bind('a*b', a)
    expect((await bus.publish('axb', 1)).length).toBe(1)
    expect((await bus.publish('a.b', 1)).length).toBe(0)
  })

  test('what is listed of a binding of Tidings is what it matches', async () => {
    const keys = ['a', 'b', 'a.b', 'a.b.c', 'b.a', 'a.x.b', 'a.x.y.b', 'x.a', 'x.y.a.b', 'x']
    for (const pattern of [
      '#',
      '#.#',
      '*',
      'a.#',
      '#.b',
      '#.#.b',
      'a.#.b',
      'a.*',
      '*.#',
      '#.a.#',
      '*.*',
      'a.#.#',
      '#.*',
      'a',
    ])
      expect(
        await client.rows(
          `SELECT key FROM unnest($1::text[]) key,
            (SELECT compiled_regex FROM pgmq.topic_bindings WHERE pattern = $2) b
          WHERE tidings.matches($2, key) <> (key ~ b.compiled_regex)`,
          [keys, await bus.bind(pattern, a).then(() => pattern)],
        ),
        pattern,
      ).toEqual([])
  })

  test('what is sent reaches topics of Tidings too, and queues that take from them', async () => {
    const name = newName('log')
    await bus.topic(name).create()
    await bus.bind('news.#', bus.topic(name))
    await bus.topic(name).bind(b)
    expect(await client.call(`send_topic('news', '"both"')`)).toEqual([1])
    await bind('news.x', a)
    expect(await client.rows(`SELECT * FROM pgmq.send_batch_topic('news.x', ARRAY['1', '2']::jsonb[])`)).toHaveLength(4)
    const seen = (await bus.topic(name).read()).map(({ data }) => data)
    expect(seen).toEqual(['both', 1, 2])
  })
})

test('where PGMQ keeps its own list, bindings of both sides are in it', async () => {
  const { url, drop } = await newDatabase(await sharedServer('postgres15'))
  await query(url, `CREATE SCHEMA pgmq; ${pgmqPeer('1.12.0')}`)
  const bus = await connect(url)
  for (const queue of ['a', 'b']) await bus.queue(queue).create()
  await query(url, "INSERT INTO pgmq.topic_bindings (pattern, queue_name) VALUES ('events.#', 'a')")
  expect(await bus.bind('events.#', 'b')).toBe(true)
  expect(await query(url, 'SELECT pattern, queue_name FROM pgmq.topic_bindings ORDER BY 2')).toEqual([
    { pattern: 'events.#', queue_name: 'a' },
    { pattern: 'events.#', queue_name: 'b' },
  ])
  expect((await bus.bindings()).map(({ pattern, queue }) => `${pattern} ${queue}`)).toEqual([
    'events.# a',
    'events.# b',
  ])
  expect((await bus.publish('events', 1)).map((copy) => 'queue' in copy && copy.queue)).toEqual(['b'])
  expect((await bus.publish('events.x', 1)).map((copy) => 'queue' in copy && copy.queue)).toEqual(['a', 'b'])
  expect(await bus.unbind('events.#', 'a')).toBe(true)
  expect(await bus.unbind('events.#', 'b')).toBe(true)
  expect(await query(url, 'SELECT FROM pgmq.topic_bindings')).toEqual([])
  expect(await bus.bindings()).toEqual([])
  await bus.close()
  await drop()
})
