import { Driver } from 'tidings/internal/engines/postgres/driver'
import { failures } from 'tidings/internal/engines/postgres/sqlstates'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startLine } from '../support/line.ts'
import { sharedServer } from '../support/shared-servers.ts'
import { newDatabase, query, until } from './support.ts'

/** A repeated call is made three times: `fail` succeeds the third time. */
const once = 1
const again = 3
const kept = true
const dropped = false

/** The row, a state of it; then what a call comes to that must not be done twice, and one that may be. */
const rows = [
  ['08', '08006', ['OUTCOME_UNKNOWN', once], [null, again], dropped],
  ['ECONNREFUSED', 'ECONNREFUSED', 'see "without a server"'],
  ['ENOENT', 'ENOENT', 'see "without a server"'],
  ['ECONNRESET', 'ECONNRESET', 'see "a connection that is reset"'],
  ['28', '28000', ['CONNECTION_FAILED', once], ['CONNECTION_FAILED', once], dropped],
  ['3D000', '3D000', ['CONNECTION_FAILED', once], ['CONNECTION_FAILED', once], dropped],
  ['57P01', '57P01', ['OUTCOME_UNKNOWN', once], [null, again], dropped],
  ['57P02', '57P02', ['OUTCOME_UNKNOWN', once], [null, again], dropped],
  ['57P03', '57P03', [null, again], [null, again], dropped],
  ['57P04', '57P04', ['OUTCOME_UNKNOWN', once], ['CONNECTION_LOST', once], dropped],
  ['25006', '25006', [null, again], [null, again], dropped],
  ['57P05', '57P05', [null, again], [null, again], dropped],
  ['25P03', '25P03', ['STORAGE_BUSY', once], ['STORAGE_BUSY', once], dropped],
  ['25P04', '25P04', ['STORAGE_BUSY', once], ['STORAGE_BUSY', once], dropped],
  ['26000', '26000', [null, again], [null, again], dropped],
  ['42P05', '42P05', [null, again], [null, again], dropped],
  ['40', '40001', [null, again], [null, again], kept],
  ['40', '40P01', [null, again], [null, again], kept],
  ['40002', '40002', ['STORAGE_FAILED', once], ['STORAGE_FAILED', once], kept],
  ['40003', '40003', ['OUTCOME_UNKNOWN', once], [null, again], dropped],
  ['55P03', '55P03', ['STORAGE_BUSY', once], ['STORAGE_BUSY', once], kept],
  ['57014', '57014', ['STORAGE_BUSY', once], ['STORAGE_BUSY', once], kept],
  ['53', '53200', ['STORAGE_BUSY', once], ['STORAGE_BUSY', once], kept],
  ['53100', '53100', ['STORAGE_FULL', once], ['STORAGE_FULL', once], kept],
  ['53300', '53300', [null, again], [null, again], dropped],
  ['58', '58030', ['STORAGE_BUSY', once], ['STORAGE_BUSY', once], kept],
  ['TD404', 'TD404', ['QUEUE_NOT_FOUND', once], ['QUEUE_NOT_FOUND', once], kept],
  ['TD405', 'TD405', ['TOPIC_NOT_FOUND', once], ['TOPIC_NOT_FOUND', once], kept],
  ['TD406', 'TD406', ['SUBSCRIPTION_NOT_FOUND', once], ['SUBSCRIPTION_NOT_FOUND', once], kept],
  ['TD409', 'TD409', ['OPTION_CONFLICT', once], ['OPTION_CONFLICT', once], kept],
  ['42P07', '42P07', ['QUEUE_NAME_CONFLICT', once], ['QUEUE_NAME_CONFLICT', once], kept],
  ['42501', '42501', ['PERMISSION_DENIED', once], ['PERMISSION_DENIED', once], kept],
  ['22', '22012', ['STORAGE_FAILED', once], ['STORAGE_FAILED', once], kept],
  ['22P05', '22P05', ['BODY_UNSUPPORTED_CHAR', once], ['BODY_UNSUPPORTED_CHAR', once], kept],
  ['23', '23514', ['STORAGE_FAILED', once], ['STORAGE_FAILED', once], kept],
  ['54', '54000', ['STORAGE_FAILED', once], ['STORAGE_FAILED', once], kept],
  ['P0001', 'P0001', ['STORAGE_FAILED', once], ['STORAGE_FAILED', once], kept],
  ['XX000', 'XX000', [null, again], [null, again], kept],
  ['all others', '42883', [null, again], [null, again], kept],
  ['all others', '42601', [null, again], [null, again], kept],
  ['all others', '42P01', ['STORAGE_FAILED', once], ['STORAGE_FAILED', once], kept],
] as const

