// How many messages are in hand at once and how many begin in a time, over all workers: node examples/limits.mjs
import { setTimeout as sleep } from 'node:timers/promises'
import { connect } from 'tidings'

const bus = await connect(process.env.REDIS_URL ?? 'memory:')
const calls = bus.queue('example_calls')
await calls.create()

// Two workers with ten handlers each, but no more than three calls at once, and one for each customer.
await calls.configure({ limits: [{ concurrency: 3 }, { per: 'group', concurrency: 1 }] })
await calls.sendBatch(Array.from({ length: 20 }, (_, index) => ({ data: index, group: `customer-${index % 5}` })))
const most = { all: 0, customer: 0 }
const running = new Map()
async function call({ group }) {
  running.set(group, (running.get(group) ?? 0) + 1)
  most.customer = Math.max(most.customer, running.get(group))
  most.all = Math.max(
    most.all,
    [...running.values()].reduce((sum, count) => sum + count),
  )
  await sleep(10)
  running.set(group, running.get(group) - 1)
}
await Promise.all([1, 2].map(() => calls.work(call, { concurrency: 10 }).drain()))
console.log(`at once: ${most.all}, of one customer: ${most.customer}`)

// Limits change while workers run: now ten in a second.
await calls.configure({ limits: [{ rate: '10/s' }] })
await calls.sendBatch([1, 2, 3, 4, 5].map((data) => ({ data })))
const startedAt = performance.now()
await calls.work(() => {}, { concurrency: 10 }).drain()
console.log(`five at ten in a second take 0.4 s: ${Math.round((performance.now() - startedAt) / 100) >= 4}`)

// The upstream asks for a pause: nobody gets anything of this group for so long, and no attempt is counted.
await calls.configure({ limits: null })
await calls.sendBatch(['a', 'a', 'b'].map((group) => ({ data: group, group })))
let isBusy = true
await calls
  .work(
    ({ data }, context) => {
      if (data === 'a' && isBusy) {
        isBusy = false
        return context.holdBack('200ms', { group: true })
      }
      console.log(`${data}, attempt ${context.attempt}`)
    },
    { concurrency: 1 },
  )
  .drain()
await calls.drop()
await bus.close()

// Prints:
// at once: 3, of one customer: 1
// five at ten in a second take 0.4 s: true
// b, attempt 1
// a, attempt 1
// a, attempt 1
