import pg from 'pg'
import { PostgresEngine } from 'tidings/internal/engines/postgres/postgres'
import type { StoredMessage } from 'tidings/internal/port/engine'
import { afterAll } from 'vitest'
import { newName } from '../support/engine.ts'
import { migratedTemplate } from '../support/migrated-template.ts'

export { claimAll, message, newName } from '../support/engine.ts'

export async function openEngine(url: string): Promise<PostgresEngine> {
  const engine = new PostgresEngine({ url })
  await engine.open()
  return engine
}

/** A database of the test's own on a shared server, with nothing in it; `drop` removes it. */
export const newDatabase = (url: string) => createDatabase(url, 'template1')

/** The same with the schema of Tidings in it: a copy costs a third of what the migrations do. */
export const migratedDatabase = (url: string) => createDatabase(url, migratedTemplate)

async function createDatabase(url: string, template: string): Promise<{ url: string; drop(): Promise<void> }> {
  const name = newName('db')
  await query(url, `CREATE DATABASE ${name} TEMPLATE ${template}`)
  const own = new URL(url)
  own.pathname = `/${name}`
  return { url: own.href, drop: () => query(url, `DROP DATABASE ${name} WITH (FORCE)`).then(() => {}) }
}

/** Its types lack what lets a process end that has it open. */
type Client = pg.Client & { ref(): void; unref(): void }

/** Connections that wait for the next statement: a new session costs 25 ms of processor time, and what it looks up. */
const idle = new Map<string, Client[]>()
afterAll(() => Promise.all([...idle.values()].flat().map((client) => client.end())))
/** After these, or before they count, a session is another than a new one. */
const changesSessions =
  /\b(SET|RESET|set_config|ALTER|ROLE|GRANT|REVOKE|LISTEN|PREPARE|BEGIN|LOCK|TEMP)\b|advisory|terminate/i

/** One statement on a connection of its own, for those that watch sessions, or break their server. */
export async function queryAlone(
  url: string,
  text: string,
  values: unknown[] = [],
): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    return (await client.query(text, values)).rows
  } finally {
    await client.end()
  }
}

/** One statement, on a connection that no other uses meanwhile. */
export async function query(url: string, text: string, values: unknown[] = []): Promise<Record<string, unknown>[]> {
  const others = idle.get(url) ?? []
  idle.set(url, others)
  const isPlain = !changesSessions.test(text)
  // Sessions from before a change would not know of it.
  if (!isPlain) await Promise.all([...idle.values()].flatMap((some) => some.splice(0)).map((client) => client.end()))
  const client = others.pop() ?? (await connected(url, others))
  client.ref()
  try {
    const { rows } = await client.query(text, values)
    if (isPlain) others.push(client)
    return rows
  } finally {
    if (others.includes(client)) client.unref()
    else await client.end()
  }
}

async function connected(url: string, others: Client[]): Promise<Client> {
  const client = new pg.Client({ connectionString: url }) as Client
  // The server ends it where its database is dropped.
  client.on('error', () => {
    if (others.includes(client)) others.splice(others.indexOf(client), 1)
  })
  await client.connect()
  return client
}

/** How long something may take that comes in moments; less than a test has, so that no loop outlives its test. */
const patienceMs = 45_000

/** Claims so many messages, in the order of their ids, by looking again only when the engine tells to. */
export async function claimWhenDue(engine: PostgresEngine, queue: string, count: number): Promise<StoredMessage[]> {
  const giveUpAt = Date.now() + patienceMs
  const found: StoredMessage[] = []
  for (;;) {
    const request = { limit: count - found.length, leaseMs: 60_000, ids: null }
    const { messages, nextDueMs } = await engine.claim(queue, request)
    found.push(...messages)
    if (found.length === count) return found.sort((a, b) => Number(a.id) - Number(b.id))
    const inVain = nextDueMs === null || Date.now() + nextDueMs > giveUpAt
    if (inVain) throw new Error(`found ${found.length} of ${count} messages; the next look is in ${nextDueMs} ms`)
    await new Promise((resolve) => setTimeout(resolve, nextDueMs))
  }
}

/** Repeats until the condition holds; fails when it takes too long. */
export async function until(condition: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const giveUpAt = Date.now() + patienceMs
  while (!(await condition())) {
    if (Date.now() > giveUpAt) throw new Error(`waited in vain until ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}