let database: { url: string; drop(): Promise<void> }
let driver: Driver

beforeAll(async () => {
  database = await newDatabase(await sharedServer('postgres18'))
  await query(
    database.url,
    `CREATE SEQUENCE calls;
    CREATE FUNCTION fail(state text) RETURNS int LANGUAGE plpgsql AS $$
    BEGIN
      IF nextval('calls') < 3 THEN
        RAISE 'as asked' USING ERRCODE = state;
      END IF;
      RETURN 1;
    END
    $$`,
  )
  // One connection, so that the next call shows whether it was kept.
  driver = new Driver({ url: database.url }, 1)
  await driver.open()
})
afterAll(async () => {
  await driver?.close()
  await database?.drop()
})

const ask = (text: string, values: unknown[] = [], repeatable = true) => driver.query(text, values, { repeatable })
const pid = async () => (await ask('SELECT pg_backend_pid() AS pid'))[0]?.pid
const calls = async () => Number((await ask('SELECT last_value FROM calls'))[0]?.last_value)

test('every row of the table is here', () => {
  expect(new Set(rows.map(([row]) => row).filter((row) => row !== 'all others'))).toEqual(
    new Set(Object.keys(failures)),
  )
})

describe.each(rows.filter((row) => row.length === 5))(
  '%s, as %s',
  (_row, state, whatMustNotBeDoneTwice, whatMayBe, keeps) => {
    test.each([
      ['a call that must not be done twice', false, whatMustNotBeDoneTwice],
      ['a call that may be done twice', true, whatMayBe],
    ] as const)('%s', async (_what, repeatable, [code, times]) => {
      const before = await pid()
      await ask("SELECT setval('calls', 1, false)")
      const call = ask('SELECT fail($1)', [state], repeatable)
      if (code === null) await call
      else await expect(call).rejects.toMatchObject({ code })
      expect(await calls()).toBe(times)
      expect((await pid()) === before).toBe(keeps)
    })
  },
)

test.each([
  ['refuses', 'postgres://tidings@127.0.0.1:1/tidings', 'ECONNREFUSED'],
  ['has no socket', 'postgres://tidings@/tidings?host=/nowhere', 'ENOENT'],
])('without a server: one that %s', async (_what, url, cause) => {
  const away = new Driver({ url })
  await expect(away.open()).rejects.toMatchObject({
    code: 'CONNECTION_FAILED',
    details: { sqlState: cause, comesBack: true },
  })
})

test('a connection that is reset', async () => {
  const line = await startLine(database.url)
  const behind = new Driver({ url: line.url })
  await behind.open()
  try {
    const call = behind.query('SELECT pg_sleep(60) AS reset', [], { repeatable: false })
    const outcome = expect(call).rejects.toMatchObject({ code: 'OUTCOME_UNKNOWN', details: { sqlState: 'ECONNRESET' } })
    const underWay = "SELECT FROM pg_stat_activity WHERE query LIKE '%AS reset' AND state = 'active'"
    await until(async () => (await query(database.url, underWay)).length > 0, 'the statement is under way')
    line.cut()
    await outcome
    expect(await behind.query('SELECT 1 AS one', [], { repeatable: false })).toEqual([{ one: 1 }])
  } finally {
    await behind.close()
    line.close()
  }
})
