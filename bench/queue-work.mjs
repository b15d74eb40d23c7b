// What an application does: send, process, wait for a message.
import { percentile, throughput } from './measure.mjs'

const data = { name: 'Ada Lovelace', email: 'ada@example.org', department: 'Engineering', starts: '2026-12-01' }

export function queueWork(bus) {
  return [
    {
      name: 'send one by one, 50 in flight',
      unit: 'messages/s',
      run: () => withQueue(bus, (queue) => throughput(20_000, 50, () => queue.send(data))),
    },
    {
      name: 'send in batches of 100',
      unit: 'messages/s',
      run: () =>
        withQueue(bus, async (queue) => {
          const batch = Array.from({ length: 100 }, () => ({ data }))
          return 100 * (await throughput(400, 4, () => queue.sendBatch(batch)))
        }),
    },
    {
      name: 'process with a no-op handler, default settings',
      unit: 'messages/s',
      run: () => withQueue(bus, (queue) => processAll(queue, 30_000)),
    },
    {
      name: 'send to handler at 50 messages/s, p50',
      unit: 'ms',
      run: () => latencies(bus).then((all) => percentile(all, 0.5)),
    },
    {
      name: 'send to handler at 50 messages/s, p99',
      unit: 'ms',
      run: () => latencies(bus).then((all) => percentile(all, 0.99)),
    },
  ]
}

async function withQueue(bus, use) {
  const queue = bus.queue(`bench_${Math.random().toString(36).slice(2, 10)}`)
  await queue.create()
  try {
    return await use(queue)
  } finally {
    await queue.drop()
  }
}

async function processAll(queue, count) {
  for (let sent = 0; sent < count; sent += 1_000) await queue.sendBatch(Array.from({ length: 1_000 }, () => ({ data })))
  const startedAt = performance.now()
  let handled = 0
  let allHandled
  const done = new Promise((resolve) => {
    allHandled = resolve
  })
  const worker = queue.work(() => {
    handled += 1
    if (handled === count) allHandled()
  })
  await done
  // Until the last settlement is committed, too.
  await worker.stop()
  return (count / (performance.now() - startedAt)) * 1000
}

function latencies(bus) {
  return withQueue(bus, async (queue) => {
    const all = []
    const worker = queue.work(({ data: sentAt }) => {
      all.push(performance.now() - sentAt)
    })
    for (let sent = 0; sent < 250; sent++) {
      await queue.send(performance.now())
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    while (all.length < 250) await new Promise((resolve) => setTimeout(resolve, 5))
    await worker.stop()
    return all
  })
}
