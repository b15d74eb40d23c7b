import { setImmediate as turn } from 'node:timers/promises'
import { TidingsError } from 'tidings/internal/core/errors'
import type { Plant } from '../memory-harness.ts'
import { topicsOf } from '../scene.ts'
import { faults, inTopics } from './fault.ts'

const waking = (filter: (count: number) => boolean): Plant =>
  inTopics((store) => ({
    watchTopic: (topic, wake) => {
      let count = 0
      return store.watchTopic(topic, () => {
        if (filter(count++)) wake()
      })
    },
  }))

/** Loses the wakes of some calls. */
const silentIn =
  (members: (quietly: <T>(call: () => Promise<T>) => Promise<T>) => Plant): Plant =>
  (engine, clock) => {
    let quiet = false
    const quietly = async <T>(call: () => Promise<T>): Promise<T> => {
      quiet = true
      const result = await call()
      // The engine wakes after the call.
      await turn()
      quiet = false
      return result
    }
    const { topics, ...others } = members(quietly)(engine, clock)
    return {
      ...others,
      topics: {
        ...topics,
        watchTopic: (topic, wake) => topicsOf(engine).watchTopic(topic, () => (quiet ? undefined : wake())),
      },
    }
  }

export const topicWatchingFaults = faults('topic watching', {
  'never wakes': waking(() => false),
  'wakes once': waking((count) => count === 0),
  'does not wake for what is published': silentIn((quietly) => (engine) => ({
    publish: (messages, tx) => quietly(() => engine.publish(messages, tx)),
  })),
  'does not wake for what has a delay': silentIn((quietly) =>
    inTopics((store) => ({
      append: (topic, messages, tx) => {
        const append = () => store.append(topic, messages, tx)
        return messages.some(({ delayMs }) => delayMs > 0) ? quietly(append) : append()
      },
    })),
  ),
  'does not wake for a seek': silentIn((quietly) =>
    inTopics((store) => ({ seek: (...request) => quietly(() => store.seek(...request)) })),
  ),
  'does not wake when a consumer leaves': silentIn((quietly) =>
    inTopics((store) => ({ leave: (...request) => quietly(() => store.leave(...request)) })),
  ),
  'wakes the last watch only': inTopics((store) => {
    const latest = new Map<string, () => void>()
    return {
      watchTopic: (topic, wake) => {
        latest.set(topic, wake)
        return store.watchTopic(topic, () => {
          if (latest.get(topic) === wake) wake()
        })
      },
    }
  }),
  'watches one topic': inTopics((store) => {
    let watched: string | null = null
    return {
      watchTopic: (topic, wake) => {
        watched ??= topic
        return store.watchTopic(watched, wake)
      },
    }
  }),
  'takes a topic for the queue of its name': (engine) => ({
    topics: {
      watchTopic: async (topic, wake) => {
        const queues = await engine.listQueues()
        const isQueue = queues.some(({ queue }) => queue === topic)
        return isQueue ? await engine.watch(topic, wake) : await topicsOf(engine).watchTopic(topic, wake)
      },
    },
  }),
  'goes on waking after a watch was closed': inTopics((store) => ({
    watchTopic: async (topic, wake) => {
      await store.watchTopic(topic, wake)
      return { close: () => {} }
    },
  })),
  'cannot close a watch after itself': (engine) => {
    let closed = false
    return {
      close: async () => {
        closed = true
        await engine.close()
      },
      topics: {
        watchTopic: async (topic, wake) => {
          const watch = await topicsOf(engine).watchTopic(topic, wake)
          return {
            close: () => {
              if (closed) throw new TidingsError('CLOSED', 'the engine is closed')
              watch.close()
            },
          }
        },
      },
    }
  },
})
