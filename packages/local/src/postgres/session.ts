import pg from 'pg'
import { hasCode } from '../processes.ts'
import type { Description, Purpose, Session } from '../server-type.ts'
import type { Postmaster } from './cluster.ts'

/** The administrator of a local server, and the user and database of applications. */
export const superuser = 'postgres'
export const user = 'tidings'
export const database = 'tidings'

/** The purpose of a session. */
type Role = 'sentinel' | Purpose

/** Names under which sessions show in pg_stat_activity. */
const names: Readonly<Record<Role, string>> = {
  sentinel: `tidings sentinel ${process.pid}`,
  ensure: 'tidings',
  status: 'tidings status',
}

/** The advisory lock of the sentinel in charge. The server releases it when that process dies. */
const sentinelLock = [0x74_69_64_69, 1] as const

/** A session of the superuser, who has reserved connections. Its database is none that a user might drop. */
async function openSession(server: Postmaster, role: Role): Promise<pg.Client> {
  const client = new pg.Client({
    host: server.socketDirectory,
    port: server.port,
    user: superuser,
    // Sessions in the applications' database count as use, which keeps the server from being stopped.
    database: role === 'ensure' ? database : 'postgres',
    application_name: names[role],
    connectionTimeoutMillis: 10_000,
    ssl: false,
  })
  // Without a listener a lost connection would end the process. Its end is told by 'end'.
  client.on('error', () => {})
  await client.connect()
  return client
}

/** @throws ENOENT if the server's socket is gone */
export async function openSentinelSession(server: Postmaster): Promise<Session> {
  const client = await openSession(server, 'sentinel')
  return {
    async takeCharge() {
      const taken = 'select pg_try_advisory_lock($1, $2) as taken'
      const { rows } = await client.query<{ taken: boolean }>(taken, [...sentinelLock])
      if (!rows[0]!.taken) return false
      await makeDatabase(client)
      return true
    },
    async use() {
      const { rows } = await client.query<{ clients: number; past: string }>(
        `select (select count(*)::int from pg_stat_activity
                  where backend_type = 'client backend' and pid <> pg_backend_pid() and application_name <> $1) as clients,
                (select coalesce(sum(sessions), 0)::text from pg_stat_database where datname <> 'postgres') as past`,
        [names.status],
      )
      return rows[0]!
    },
    onEnd(ended) {
      client.once('end', ended)
    },
    end: () => client.end(),
  }
}

/** Whether the error means that the server or its database is not there (yet, or any more). */
export function isNotUp(error: unknown): boolean {
  if (hasCode(error, 'ENOENT', 'ECONNREFUSED', 'ECONNRESET', 'EPIPE', '57P01', '57P02', '57P03', '3D000')) return true
  return error instanceof Error && /Connection terminated|connection is closed/i.test(error.message)
}

/** All connections are taken, even the reserved ones. */
export function isFull(error: unknown): boolean {
  return hasCode(error, '53300')
}

/** The server's description of itself. */
export async function describe(server: Postmaster, purpose: Purpose): Promise<Description> {
  const session = await openSession(server, purpose)
  try {
    const { rows } = await session.query<Omit<Description, 'product'>>(
      `select split_part(current_setting('server_version'), ' ', 1) as version,
              exists (select from pg_locks
                       where locktype = 'advisory' and granted and classid = $1 and objid = $2 and objsubid = 2) as watched`,
      [...sentinelLock],
    )
    return { product: 'PostgreSQL', ...rows[0]! }
  } finally {
    await session.end()
  }
}

/** Makes the role and database of applications, if they are missing. */
async function makeDatabase(session: pg.Client): Promise<void> {
  const { rows } = await session.query<{ role: boolean; database: boolean }>(
    `select exists (select from pg_roles where rolname = $1) as role,
            exists (select from pg_database where datname = $2) as database`,
    [user, database],
  )
  if (!rows[0]!.role) {
    // One statement: both take effect or neither.
    await session.query(`do $$ begin create role ${user} login createdb; grant pg_monitor to ${user}; end $$`)
  }
  if (!rows[0]!.database) await session.query(`create database ${database} owner ${user}`)
}
