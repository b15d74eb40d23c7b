// The commands themselves, on the same server: a stream with a consumer group.
import { Redis } from 'ioredis'

const group = 'bench'
const dataOf = ([, [, text]]) => JSON.parse(text)

export const peer = {
  name: 'raw Redis',
  settings: {
    default: { work: { batch: 1, loops: 1 } },
    best: { work: { batch: 1_000, loops: 2 } },
  },
  strict: { options: { batch: 1, loops: 1 } },
  at: (concurrency) => ({ batch: concurrency, loops: 1 }),

  async setUp() {},

  async open(url) {
    const redis = new Redis(url)
    const add = (to, queue, { data }) => to.xadd(queue, '*', 'm', JSON.stringify(data))
    return {
      create: (queue) => redis.xgroup('CREATE', queue, group, '0', 'MKSTREAM'),
      send: (queue, message) => add(redis, queue, message),
      sendMany(queue, messages) {
        const pipeline = redis.pipeline()
        for (const message of messages) add(pipeline, queue, message)
        return pipeline.exec()
      },
      work(queue, handle, { batch, loops }) {
        let stopped = false
        const loop = async (_, at) => {
          const reader = redis.duplicate()
          const read = [
            'GROUP',
            group,
            `reader-${process.pid}-${at}`,
            'COUNT',
            batch,
            'BLOCK',
            200,
            'STREAMS',
            queue,
            '>',
          ]
          while (!stopped) {
            const [[, entries]] = (await reader.xreadgroup(...read)) ?? [[queue, []]]
            if (entries.length === 0) continue
            for (const entry of entries) handle(dataOf(entry))
            const ids = entries.map(([id]) => id)
            await reader
              .pipeline()
              .xack(queue, group, ...ids)
              .xdel(queue, ...ids)
              .exec()
          }
          reader.disconnect()
        }
        const all = Promise.all(Array.from({ length: loops }, loop))
        return {
          async stop() {
            stopped = true
            await all
          },
        }
      },
      count: (queue) => redis.xlen(queue),
      clear: (queue) => redis.del(queue),
      bind: async () => {},
      fan(queues, message) {
        const transaction = redis.multi()
        for (const queue of queues) add(transaction, queue, message)
        return transaction.exec()
      },
      close: () => redis.disconnect(),
    }
  },
}
