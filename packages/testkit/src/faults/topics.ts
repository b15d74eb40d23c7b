import { setImmediate as turn } from 'node:timers/promises'
import { isTidingsError, TidingsError } from 'tidings/internal/core/errors'
import type { NewMessage } from 'tidings/internal/port/engine'
import type { AppendResult, TopicMessage } from 'tidings/internal/port/topic-store'
import type { Plant } from '../memory-harness.ts'
import { appending, faults, infoOf, inOtherOrder, inTopics, telling } from './fault.ts'

/** Changes what is read. */
const reading = (change: (messages: TopicMessage[]) => TopicMessage[]): Plant =>
  inTopics((store) => ({ read: async (topic, after, limit) => change(await store.read(topic, after, limit)) }))

const withoutDedup = (message: NewMessage): NewMessage => ({ ...message, dedup: null })

/** Changes the ids by which duplicates are known. */
const dedupBy = (change: (dedup: NonNullable<NewMessage['dedup']>) => NewMessage['dedup']): Plant =>
  appending((message) => ({ ...message, dedup: message.dedup && change(message.dedup) }))

export const topicFaults = faults('topics', {
  'makes a topic anew that is there': inTopics((store) => ({
    createTopic: async (topic, settings) => {
      const there = await store.dropTopic(topic)
      await store.createTopic(topic, settings)
      return !there
    },
  })),
  'calls every topic new': inTopics((store) => ({
    createTopic: async (topic, settings) => {
      await store.createTopic(topic, settings)
      return true
    },
  })),
  'creates topics in two steps': inTopics((store) => ({
    createTopic: async (topic, settings) => {
      const there = (await store.listTopics(null)).some((info) => info.topic === topic)
      await turn()
      await store.createTopic(topic, settings)
      return !there
    },
  })),
  'counts offsets from 0': telling((info) => ({
    ...info,
    firstOffset: info.firstOffset - 1,
    lastOffset: info.lastOffset - 1,
  })),
  'merges a retention with the old one': inTopics((store) => ({
    createTopic: async (topic, settings) => {
      if (settings.retention === undefined) return await store.createTopic(topic, settings)
      const old = await infoOf(store, topic).catch(() => null)
      const given = Object.entries(settings.retention).filter(([, value]) => value !== null)
      const retention = { ...(old?.retention ?? settings.retention), ...Object.fromEntries(given) }
      return await store.createTopic(topic, { ...settings, retention })
    },
  })),
  'ignores settings of a topic that is there': inTopics((store) => ({
    createTopic: async (topic, settings) => {
      const there = (await store.listTopics(null)).some((info) => info.topic === topic)
      return await store.createTopic(topic, there ? {} : settings)
    },
  })),
  'lists topics in the order of an alphabet': inTopics((store) => ({
    listTopics: async (topic) => (await store.listTopics(topic)).sort((a, b) => a.topic.localeCompare(b.topic)),
  })),
  'drops a topic with the queue of its name': (engine) => ({
    dropQueue: async (queue) => {
      await engine.topics?.dropTopic(queue)
      return await engine.dropQueue(queue)
    },
  }),
  'cuts names': inTopics((store) => ({
    subscribe: (topic, subscription, from) => store.subscribe(topic, subscription.slice(0, 40), from),
  })),
  'drops with success what is not there': inTopics((store) => ({
    dropTopic: async (topic) => {
      await store.dropTopic(topic)
      return true
    },
  })),
  'keeps the dedup ids of a dropped topic': inTopics((store) => {
    const dropped = new Set<string>()
    return {
      dropTopic: async (topic) => {
        dropped.add(topic)
        return await store.dropTopic(topic)
      },
      append: async (topic, messages, tx) => {
        const duplicate = dropped.has(topic) && messages.some(({ dedup }) => dedup !== null)
        return duplicate ? messages.map(() => ({ offset: 1, duplicate })) : await store.append(topic, messages, tx)
      },
    }
  }),
  'counts the offsets of all topics together': inTopics((store) => {
    let last = 0
    return {
      append: async (topic, messages, tx) => {
        const results = await store.append(topic, messages, tx)
        return results.map(({ duplicate }) => ({ offset: ++last, duplicate }))
      },
    }
  }),
  'loses the headers': reading((messages) => messages.map((message) => ({ ...message, headers: {} }))),
  'hands out what it keeps': inTopics((store) => {
    const kept = new Map<string, TopicMessage>()
    return {
      read: async (topic, after, limit) =>
        (await store.read(topic, after, limit)).map((message) => {
          const same = kept.get(`${topic} ${message.offset}`) ?? message
          kept.set(`${topic} ${message.offset}`, same)
          return same
        }),
    }
  }),
  'appends a batch in another order': inTopics((store) => ({
    append: (topic, messages, tx) => inOtherOrder(messages, (reversed) => store.append(topic, reversed, tx)),
  })),
  'has something to say about an empty batch': inTopics((store) => ({
    append: async (topic, messages, tx) => {
      if (messages.length === 0) throw new TidingsError('STORAGE_FAILED', 'no rows')
      return await store.append(topic, messages, tx)
    },
  })),
  'reads from the offset on': inTopics((store) => ({
    read: (topic, after, limit) => store.read(topic, Math.max(0, after - 1), limit),
  })),
  'reads one batch at most': inTopics((store) => ({
    read: (topic, after, limit) => store.read(topic, after, Math.min(limit, 10)),
  })),
  'reads as much as there is': inTopics((store) => ({ read: (topic, after) => store.read(topic, after, 1_000_000) })),
  'acknowledges what is read': inTopics((store) => ({
    read: async (topic, after, limit) => {
      const messages = await store.read(topic, after, limit)
      for (const { subscription } of await store.subscriptions(topic, null))
        await store.ack(topic, subscription, messages.at(-1)?.offset ?? 0, null)
      return messages
    },
  })),
  'dates messages when they are read': inTopics((store, _engine, clock) => ({
    read: async (topic, after, limit) =>
      (await store.read(topic, after, limit)).map((message) => ({ ...message, publishedAt: clock.now() })),
  })),
  'holds targets in topics': inTopics((store) => {
    const held = new Set<string>()
    return {
      append: async (topic, messages, tx) => {
        const results: AppendResult[] = []
        for (const message of messages) {
          const target = `${topic} ${message.uniqueTarget}`
          const isHeld = message.uniqueTarget !== null && held.has(target)
          held.add(target)
          const stored = isHeld ? [{ offset: 1, duplicate: true }] : await store.append(topic, [message], tx)
          results.push(stored[0]!)
        }
        return results
      },
    }
  }),
  'counts the size of data alone': telling(async (info, store) => {
    const messages = await store.read(info.topic, 0, 1_000_000)
    return { ...info, bytes: messages.reduce((sum, { data }) => sum + data.length, 0) }
  }),
  'stores duplicates': appending(withoutDedup),
  'does not look for duplicates in a batch': inTopics((store) => ({
    append: (topic, messages, tx) => {
      const ids = messages.map(({ dedup }) => dedup?.id)
      const apart = messages.map((one, index) => (ids.indexOf(one.dedup?.id) < index ? withoutDedup(one) : one))
      return store.append(topic, apart, tx)
    },
  })),
  'leaves gaps for duplicates': inTopics((store) => {
    let gaps = 0
    return {
      append: async (topic, messages, tx) => {
        const results = await store.append(topic, messages, tx)
        return results.map(({ offset, duplicate }) => {
          if (duplicate) gaps++
          return { offset: duplicate ? offset : (offset ?? 0) + gaps, duplicate }
        })
      },
    }
  }),
  'folds dedup ids': dedupBy(({ id, windowMs }) => ({ id: id.toLowerCase().trim(), windowMs })),
  'keeps dedup ids for ever': dedupBy(({ id }) => ({ id, windowMs: 1_000_000_000 })),
  'frees dedup ids with their messages': inTopics((store) => ({
    append: async (topic, messages, tx) => {
      const results = await store.append(topic, messages, tx)
      const { firstOffset } = await infoOf(store, topic)
      const isGone = results.some(({ offset, duplicate }) => duplicate && (offset ?? 0) < firstOffset)
      return isGone ? await store.append(topic, messages.map(withoutDedup), tx) : results
    },
  })),
  'looks for duplicates before it stores': inTopics((store) => {
    const firsts = new Map<string, number>()
    return {
      append: async (topic, messages, tx) => {
        const known = messages.map(({ dedup }) => (dedup ? firsts.get(`${topic} ${dedup.id}`) : undefined))
        await turn()
        const fresh = messages.filter((_, index) => known[index] === undefined)
        const stored = await store.append(topic, fresh.map(withoutDedup), tx)
        for (const [index, { dedup }] of fresh.entries())
          if (dedup) firsts.set(`${topic} ${dedup.id}`, stored[index]!.offset!)
        return known.map((offset) => (offset === undefined ? stored.shift()! : { offset, duplicate: true }))
      },
    }
  }),
  'loses an append when another is under way': inTopics((store) => {
    let busy = false
    return {
      append: async (topic, messages, tx) => {
        const lost = busy
        busy = true
        await turn()
        busy = false
        return lost ? messages.map(() => ({ offset: 1, duplicate: false })) : await store.append(topic, messages, tx)
      },
    }
  }),
  'shows messages before those in front of them': inTopics((store) => {
    const seen = new Set<string>()
    return {
      read: async (topic, after, limit) => {
        const messages = await store.read(topic, after, limit)
        const late = messages.at(-2)?.offset
        const isLate = late !== undefined && !seen.has(`${topic} ${late}`)
        seen.add(`${topic} ${late}`)
        return messages.filter(({ offset }) => !isLate || offset !== late)
      },
    }
  }),
})

