import type { Retention, TopicInfo } from 'tidings/internal/port/topic-store'
import type { Plant } from '../memory-harness.ts'
import { topicsOf } from '../scene.ts'
import { keepAll } from '../topic-scene.ts'
import { faults, infoOf, inTopics } from './fault.ts'

type Change = (retention: Retention, info: TopicInfo, all: readonly TopicInfo[]) => Partial<Retention>

/** Trims as if topics had another retention. */
const trimming =
  (change: Change): Plant =>
  (engine) => ({
    maintain: async () => {
      const topics = await topicsOf(engine).listTopics(null)
      const retain = async (info: TopicInfo, retention: Retention) =>
        void (await topicsOf(engine).createTopic(info.topic, { retention }))
      for (const info of topics) await retain(info, { ...info.retention, ...change(info.retention, info, topics) })
      await engine.maintain()
      for (const info of topics) await retain(info, info.retention)
    },
  })

const nothing = { maxBytes: 0 }

export const topicRetentionFaults = faults('topic retention', {
  'removes what was read without being asked': trimming(() => ({ whenRead: true })),
  'removes nothing that is old': trimming(() => ({ maxAgeMs: null })),
  'clears a topic that has a limit of age': trimming(({ maxAgeMs }) => (maxAgeMs === null ? {} : nothing)),
  'keeps everything, whatever its size': trimming(() => ({ maxBytes: null })),
  'takes the limit of size for one of messages': trimming(({ maxBytes }) => (maxBytes === null ? {} : nothing)),
  'keeps what was read': trimming(() => ({ whenRead: false })),
  'takes nobody for everybody': trimming(({ whenRead }, { subscriptions }) =>
    whenRead && subscriptions === 0 ? nothing : {},
  ),
  'goes by age alone where there is a limit of age': trimming(({ maxAgeMs }) =>
    maxAgeMs === null ? {} : { ...keepAll, maxAgeMs },
  ),
  'keeps a retention for ever': inTopics((store) => ({
    createTopic: async (topic, settings) => {
      const { retention } = await infoOf(store, topic).catch(() => ({ retention: keepAll }))
      const whenRead = retention.whenRead || (settings.retention?.whenRead ?? false)
      const changed = settings.retention ? { retention: { ...settings.retention, whenRead } } : {}
      return await store.createTopic(topic, { ...settings, ...changed })
    },
  })),
  'gives removed offsets again': inTopics((store) => ({
    append: async (topic, messages, tx) => {
      const { firstOffset, lastOffset } = await infoOf(store, topic)
      const gone = firstOffset > lastOffset ? lastOffset : 0
      const results = await store.append(topic, messages, tx)
      return results.map((result) => ({ ...result, offset: result.offset! - gone }))
    },
  })),
  'counts what is gone as still to be read': inTopics((store) => ({
    subscriptions: async (topic, subscription) =>
      (await store.subscriptions(topic, subscription)).map(({ lag, missed, ...state }) => ({
        ...state,
        lag: lag + missed,
        missed: 0,
      })),
  })),
  'seeks to what is gone': inTopics((store) => {
    const sought = new Map<string, number>()
    return {
      seek: async (topic, subscription, position) => {
        for (const state of await store.subscriptions(topic, subscription))
          if (typeof position === 'object' && 'back' in position)
            sought.set(`${topic} ${state.subscription}`, state.cursor - position.back)
        return await store.seek(topic, subscription, position)
      },
      subscriptions: async (topic, subscription) =>
        (await store.subscriptions(topic, subscription)).map((state) => ({
          ...state,
          cursor: sought.get(`${topic} ${state.subscription}`) ?? state.cursor,
        })),
    }
  }),
  'trims every topic like those that want it': trimming((_retention, _info, all) => ({
    whenRead: all.some(({ retention }) => retention.whenRead),
  })),
  'clears topics that are read': trimming(({ whenRead }) => (whenRead ? nothing : {})),
})
