import { execFile } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import pg from 'pg'
import { connect } from 'tidings'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { sharedServer } from './support/shared-servers.ts'

const examples = fileURLToPath(new URL('../examples/', import.meta.url))
const run = promisify(execFile)

const [server, redis] = await Promise.all([sharedServer('postgres18'), sharedServer('redis')])

interface Proof {
  readonly checks: { readonly claim: string; readonly broken: object[] }[]
  readonly counts: Record<string, number | string>[]
}

describe('examples print what their last comment says', () => {
  const database = `examples_${process.pid}_${Date.now()}`
  const env = { ...process.env, DATABASE_URL: server.replace(/[^/]+$/, database), REDIS_URL: redis }
  const names = readdirSync(examples).filter((name) => name.endsWith('.mjs'))

  beforeAll(() => onServer(`CREATE DATABASE ${database}`))
  afterAll(() => onServer(`DROP DATABASE ${database} WITH (FORCE)`))

  async function onServer(sql: string): Promise<void> {
    const client = new pg.Client({ connectionString: server })
    await client.connect()
    await client.query(sql)
    await client.end()
  }

  test('there are examples', () => expect(names.length).toBeGreaterThanOrEqual(5))

  test.each(names)('%s', async (name) => {
    const source = readFileSync(examples + name, 'utf8')
    const [, comment] = source.split('\n// Prints:\n')
    const expected = comment?.replaceAll(/^\/\/ ?/gm, '')
    const { stdout } = await run(process.execPath, [examples + name], { timeout: 55_000, env })
    expect(stdout).toBe(expected)
  })
})

describe('the data of the demo', () => {
  test('is what its script writes', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'tidings-demo-'))
    const again = join(folder, 'orders.jsonl')
    await run(process.execPath, [`${examples}demo/make-orders.mjs`, again])
    expect(readFileSync(again, 'utf8')).toBe(readFileSync(`${examples}demo/orders.jsonl`, 'utf8'))
    rmSync(folder, { recursive: true })
  })
})

