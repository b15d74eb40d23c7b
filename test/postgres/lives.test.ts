import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { Bus } from 'tidings/internal/bus/bus'
import { systemClock } from 'tidings/internal/core/clock'
import type { PostgresEngine } from 'tidings/internal/engines/postgres/postgres'
import type { ClaimRequest, StoredMessage } from 'tidings/internal/port/engine'
import type { Interest } from 'tidings/internal/port/listening'
import { Wakeups } from 'tidings/internal/port/wakeups'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { type Line, startLine } from '../support/line.ts'
import { pgmqPeer } from '../support/pgmq-peer.ts'
import { startPostgres } from '../support/postgres.ts'
import { sharedServer } from '../support/shared-servers.ts'
import { message, migratedDatabase, newDatabase, newName, openEngine, queryAlone as query, until } from './support.ts'

const held = { limit: 10, leaseMs: 60_000, ids: null, held: true } satisfies ClaimRequest
const logger = { debug() {}, info() {}, warn() {}, error() {} }

describe.each(['postgres15', 'postgres18'] as const)('leases of a process on %s', (server) => {
  let url: string
  let drop: () => Promise<void>
  const engines: PostgresEngine[] = []
  const children: ChildProcess[] = []

  beforeAll(async () => {
    ;({ url, drop } = await migratedDatabase(await sharedServer(server)))
  })
  afterEach(async () => {
    for (const child of children.splice(0)) child.kill('SIGKILL')
    await Promise.all(engines.splice(0).map((engine) => engine.close()))
    // Nobody is left to see to them.
    await query(url, 'DELETE FROM tidings.holder')
  })
  afterAll(() => drop())

  async function open(): Promise<PostgresEngine> {
    const engine = await openEngine(url)
    engines.push(engine)
    return engine
  }

  /** Listens as workers do, for as long as the engine is open. @returns what it was woken for */
  async function live(engine: PostgresEngine, ...more: Interest[]): Promise<Interest[]> {
    const wakeups = new Wakeups({ engine, clock: systemClock, logger })
    const woken: Interest[] = []
    for (const interest of ['life', ...more] as const) await wakeups.watch(interest, () => woken.push(interest))
    return woken
  }

  /** A queue with so many messages. */
  async function filled(engine: PostgresEngine, count: number): Promise<string> {
    const queue = newName('life')
    await engine.createQueue(queue)
    await engine.send(
      queue,
      Array.from({ length: count }, (_, n) => message({ data: String(n) })),
      null,
    )
    return queue
  }

  async function start(queue: string, limit: number, ahead = 0, topic = ''): Promise<ChildProcess> {
    const path = fileURLToPath(new URL('holder.mjs', import.meta.url))
    const child = spawn(process.execPath, [path, url, queue, String(limit), String(ahead), topic], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    children.push(child)
    expect(String((await once(child.stdout!, 'data'))[0])).toBe(`${limit}\n`)
    return child
  }

  const ready = (engine: PostgresEngine, queue: string): Promise<StoredMessage[]> =>
    engine.peek(queue, { place: 'ready', limit: 100, afterId: null, ids: null })
  const leased = (engine: PostgresEngine, queue: string): Promise<StoredMessage[]> =>
    engine.peek(queue, { place: 'leased', limit: 100, afterId: null, ids: null })
  const isSeenTo = async () => (await query(url, 'SELECT count(*)::int AS n FROM tidings.holder'))[0]?.n
  const passed = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds))

  test('come back soon after it was killed, with subscriptions, and are announced', async () => {
    const engine = await open()
    const topic = newName('topic')
    await engine.topics.createTopic(topic, {})
    await engine.topics.subscribe(topic, 's', 'earliest')
    await engine.topics.append(topic, [message()], null)
    const queue = await filled(engine, 3)
    const woken = await live(engine, `queue:${queue}`, `topic:${topic}`)
    await passed(2_600)
    const child = await start(queue, 3, 2, topic)
    expect(await leased(engine, queue)).toHaveLength(3)
    woken.length = 0
    child.kill('SIGKILL')
    const killedAt = performance.now()
    await until(async () => (await ready(engine, queue)).length === 3, 'all are ready')
    // Asked for are 2 s; a busy machine may take longer.
    expect(performance.now() - killedAt).toBeLessThan(20_000)
    await until(() => woken.includes(`queue:${queue}`) && woken.includes(`topic:${topic}`), 'both were announced')
    expect((await ready(engine, queue)).map(({ readCount, meta }) => [readCount, meta.read_ahead_lost])).toEqual([
      [1, undefined],
      [0, true],
      [0, true],
    ])
    expect(await engine.topics.hold(topic, 's', 'next', 60_000)).toMatchObject({ held: true, vanished: 1 })
    await until(async () => (await isSeenTo()) === 1, 'nothing is left of it')
    expect(await query(url, 'SELECT * FROM tidings.holder_queue')).toEqual([])
  })

  test('stay its own when only its listening session was ended', async () => {
    const [engine, other] = [await open(), await open()]
    const queue = await filled(engine, 2)
    const woken = await live(engine)
    await live(other)
    const [lease] = (await engine.claim(queue, held)).messages
    const [before] = await query(url, 'SELECT number FROM tidings.holder ORDER BY number LIMIT 1')
    await passed(2_600)
    for (let round = 0; round < 3; round++) {
      woken.length = 0
      await query(
        url,
        `SELECT pg_terminate_backend(pid) FROM pg_locks
        WHERE locktype = 'advisory' AND classid = hashtext('tidings.holder')::oid AND objid = $1::oid`,
        [before?.number],
      )
      await until(() => woken.includes('life'), 'it lives again, and is told so')
    }
    await passed(3_000)
    expect(await ready(engine, queue)).toEqual([])
    const [extended] = await engine.extend(queue, [{ id: lease!.id, receipt: lease!.receipt! }], 60_000)
    expect(extended).not.toBeNull()
    expect((await query(url, 'SELECT number FROM tidings.holder ORDER BY number LIMIT 1'))[0]).toEqual(before)
  })

  test('are prolonged again when the answer to the first time was lost', async () => {
    const engine = await open()
    const queue = await filled(engine, 3)
    await live(engine)
    const messages = (await engine.claim(queue, { ...held, limit: 2 })).messages
    const [plain] = (await engine.claim(queue, { limit: 1, leaseMs: 60_000, ids: null })).messages
    const leases = [...messages, plain!].map(({ id, receipt }) => ({ id, receipt: receipt! }))
    const unheard = await engine.extend(queue, leases, 60_000)
    const heard = await engine.extend(queue, leases, 60_000)
    expect(heard.map((receipt) => receipt !== null)).toEqual([true, true, false])
    // What is proved by an older receipt is a renewal only.
    const settle = (at: number, receipt: string) =>
      engine.settle(queue, [{ kind: 'delete', id: leases[at]!.id, receipt }])
    expect(await settle(0, unheard[0]!)).toEqual([{ settled: false, newId: null }])
    expect(await settle(0, heard[0]!)).toEqual([{ settled: true, newId: null }])
    expect(await settle(1, heard[1]!)).toEqual([{ settled: true, newId: null }])
    expect(await settle(2, unheard[2]!)).toEqual([{ settled: true, newId: null }])
  })

  test('are prolonged beside one that another client has hidden for ever', async () => {
    const engine = await open()
    const queue = await filled(engine, 2)
    await live(engine)
    const { messages } = await engine.claim(queue, held)
    const leases = messages.map(({ id, receipt }) => ({ id, receipt: receipt! }))
    await query(url, `SELECT pgmq.set_vt('${queue}', ${leases[0]!.id}, 'infinity'::timestamptz)`)
    const receipts = await engine.extend(queue, leases, 60_000)
    expect(receipts.map((receipt) => receipt !== null)).toEqual([false, true])
  })

  test('are not prolonged once they were given back and taken anew', async () => {
    const engine = await open()
    const queue = await filled(engine, 1)
    await live(engine)
    const [first] = (await engine.claim(queue, held)).messages
    const lease = { id: first!.id, receipt: first!.receipt! }
    await engine.settle(queue, [{ kind: 'release', delayMs: 0, meta: {}, uncount: true, ...lease }])
    const [again] = (await engine.claim(queue, held)).messages
    expect(again!.readCount).toBe(first!.readCount)
    expect(await engine.extend(queue, [lease], 60_000)).toEqual([null])
  })

  test('are given back once, and it has another number then, when its session does not come back at once', async () => {
    const [engine, other] = [await open(), await open()]
    const queue = await filled(engine, 2)
    await live(other)
    const silent = await engine.listen({
      woken() {},
      notified() {},
      lost() {},
      announcing() {},
      troubled() {},
      polling() {},
    })
    await silent.listen(['life'])
    await engine.claim(queue, { ...held, limit: 1 })
    const numbers = async () =>
      (await query(url, 'SELECT number FROM tidings.holder ORDER BY number')).map((row) => Number(row.number))
    const [theirs, mine] = await numbers()
    await query(
      url,
      `SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND classid = hashtext('tidings.holder')::oid AND objid = $1::oid`,
      [mine],
    )
    await until(async () => (await ready(engine, queue)).length === 2, 'its message is ready')
    expect((await engine.claim(queue, { ...held, limit: 1 })).messages).toHaveLength(1)
    await silent.listen(['life'])
    await engine.claim(queue, { ...held, limit: 1 })
    const [first, second] = await numbers()
    expect(first).toBe(theirs)
    expect(second).not.toBe(mine)
    // The claim from the time between belongs to nobody.
    await silent.close()
    await until(async () => (await ready(engine, queue)).length === 1, 'the last one is ready')
    expect(await leased(engine, queue)).toHaveLength(1)
  })

  test('of other clients and without `held` are never touched', async () => {
    const engine = await open()
    const queue = await filled(engine, 8)
    await live(engine)
    await query(url, `SELECT pgmq.read('${queue}', 60, 2)`)
    await query(url, `SELECT pgmq.set_vt('${queue}', 1, 50)`)
    await engine.claim(queue, { limit: 1, leaseMs: 61_500, ids: null })
    const [plain] = (await engine.claim(queue, { limit: 1, leaseMs: 60_000, ids: null })).messages
    await engine.extend(queue, [{ id: plain!.id, receipt: plain!.receipt! }], 61_234)
    await passed(2_600)
    const child = await start(queue, 2)
    await query(url, `SELECT pgmq.set_vt('${queue}', 6, 40)`)
    child.kill('SIGKILL')
    await until(async () => (await ready(engine, queue)).length === 3, 'one came back')
    await until(async () => (await isSeenTo()) === 1, 'nothing is left of it')
    expect((await leased(engine, queue)).map(({ id, meta }) => [id, meta])).toEqual(
      ['1', '2', '3', '4', '6'].map((id) => [id, {}]),
    )
  })

  test('are ordinary ones in tables without last_read_at', async () => {
    const engine = await open()
    const queue = newName('old')
    await engine.createQueue(queue)
    await query(url, `ALTER TABLE pgmq.q_${queue} DROP COLUMN last_read_at`)
    await query(url, `UPDATE tidings.queue SET has_last_read = false WHERE queue_name = '${queue}'`)
    await engine.send(queue, [message(), message()], null)
    await live(engine)
    await passed(2_600)
    const child = await start(queue, 1)
    const [mine] = (await engine.claim(queue, held)).messages
    expect(await engine.extend(queue, [{ id: mine!.id, receipt: mine!.receipt! }], 60_000)).not.toEqual([null])
    child.kill('SIGKILL')
    await until(async () => (await isSeenTo()) === 1, 'it was seen to')
    expect(await leased(engine, queue)).toHaveLength(2)
  })

  test('come back with whatever headers and bodies other clients gave their messages', async () => {
    const engine = await open()
    const queue = await filled(engine, 0)
    for (const [body, headers] of [
      ['5', '5'],
      ['"x"', '"x"'],
      ['[1]', '[1]'],
      ['null', 'null'],
      ['{"data": 1, "meta": {"m": 1}}', '{"h": 1}'],
    ])
      await query(url, 'SELECT pgmq.send($1, $2::jsonb, $3::jsonb)', [queue, body, headers])
    await live(engine)
    await passed(2_600)
    ;(await start(queue, 5, 5)).kill('SIGKILL')
    await until(async () => (await ready(engine, queue)).length === 5, 'all are ready')
    const back = await ready(engine, queue)
    expect(back.map(({ data }) => data)).toEqual(['5', '"x"', '[1]', 'null', '1'])
    for (const { meta, readCount } of back)
      expect([readCount, meta.read_ahead_lost, typeof meta.process_lost_at]).toEqual([0, true, 'string'])
    expect(back[4]).toMatchObject({ headers: { h: 1 }, meta: { m: 1 } })
  })

  test('codes never meet what a reader for whole milliseconds makes, and each is of one process', async () => {
    await open()
    expect(
      await query(
        url,
        `SELECT count(DISTINCT tidings.code_of(n))::int AS codes, min(tidings.code_of(n) % 1000) AS low,
          max(tidings.code_of(n) % 1000 + 1) AS high, max(tidings.code_of(n)) < 1000000 AS fits, bool_and(tidings.code_of(n) % 2 = 0) AS even
        FROM generate_series(300, 299999) n`,
      ),
    ).toEqual([{ codes: 299_700, low: 200, high: 799, fits: true, even: true }])
  })

  test('what nobody announced is found by the one look of a process, in queues and topics', async () => {
    const engine = await open()
    const topic = newName('topic')
    await engine.topics.createTopic(topic, {})
    const queue = await filled(engine, 0)
    const keyed = await filled(engine, 0)
    await engine.send(keyed, [message({ orderingKey: 'k' }), message({ orderingKey: 'k' })], null)
    await engine.claim(keyed, { ...held, held: false, limit: 1 })
    const woken = await live(engine, `queue:${queue}`, `topic:${topic}`, `queue:${keyed}`)
    await passed(1_500)
    woken.length = 0
    await passed(3_000)
    // Also not for what nobody could take.
    expect(woken).toEqual([])
    await query(url, `INSERT INTO pgmq.q_${queue} (vt, message) VALUES (now(), '1')`)
    await until(() => woken.includes(`queue:${queue}`), 'the message was found')
    await query(
      url,
      `INSERT INTO tidings.topic_message SELECT id, 1, '{"data": 1, "meta": {}}', NULL, now(), 1 FROM tidings.topic WHERE name = $1`,
      [topic],
    )
    await until(() => woken.includes(`topic:${topic}`), 'the message of the topic was found')
    expect(woken).not.toContain(`queue:${keyed}`)
  })
})

