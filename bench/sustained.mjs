// node bench/sustained.mjs [--rate 10000] [--seconds 60] [--warm 5] [--engine postgres] [--url ...] [--json], after `npm run build`.
//
// Latency under a steady load: one process sends so many messages a second, one by one, another one handles them. From the
// call of send to the begin of the handler, in milliseconds, without the first seconds; and the CPU time of a message in the
// two clients and in the server, in microseconds. A run in which a message is missing or came twice fails.
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { connect } from 'tidings'
import { percentile } from './measure.mjs'
import { storages } from './storages.mjs'

const tickMs = 5

if (process.argv[2] === 'sender') await send()
else if (process.argv[2] === 'worker') await work()
else await lead()

async function send() {
  const [{ url, queue: name, rate, seconds }] = await once(process, 'message')
  const bus = await connect(url)
  const queue = bus.queue(name)
  const total = rate * seconds
  const from = performance.now()
  const before = process.cpuUsage()
  const open = new Set()
  for (let sent = 0; sent < total; ) {
    for (const due = Math.min(total, ((performance.now() - from) / 1000) * rate); sent < due; sent++) {
      const one = queue.send({ number: sent, at: performance.timeOrigin + performance.now() })
      open.add(one)
      void one.finally(() => open.delete(one))
    }
    await new Promise((resolve) => setTimeout(resolve, tickMs))
  }
  await Promise.all(open)
  const ms = performance.now() - from
  await bus.close()
  process.send({ cpu: cpuSince(before), ms }, () => process.exit())
}

async function work() {
  const [{ url, queue, total, warm }] = await once(process, 'message')
  const bus = await connect(url)
  const seen = new Uint8Array(total)
  const times = []
  let left = total
  let twice = 0
  let finish
  const done = new Promise((resolve) => {
    finish = resolve
  })
  const before = process.cpuUsage()
  const worker = bus.queue(queue).work(({ data: { number, at } }) => {
    if (seen[number]++) twice += 1
    else left -= 1
    if (number >= warm) times.push(performance.timeOrigin + performance.now() - at)
    if (left === 0) finish()
  })
  process.send('ready')
  await done
  await worker.stop()
  await bus.close()
  process.send({ cpu: cpuSince(before), times, twice }, () => process.exit())
}

function cpuSince(before) {
  const { user, system } = process.cpuUsage(before)
  return user + system
}

async function lead() {
  const { values } = parseArgs({
    options: {
      rate: { type: 'string', default: '10000' },
      seconds: { type: 'string', default: '60' },
      warm: { type: 'string', default: '5' },
      engine: { type: 'string', default: 'postgres' },
      url: { type: 'string' },
      json: { type: 'boolean', default: false },
    },
  })
  const [rate, seconds, warm] = [values.rate, values.seconds, values.warm].map(Number)
  const storage = values.url
    ? { url: values.url, stop: async () => {} }
    : await storages[values.engine].start({ fsync: 'always' })
  const queue = `sustained_${Math.random().toString(36).slice(2, 10)}`
  const bus = await connect(storage.url)
  await bus.queue(queue).create()
  const start = (role) => fork(fileURLToPath(import.meta.url), [role])
  const [sender, worker] = [start('sender'), start('worker')]
  const total = rate * seconds
  worker.send({ url: storage.url, queue, total, warm: rate * warm })
  await once(worker, 'message')
  sender.send({ url: storage.url, queue, rate, seconds })
  const [[sent], [handled]] = await Promise.all([once(sender, 'message'), once(worker, 'message')])
  await bus.queue(queue).drop()
  await bus.close()
  await storage.stop()
  if (handled.twice > 0) throw new Error(`${handled.twice} messages came twice`)
  const result = {
    rate: Math.round((total / sent.ms) * 1000),
    ...Object.fromEntries(
      Object.entries({ p50: 0.5, p99: 0.99, p999: 0.999, max: 1 }).map(([name, share]) => [
        name,
        Number(percentile(handled.times, share).toFixed(1)),
      ]),
    ),
    cpuSender: Number((sent.cpu / total).toFixed(1)),
    cpuWorker: Number((handled.cpu / total).toFixed(1)),
  }
  console.log(values.json ? JSON.stringify(result) : result)
}
