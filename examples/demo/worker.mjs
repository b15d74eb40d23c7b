// One worker process of the demo: node worker.mjs <name> <url of the bus>
// PGHOST and the like lead to the database in which the handlers write down what they did.
import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { connect, exponential } from 'tidings'
import { z } from 'zod'

const [worker, url] = process.argv.slice(2)
const database = new pg.Pool({ max: 5 })
const bus = await connect(url)

/** From 0 to 1, the same for the same text: the demo is no game of luck. */
const chance = (text) => createHash('sha256').update(text).digest().readUInt32BE() / 2 ** 32

/** The handler's own work. It is done before the message is settled, so a kill in between means: it is done again. */
async function writeDown(message, attempt, startedAt) {
  await database.query(
    'INSERT INTO demo.handled (queue, msg_id, worker, attempt, started_at) VALUES ($1, $2, $3, $4, $5)',
    [message.queue, message.id, worker, attempt, startedAt],
  )
}

/** A handler that also keeps a record of its failures. */
const recording = (handle) => async (message, context) => {
  const startedAt = new Date()
  try {
    await handle(message, context)
  } catch (error) {
    await database.query(
      'INSERT INTO demo.failed (queue, msg_id, worker, attempt, started_at, error) VALUES ($1, $2, $3, $4, $5, $6)',
      [message.queue, message.id, worker, context.attempt, startedAt, error.message],
    )
    throw error
  }
  await writeDown(message, context.attempt, startedAt)
}

const item = z.object({ sku: z.string(), price: z.int(), quantity: z.int().positive() })
const order = z.discriminatedUnion('step', [
  z.object({
    order: z.string(),
    step: z.literal('placed'),
    customer: z.string(),
    items: z.array(item),
    total: z.int(),
  }),
  z.object({ order: z.string(), step: z.literal('paid'), total: z.int() }),
  z.object({ order: z.string(), step: z.literal('shipped'), carrier: z.string() }),
])
const invoice = z.object({ invoice: z.string(), total: z.int(), currency: z.string(), bank: z.string() })
const hire = z.object({ name: z.string(), email: z.email(), department: z.string(), starts: z.iso.date() })

const options = { concurrency: 10, maxAttempts: 5, backoff: exponential({ first: '200ms', max: '1s' }) }
const rates = { EUR: 1, PLN: 0.23, SEK: 0.09 }

bus.queue('orders', { schema: order }).work(
  recording(async (message) => {
    await sleep(30 + 80 * chance(message.id))
  }),
  { ...options, onSuccess: 'archive' },
)

bus.queue('invoices', { schema: invoice }).work(
  recording(async ({ data }, { attempt }) => {
    const rate = rates[data.currency]
    if (rate === undefined) throw new Error(`no exchange rate for ${data.currency}`)
    await sleep(40 + 120 * chance(data.invoice))
    if (attempt <= 2 && chance(`${data.invoice}, attempt ${attempt}`) < 0.1)
      throw new Error(`${data.bank} answered 503`)
  }),
  { ...options, onSuccess: 'archive' },
)

bus.queue('hires', { schema: hire }).work(
  recording(async ({ data }, { signal }) => {
    // A background check takes its time; the lease is renewed meanwhile.
    await sleep(data.department === 'Security' ? 5_000 : 50 + 100 * chance(data.email), undefined, { signal })
  }),
  { ...options, onSuccess: 'delete' },
)

/** Finishes what is in hand. */
async function stop() {
  await bus.close()
  await database.end()
  process.exit(0)
}
process.once('SIGTERM', stop)
// The demo itself was stopped.
process.once('disconnect', stop)
process.send?.('ready')
