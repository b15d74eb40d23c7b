// https://docs.bullmq.io/guide/workers/concurrency: one job at a time by default; more for jobs that wait, 100 to 300.
// https://docs.bullmq.io/guide/queues/auto-removal-of-jobs: jobs are kept by default, "you may want to" remove them.
// https://docs.bullmq.io/guide/postgresql: its backend on PostgreSQL; the pool is to be sized for the concurrency.
// https://docs.bullmq.io/guide/going-to-production: appendonly with appendfsync everysec is what it asks of a Redis.
import { createPostgresBackend, Queue, runMigrations, Worker } from 'bullmq'
import pg from 'pg'

export const peer = {
  name: 'BullMQ',
  settings: {
    default: {},
    best: {
      work: { concurrency: 100, remove: true },
      flow: { concurrency: 100, remove: true },
    },
  },
  /** For many processes on a server with 200 connections, of which a queue and a worker have a pool each. */
  crowded: { concurrency: 8, poolSize: 5 },
  strict: { options: { concurrency: 1, remove: true } },
  at: (concurrency) => ({ concurrency }),

  async setUp(url) {
    if (!url.startsWith('postgres')) return
    const pool = new pg.Pool({ connectionString: url })
    const client = await pool.connect()
    await runMigrations(client)
    client.release()
    await pool.end()
  },

  async open(url, { remove = false, concurrency = 1, poolSize = Math.max(10, Math.min(concurrency, 40)) } = {}) {
    const onPostgres = url.startsWith('postgres')
    const pool = { connectionString: url, max: poolSize }
    const { hostname: host, port } = new URL(onPostgres ? 'redis://none' : url)
    const options = { connection: onPostgres ? pool : { host, port: Number(port) } }
    const backend = onPostgres ? [createPostgresBackend] : []
    const defaultJobOptions = remove ? { removeOnComplete: true } : {}
    const queues = new Map()
    const of = (name) => {
      if (!queues.has(name)) queues.set(name, new Queue(name, { ...options, defaultJobOptions }, ...backend))
      return queues.get(name)
    }
    const bulk = ({ data, delayMs }) => ({ name: 'bench', data, ...(delayMs ? { opts: { delay: delayMs } } : {}) })
    return {
      create: async (queue) => {
        await of(queue).waitUntilReady()
      },
      send: (queue, { data }) => of(queue).add('bench', data),
      sendMany: (queue, messages) => of(queue).addBulk(messages.map(bulk)),
      work(queue, handle, { remove: _, poolSize: __, ...more }) {
        const worker = new Worker(queue, async ({ data }) => handle(data), { ...options, ...more }, ...backend)
        // What fails shows in what was handled.
        worker.on('error', () => {})
        return { stop: () => worker.close() }
      },
      async count(queue) {
        const states = await of(queue).getJobCounts('waiting', 'active', 'delayed', 'prioritized', 'failed', 'paused')
        return Object.values(states).reduce((sum, count) => sum + count, 0)
      },
      clear: (queue) => of(queue).obliterate({ force: true }),
      bind: async () => {},
      fan: (names, { data }) => Promise.all(names.map((name) => of(name).add('bench', data))),
      async close() {
        await Promise.all([...queues.values()].map((queue) => queue.close()))
      },
    }
  },
}