export const topicLifecycleFaults = faults('topic lifecycle', {
  'makes the topic that it appends to': inTopics((store) => ({
    append: async (topic, messages, tx) => {
      await store.createTopic(topic, {})
      return await store.append(topic, messages, tx)
    },
  })),
  'finds nothing in a topic that was dropped': inTopics((store) => {
    const dropped = new Set<string>()
    return {
      dropTopic: (topic) => {
        dropped.add(topic)
        return store.dropTopic(topic)
      },
      read: async (topic, after, limit) => (dropped.has(topic) ? [] : await store.read(topic, after, limit)),
    }
  }),
  'acknowledges for a subscription that is missing': inTopics((store) => ({
    ack: (topic, subscription, offset, receipt) =>
      store.ack(topic, subscription, offset, receipt).catch((error) => {
        if (isTidingsError(error, 'SUBSCRIPTION_NOT_FOUND')) return true
        throw error
      }),
  })),
  'lists topics after it was closed': inTopics((store) => ({
    listTopics: (topic) =>
      store.listTopics(topic).catch((error) => {
        if (isTidingsError(error, 'CLOSED')) return []
        throw error
      }),
  })),
})

export const topicTransactionFaults = faults('topic transactions', {
  'appends before it refuses': inTopics((store) => ({
    append: async (topic, messages, tx) => {
      const results = await store.append(topic, messages, null)
      return tx === null ? results : await store.append(topic, messages, tx)
    },
  })),
})
