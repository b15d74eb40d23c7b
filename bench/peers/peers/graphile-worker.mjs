// https://worker.graphile.org/docs/config: one job at a time by default. The best is the configuration that
// https://worker.graphile.org/docs/performance gives its figures for.
import { Logger, makeWorkerUtils, run } from 'graphile-worker'

const logger = new Logger(() => () => {})

export const peer = {
  name: 'graphile-worker',
  settings: {
    default: {},
    best: {
      work: {
        concurrentJobs: 24,
        maxPoolSize: 25,
        localQueue: { size: 500 },
        completeJobBatchDelay: 0,
        failJobBatchDelay: 0,
      },
    },
  },
  /** A worker that is stopped leaves the last job that it handled locked, and so to be done again after four hours. */
  leavesOpen: 1,
  /** For many processes on a server with 200 connections. */
  crowded: { concurrentJobs: 8, maxPoolSize: 9 },
  /** One queue name. With a local queue jobs of a name have been out of order. */
  strict: { keys: 1, options: {} },
  // "we recommend setting it to 10 or concurrentJobs + 2, whichever is larger", says the option maxPoolSize.
  at: (concurrency) => ({ concurrentJobs: concurrency, maxPoolSize: Math.max(10, concurrency + 2) }),

  async setUp(url) {
    const utils = await makeWorkerUtils({ connectionString: url, logger })
    await utils.migrate()
    await utils.release()
  },

  async open(url) {
    const utils = await makeWorkerUtils({ connectionString: url, logger })
    const spec = (queue, { data, key, delayMs }) => ({
      identifier: queue,
      payload: data,
      ...(key === undefined ? {} : { queueName: key }),
      ...(delayMs ? { runAt: new Date(Date.now() + delayMs) } : {}),
    })
    const sql = (text, values) => utils.withPgClient((client) => client.query(text, values))
    const runAll = (taskList, worker) =>
      run({
        preset: { worker: { connectionString: url, logger, ...worker } },
        taskList,
        noHandleSignals: true,
        crontab: '',
      })
    return {
      create: async () => {},
      send: (queue, { data, key }) => utils.addJob(queue, data, key === undefined ? {} : { queueName: key }),
      sendMany: (queue, messages) => utils.addJobs(messages.map((message) => spec(queue, message))),
      work(queue, handle, worker) {
        const runner = runAll({ [queue]: async (payload) => handle(payload) }, worker)
        return stopping(runner)
      },
      /** A process has one runner for all its tasks. */
      workMany(queues, handle, worker) {
        const runner = runAll(
          Object.fromEntries(queues.map((queue) => [queue, async (payload) => handle(payload)])),
          worker,
        )
        return stopping(runner)
      },
      async count(queue) {
        const { rows } = await sql('SELECT count(*) FROM graphile_worker.jobs WHERE task_identifier = $1', [queue])
        return Number(rows[0].count)
      },
      clear: () =>
        sql('TRUNCATE graphile_worker._private_jobs, graphile_worker._private_job_queues RESTART IDENTITY CASCADE'),
      bind: async () => {},
      fan: (queues, message) => utils.addJobs(queues.map((queue) => spec(queue, message))),
      close: () => utils.release(),
    }
  },
}

const stopping = (started) => ({
  async stop() {
    const runner = await started
    await runner.stop()
    await runner.promise
  },
})
