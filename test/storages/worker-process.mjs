// A process with a worker, which prints what its handler does, one JSON document a line. Arguments: URL, queue, lease.
// Messages tell it how long to take, or that it shall hang; every seventh fails at the first attempt.
import { setTimeout as delay } from 'node:timers/promises'
import { connect } from 'tidings'

const [url, queue, lease] = process.argv.slice(2)
const bus = await connect(url)
const tell = (line) => process.stdout.write(`${JSON.stringify({ ...line, at: Date.now() })}\n`)

async function handle({ data }, { attempt }) {
  tell({ type: 'started', data })
  if (data.hangs) await new Promise(() => {})
  await delay(data.takesMs)
  if (data.number % 7 === 6 && attempt === 1) throw new Error('fails once')
  tell({ type: 'succeeded', data })
}

bus.queue(queue).work(handle, { lease, backoff: 20, concurrency: 8 })
