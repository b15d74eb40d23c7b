// A process that has messages in hand, and renews them when it may have lost them; it prints what happens, one JSON
// document a line. Argument, as JSON: the URL, the queue, how many messages it claims, how many of them ahead, and a
// topic whose subscription `s` it holds. SIGUSR2 blocks its event loop for `blocksMs`, `sentMs` after it has asked
// for something; SIGTERM
// deletes what it has in hand, and ends it.
import { writeSync } from 'node:fs'
import { Bus } from 'tidings/internal/bus/bus'
import { HttpEngine } from 'tidings/internal/engines/http/http'

const { url, queue, limit, ahead = 0, blocksMs = 0, sentMs = 0, topic } = JSON.parse(process.argv[2])
const tell = (line) => writeSync(1, `${JSON.stringify({ ...line, at: Date.now() })}\n`)
const leaseMs = 60_000

const engine = new HttpEngine({ url, token: null })
await engine.open()
const bus = new Bus(engine)
let held = []

async function renew() {
  const receipts = await engine.extend(queue, held, leaseMs)
  held = held.flatMap((lease, index) => (receipts[index] === null ? [] : [{ ...lease, receipt: receipts[index] }]))
  tell({ type: 'renewed', held: held.length })
}

await bus.wakeups.watch('life', () => void renew())
if (topic) await engine.topics.hold(topic, 's', 'the-process', leaseMs, true)
held = (await engine.claim(queue, { limit, ahead, leaseMs, ids: null, held: true })).messages
process.on('SIGUSR2', async () => {
  // One on the connection that is there, the other on a new one.
  const asked = Promise.all([engine.stats(queue), engine.stats(queue)])
  await new Promise((resolve) => (sentMs > 0 ? setTimeout(resolve, sentMs) : setImmediate(resolve)))
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, blocksMs)
  await asked
  tell({ type: 'answered' })
})
process.once('SIGTERM', async () => {
  const results = await engine.settle(
    queue,
    held.map((lease) => ({ ...lease, kind: 'delete' })),
  )
  tell({ type: 'settled', count: results.filter(({ settled }) => settled).length })
  await bus.close()
  process.exit()
})
tell({ type: 'claimed', ids: held.map(({ id }) => id) })
