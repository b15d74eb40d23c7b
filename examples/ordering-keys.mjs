// The messages of one key are handled one after the other, those of different keys at the same time:
// node examples/ordering-keys.mjs
import { setTimeout as sleep } from 'node:timers/promises'
import { connect } from 'tidings'

const bus = await connect('memory:')
const accounts = bus.queue('accounts')

await accounts.sendBatch([
  { data: { account: 'Ada', add: 100 }, orderingKey: 'Ada' },
  { data: { account: 'Bob', add: 50 }, orderingKey: 'Bob' },
  { data: { account: 'Ada', add: -30 }, orderingKey: 'Ada' },
  { data: { account: 'Bob', add: -50 }, orderingKey: 'Bob' },
  { data: { account: 'Ada', add: 5 }, orderingKey: 'Ada' },
])

const balances = { Ada: 0, Bob: 0 }
let atOnce = 0
let mostAtOnce = 0
let failed = false

const worker = accounts.work(
  async ({ data: { account, add } }) => {
    mostAtOnce = Math.max(mostAtOnce, ++atOnce)
    await sleep(20)
    atOnce--
    // The second message of Ada fails once. Her third waits for it; Bob's do not.
    if (add === -30 && !failed) {
      failed = true
      throw new Error('try again')
    }
    balances[account] += add
    if (account === 'Ada') console.log(`Ada ${add}: ${balances.Ada}`)
  },
  { concurrency: 10, backoff: '50ms', maxMessages: 6 },
)
await worker.finished
console.log(`Bob: ${balances.Bob}`)
console.log(`at the same time: ${mostAtOnce}`)
await bus.close()

// Prints:
// Ada 100: 100
// Ada -30: 70
// Ada 5: 75
// Bob: 0
// at the same time: 2