test.each([
  ['of its own', undefined],
  ['of PGMQ', '1.12.0'],
  ['of PGMQ before 1.10', '1.5.1'],
] as const)("what waits for a retry is nobody's, in a schema %s", async (_, version) => {
  const { url, drop } = await newDatabase(await sharedServer('postgres18'))
  if (version !== undefined) await query(url, `CREATE SCHEMA pgmq; ${pgmqPeer(version)}`)
  const engine = await openEngine(url)
  try {
    const queue = newName('retries')
    await engine.createQueue(queue)
    const count = 40
    await engine.send(
      queue,
      Array.from({ length: count }, () => message()),
      null,
    )
    await new Wakeups({ engine, clock: systemClock, logger }).watch('life', () => {})
    const { messages } = await engine.claim(queue, { ...held, limit: count })
    const retry = { kind: 'release', delayMs: 50_000, meta: {}, uncount: false } as const
    for (const { id, receipt } of messages) await engine.settle(queue, [{ id, receipt: receipt!, ...retry }])
    const waiting = await engine.peek(queue, { place: null, limit: 100, afterId: null, ids: null })
    expect(waiting).toHaveLength(count)
    for (const { visibleAt } of waiting) expect(visibleAt - Date.now()).toBeGreaterThan(40_000)
    if (version === '1.5.1') return
    // As far from the time of their reading as no lease of a process ends.
    const table = version === undefined ? `(SELECT due AS vt, * FROM tidings.delayed)` : `pgmq.q_${queue}`
    const distances = `SELECT DISTINCT extract(microseconds FROM vt - last_read_at)::int % 1000 AS code FROM ${table} q`
    expect(await query(url, distances)).toEqual([{ code: 0 }])
  } finally {
    await engine.close()
    await drop()
  }
})