describe('the proof of the demo', () => {
  const database = `demo_${process.pid}_${Date.now()}`
  const url = server.replace(/[^/]+$/, database)
  let client: pg.Client

  beforeAll(async () => {
    await inOtherDatabase(`CREATE DATABASE ${database}`)
    const bus = await connect(url)
    for (const queue of ['orders', 'hires']) await bus.queue(queue).create()
    await bus.close()
    client = new pg.Client({ connectionString: url })
    await client.connect()
  })

  afterAll(async () => {
    await client.end()
    await inOtherDatabase(`DROP DATABASE ${database} WITH (FORCE)`)
  })

  async function inOtherDatabase(sql: string): Promise<void> {
    const other = new pg.Client({ connectionString: server })
    await other.connect()
    await other.query(sql)
    await other.end()
  }

  /** Three messages with the three good ends: archived, dead letter, deleted. */
  beforeEach(async () => {
    await client.query(`
      DROP SCHEMA IF EXISTS demo CASCADE;
      DROP TABLE IF EXISTS pgmq.q_orders_dlq;
      TRUNCATE pgmq.q_orders, pgmq.a_orders, pgmq.q_hires, pgmq.a_hires, tidings.delayed;
      CREATE SCHEMA demo;
      CREATE TABLE demo.sent (queue text, msg_id bigint, line integer, ordering_key text, fate text);
      CREATE TABLE demo.handled (
        number bigint GENERATED ALWAYS AS IDENTITY, queue text, msg_id bigint, worker text, attempt integer,
        started_at timestamptz DEFAULT now());
      CREATE TABLE pgmq.q_orders_dlq (LIKE pgmq.q_orders INCLUDING DEFAULTS);
      INSERT INTO demo.sent VALUES
        ('orders', 1, 1, 'a', NULL), ('orders', 2, 2, NULL, 'dead letter'), ('hires', 1, 3, NULL, NULL),
        ('orders', 3, 4, 'a', NULL);
      INSERT INTO pgmq.a_orders (msg_id, vt) VALUES (1, now()), (3, now());
      INSERT INTO pgmq.q_orders_dlq (msg_id, vt, message)
      VALUES (1, now(), '{"data": 1, "meta": {"origin_id": "2", "error_message": "no"}}');
      INSERT INTO demo.handled (queue, msg_id, worker, attempt)
      VALUES ('orders', 1, 'A', 1), ('hires', 1, 'B', 1), ('orders', 3, 'B', 1)`)
  })

  async function proof(): Promise<Proof> {
    const { prove } = await import(`${examples}demo/proof.mjs`)
    return prove(client, { queues: ['orders', 'hires'], deleting: ['hires'], killed: 'A' })
  }

  /** What the proof finds broken after a change to the tables. */
  async function brokenBy(sql: string): Promise<string[]> {
    await client.query(sql)
    const { checks } = await proof()
    return checks.filter(({ broken }) => broken.length > 0).map(({ claim }) => claim)
  }

  test('holds when every message has one good end', async () => {
    const { checks, counts } = await proof()
    expect(checks.flatMap(({ broken }) => broken)).toEqual([])
    expect(counts.at(-1)).toMatchObject({ queue: 'together', sent: 4, archived: 2, deleted: 1, dead: 1, lost: 0 })
  })

  test.each([
    ['an archived message is gone', 'DELETE FROM pgmq.a_orders WHERE msg_id = 1', 'no message is lost'],
    ['a dead letter is gone', 'DELETE FROM pgmq.q_orders_dlq', 'no message is lost'],
    [
      'a message was deleted that nobody handled',
      "DELETE FROM demo.handled WHERE queue = 'hires'",
      'no message is lost',
    ],
    [
      'an archived message is in the queue, too',
      'INSERT INTO pgmq.q_orders (msg_id, vt) OVERRIDING SYSTEM VALUE VALUES (1, now())',
      'no message is in two places',
    ],
    [
      'a message still waits',
      `INSERT INTO tidings.delayed (queue_name, msg_id, due, read_ct, enqueued_at)
       VALUES ('hires', 1, now(), 0, now())`,
      'no message is left over',
    ],
    [
      'there is one that nobody sent',
      'INSERT INTO pgmq.a_orders (msg_id, vt) VALUES (9, now())',
      'there is no message that nobody sent',
    ],
    [
      'one was archived without being handled',
      "DELETE FROM demo.handled WHERE queue = 'orders' AND msg_id = 1",
      'what is archived or deleted was handled',
    ],
    [
      'one failed that had no reason to',
      "UPDATE demo.sent SET fate = NULL WHERE queue = 'orders'",
      'dead letters are exactly those that had to fail',
    ],
    [
      'the messages of a key changed places',
      "UPDATE demo.sent SET line = 9 WHERE queue = 'orders' AND msg_id = 1",
      'the messages of each order were handled in their order',
    ],
    [
      'one was handled twice without a kill',
      "INSERT INTO demo.handled (queue, msg_id, worker, attempt) VALUES ('hires', 1, 'B', 2)",
      'what was handled twice was in the hands of the killed worker',
    ],
    [
      'a dead letter was handled, too',
      "INSERT INTO demo.handled (queue, msg_id, worker, attempt) VALUES ('orders', 2, 'B', 2)",
      'no dead letter was handled',
    ],
    [
      'a dead letter does not say why',
      "UPDATE pgmq.q_orders_dlq SET message = message #- '{meta,error_message}'",
      'every dead letter says why',
    ],
  ])('fails when %s', async (_, sql, claim) => {
    expect(await brokenBy(sql)).toContain(claim)
  })

  test('does not count a message as handled in the wrong order that was handled again by another worker', async () => {
    // 1 was handled by A, which was killed; B handled it again before it went on to 3.
    expect(
      await brokenBy(`DELETE FROM demo.handled WHERE queue = 'orders';
        INSERT INTO demo.handled (queue, msg_id, worker, attempt)
        VALUES ('orders', 1, 'A', 1), ('orders', 1, 'B', 2), ('orders', 3, 'B', 1)`),
    ).toEqual([])
  })
})
