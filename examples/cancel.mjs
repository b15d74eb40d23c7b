// Cancels what waits and what a handler has in hand, from another process, and pauses a queue: node examples/cancel.mjs
import { once } from 'node:events'
import { connect } from 'tidings'

const bus = await connect(process.env.DATABASE_URL)
// Another process would have a connection of its own, as here.
const other = await connect(process.env.DATABASE_URL)
const name = `reports_${Date.now()}`
const reports = bus.queue(name)

const monthly = { meta: { correlationId: 'monthly' }, track: true }
await reports.send('long', monthly)
await reports.send('later', { ...monthly, delay: '1h' })

let begun = () => {}
const running = new Promise((resolve) => {
  begun = resolve
})
const worker = reports.work(
  async ({ data }, { signal }) => {
    begun()
    if (data !== 'long') return console.log(`handled ${data}`)
    await once(signal, 'abort')
    console.log(`the handler is told: ${signal.reason.code}`)
    throw signal.reason
  },
  { lease: '1s' },
)
await running
const cancelled = await other.queue(name).cancel({ meta: { correlationId: 'monthly' } })
console.log(`removed ${cancelled.removed.length}, running ${cancelled.running.length}`)
await worker.drain()
const { done, dead, cancelled: ended } = await bus.correlation('monthly')
console.log(`done ${done}, dead ${dead}, cancelled ${ended}`)

await other.queue(name).pause({ reason: 'the printer is out of paper' })
await reports.send('short')
console.log(`while it is paused: ${(await reports.read()).length} of ${(await reports.stats()).ready}`)
await other.queue(name).resume()
await reports.work(({ data }) => console.log(`handled ${data}`)).drain()
await reports.drop()
await other.close()
await bus.close()

// Prints:
// removed 1, running 1
// the handler is told: CANCELLED
// done 0, dead 0, cancelled 2
// while it is paused: 0 of 1
// handled short
