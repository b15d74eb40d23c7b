import { setImmediate as turn } from 'node:timers/promises'
import type { Position, SubscriptionState, TopicStore } from 'tidings/internal/port/topic-store'
import type { Plant } from '../memory-harness.ts'
import { only } from '../scene.ts'
import { faults, infoOf, inTopics } from './fault.ts'

/** Changes where subscriptions are sent. */
const sought = (change: (position: Position) => Position): Plant =>
  inTopics((store) => ({
    subscribe: (topic, subscription, from) => store.subscribe(topic, subscription, change(from)),
    seek: (topic, subscription, position) => store.seek(topic, subscription, change(position)),
  }))

/** Changes what is told of subscriptions. */
const stating = (change: (state: SubscriptionState) => SubscriptionState): Plant =>
  inTopics((store) => ({
    subscriptions: async (topic, subscription) => (await store.subscriptions(topic, subscription)).map(change),
  }))

const stateOf = async (store: TopicStore, topic: string, subscription: string) =>
  only(await store.subscriptions(topic, subscription))

const after = (cursor: number): Position => ({ offset: cursor + 1 })

export const subscriptionFaults = faults('subscriptions', {
  'takes an offset for what was read': sought((position) =>
    typeof position === 'object' && 'offset' in position ? after(position.offset) : position,
  ),
  'goes behind a time': sought((position) =>
    typeof position === 'object' && 'time' in position ? { time: position.time + 1 } : position,
  ),
  'begins again at 0 in an empty topic': inTopics((store) => ({
    subscriptions: async (topic, subscription) => {
      const { firstOffset, lastOffset } = await infoOf(store, topic)
      const states = await store.subscriptions(topic, subscription)
      return firstOffset > lastOffset ? states.map((state) => ({ ...state, cursor: 0 })) : states
    },
  })),
  'moves a subscription that is there': inTopics((store) => ({
    subscribe: async (topic, subscription, from) => {
      const created = await store.subscribe(topic, subscription, from)
      if (!created) await store.seek(topic, subscription, from)
      return created
    },
  })),
  'subscribes in two steps': inTopics((store) => ({
    subscribe: async (topic, subscription, from) => {
      const states = await store.subscriptions(topic, null)
      await turn()
      await store.subscribe(topic, subscription, from)
      return !states.some((state) => state.subscription === subscription)
    },
  })),
  'keeps the place of a removed subscription': inTopics((store) => {
    const kept = new Map<string, number>()
    return {
      unsubscribe: async (topic, subscription) => {
        const [state] = await store.subscriptions(topic, subscription).catch(() => [])
        if (state) kept.set(`${topic} ${subscription}`, state.cursor)
        return await store.unsubscribe(topic, subscription)
      },
      subscribe: (topic, subscription, from) => {
        const cursor = kept.get(`${topic} ${subscription}`)
        return store.subscribe(topic, subscription, cursor === undefined ? from : after(cursor))
      },
    }
  }),
  'unsubscribes from every topic': inTopics((store) => ({
    unsubscribe: async (_topic, subscription) => {
      const removed: boolean[] = []
      for (const { topic } of await store.listTopics(null)) removed.push(await store.unsubscribe(topic, subscription))
      return removed.includes(true)
    },
  })),
  'lists subscriptions in the order of an alphabet': inTopics((store) => ({
    subscriptions: async (topic, subscription) =>
      (await store.subscriptions(topic, subscription)).sort((a, b) => a.subscription.localeCompare(b.subscription)),
  })),
  'calls a new subscription moved': stating((state) => ({ ...state, movedAt: state.movedAt ?? state.createdAt })),
  'counts the lag from the start of the topic': stating((state) => ({ ...state, lag: state.lag + state.cursor })),
  'moves back by an acknowledgement': inTopics((store) => ({
    ack: async (topic, subscription, offset) => (await store.seek(topic, subscription, after(offset))) === 1,
  })),
  'acknowledges what is not there yet': inTopics((store) => {
    const acked = new Map<string, number>()
    return {
      ack: async (topic, subscription, offset, receipt) => {
        acked.set(`${topic} ${subscription}`, offset)
        return await store.ack(topic, subscription, offset, receipt)
      },
      subscriptions: async (topic, subscription) =>
        (await store.subscriptions(topic, subscription)).map((state) => {
          const cursor = Math.max(state.cursor, acked.get(`${topic} ${state.subscription}`) ?? 0)
          return { ...state, cursor, lag: Math.max(0, state.lag - (cursor - state.cursor)) }
        }),
    }
  }),
  'acknowledges in two steps': inTopics((store) => ({
    ack: async (topic, subscription, offset) => {
      const { cursor } = await stateOf(store, topic, subscription)
      await turn()
      if (offset > cursor) await store.seek(topic, subscription, after(offset))
      return true
    },
  })),
  'acknowledges for all subscriptions': inTopics((store) => ({
    ack: async (topic, subscription, offset, receipt) => {
      for (const other of await store.subscriptions(topic, null))
        await store.ack(topic, other.subscription, offset, null)
      return await store.ack(topic, subscription, offset, receipt)
    },
  })),
  'notes only the first move': inTopics((store) => {
    const first = new Map<string, number | null>()
    return {
      subscriptions: async (topic, subscription) =>
        (await store.subscriptions(topic, subscription)).map((state) => {
          const key = `${topic} ${state.subscription}`
          const movedAt = first.get(key) ?? state.movedAt
          first.set(key, movedAt)
          return { ...state, movedAt }
        }),
    }
  }),
  'seeks forward only': inTopics((store) => ({
    seek: async (topic, subscription, position) => {
      const before = await store.subscriptions(topic, subscription)
      const moved = await store.seek(topic, subscription, position)
      for (const { subscription, cursor } of before) {
        const now = await stateOf(store, topic, subscription)
        if (now.cursor < cursor) await store.seek(topic, subscription, after(cursor))
      }
      return moved
    },
  })),
  'seeks for all from the place of one': inTopics((store) => ({
    seek: async (topic, subscription, position) => {
      const [first] = await store.subscriptions(topic, subscription)
      if (first === undefined) return 0
      await store.seek(topic, first.subscription, position)
      const { cursor } = await stateOf(store, topic, first.subscription)
      return await store.seek(topic, subscription, after(cursor))
    },
  })),
  'acknowledges nothing twice': inTopics((store) => {
    const highest = new Map<string, number>()
    return {
      ack: async (topic, subscription, offset, receipt) => {
        const key = `${topic} ${subscription}`
        if (offset <= (highest.get(key) ?? 0)) return true
        highest.set(key, offset)
        return await store.ack(topic, subscription, offset, receipt)
      },
    }
  }),
})

