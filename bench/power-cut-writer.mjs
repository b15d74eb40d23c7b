// One process of power-cut.mjs: sends, some at a time and not as fast as it can, and remembers what was acknowledged.
import { once } from 'node:events'
import { connect } from 'tidings'

const inFlight = 4
const pauseMs = 5

process.on('disconnect', () => process.exit())
const [url] = await once(process, 'message')
const bus = await connect(url)
const queue = bus.queue('cut')
const sent = []
await queue.create()
process.send('ready')
// When the disk is gone, so is the server.
for (let sender = 0; sender < inFlight; sender++) send().catch(() => {})

await once(process, 'message')
process.send(sent, () => process.exit())

async function send() {
  for (;;) {
    const id = await queue.send({ name: 'Ada Lovelace', department: 'Engineering' })
    sent.push({ id, at: performance.timeOrigin + performance.now() })
    await new Promise((resolve) => setTimeout(resolve, pauseMs))
  }
}
