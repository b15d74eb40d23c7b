import type { Hold, TopicStore } from 'tidings/internal/port/topic-store'
import type { Plant } from '../memory-harness.ts'
import { only } from '../scene.ts'
import { faults, inTopics } from './fault.ts'

type Held = Extract<Hold, { held: true }>

/** What a fault knows of a subscription. */
interface Story {
  /** What is added to the true count. */
  extra: number
  /** The last true count. */
  last: number
  consumer: string | null
  /** Whether its last holder has left. */
  left: boolean
}

type Of = { readonly topic: string; readonly subscription: string; readonly consumer: string }
type Members = Partial<Omit<TopicStore, 'hold'>> & {
  readonly onHold?: (story: Story, hold: Hold, of: Of) => Promise<void> | void
}

/** Miscounts: what is told is the true count and `extra`, which `members` change. */
const miscounting = (
  members: (storyOf: (topic: string, subscription: string) => Story, store: TopicStore) => Members,
): Plant =>
  inTopics((store) => {
    const stories = new Map<string, Story>()
    const storyOf = (topic: string, subscription: string) => {
      const key = `${topic} ${subscription}`
      const story = stories.get(key) ?? { extra: 0, last: 0, consumer: null, left: true }
      stories.set(key, story)
      return story
    }
    const { onHold, ...others } = members(storyOf, store)
    return {
      hold: async (topic, subscription, consumer, leaseMs) => {
        const hold = await store.hold(topic, subscription, consumer, leaseMs)
        const story = storyOf(topic, subscription)
        await onHold?.(story, hold, { topic, subscription, consumer })
        if (!hold.held) return hold
        Object.assign(story, { last: hold.vanished, consumer, left: false })
        return { ...hold, vanished: Math.max(0, hold.vanished + story.extra) }
      },
      leave: async (topic, subscription, receipt) => {
        const left = await store.leave(topic, subscription, receipt)
        if (left) storyOf(topic, subscription).left = true
        return left
      },
      ...others,
    }
  })

/** Changes what a holder is told. */
const answering = (change: (hold: Held) => Held): Plant =>
  inTopics((store) => ({
    hold: async (...request) => {
      const hold = await store.hold(...request)
      return hold.held ? change(hold) : hold
    },
  }))

export const topicTakeoverFaults = faults('topic takeovers', {
  'counts nobody': answering((hold) => ({ ...hold, vanished: 0 })),
  'remembers only that somebody vanished': answering((hold) => ({ ...hold, vanished: Math.min(1, hold.vanished) })),
  'counts a holder that goes on': miscounting(() => ({
    onHold: (story, hold, { consumer }) => {
      if (hold.held && story.consumer === consumer) story.extra++
    },
  })),
  'counts holders that left': miscounting(() => ({
    onHold: (story, hold, { consumer }) => {
      if (hold.held && story.consumer !== null && story.consumer !== consumer && story.left) story.extra++
    },
  })),
  'forgets the count when somebody leaves': miscounting((storyOf, store) => ({
    leave: (topic, subscription, receipt) => {
      const story = storyOf(topic, subscription)
      story.extra = -story.last
      return store.leave(topic, subscription, receipt)
    },
  })),
  'takes who leaves late for one that vanished': inTopics((store) => ({
    leave: async (topic, subscription, receipt) => {
      const { consumer } = only(await store.subscriptions(topic, subscription))
      if (consumer !== null) return await store.leave(topic, subscription, receipt)
      return await store.ack(topic, subscription, 0, receipt)
    },
  })),
  'counts those who come in vain': miscounting(() => ({
    onHold: (story, hold) => {
      if (!hold.held) story.extra++
    },
  })),
  'counts on after an acknowledgement': miscounting((storyOf, store) => ({
    ack: async (topic, subscription, offset, receipt) => {
      const story = storyOf(topic, subscription)
      const before = only(await store.subscriptions(topic, subscription)).cursor
      const acked = await store.ack(topic, subscription, offset, receipt)
      if (acked && offset > before) story.extra += story.last
      return acked
    },
  })),
  'begins anew with an acknowledgement that moves nothing': miscounting((storyOf, store) => ({
    ack: (topic, subscription, offset, receipt) => {
      const story = storyOf(topic, subscription)
      story.extra = -story.last
      return store.ack(topic, subscription, offset, receipt)
    },
  })),
  'counts on after a seek': miscounting((storyOf, store) => ({
    seek: async (topic, subscription, position) => {
      for (const moved of await store.subscriptions(topic, subscription)) {
        const story = storyOf(topic, moved.subscription)
        story.extra += story.last
        story.last = 0
      }
      return await store.seek(topic, subscription, position)
    },
  })),
  'keeps a count for every place': miscounting(() => {
    const counts = new Map<string, number>()
    return {
      onHold: (story, hold, { topic, subscription }) => {
        if (!hold.held) return
        const key = `${topic} ${subscription} ${hold.cursor}`
        counts.set(key, Math.max(counts.get(key) ?? 0, hold.vanished))
        story.extra = counts.get(key)! - hold.vanished
      },
    }
  }),
  'counts holders that had nothing to read': miscounting((_, store) => ({
    onHold: async (story, hold, { topic, subscription, consumer }) => {
      if (!hold.held || story.consumer === null || story.consumer === consumer || story.left) return
      const { lag } = only(await store.subscriptions(topic, subscription))
      if (lag === 0) story.extra++
    },
  })),
  'blames the next message for one that was removed': miscounting((_, store) => {
    const firsts = new Map<string, number>()
    return {
      onHold: async (story, hold, { topic, subscription }) => {
        if (!hold.held) return
        const { missed } = only(await store.subscriptions(topic, subscription))
        const key = `${topic} ${subscription}`
        if (missed > (firsts.get(key) ?? 0)) story.extra = story.last
        firsts.set(key, missed)
      },
    }
  }),
  'counts for all subscriptions of a topic': miscounting((storyOf, store) => ({
    onHold: async (story, hold, { topic }) => {
      if (!hold.held) return
      story.extra = 0
      for (const { subscription } of await store.subscriptions(topic, null)) {
        const other = storyOf(topic, subscription)
        if (other !== story) story.extra += other.last
      }
    },
  })),
  'keeps the count of a removed subscription': miscounting((storyOf, store) => ({
    unsubscribe: (topic, subscription) => {
      const story = storyOf(topic, subscription)
      story.extra = story.last
      return store.unsubscribe(topic, subscription)
    },
  })),
})
