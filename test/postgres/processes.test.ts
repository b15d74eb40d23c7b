import pg from 'pg'
import { systemClock } from 'tidings/internal/core/clock'
import { silentLogger } from 'tidings/internal/core/logger'
import type { PostgresEngine } from 'tidings/internal/engines/postgres/postgres'
import { type ProcessInfo, thisProcess } from 'tidings/internal/port/processes'
import { Wakeups } from 'tidings/internal/port/wakeups'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { LineProcess } from '../support/line-process.ts'
import { sharedServer } from '../support/shared-servers.ts'
import { message, newDatabase, newName, openEngine, query, until } from './support.ts'

const listener = { woken() {}, notified() {}, lost() {}, announcing() {}, troubled() {}, polling() {} }

describe.each(['postgres15', 'postgres18'] as const)('processes on %s', (server) => {
  let url: string
  let drop: () => Promise<void>
  beforeAll(async () => {
    ;({ url, drop } = await newDatabase(await sharedServer(server)))
  })
  afterAll(() => drop())

  async function open(): Promise<PostgresEngine> {
    const engine = await openEngine(url)
    onTestFinished(() => engine.close())
    return engine
  }

  test('one that was killed is off the list at once, though nobody has given back what it had', async () => {
    const engine = await open()
    const queue = newName('q')
    await engine.createQueue(queue)
    await engine.send(queue, [message()], null)
    const child = new LineProcess<{ pid: number }>('dashboard/worker-process.mjs', [url, queue])
    await child.until((lines) => lines.length > 0)
    expect(await engine.processes()).toEqual([
      {
        ...thisProcess,
        pid: child.lines[0]!.pid,
        id: expect.any(String),
        since: expect.any(Number),
        queues: [queue],
      },
    ])
    await child.kill()
    await until(async () => (await engine.processes()).length === 0, 'it is off the list')
    expect(await query(url, 'SELECT count(*)::int AS n FROM tidings.holder')).toEqual([{ n: 1 }])
    await query(url, 'DELETE FROM tidings.holder')
  })

  test('one that came back after its session was ended is the same, since when it was', async () => {
    const [engine, other] = [await open(), await open()]
    const wakeups = new Wakeups({ engine, clock: systemClock, logger: silentLogger })
    onTestFinished(() => wakeups.close())
    await wakeups.watch('life', () => {})
    const before = await other.processes()
    expect(before).toHaveLength(1)
    const ended = await query(
      url,
      "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 2 AND classid = hashtext('tidings.holder')::oid AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
    )
    expect(ended).toHaveLength(1)
    await until(async () => (await other.processes()).length === 1, 'it is back')
    expect(await other.processes()).toEqual(before)
  })

  test('a program of an earlier version begins its life as it always did, and is not listed', async () => {
    const engine = await open()
    const client = new pg.Client({ connectionString: url })
    await client.connect()
    // As it did before.
    const { rows } = await client.query(
      'SELECT number, secret::text AS secret FROM tidings.begin_life($1::integer, $2::text::uuid)',
      [null, null],
    )
    expect(await engine.processes()).toEqual([])
    await client.query('SELECT tidings.end_life($1, $2)', [rows[0].number, rows[0].secret])
    await client.end()
  })

  test('what anybody says is checked, and only who knows the secret says it', async () => {
    const engine = await open()
    const listening = await engine.listen(listener)
    await listening.listen(['life'])
    const [{ id }] = (await engine.processes()) as [ProcessInfo]
    const [row] = await query(url, 'SELECT number, secret FROM tidings.holder WHERE number = $1', [id])
    const introduce = (secret: unknown, told: object) =>
      query(url, 'SELECT tidings.introduce($1, $2, $3) AS done', [row!.number, secret, JSON.stringify(told)])
    const other = '00000000-0000-4000-8000-000000000000'
    expect(await introduce(other, { ...thisProcess, host: 'x' })).toEqual([{ done: false }])
    expect(await introduce(row!.secret, { ...thisProcess, host: 'h'.repeat(3_000) })).toEqual([{ done: false }])
    expect(await engine.processes()).toMatchObject([thisProcess])
    for (const told of [{ ...thisProcess, host: 'h'.repeat(256) }, { ...thisProcess, pid: -1 }, [], { host: 'x' }]) {
      expect(await introduce(row!.secret, told)).toEqual([{ done: true }])
      expect(await engine.processes()).toEqual([])
    }
    await listening.close()
  })
})
