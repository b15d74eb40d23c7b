// Tidings, as built in this checkout: one module for every storage.
import { connect } from 'tidings'

export const peer = {
  name: 'Tidings',
  /** Concurrency 10, all else as it comes; the best: docs/guide.md, what a handler gets in batches. */
  settings: {
    default: {},
    best: { work: { batchSize: 500, concurrency: 2, prefetch: 2_000 } },
  },
  strict: { options: { concurrency: 1 } },
  at: (concurrency) => ({ concurrency }),

  async setUp(url) {
    await (await connect(url)).close()
  },

  async open(url) {
    const bus = await connect(url)
    const queues = new Map()
    const of = (name) => {
      if (!queues.has(name)) queues.set(name, bus.queue(name))
      return queues.get(name)
    }
    const entry = ({ data, key, delayMs }) => ({
      data,
      ...(key === undefined ? {} : { orderingKey: key }),
      ...(delayMs ? { delay: delayMs } : {}),
    })
    return {
      create: (queue) => of(queue).create(),
      send: (queue, { data, ...rest }) => of(queue).send(data, ...(rest.key === undefined ? [] : [entry(rest)])),
      sendMany: (queue, messages) => of(queue).sendBatch(messages.map(entry)),
      work(queue, handle, { batchSize, ...options }) {
        if (!batchSize) return of(queue).work(({ data }) => handle(data), options)
        const all = (messages) => {
          for (const { data } of messages) handle(data)
        }
        return of(queue).workBatch(all, { batchSize, ...options })
      },
      async count(queue) {
        const { ready, delayed, leased } = await of(queue).stats()
        return ready + delayed + leased
      },
      async lease(queue, count) {
        for (let held = 0; held < count; held += 1_000) await of(queue).read({ limit: 1_000, lease: '1h' })
      },
      clear: (queue) => of(queue).drop(),
      async bind(queues) {
        for (const queue of queues) await bus.bind('bench.*', queue)
      },
      fan: (_queues, { data }) => bus.publish('bench.all', data),
      createTopic: async (topic, subscriptions) => {
        await bus.topic(topic).create()
        for (const name of subscriptions) await bus.topic(topic).subscription(name).create()
      },
      publish: (topic, { data }) => bus.topic(topic).publish(data),
      follow: (topic, subscription, handle) => bus.topic(topic).subscribe(subscription, ({ data }) => handle(data)),
      clearTopic: (topic) => bus.topic(topic).drop(),
      close: () => bus.close(),
    }
  },
}
