// Sends three messages and handles them: node examples/send-and-work.mjs
import { connect } from 'tidings'

// In memory, so that there is nothing to start. Leave the URL out for the PostgreSQL that comes with the package, or
// give that of your own: connect(process.env.DATABASE_URL).
const bus = await connect('memory:')
const hires = bus.queue('hires')

for (const name of ['Ada', 'Grace', 'Radia']) {
  const id = await hires.send({ name })
  console.log(`sent ${name} as message ${id}`)
}

const worker = hires.work(
  async (message) => {
    console.log(`welcome, ${message.data.name}`)
  },
  { concurrency: 1 },
)

// A service runs until it is told to stop: await worker.stop(). This one ends when the queue is empty.
await worker.drain()
console.log(`handled ${worker.stats().succeeded}`)
await bus.close()

// Prints:
// sent Ada as message 1
// sent Grace as message 2
// sent Radia as message 3
// welcome, Ada
// welcome, Grace
// welcome, Radia
// handled 3
