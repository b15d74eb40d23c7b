import { all, faults } from './fault.ts'

export const queueFaults = faults('queues', {
  'lists queues in the order of an alphabet': (engine) => ({
    listQueues: async () => (await engine.listQueues()).sort((a, b) => a.queue.localeCompare(b.queue)),
  }),
  'always says that it created the queue': (engine) => ({
    createQueue: async (queue) => {
      await engine.createQueue(queue)
      return true
    },
  }),
  'empties a queue that is created again': (engine) => ({
    createQueue: async (queue) => {
      await engine.dropQueue(queue)
      await engine.createQueue(queue)
      return false
    },
  }),
  'cuts names after 46 bytes': (engine) => ({ createQueue: (queue) => engine.createQueue(queue.slice(0, 46)) }),
  'reads a dot in a name as an underscore': (engine) => ({
    createQueue: (queue) => engine.createQueue(queue.replace('.', '_')),
    dropQueue: (queue) => engine.dropQueue(queue.replace('.', '_')),
    send: (queue, messages, tx) => engine.send(queue.replace('.', '_'), messages, tx),
    claim: (queue, request) => engine.claim(queue.replace('.', '_'), request),
    stats: (queue) => engine.stats(queue.replace('.', '_')),
  }),
  'lists queues by creation': (engine) => ({
    listQueues: async () => (await engine.listQueues()).reverse(),
  }),
  'gives times in seconds': (engine) => ({
    listQueues: async () =>
      (await engine.listQueues()).map((info) => ({ ...info, createdAt: Math.round(info.createdAt / 1_000) })),
  }),
  'says that it dropped what was not there': (engine) => ({
    dropQueue: async (queue) => {
      await engine.dropQueue(queue)
      return true
    },
  }),
  'only empties a queue that is dropped': (engine) => ({
    dropQueue: async (queue) => {
      await engine.purgeQueue(queue)
      return true
    },
  }),
  'takes the archive along in a purge': (engine) => ({
    purgeQueue: async (queue) => {
      const count = await engine.purgeQueue(queue)
      await engine.dropQueue(queue)
      await engine.createQueue(queue)
      return count
    },
  }),
  'leaves leased messages in a purge': (engine) => ({
    purgeQueue: async (queue) => {
      const messages = await engine.peek(queue, all)
      const removed = await engine.cancel(
        queue,
        messages.map((message) => message.id),
      )
      return removed.filter(Boolean).length
    },
  }),
  'purges all queues': (engine) => ({
    purgeQueue: async (queue) => {
      const count = await engine.purgeQueue(queue)
      for (const info of await engine.listQueues()) await engine.purgeQueue(info.queue)
      return count
    },
  }),
})
