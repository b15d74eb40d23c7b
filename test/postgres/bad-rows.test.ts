import { connect } from 'tidings'
import { eventsMigration } from 'tidings/internal/engines/postgres/events-migration'
import type { PostgresEngine } from 'tidings/internal/engines/postgres/postgres'
import type { Ending, StoredMessage } from 'tidings/internal/port/engine'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { sharedServer } from '../support/shared-servers.ts'
import { message, migratedDatabase, newName, openEngine, query } from './support.ts'

// What other clients of PGMQ may put into a queue harms nothing else in it, and is handled itself.
describe.each(['postgres15', 'postgres18'] as const)('odd rows on %s', (server) => {
  let url: string
  let drop: () => Promise<void>
  let engine: PostgresEngine

  beforeAll(async () => {
    ;({ url, drop } = await migratedDatabase(await sharedServer(server)))
    engine = await openEngine(url)
  })
  afterAll(async () => {
    await engine.close()
    await drop()
  })

  const newQueue = async () => {
    const queue = newName('odd')
    await engine.createQueue(queue)
    return queue
  }
  const insert = async (queue: string, body: string, headers: string | null, vt = 'now()') => {
    const text = `INSERT INTO pgmq.q_${queue} (vt, message, headers) VALUES (${vt}, $1, $2) RETURNING msg_id`
    return String((await query(url, text, [body, headers]))[0]?.msg_id)
  }
  const claim = async (queue: string) =>
    (await engine.claim(queue, { limit: 100, leaseMs: 60_000, ids: null })).messages
  const settle = (queue: string, messages: readonly StoredMessage[], ending: Ending) =>
    engine.settle(
      queue,
      messages.map(({ id, receipt }) => ({ ...ending, id, receipt: receipt! })),
    )
  const peek = (queue: string) => engine.peek(queue, { place: null, limit: 100, afterId: null, ids: null })

  const oddHeaders = ['null', '7', '"trace-1"', '["a", "x-pgmq-group"]', 'true', '{"x-tidings-meta": 5}']
  const why = { error_message: 'no' }

  test('headers of any kind are settled with their neighbours, and read again before', async () => {
    const to = newName('dead')
    const endings: Ending[] = [
      { kind: 'release', delayMs: 0, uncount: false, meta: why },
      { kind: 'release', delayMs: 3_600_000, uncount: false, meta: why },
      { kind: 'archive', meta: why },
      { kind: 'move', to, delayMs: 0, meta: why },
    ]
    for (const ending of endings) {
      const queue = await newQueue()
      for (const headers of oddHeaders) await insert(queue, '{"bare": 1}', headers)
      await engine.send(queue, [message()], null)
      await settle(queue, await claim(queue), { kind: 'release', delayMs: 0, uncount: false, meta: {} })
      const again = await claim(queue)
      expect(again).toHaveLength(oddHeaders.length + 1)
      expect((await settle(queue, again, ending)).map(({ settled }) => settled)).not.toContain(false)
      const kept =
        ending.kind === 'archive'
          ? await engine.peek(queue, { place: 'archived', limit: 100, afterId: null, ids: null })
          : await peek(ending.kind === 'move' ? to : queue)
      expect(kept.map(({ meta }) => meta.error_message)).toEqual(kept.map(() => 'no'))
      expect(kept.map(({ data }) => JSON.parse(data))).toEqual([
        ...oddHeaders.map(() => ({ bare: 1 })),
        { name: 'Ada' },
      ])
    }
  })

  test('headers that are no object are kept beside the meta', async () => {
    const queue = await newQueue()
    await insert(queue, '1', '["a"]')
    await settle(queue, await claim(queue), { kind: 'release', delayMs: 0, uncount: false, meta: why })
    expect((await peek(queue))[0]?.headers).toMatchObject({ 'x-tidings-headers': ['a'] })
  })

  test('a group or a priority that says nothing makes a plain message; no insert is refused for it', async () => {
    const queue = await newQueue()
    await engine.send(queue, [message({ orderingKey: 'ours', priority: 5 }), message({ priority: -5 })], null)
    const odd = [
      '{"x-pgmq-group": null}',
      '{"x-tidings-priority": "high"}',
      '{"x-tidings-priority": 0}',
      '{"x-tidings-priority": 1e30}',
      '{"x-tidings-priority": null}',
      '{"x-tidings-priority": {"a": 1}, "x-pgmq-group": null}',
    ]
    for (const headers of odd) await insert(queue, '1', headers)
    expect((await claim(queue)).map(({ id }) => Number(id)).sort((a, b) => a - b)).toEqual([1, 2, 3, 4, 5, 6, 7, 8])
    await insert(queue, '1', odd[1]!)
    expect(await engine.claim(queue, { limit: 1, leaseMs: 60_000, ids: ['9'] })).toMatchObject({
      messages: [{ id: '9' }],
    })
  })

  test('an index that an earlier version made, which refused priorities of others, is replaced by upkeep', async () => {
    const queue = await newQueue()
    await query(
      url,
      `DO $$ DECLARE one regclass; BEGIN
        FOR one IN SELECT indexrelid FROM pg_index WHERE indrelid = 'pgmq.q_${queue}'::regclass AND NOT indisprimary LOOP
          EXECUTE 'DROP INDEX ' || one; END LOOP; END $$;
      CREATE INDEX ON pgmq.q_${queue} (((headers ->> 'x-tidings-priority')::integer) DESC, msg_id)
        WHERE headers ? 'x-tidings-priority';
      UPDATE tidings.queue SET indexed = false WHERE queue_name = '${queue}'`,
    )
    await expect(insert(queue, '1', '{"x-tidings-priority": "high"}')).rejects.toThrow('integer')
    await engine.maintain({ kind: 'due' })
    await insert(queue, '1', '{"x-tidings-priority": "high"}')
    const indexes = await query(url, `SELECT indexrelid FROM pg_index WHERE indrelid = 'pgmq.q_${queue}'::regclass`)
    expect(indexes).toHaveLength(3)
  })

  test('a message that is hidden for ever is looked at, and hides nothing else', async () => {
    const queue = await newQueue()
    await insert(queue, '1', null, `'infinity'`)
    await insert(queue, '2', null, `'-infinity'`)
    expect((await peek(queue)).map(({ visibleAt }) => new Date(visibleAt).toISOString().slice(0, 7))).toEqual([
      '+275760',
      '-271821',
    ])
    const claimed = await engine.claim(queue, { limit: 5, leaseMs: 60_000, ids: null })
    expect(claimed.messages.map(({ id }) => id)).toEqual(['2'])
    expect(claimed.nextDueMs).toBeGreaterThan(50_000)
    expect(claimed.nextDueMs).toBeLessThanOrEqual(60_000)
    expect(await engine.stats(queue)).toMatchObject({ delayed: 1, leased: 1 })
    await query(url, `SELECT pgmq.set_vt('${queue}', ARRAY[1::bigint], 'infinity'::timestamptz)`)
    expect(await engine.diagnose()).toContainEqual(
      expect.objectContaining({ level: 'warning', message: expect.stringContaining(`queue '${queue}'`) }),
    )
  })

  test('a message that is hidden for ever is sent where events are installed, and announces nothing', async () => {
    const { url: own, drop: dropOwn } = await migratedDatabase(await sharedServer(server))
    const watched = await openEngine(own)
    await watched.createQueue('jobs')
    await query(own, eventsMigration().up)
    await query(own, `INSERT INTO pgmq.q_jobs (vt, message) VALUES ('infinity', '1'), ('-infinity', '2')`)
    await query(own, `INSERT INTO pgmq.q_jobs (vt, message) VALUES (now() + interval '100 ms', '3')`)
    await query(own, `UPDATE pgmq.q_jobs SET vt = 'infinity' WHERE msg_id = 3`)
    await query(own, `UPDATE tidings_events.due SET due = now()`)
    expect(await query(own, 'SELECT tidings_events.announce_due() AS next')).toEqual([{ next: null }])
    await watched.close()
    await dropOwn()
  })

  test('a queue that another client dropped, or that fails, stops upkeep of nothing else', async () => {
    const [broken, dropped, other, topic] = [await newQueue(), newName('odd'), await newQueue(), newName('odd')]
    await engine.createQueue(dropped)
    for (const queue of [broken, dropped, other])
      await engine.send(queue, [message({ uniqueTarget: 't' }), message({ delayMs: 70_000 })], null)
    await query(
      url,
      `DROP TABLE pgmq.q_${dropped}, pgmq.a_${dropped}; DELETE FROM pgmq.meta WHERE queue_name = '${dropped}';
      DELETE FROM tidings.queue WHERE queue_name = '${dropped}';
      ALTER TABLE pgmq.q_${broken} ADD CONSTRAINT refuses CHECK (vt < '2000-01-01') NOT VALID;
      UPDATE tidings.delayed SET due = now() WHERE queue_name IN ('${broken}', '${other}');
      DELETE FROM pgmq.q_${other}`,
    )
    await engine.topics.createTopic(topic, {
      description: '',
      retention: { maxAgeMs: 1_000, maxBytes: null, whenRead: false },
    })
    await engine.topics.append(topic, [message()], null)
    await query(url, `UPDATE tidings.topic_message SET published_at = now() - interval '1 hour'`)

    await expect(engine.maintain({ kind: 'due' })).rejects.toMatchObject({
      message: expect.stringContaining(`queue '${broken}'`),
    })
    const left = (queue: string) =>
      query(
        url,
        `SELECT FROM tidings.dedup WHERE queue_name = $1 UNION ALL SELECT FROM tidings.delayed WHERE queue_name = $1`,
        [queue],
      )
    expect(await left(dropped)).toEqual([])
    expect(await left(other)).toEqual([])
    expect(await engine.topics.read(topic, 0, 10)).toEqual([])
    await engine.dropQueue(broken)
    await engine.maintain({ kind: 'due' })
  })
})

