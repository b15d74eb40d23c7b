// Sends a list in batches, so that it can be repeated without harm: node examples/batch-import.mjs
import { connect } from 'tidings'

const bus = await connect('memory:')
const invoices = bus.queue('invoices')

const rows = Array.from({ length: 2_500 }, (_, index) => ({ number: `R-${index + 1}`, total: 100 + index }))

/** All messages of a batch are stored, or none. What was stored before is recognised by its dedup id and left out. */
async function importAll() {
  let stored = 0
  for (let start = 0; start < rows.length; start += 1_000) {
    const batch = rows.slice(start, start + 1_000).map((row) => ({ data: row, dedupId: row.number, dedupWindow: '1d' }))
    const results = await invoices.sendBatch(batch)
    stored += results.filter(({ duplicate }) => !duplicate).length
  }
  return stored
}

console.log(`first time: ${await importAll()} stored`)
console.log(`second time: ${await importAll()} stored`)

// Handled in batches, too: one call for up to 500 messages.
const totals = []
const worker = invoices.workBatch(
  async (messages) => {
    totals.push(messages.reduce((sum, { data }) => sum + data.total, 0))
  },
  { batchSize: 500 },
)
await worker.drain()
console.log(`sum of all invoices: ${totals.reduce((sum, total) => sum + total)}`)
await bus.close()

// Prints:
// first time: 2500 stored
// second time: 0 stored
// sum of all invoices: 3373750
