// What becomes of messages that fail, and how they get another chance: node examples/dead-letters.mjs
import { connect, deadLetter, exponential } from 'tidings'

const bus = await connect('memory:')
const payments = bus.queue('payments')
await payments.sendBatch([
  { data: { order: 'A-1', card: 'good' } },
  { data: { order: 'A-2', card: 'flaky' } },
  { data: { order: 'A-3', card: 'stolen' } },
])

let bankIsUp = false
function charge({ data }, { attempt }) {
  if (data.card === 'stolen') return deadLetter('the card is stolen') // Another attempt would be of no use.
  if (data.card === 'flaky' && !bankIsUp) throw new Error(`the bank does not answer (attempt ${attempt})`)
  console.log(`charged ${data.order}`)
}

/** Three attempts, the second after 10 ms, the third after 20 ms more. */
const options = { maxAttempts: 3, backoff: exponential({ first: '10ms' }) }

// take one attempt each, A-2 takes all three: this worker stops after five.
await payments.work(charge, { ...options, maxMessages: 5 }).finished
for (const letter of await payments.deadLetters.list())
  console.log(`dead: ${letter.data.order} after attempt ${letter.meta.attempts}: ${letter.meta.errorMessage}`)

bankIsUp = true
const flaky = (await payments.deadLetters.list()).filter(({ data }) => data.card === 'flaky')
await payments.deadLetters.redrive({ ids: flaky.map(({ id }) => id) })
await payments.work(charge, { ...options, maxMessages: 1 }).finished
console.log(`still dead: ${(await payments.deadLetters.list()).length}`)
await bus.close()

// Prints:
// charged A-1
// dead: A-3 after attempt 1: the card is stolen
// dead: A-2 after attempt 3: the bank does not answer (attempt 3)
// charged A-2
// still dead: 1
