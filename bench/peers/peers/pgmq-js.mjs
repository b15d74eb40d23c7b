// https://www.npmjs.com/package/pgmq-js: sends, reads and deletes; it has no worker, so its user writes the loop. It runs
// on the functions of PGMQ that Tidings installs, for the extension is not in the included PostgreSQL. An empty queue is
// looked at again after 100 ms.
import { setTimeout as sleep } from 'node:timers/promises'
import { Pgmq } from 'pgmq-js'
import { peer as tidings } from './tidings.mjs'

const pollMs = 100

export const peer = {
  name: 'pgmq-js',
  settings: {
    default: { work: { batch: 1, loops: 1 } },
    best: { work: { batch: 100, loops: 4 } },
  },
  /** For many processes on a server with 200 connections. */
  crowded: { poolSize: 5 },
  strict: { options: { batch: 1, loops: 1 } },
  at: (concurrency) => ({ batch: concurrency, loops: 1 }),

  setUp: (url) => tidings.setUp(url),

  async open(url, { poolSize } = {}) {
    const { username: user, pathname, searchParams } = new URL(url)
    const connection = {
      host: searchParams.get('host'),
      port: 5432,
      user,
      database: pathname.slice(1),
      ssl: false,
      max: poolSize,
    }
    const { queue: queues, msg, close } = await open({ ...connection, password: '' })
    return {
      create: (queue) => queues.create(queue),
      send: (queue, { data }) => msg.send(queue, data),
      sendMany: (queue, messages) =>
        msg.sendBatch(
          queue,
          messages.map(({ data }) => data),
          (messages[0].delayMs ?? 0) / 1_000,
        ),
      work(queue, handle, { batch, loops }) {
        let stopped = false
        const loop = async () => {
          while (!stopped) {
            const messages = await msg.readBatch(queue, 30, batch)
            if (messages.length === 0) await sleep(pollMs)
            else {
              for (const { message } of messages) handle(message)
              const ids = messages.map(({ msgId }) => msgId)
              if (ids.length === 1) await msg.delete(queue, ids[0])
              else await msg.deleteBatch(queue, ids)
            }
          }
        }
        const all = Promise.all(Array.from({ length: loops }, loop))
        return {
          async stop() {
            stopped = true
            await all
          },
        }
      },
      count: async (queue) => (await queues.getMetrics(queue)).queueLength,
      async lease(queue, count) {
        for (let held = 0; held < count; held += 1_000) await msg.readBatch(queue, 3_600, 1_000)
      },
      clear: (queue) => queues.drop(queue),
      bind: async () => {},
      fan: (names, { data }) => Promise.all(names.map((name) => msg.send(name, data))),
      close,
    }
  },
}

async function open(connection) {
  const pgmq = await Pgmq.new(connection, { skipExtensionCreation: true })
  return { queue: pgmq.queue, msg: pgmq.msg, close: () => pgmq.close() }
}
