import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import type { PostgresEngine } from 'tidings/internal/engines/postgres/postgres'
import type { Transaction } from 'tidings/internal/port/engine'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { sharedServer } from '../support/shared-servers.ts'
import { migratedDatabase, newName, openEngine, query, until } from './support.ts'
import { follow, labelled, numbers, numbersOf, readAll } from './topic-support.ts'

const publisherScript = fileURLToPath(new URL('topic-publisher.mjs', import.meta.url))
const routed = (routingKey: string, label: string, fields = {}) => ({ ...labelled(label, fields), routingKey })
const keepAll = { maxAgeMs: null, maxBytes: null, whenRead: false }

describe.each(['postgres15', 'postgres18'] as const)('topics on %s', (server) => {
  let url: string
  let drop: () => Promise<void>
  let engine: PostgresEngine
  let other: PostgresEngine
  const processes = new Set<ChildProcess>()
  const clients = new Set<pg.Client>()

  beforeAll(async () => {
    ;({ url, drop } = await migratedDatabase(await sharedServer(server)))
    engine = await openEngine(url)
    other = await openEngine(url)
  })
  afterEach(async () => {
    for (const child of processes) child.kill('SIGKILL')
    await Promise.all([...clients].map((client) => client.end()))
    clients.clear()
  })
  afterAll(async () => {
    await engine.close()
    await other.close()
    await drop()
  })

  async function newTopic(settings = {}): Promise<string> {
    const topic = newName('topic')
    await engine.topics.createTopic(topic, settings)
    return topic
  }

  async function newSession(): Promise<pg.Client> {
    const client = new pg.Client({ connectionString: url })
    clients.add(client)
    await client.connect()
    return client
  }

  async function begin(isolation = 'READ COMMITTED'): Promise<Transaction> {
    const client = await newSession()
    await client.query(`BEGIN ISOLATION LEVEL ${isolation}`)
    return { query: (text, values) => client.query(text, [...values]) }
  }

  /** How many pages a statement looks at. */
  async function buffersOf(session: pg.Client, statement: string, values: readonly unknown[]): Promise<number> {
    const { rows } = await session.query(`EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) ${statement}`, [...values])
    const { Plan } = rows[0]['QUERY PLAN'][0]
    return (Plan['Shared Hit Blocks'] as number) + (Plan['Shared Read Blocks'] as number)
  }

  const end = (transaction: Transaction, how: 'COMMIT' | 'ROLLBACK') => transaction.query(how, [])

  function startPublisher(topic: string, name: string, total: number, size: number) {
    const values = [publisherScript, url, topic, name, String(total), String(size)]
    const child = spawn(process.execPath, values, { stdio: ['ignore', 'pipe', 'inherit'] })
    processes.add(child)
    const ended = once(child, 'exit').finally(() => processes.delete(child))
    const publisher = { child, ended, acknowledged: 0, told: () => {} }
    createInterface(child.stdout).on('line', (line) => {
      publisher.acknowledged = Number(line)
      publisher.told()
    })
    return publisher
  }

  test('two processes publish 10,000 each on a new topic: no error, no gap, each in its order', async () => {
    const topic = await newTopic()
    for (const name of ['one', 'two']) await engine.topics.subscribe(topic, name, 'earliest')
    const following = [follow(engine, topic, 'one', 20_000), follow(other, topic, 'two', 20_000)]
    const publishers = ['a', 'b'].map((name) => startPublisher(topic, name, 10_000, 10))
    for (const { ended } of publishers) expect(await ended).toEqual([0, null])
    for (const seen of await Promise.all(following)) {
      expect(seen.map(({ offset }) => offset)).toEqual(numbers(1, 20_000))
      for (const name of ['a', 'b']) expect(numbersOf(seen, name)).toEqual(numbers(1, 10_000))
    }
    // Both were at it at the same time.
    const [first] = await query(
      url,
      `SELECT count(DISTINCT left(message ->> 'data', 1)) AS publishers FROM tidings.topic_message m
      JOIN tidings.topic t ON t.id = m.topic_id WHERE t.name = $1 AND "offset" BETWEEN 5000 AND 15000`,
      [topic],
    )
    expect(first).toEqual({ publishers: '2' })
  }, 300_000)

  test('an open transaction holds nobody up, and every subscription gets its message after all', async () => {
    const topic = await newTopic()
    for (const name of ['one', 'two', 'late']) await engine.topics.subscribe(topic, name, 'earliest')
    const following = ['one', 'two'].map((name) => follow(name === 'one' ? engine : other, topic, name, 202))
    const transaction = await begin()
    await engine.topics.append(topic, [labelled('open/1'), labelled('open/2')], transaction)
    // These would never end if one of them waited for the transaction.
    await Promise.all(
      [engine, other].map(async ({ topics }, publisher) => {
        for (let number = 1; number <= 100; number++)
          await topics.append(topic, [labelled(`${publisher}/${number}`)], null)
      }),
    )
    await until(async () => {
      const states = await engine.topics.subscriptions(topic, null)
      return states.filter(({ cursor }) => cursor === 200).length === 2
    }, 'both have read all that was committed')
    await end(transaction, 'COMMIT')
    for (const seen of await Promise.all(following)) {
      expect(seen.map(({ offset }) => offset)).toEqual(numbers(1, 202))
      expect(seen.slice(200).map(({ label }) => label)).toEqual(['open/1', 'open/2'])
    }
    expect((await readAll(engine, topic)).length).toBe(202)
  }, 300_000)

  test('a rollback leaves nothing, and no gap', async () => {
    const topic = await newTopic()
    const [first, second] = [await begin(), await begin()]
    await engine.topics.append(topic, [labelled('no')], first)
    await engine.topics.append(topic, [labelled('yes')], second)
    await end(second, 'COMMIT')
    await end(first, 'ROLLBACK')
    expect(await engine.topics.append(topic, [labelled('then')], null)).toEqual([{ offset: 2, duplicate: false }])
    expect((await readAll(engine, topic)).map(({ label }) => label)).toEqual(['yes', 'then'])
    expect(await query(url, 'SELECT FROM tidings.topic_pending')).toEqual([])
  })

  test('a snapshot of its own does not keep a transaction from publishing', async () => {
    const topic = await newTopic()
    const transaction = await begin('SERIALIZABLE')
    await transaction.query('SELECT count(*) FROM tidings.topic', [])
    await other.topics.append(topic, [labelled('meanwhile')], null)
    await engine.topics.append(topic, [labelled('late')], transaction)
    await other.topics.append(topic, [labelled('again')], null)
    await end(transaction, 'COMMIT')
    expect((await readAll(engine, topic)).map(({ label }) => label)).toEqual(['meanwhile', 'again', 'late'])
  })

  test('a publisher that is killed leaves batches as a whole, and nobody waits for it', async () => {
    const topic = await newTopic()
    for (let round = 1; round <= 3; round++) {
      const publisher = startPublisher(topic, `p${round}`, 0, 25)
      await new Promise<void>((resolve) => {
        publisher.told = () => publisher.acknowledged >= 25 * 10 * round && resolve()
      })
      publisher.child.kill('SIGKILL')
      await publisher.ended
      const [result] = await engine.topics.append(topic, [labelled(`after/${round}`)], null)
      const seen = await readAll(engine, topic)
      // The server may end the last batch of the killed process after ours.
      expect(seen.map(({ offset }) => offset)).toEqual(numbers(1, seen.length))
      expect(seen.length).toBeGreaterThanOrEqual(result!.offset!)
      const stored = numbersOf(seen, `p${round}`)
      expect(stored).toEqual(numbers(1, stored.length))
      expect(stored.length % 25).toBe(0)
      expect(stored.length).toBeGreaterThanOrEqual(publisher.acknowledged)
    }
  }, 300_000)

  test('publishing to overlapping sets of topics and queues never ends in a deadlock', async () => {
    const deadlocks = async () =>
      (await query(url, 'SELECT deadlocks::integer AS n FROM pg_stat_database WHERE datname = current_database()'))[0]
    const before = await deadlocks()
    const topics = [await newTopic(), await newTopic(), await newTopic()]
    const queues = ['c', 'a', 'b'].map((start) => newName(start))
    for (const queue of queues) await engine.createQueue(queue)
    // Every key leads to another set, in both directions of the order of names and ids.
    for (const [index, topic] of topics.entries()) {
      await engine.bind({ topic, pattern: `set.*.${index}.#` })
      await engine.bind({ topic, pattern: `set.#.${(index + 1) % 3}` })
      await engine.bind({ topic, queue: queues[(index + 1) % 3]! })
      await engine.bind({ pattern: `set.#.${index}`, queue: queues[index]! })
    }
    const keys = numbers(0, 2).flatMap((a) => numbers(0, 2).map((b) => `set.x.${a}.${b}`))
    const engines = [engine, other, await openEngine(url), await openEngine(url)]
    const rounds = 40
    const dedup = (id: string) => ({ dedup: { id, windowMs: 60_000 } })
    await Promise.all(
      engines.map(async (one, publisher) => {
        for (let round = 0; round < rounds; round++) {
          const shuffled = publisher % 2 === 0 ? keys : keys.toReversed()
          // Half of the messages are duplicates of what another publisher sends at this moment.
          const batch = shuffled.flatMap((key) => [
            routed(key, `${publisher}/${round}`),
            routed(key, `once/${round}`, dedup(`${key}/${round}`)),
          ])
          if (round % 4 === publisher) await one.transaction((transaction) => one.publish(batch, transaction))
          else await one.publish(batch, null)
          await one.topics.append(topics[round % 3]!, [labelled(`own/${publisher}`, dedup(`own${round}`))], null)
          if (round % 10 === 0) await one.maintain({ kind: 'due' })
        }
      }),
    )
    for (const topic of topics) {
      const seen = await readAll(engine, topic)
      expect(seen.map(({ offset }) => offset)).toEqual(numbers(1, seen.length))
      const perRound = seen.filter(({ label }) => label.startsWith('0/')).length / rounds
      expect(perRound).toBeGreaterThan(1)
      expect(seen.filter(({ label }) => label.startsWith('once/'))).toHaveLength(perRound * rounds)
    }
    for (const late of engines.slice(2)) await late.close()
    expect(await deadlocks()).toEqual(before)
  }, 300_000)

  test('a duplicate of what a transaction published is known by its offset', async () => {
    const topic = await newTopic()
    const once = { dedup: { id: 'once', windowMs: 60_000 } }
    const transaction = await begin()
    const pending = { offset: null, duplicate: false }
    expect(await engine.topics.append(topic, [labelled('first', once)], transaction)).toEqual([pending])
    const again = await engine.topics.append(topic, [labelled('second', once)], transaction)
    expect(again).toEqual([{ offset: null, duplicate: true }])
    await other.topics.append(topic, [labelled('meanwhile')], null)
    await end(transaction, 'COMMIT')
    for (const { topics } of [other, engine])
      expect(await topics.append(topic, [labelled('third', once)], null)).toEqual([{ offset: 2, duplicate: true }])
    expect(await engine.transaction((tx) => engine.topics.append(topic, [labelled('fourth', once)], tx))).toEqual([
      { offset: 2, duplicate: true },
    ])
    expect((await readAll(engine, topic)).map(({ label }) => label)).toEqual(['meanwhile', 'first'])
  })

  test('who waits for an id that an open transaction has does not hold up the topic', async () => {
    const topic = await newTopic()
    const once = { dedup: { id: 'once', windowMs: 60_000 } }
    const transaction = await begin()
    await engine.topics.append(topic, [labelled('open', once)], transaction)
    let answered = false
    const waiting = other.topics.append(topic, [labelled('second', once)], null).finally(() => {
      answered = true
    })
    await until(async () => {
      const [row] = await query(url, 'SELECT count(*)::integer AS n FROM pg_locks WHERE NOT granted')
      return (row?.n as number) > 0
    }, 'the second waits')
    expect(await engine.topics.append(topic, [labelled('meanwhile')], null)).toEqual([{ offset: 1, duplicate: false }])
    expect(answered).toBe(false)
    await end(transaction, 'COMMIT')
    expect(await waiting).toEqual([{ offset: 2, duplicate: true }])
  })

  test('a queue that another client dropped takes no copies, and its link is forgotten in time', async () => {
    const topic = await newTopic()
    const [gone, kept] = [newName('gone'), newName('kept')]
    for (const queue of [gone, kept]) {
      await engine.createQueue(queue)
      await engine.bind({ topic, queue })
    }
    await query(url, `DROP TABLE pgmq."q_${gone}", pgmq."a_${gone}"`)
    await query(url, 'DELETE FROM pgmq.meta WHERE queue_name = $1', [gone])
    await engine.topics.append(topic, [labelled('one')], null)
    expect(await engine.stats(kept)).toMatchObject({ ready: 1 })
    expect(await engine.topics.listTopics(topic)).toMatchObject([{ queues: [kept], lastOffset: 1 }])
    await engine.maintain({ kind: 'due' })
    expect(await query(url, 'SELECT FROM tidings.topic_queue WHERE queue_name = $1', [gone])).toEqual([])
  })

  test('upkeep removes in steps, and forgets what was pending for a topic that is gone', async () => {
    const topic = await newTopic({ retention: { ...keepAll, whenRead: true } })
    const batch = Array.from({ length: 5_000 }, (_, index) => labelled(`m/${index}`))
    for (let round = 0; round < 5; round++) await engine.topics.append(topic, batch, null)
    await engine.topics.subscribe(topic, 's', { offset: 24_001 })
    await engine.maintain({ kind: 'due' })
    const [info] = await engine.topics.listTopics(topic)
    expect(info).toMatchObject({ firstOffset: 24_001, lastOffset: 25_000 })
    const [row] = await query(
      url,
      'SELECT count(*)::integer AS n, sum(pg_column_size(message))::integer AS bytes FROM tidings.topic_message WHERE topic_id = (SELECT id FROM tidings.topic WHERE name = $1)',
      [topic],
    )
    expect(row?.n).toBe(1_000)
    expect(info!.bytes).toBeGreaterThan(1_000 * 20)

    const transaction = await begin()
    await engine.topics.append(topic, [labelled('late')], transaction)
    await engine.topics.dropTopic(topic)
    await end(transaction, 'COMMIT')
    await engine.maintain({ kind: 'due' })
    expect(await query(url, 'SELECT FROM tidings.topic_pending')).toEqual([])
    expect(
      await query(
        url,
        'SELECT FROM tidings.topic_message m WHERE NOT EXISTS (SELECT FROM tidings.topic t WHERE t.id = m.topic_id)',
      ),
    ).toEqual([])
  }, 300_000)

  test('looking for what is pending costs the same, however much was pending while an old snapshot is open', async () => {
    const topic = await newTopic()
    const snapshot = await begin('REPEATABLE READ')
    await snapshot.query('SELECT count(*) FROM tidings.topic_pending', [])
    for (let round = 0; round < 3; round++) {
      const batch = Array.from({ length: 10_000 }, () => labelled('m'))
      await engine.transaction((transaction) => engine.topics.append(topic, batch, transaction))
      await engine.topics.read(topic, 0, 1)
    }
    const session = await newSession()
    // A transaction that still writes in another database of the server holds the note back as well.
    const [{ xact }] = (await session.query('SELECT pg_current_xact_id()::text AS xact')).rows
    const haveEnded = 'SELECT pg_snapshot_xmin(pg_current_snapshot()) > $1::xid8 AS so'
    await until(async () => (await session.query(haveEnded, [xact])).rows[0].so, 'earlier transactions have ended')
    const buffers = () => buffersOf(session, 'SELECT * FROM tidings.read_topic($1, 30000, 1)', [topic])
    // The first look of a session passes over them, the second does not.
    const first = await buffers()
    const second = await buffers()
    expect(first).toBeGreaterThan(300)
    expect(second).toBeLessThan(100)
    await end(snapshot, 'COMMIT')
  }, 300_000)

  test('plans that were made for an empty topic are good for a full one', async () => {
    const topic = await newTopic()
    const session = await newSession()
    const tables = ['tidings.topic_message', 'tidings.topic_pending']
    // What the server does by itself in a quiet night, and not soon enough in the morning.
    for (const table of tables) await session.query(`ALTER TABLE ${table} SET (autovacuum_enabled = off)`)
    for (const table of tables) await session.query(`TRUNCATE ${table}`)
    for (const table of tables) await session.query(`VACUUM ${table}`)
    const one = JSON.stringify([{ m: { data: 1, meta: {} } }])
    const look = async () => [
      await buffersOf(session, `SELECT * FROM tidings.append($1, $2::text::jsonb, true, '{}', true)`, [topic, one]),
      await buffersOf(session, 'SELECT * FROM tidings.read_topic($1, 0, 1)', [topic]),
    ]
    for (let round = 0; round < 10; round++) await look()
    const batch = Array.from({ length: 10_000 }, () => labelled('m'))
    for (let round = 0; round < 3; round++) await engine.topics.append(topic, batch, null)
    // A session that was told of too many changes elsewhere reads the catalog again: the next look does not.
    const looks = [Math.max(...(await look())), Math.max(...(await look()))]
    expect(Math.min(...looks)).toBeLessThan(100)
    for (const table of tables) await session.query(`ALTER TABLE ${table} RESET (autovacuum_enabled)`)
  }, 300_000)
})
