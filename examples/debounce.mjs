// Of many messages about one thing, one is handled: node examples/debounce.mjs
import { connect } from 'tidings'

const bus = await connect('memory:')

// Debounce: once nothing has come for 100 ms, but at most 1 s after the first. The last data count.
const pages = bus.queue('pages')
const debounced = { delay: '100ms', dedup: { id: 'page-7', replace: true, extend: true, atMost: '1s' } }
for (const text of ['T', 'Ti', 'Tid', 'Tidings']) await pages.send({ text }, debounced)
const [page] = await pages.read({ wait: '5s' })
console.log(`indexed: ${page.data.text}`)
await page.delete()

// Throttle: the first of a window, and no other.
const mails = bus.queue('mails')
const throttled = { dedup: { id: 'welcome-7', for: '1h' } }
for (let attempt = 1; attempt <= 3; attempt++)
  await mails.send({ attempt }, throttled).then(
    () => console.log(`mail ${attempt}: sent`),
    (error) => console.log(`mail ${attempt}: ${error.code}`),
  )

// Keep last: while one is in hand, one waits, and has the newest data.
const stock = bus.queue('stock')
const newest = { dedup: { id: 'shoe', whileActive: 'keepLast' } }
let begin
const begun = new Promise((resolve) => (begin = resolve))
let finish
const finished = new Promise((resolve) => (finish = resolve))
const worker = stock.work(
  async ({ data }) => {
    console.log(`stock: ${data.pieces}`)
    begin()
    await finished
  },
  { concurrency: 8, maxMessages: 2 },
)
await stock.send({ pieces: 10 }, newest)
await begun
for (const pieces of [9, 8, 7]) await stock.send({ pieces }, newest)
finish()
await worker.finished
await bus.close()

// Prints:
// indexed: Tidings
// mail 1: sent
// mail 2: DUPLICATE
// mail 3: DUPLICATE
// stock: 10
// stock: 7
