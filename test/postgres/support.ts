import pg from 'pg'
import { PostgresEngine } from '../../src/engines/postgres/postgres.ts'
import { newName } from '../support/engine.ts'

export { claimAll, message, newName } from '../support/engine.ts'

export async function openEngine(url: string): Promise<PostgresEngine> {
  const engine = new PostgresEngine({ url })
  await engine.open()
  return engine
}

/** A database of the test's own on a shared server; `drop` removes it. */
export async function newDatabase(url: string): Promise<{ url: string; drop(): Promise<void> }> {
  const name = newName('db')
  await query(url, `CREATE DATABASE ${name}`)
  const own = new URL(url)
  own.pathname = `/${name}`
  return { url: own.href, drop: () => query(url, `DROP DATABASE ${name} WITH (FORCE)`).then(() => {}) }
}

/** One statement on a connection of its own. */
export async function query(url: string, text: string, values: unknown[] = []): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    return (await client.query(text, values)).rows
  } finally {
    await client.end()
  }
}

/** Repeats until the condition holds; fails after 10 s. */
export async function until(condition: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const giveUpAt = Date.now() + 10_000
  while (!(await condition())) {
    if (Date.now() > giveUpAt) throw new Error(`waited in vain until ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}
