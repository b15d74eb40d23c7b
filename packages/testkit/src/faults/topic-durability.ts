import { isTidingsError, TidingsError } from 'tidings/internal/core/errors'
import type { Hold } from 'tidings/internal/port/topic-store'
import { topicsOf } from '../scene.ts'
import { faults, inTopics } from './fault.ts'
import { fencing } from './subscriptions.ts'

export const topicDurabilityFaults = faults('durability', {
  'forgets topics when it is closed': (engine) => ({
    close: async () => {
      const store = topicsOf(engine)
      for (const { topic } of await store.listTopics(null).catch(() => [])) await store.dropTopic(topic)
      await engine.close()
    },
  }),
  'forgets subscriptions when it is closed': (engine) => ({
    close: async () => {
      const store = topicsOf(engine)
      for (const { topic } of await store.listTopics(null).catch(() => []))
        for (const { subscription } of await store.subscriptions(topic, null))
          await store.unsubscribe(topic, subscription)
      await engine.close()
    },
  }),
  'keeps holds to itself': inTopics((store) => {
    const holders = new Map<string, string>()
    return {
      hold: async (topic, subscription, consumer): Promise<Hold> => {
        const [state] = await store.subscriptions(topic, subscription)
        const key = `${topic} ${subscription}`
        const holder = holders.get(key) ?? consumer
        holders.set(key, holder)
        const held = { held: true, receipt: consumer, cursor: state!.cursor, vanished: 0 } as const
        return holder === consumer ? held : { held: false, retryMs: 1 }
      },
    }
  }),
  'keeps dedup ids of topics to itself': inTopics((store) => {
    const firsts = new Map<string, number>()
    return {
      append: async (topic, messages, tx) => {
        const results = []
        for (const message of messages) {
          const key = `${topic} ${message.dedup?.id}`
          const first = message.dedup ? firsts.get(key) : undefined
          const [stored] =
            first === undefined
              ? await store.append(topic, [{ ...message, dedup: null }], tx)
              : [{ offset: first, duplicate: true }]
          if (message.dedup) firsts.set(key, stored!.offset!)
          results.push(stored!)
        }
        return results
      },
    }
  }),
  'counts offsets by itself': inTopics((store) => {
    const last = new Map<string, number>()
    return {
      append: async (topic, messages, tx) =>
        (await store.append(topic, messages, tx)).map((result) => {
          const offset = (last.get(topic) ?? 0) + 1
          last.set(topic, offset)
          return result.duplicate ? result : { ...result, offset }
        }),
    }
  }),
  'keeps receipts of holds to itself': fencing(() => ({})),
  'counts only the holders that it saw vanish': inTopics((store) => {
    const seen = new Map<string, number>()
    return {
      hold: async (topic, subscription, consumer, leaseMs) => {
        const hold = await store.hold(topic, subscription, consumer, leaseMs)
        if (!hold.held) return hold
        const key = `${topic} ${subscription}`
        seen.set(key, Math.min(hold.vanished, (seen.get(key) ?? -1) + 1))
        return { ...hold, vanished: seen.get(key)! }
      },
    }
  }),
  'wakes only for its own appends': inTopics((store) => {
    const wakers = new Set<() => void>()
    return {
      watchTopic: async (_topic, wake) => {
        wakers.add(wake)
        return { close: () => void wakers.delete(wake) }
      },
      append: async (topic, messages, tx) => {
        const results = await store.append(topic, messages, tx)
        for (const wake of wakers) wake()
        return results
      },
    }
  }),
  'remembers topics that another engine dropped': inTopics((store) => {
    const known = new Set<string>()
    return {
      append: async (topic, messages, tx) => {
        try {
          const results = await store.append(topic, messages, tx)
          known.add(topic)
          return results
        } catch (error) {
          if (known.has(topic) && isTidingsError(error, 'TOPIC_NOT_FOUND'))
            throw new TidingsError('STORAGE_FAILED', 'relation does not exist', { cause: error })
          throw error
        }
      },
    }
  }),
})