/** Keeps receipts by itself: that of the last hold of a subscription is good for as long as `last` has it. */
export const fencing = (members: (store: TopicStore, last: Map<string, string>) => Partial<TopicStore>): Plant =>
  inTopics((store) => {
    const last = new Map<string, string>()
    return {
      hold: async (topic, subscription, consumer, leaseMs) => {
        const hold = await store.hold(topic, subscription, consumer, leaseMs)
        if (hold.held) last.set(`${topic} ${subscription}`, hold.receipt)
        return hold
      },
      ack: async (topic, subscription, offset, receipt) => {
        const isGood = receipt === null || last.get(`${topic} ${subscription}`) === receipt
        return isGood && (await store.ack(topic, subscription, offset, null))
      },
      ...members(store, last),
    }
  })

export const topicConsumerFaults = faults('topic consumers', {
  'tells what to read first': inTopics((store) => ({
    hold: async (...request) => {
      const hold = await store.hold(...request)
      return hold.held ? { ...hold, cursor: hold.cursor + 1 } : hold
    },
  })),
  'lets everybody in': inTopics((store) => ({
    hold: async (topic, subscription, consumer, leaseMs) => {
      const hold = await store.hold(topic, subscription, consumer, leaseMs)
      if (hold.held) return hold
      const { cursor } = await stateOf(store, topic, subscription)
      return { held: true, receipt: 'shared', cursor, vanished: 0 }
    },
  })),
  'tells nobody how long to wait': inTopics((store) => ({
    hold: async (...request) => {
      const hold = await store.hold(...request)
      return hold.held ? hold : { ...hold, retryMs: 0 }
    },
  })),
  'holds in two steps': inTopics((store) => ({
    hold: async (topic, subscription, consumer, leaseMs) => {
      const { consumer: holder, cursor } = await stateOf(store, topic, subscription)
      await turn()
      const hold = await store.hold(topic, subscription, consumer, leaseMs)
      return hold.held || holder !== null ? hold : { held: true, receipt: 'late', cursor, vanished: 0 }
    },
  })),
  'takes receipts of other subscriptions': inTopics((store) => {
    const known = new Set<string>()
    return {
      hold: async (...request) => {
        const hold = await store.hold(...request)
        if (hold.held) known.add(hold.receipt)
        return hold
      },
      ack: (topic, subscription, offset, receipt) =>
        store.ack(topic, subscription, offset, receipt !== null && known.has(receipt) ? null : receipt),
    }
  }),
  'makes a receipt stale when the hold goes on': inTopics((store) => {
    const last = new Map<string, string>()
    let count = 0
    return {
      hold: async (topic, subscription, consumer, leaseMs) => {
        const hold = await store.hold(topic, subscription, consumer, leaseMs)
        if (!hold.held) return hold
        last.set(`${topic} ${subscription}`, hold.receipt)
        return { ...hold, receipt: `${hold.receipt}/${++count}` }
      },
      ack: (topic, subscription, offset, receipt) =>
        store.ack(
          topic,
          subscription,
          offset,
          receipt?.endsWith(`/${count}`) ? last.get(`${topic} ${subscription}`)! : receipt,
        ),
      leave: (topic, subscription) => store.leave(topic, subscription, last.get(`${topic} ${subscription}`)!),
    }
  }),
  'does not prolong a hold': inTopics((store) => {
    const held = new Map<string, Awaited<ReturnType<TopicStore['hold']>>>()
    return {
      hold: async (topic, subscription, consumer, leaseMs) => {
        const key = `${topic} ${subscription} ${consumer}`
        const hold = held.get(key) ?? (await store.hold(topic, subscription, consumer, leaseMs))
        if (hold.held) held.set(key, hold)
        return hold
      },
    }
  }),
  'holds for ever': inTopics((store) => ({
    hold: (topic, subscription, consumer, leaseMs) => store.hold(topic, subscription, consumer, leaseMs * 1_000),
  })),
  'moves before it looks at the receipt': inTopics((store) => ({
    ack: async (topic, subscription, offset, receipt) => {
      await store.ack(topic, subscription, offset, null)
      return await store.ack(topic, subscription, offset, receipt)
    },
  })),
  'refuses receipts whose lease has run out': inTopics((store) => ({
    ack: async (topic, subscription, offset, receipt) => {
      const { consumer } = await stateOf(store, topic, subscription)
      if (receipt !== null && consumer === null) return false
      return await store.ack(topic, subscription, offset, receipt)
    },
  })),
  'takes the name of the consumer for a receipt': inTopics((store) => {
    const last = new Map<string, { consumer: string; receipt: string }>()
    return {
      hold: async (topic, subscription, consumer, leaseMs) => {
        const hold = await store.hold(topic, subscription, consumer, leaseMs)
        if (!hold.held) return hold
        last.set(`${topic} ${subscription}`, { consumer, receipt: hold.receipt })
        return { ...hold, receipt: consumer }
      },
      leave: async (topic, subscription, name) => {
        const { consumer, receipt } = last.get(`${topic} ${subscription}`)!
        return name === consumer && (await store.leave(topic, subscription, receipt))
      },
      ack: async (topic, subscription, offset, name) => {
        const { consumer, receipt } = last.get(`${topic} ${subscription}`)!
        return (name === null || name === consumer) && (await store.ack(topic, subscription, offset, name && receipt))
      },
    }
  }),
  'leaves when the lease runs out': inTopics((store) => ({
    leave: (topic, subscription, receipt) => store.ack(topic, subscription, 0, receipt),
  })),
  'wants a receipt': inTopics((store) => ({
    ack: async (topic, subscription, offset, receipt) =>
      receipt !== null && (await store.ack(topic, subscription, offset, receipt)),
  })),
  'leaves receipts good after a seek': fencing(() => ({})),
  'ends a hold with a seek': inTopics((store) => {
    const receipts = new Map<string, string>()
    return {
      hold: async (topic, subscription, consumer, leaseMs) => {
        const hold = await store.hold(topic, subscription, consumer, leaseMs)
        if (hold.held) receipts.set(`${topic} ${subscription}`, hold.receipt)
        return hold
      },
      seek: async (topic, subscription, position) => {
        for (const { subscription } of await store.subscriptions(topic, null))
          await store.leave(topic, subscription, receipts.get(`${topic} ${subscription}`) ?? '')
        return await store.seek(topic, subscription, position)
      },
    }
  }),
  'leaves receipts good after a seek that moves nothing': fencing((store, last) => ({
    seek: async (topic, subscription, position) => {
      const before = await store.subscriptions(topic, subscription)
      const moved = await store.seek(topic, subscription, position)
      for (const state of before) {
        const { cursor } = await stateOf(store, topic, state.subscription)
        if (cursor !== state.cursor) last.delete(`${topic} ${state.subscription}`)
      }
      return moved
    },
  })),
  'makes all receipts stale with every seek': inTopics((store) => ({
    seek: async (topic, subscription, position) => {
      await store.seek(topic, null, { back: 0 })
      return await store.seek(topic, subscription, position)
    },
  })),
  'keeps a topic to its consumer': inTopics((store) => ({
    read: async (topic, after, limit) => {
      const states = await store.subscriptions(topic, null)
      return states.some(({ consumer }) => consumer !== null) ? [] : await store.read(topic, after, limit)
    },
  })),
})
