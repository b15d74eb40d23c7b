import pg from 'pg'
import { connect } from 'tidings'

/** The database of a shared server that those with the schema of Tidings are copied from. */
export const migratedTemplate = 'migrated'

/** Makes it, anew on a server that is not of this run. */
export async function makeTemplate(url: string): Promise<void> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    await client.query(`DROP DATABASE IF EXISTS ${migratedTemplate}`)
    await client.query(`CREATE DATABASE ${migratedTemplate}`)
  } finally {
    await client.end()
  }
  const own = new URL(url)
  own.pathname = `/${migratedTemplate}`
  const bus = await connect(own.href)
  // The copies wait until its last connection has ended.
  await bus.close()
}
