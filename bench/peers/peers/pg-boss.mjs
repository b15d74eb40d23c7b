// https://pgboss.io/api/workers: by default one job every two seconds. With `burstWhenBatchFull` a worker goes on
// while its batches are full, which needs a batchSize above 1; `localConcurrency` runs several of them.
// https://pgboss.io/api/constructor: `useListenNotify`, with `notify` on the queue, wakes workers without a poll.
import { randomBytes } from 'node:crypto'
import { PgBoss } from 'pg-boss'

export const peer = {
  name: 'pg-boss',
  settings: {
    default: {},
    best: {
      work: { batchSize: 500, burstWhenBatchFull: true, localConcurrency: 4, pollingIntervalSeconds: 0.5 },
      flow: { batchSize: 100, burstWhenBatchFull: true, localConcurrency: 4, notify: true },
    },
  },
  at: (concurrency) => ({ localConcurrency: 1, batchSize: concurrency, burstWhenBatchFull: concurrency > 1 }),
  strict: { keys: 1, options: { batchSize: 100, burstWhenBatchFull: true, pollingIntervalSeconds: 0.5 } },

  async setUp(url) {
    const boss = new PgBoss(url)
    // What fails shows in what was handled.
    boss.on('error', () => {})
    await boss.start()
    await boss.stop({ graceful: false })
  },

  async open(url, { notify = false } = {}) {
    const boss = new PgBoss({ connectionString: url, useListenNotify: notify })
    // What fails shows in what was handled.
    boss.on('error', () => {})
    await boss.start()
    const sql = (text, values) => boss.getDb().executeSql(text, values)
    const insert = ({ data, key, delayMs }) => ({
      data,
      // All of a bulk have one time of creation; ids that rise keep their order.
      ...(key === undefined ? {} : { singletonKey: key, id: risingId() }),
      ...(delayMs ? { startAfter: delayMs / 1_000 } : {}),
    })
    return {
      create: (queue, { ordered }) =>
        boss.createQueue(queue, { notify, ...(ordered ? { policy: 'key_strict_fifo' } : {}) }),
      send: (queue, { data, key }) => boss.send(queue, data, key === undefined ? {} : { singletonKey: key }),
      sendMany: (queue, messages) => boss.insert(queue, messages.map(insert)),
      work(queue, handle, { notify: _, ...options }) {
        const started = boss.work(queue, options, async (jobs) => {
          for (const { data } of jobs) handle(data)
        })
        return { stop: () => started.then(() => boss.offWork(queue, { wait: true })) }
      },
      async count(queue) {
        const { rows } = await sql(`SELECT count(*) FROM pgboss.job WHERE name = $1 AND state < 'completed'`, [queue])
        return Number(rows[0].count)
      },
      clear: (queue) => boss.deleteQueue(queue),
      async bind(queues) {
        for (const queue of queues) await boss.subscribe('bench', queue)
      },
      fan: (_queues, { data }) => boss.publish('bench', data),
      close: () => boss.stop({ graceful: true, timeout: 10_000 }),
    }
  },
}

const prefix = randomBytes(4).toString('hex')
let last = 0
const risingId = () => `${prefix}-0000-4000-8000-${(++last).toString(16).padStart(12, '0')}`