test('a server that starts again takes no leases away', async () => {
  const server = await startPostgres(18)
  const engines = await Promise.all([openEngine(server.url), openEngine(server.url)])
  try {
    const queue = newName('life')
    await engines[0]!.createQueue(queue)
    await engines[0]!.send(queue, [message(), message()], null)
    let lives = 0
    for (const engine of engines) await new Wakeups({ engine, clock: systemClock, logger }).watch('life', () => lives++)
    for (const engine of engines) expect((await engine.claim(queue, { ...held, limit: 1 })).messages).toHaveLength(1)
    await new Promise((resolve) => setTimeout(resolve, 2_600))
    for (const signal of ['SIGKILL', 'SIGINT'] as const) {
      lives = 0
      await server.kill(signal)
      await server.restart()
      await until(() => lives >= 2, 'both live again')
      await new Promise((resolve) => setTimeout(resolve, 5_000))
      const left = await engines[0]!.peek(queue, { place: 'leased', limit: 10, afterId: null, ids: null })
      expect(left.map(({ meta }) => meta)).toEqual([{}, {}])
    }
  } finally {
    await Promise.all(engines.map((engine) => engine.close()))
    await server.stop()
  }
}, 300_000)

test('idle workers of one process share one look, and ask for nothing else', async () => {
  const server = await startPostgres(18, { shared_preload_libraries: 'pg_stat_statements' })
  const bus = new Bus(await openEngine(server.url))
  try {
    await query(server.url, 'CREATE EXTENSION pg_stat_statements')
    const workers = Array.from({ length: 20 }, (_, n) => bus.queue(`idle_${n % 4}`).work(() => {}))
    const calls = async () =>
      Object.fromEntries(
        (
          await query(
            server.url,
            `SELECT substring(query FROM 'tidings[.](claim|look)[(]') AS what, sum(calls)::int AS calls
            FROM pg_stat_statements WHERE toplevel GROUP BY 1`,
          )
        ).map(({ what, calls }) => [what, calls as number]),
      )
    await until(async () => ((await calls()).look ?? 0) >= 2, 'it looks')
    const before = await calls()
    await until(async () => (await calls()).look! >= before.look! + 4, 'it has looked again and again')
    const after = await calls()
    expect(after.claim).toBe(before.claim)
    await Promise.all(workers.map((worker) => worker.stop()))
  } finally {
    await bus.close()
    await server.stop()
  }
}, 300_000)

