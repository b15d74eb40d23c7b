// Strict order of a whole queue: what fails is tried again before anything else: node examples/ordered-backoff.mjs
import { connect } from 'tidings'

const bus = await connect('memory:')
const steps = bus.queue('steps')
await steps.sendBatch([{ data: 'create' }, { data: 'fill' }, { data: 'check' }])

let late
const worker = steps.work(
  ({ data }, { attempt }) => {
    console.log(`${data}, attempt ${attempt}`)
    if (data === 'fill' && attempt < 3) throw new Error('the disk is busy')
  },
  {
    concurrency: 1, // One worker with it: two would each have a message at hand.
    backoff: '200ms',
    observe: ({ type, ids }) => {
      if (type !== 'paused') return
      console.log(`  paused for message ${ids}`)
      late ??= steps.send('close').then((id) => console.log(`  sent message ${id} meanwhile`))
    },
  },
)

// Also what was sent during the backoff is ready now, and waits like the others.
await worker.drain()
await late
console.log(`${worker.stats().failed} failed, ${worker.stats().succeeded} succeeded`)
await bus.close()

// Prints:
// create, attempt 1
// fill, attempt 1
//   paused for message 2
//   sent message 4 meanwhile
// fill, attempt 2
//   paused for message 2
// fill, attempt 3
// check, attempt 1
// close, attempt 1
// 2 failed, 4 succeeded
