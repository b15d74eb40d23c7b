// An order and its message in one transaction of Drizzle, both or neither: node examples/outbox-drizzle.mjs
import { execFileSync } from 'node:child_process'
import { rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { sql } from 'drizzle-orm'
import { drizzle } from 'drizzle-orm/node-postgres'
import { integer, pgSchema, text } from 'drizzle-orm/pg-core'
import pg from 'pg'
import { connect } from 'tidings'

// In the PostgreSQL of DATABASE_URL; without it in the one that comes with the package, in a temporary directory.
const directory = join(tmpdir(), `tidings-outbox-${process.pid}`)
function local(command) {
  const main = fileURLToPath(new URL('../packages/cli/dist/main.js', import.meta.url))
  return JSON.parse(execFileSync(process.execPath, [main, 'local', command, '--dir', directory, '--json']))
}

const { DATABASE_URL } = process.env
const bus = await connect(DATABASE_URL ?? `local:${directory}`)
const pool = new pg.Pool(DATABASE_URL ? { connectionString: DATABASE_URL } : local('start'))
const db = drizzle({ client: pool })

const shop = pgSchema('outbox_example')
const orderTable = shop.table('orders', { id: integer().primaryKey(), item: text().notNull() })
await db.execute(sql`CREATE SCHEMA outbox_example`)
await db.execute(sql`CREATE TABLE outbox_example.orders (id integer PRIMARY KEY, item text NOT NULL)`)

// Whoever forgets `tx` gets an error, and no message without its order.
const orders = bus.queue('outbox_example', { requireTransaction: true })

async function place(order, inStock) {
  await db.transaction(async (tx) => {
    await tx.insert(orderTable).values(order)
    await orders.send({ order: order.id }, { tx })
    if (!inStock) throw new Error(`no ${order.item} in stock`)
  })
}

await place({ id: 1, item: 'lamp' }, true)
console.log('order 1: committed')
await place({ id: 2, item: 'desk' }, false).catch((error) => console.log(`order 2: rolled back, ${error.message}`))
await orders.send({ order: 3 }).catch((error) => console.log(`order 3: ${error.code}`))

const worker = orders.work(({ data }) => console.log(`message of order ${data.order}`), { concurrency: 1 })
await worker.drain()
console.log(`handled ${worker.stats().succeeded}`)
for (const { id, item } of await db.select().from(orderTable)) console.log(`in the table: order ${id}, a ${item}`)

await orders.drop()
await db.execute(sql`DROP SCHEMA outbox_example CASCADE`)
await pool.end()
await bus.close()
if (!DATABASE_URL) {
  local('stop')
  rmSync(directory, { recursive: true })
}

// Prints:
// order 1: committed
// order 2: rolled back, no desk in stock
// order 3: TRANSACTION_REQUIRED
// message of order 1
// handled 1
// in the table: order 1, a lamp