describe('a claim whose answer nobody gets', () => {
  let database: { url: string; drop(): Promise<void> }
  let line: Line
  let bus: Bus

  beforeAll(async () => {
    database = await migratedDatabase(await sharedServer('postgres18'))
    line = await startLine(database.url)
    bus = new Bus(await openEngine(line.url))
  })
  afterAll(async () => {
    line.thaw()
    await bus.close()
    line.close()
    await database.drop()
  })

  const sessions = async (where: string) =>
    (
      await query(
        database.url,
        `SELECT count(*)::int AS n FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'tidings' AND ${where}`,
      )
    )[0]?.n as number

  test('leaves no session behind that waits, and no message leased', async () => {
    const queue = bus.queue<number>(newName('locked'))
    await queue.create()
    // Each of its claims is under way for itself.
    const counts = new Map<number, number>()
    const workers = Array.from({ length: 8 }, () =>
      queue.work(({ data, readCount }) => void counts.set(data, (counts.get(data) ?? 0) + readCount), {
        concurrency: 2,
      }),
    )
    await until(async () => (await sessions('true')) > 1, 'workers are there')
    const locking = query(
      database.url,
      `BEGIN; LOCK TABLE pgmq.q_${queue.name} IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(14); COMMIT`,
    )
    const outside = new Bus(await openEngine(database.url))
    const sending = outside.queue<number>(queue.name).sendBatch(Array.from({ length: 20 }, (_, data) => ({ data })))
    sending.catch(() => {})
    let most = 0
    let isLocked = true
    void locking.then(() => {
      isLocked = false
    })
    for (let round = 0; isLocked; round++) {
      if (round % 10 === 9) line.cut()
      most = Math.max(most, await sessions(`query LIKE '%tidings."claim:%' AND state = 'active'`))
      await new Promise((resolve) => setTimeout(resolve, 200))
    }
    expect(most).toBeGreaterThan(0)
    expect(most).toBeLessThanOrEqual(10)
    await sending.catch(() =>
      outside.queue<number>(queue.name).sendBatch(Array.from({ length: 20 }, (_, data) => ({ data }))),
    )
    const startedAt = performance.now()
    await until(() => counts.size === 20, 'all are handled')
    expect(performance.now() - startedAt).toBeLessThan(20_000)
    expect([...counts.values()]).toEqual(Array(20).fill(1))
    await Promise.all(workers.map((worker) => worker.stop()))
    await outside.close()
  }, 300_000)

  test('gives back what it leased in the meantime, as if it had not been', async () => {
    const engine = await openEngine(line.url)
    const queue = newName('lost')
    await engine.createQueue(queue)
    const listening = await engine.listen({
      woken() {},
      notified() {},
      lost() {},
      announcing() {},
      troubled() {},
      polling() {},
    })
    await listening.listen(['life'])
    await engine.send(queue, [message(), message(), message()], null)
    const [before] = (await engine.claim(queue, { ...held, limit: 1 })).messages
    const asked = line.loseAnswers()
    const claiming = engine.claim(queue, held)
    await asked
    const counts = async () => (await query(database.url, `SELECT min(read_ct), max(read_ct) FROM pgmq.q_${queue}`))[0]
    await until(async () => (await counts())?.min === 1, 'it was carried out')
    line.cut()
    const { messages } = await claiming
    expect(messages.map(({ id, readCount }) => [id, readCount])).toEqual([
      ['2', 1],
      ['3', 1],
    ])
    expect(before?.id).toBe('1')
    expect(await counts()).toEqual({ min: 1, max: 1 })
    await engine.close()
  })
})
