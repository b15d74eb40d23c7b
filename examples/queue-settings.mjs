// Settings of a queue that hold for whoever uses it: node examples/queue-settings.mjs
import { connect, isTidingsError } from 'tidings'

const bus = await connect(process.env.REDIS_URL ?? 'memory:')
const orders = bus.queue('example_orders')
await orders.create()
await orders.configure({
  maxLength: 2,
  lease: '10m',
  maxAttempts: 2,
  backoff: { curve: 'linear', first: 0, step: '1s' },
  deadLetter: 'example_failed_orders',
})
console.log(Object.keys(await orders.settings()).join(', '))

// The length is a limit, whatever a sender says of it.
await orders.sendBatch([{ data: 'first' }, { data: 'second' }])
try {
  await bus.queue('example_orders', { maxLength: 1_000 }).send('third')
} catch (error) {
  if (!isTidingsError(error, 'QUEUE_FULL')) throw error
  console.log(`refused: ${error.code}`)
}

// The lease is a default: a reader may say another.
const [message] = await orders.read()
console.log(`in hand for ${(message.visibleAt - message.lastReadAt) / 60_000} minutes`)
await message.delete()

// So are attempts, backoff and the dead-letter queue of a worker that says nothing of them.
await orders
  .work(
    ({ data }, { attempt, maxAttempts }) => {
      console.log(`${data}: attempt ${attempt} of ${maxAttempts}`)
      throw new Error('no such customer')
    },
    { concurrency: 1 },
  )
  .drain()
console.log(`dead letters in ${orders.deadLetterQueue}: ${(await orders.deadLetters.list()).length}`)

await bus.queue('example_failed_orders').drop()
await orders.drop()
await bus.close()

// Prints:
// lease, maxLength, maxAttempts, backoff, deadLetter
// refused: QUEUE_FULL
// in hand for 10 minutes
// second: attempt 1 of 2
// second: attempt 2 of 2
// dead letters in example_failed_orders: 1