describe('a database that cannot hold every character', () => {
  test.each(['WIN1252', 'LATIN1'])('%s refuses the message that has it, and no other of its tick', async (encoding) => {
    const name = newName('db')
    const base = await sharedServer('postgres18')
    await query(base, `CREATE DATABASE ${name} ENCODING '${encoding}' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'`)
    const own = new URL(base)
    own.pathname = `/${name}`
    const bus = await connect(own.href)
    try {
      const queue = bus.queue('jobs')
      await queue.create()
      const sent = await Promise.allSettled(
        ['one', 'two 👍', 'three', 'four 日本', 'five'].map((text) => queue.send(text)),
      )
      expect(sent.map((one) => (one.status === 'fulfilled' ? 'sent' : one.reason.code))).toEqual([
        'sent',
        'BODY_UNSUPPORTED_CHAR',
        'sent',
        'BODY_UNSUPPORTED_CHAR',
        'sent',
      ])
      expect((await queue.peek()).map(({ data }) => data)).toEqual(['one', 'three', 'five'])

      // The reason of a failure comes from anywhere, and is kept as well as can be.
      const [first, ...others] = await queue.read({ limit: 3 })
      await Promise.all([first!.deadLetter(new Error('no 👍')), ...others.map((other) => other.delete())])
      expect((await queue.deadLetters.list())[0]?.meta.errorMessage).toBe('no \\u{1f44d}')
      expect(await queue.stats()).toMatchObject({ ready: 0, leased: 0 })

      const found = await bus.diagnose()
      expect(found).toContainEqual(
        expect.objectContaining({ level: 'warning', message: expect.stringContaining(encoding) }),
      )
    } finally {
      await bus.close()
      await query(base, `DROP DATABASE ${name} WITH (FORCE)`)
    }
  })
})
