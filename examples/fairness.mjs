// Groups take turns, so that one with many messages keeps no other waiting: node examples/fairness.mjs
import { connect } from 'tidings'

const bus = await connect(process.env.REDIS_URL ?? 'memory:')
const reports = bus.queue('example_reports')
await reports.create()

await reports.sendBatch(Array.from({ length: 1_000 }, () => ({ data: 'import', group: 'great' })))
await reports.sendBatch(['small', 'small', 'other'].map((group) => ({ data: 'report', group })))
const first = await reports.read({ limit: 6 })
const count = (messages, group) => messages.filter((message) => message.group === group).length
console.log(
  `of the first six: great ${count(first, 'great')}, small ${count(first, 'small')}, other ${count(first, 'other')}`,
)
await reports.purge()

// Who pays more gets more turns, and nobody gets none.
await reports.configure({ weights: { gold: 3 } })
await reports.sendBatch(
  Array.from({ length: 400 }, (_, index) => ({ data: index, group: index % 2 ? 'gold' : 'free' })),
)
const next = await reports.pop({ limit: 100 })
console.log(`of the next 100: gold ${count(next, 'gold')}, free ${count(next, 'free')}`)

await reports.drop()
await bus.close()

// Prints:
// of the first six: great 3, small 2, other 1
// of the next 100: gold 75, free 25
