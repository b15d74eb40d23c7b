// A process with workers on four queues: handles trees of tasks until it is killed. Arguments: URL, then the queues.
import { connect, deadLetter, isTidingsError } from 'tidings'

const [url, ...queues] = process.argv.slice(2)
const bus = await connect(url)

async function handle({ data, meta, queue: own }, { attempt }) {
  const { path = own, depth } = data
  if (path.endsWith('.1.1')) {
    if (attempt > 5) return deadLetter('fails always')
    throw new Error('fails')
  }
  if (depth === 0) return
  for (const child of [0, 1]) {
    const queue = queues[(path.length + child) % queues.length]
    const task = { path: `${path}.${child}`, depth: depth - 1 }
    // After a crash the task is handled again, and must not have twice the children.
    const options = { meta, track: true, dedupId: `${meta.correlationId}/${task.path}` }
    await bus
      .queue(queue)
      .send(task, options)
      .catch((error) => {
        if (!isTidingsError(error, 'DUPLICATE')) throw error
      })
  }
}

// Attempts end with the leases of killed processes, too, and with those of processes that were held up.
for (const name of queues)
  bus.queue(name).work(handle, { maxAttempts: 1_000, backoff: () => 10, concurrency: 4, lease: '2s' })
console.log('"started"')
