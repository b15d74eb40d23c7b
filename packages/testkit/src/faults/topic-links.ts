import { setImmediate as turn } from 'node:timers/promises'
import { isTidingsError, TidingsError } from 'tidings/internal/core/errors'
import { matches } from 'tidings/internal/core/pattern'
import type { Engine, NewMessage, PublishedCopy, RoutedMessage, Transaction } from 'tidings/internal/port/engine'
import type { TopicLink, TopicStore } from 'tidings/internal/port/topic-store'
import type { Plant } from '../memory-harness.ts'
import { queueCopies, topicCopies, topicsOf } from '../scene.ts'
import { all, appending, faults, infoOf, inOtherOrder, inTopics, telling } from './fault.ts'

type Rule = (pattern: string, key: string) => boolean

/** A publish made of appends and sends, for each pattern of a topic if `everyPattern`. */
const publishingByParts =
  ({ rule = matches, everyPattern = false, pause = async () => {} }: Partial<Parts> = {}): Plant =>
  (engine) => {
    const topicsFor = async (key: string) => {
      const topics = await topicsOf(engine).listTopics(null)
      const names = topics.flatMap(({ topic, patterns }) =>
        patterns.filter((pattern) => rule(pattern, key)).map(() => topic),
      )
      return everyPattern ? names : [...new Set(names)]
    }
    const queuesFor = async (key: string) => {
      const bound = (await engine.bindings(null)).filter(({ pattern }) => rule(pattern, key))
      return [...new Set(bound.map(({ queue }) => queue))]
    }
    const publishOne = async ({ routingKey, ...message }: RoutedMessage, tx: Transaction | null) => {
      const copies: PublishedCopy[] = []
      for (const queue of await queuesFor(routingKey)) {
        const [sent] = await engine.send(queue, [{ ...message, meta: { ...message.meta, queue_name: queue } }], tx)
        copies.push({ queue, ...sent! })
        await pause()
      }
      for (const topic of await topicsFor(routingKey)) {
        const [taken] = await topicsOf(engine).append(topic, [message], tx)
        copies.push({ topic, ...taken! })
        await pause()
      }
      return copies
    }
    return {
      publish: async (messages, tx) => {
        const results: PublishedCopy[][] = []
        for (const message of messages) results.push(await publishOne(message, tx))
        return results
      },
    }
  }

interface Parts {
  readonly rule: Rule
  readonly everyPattern: boolean
  pause(): Promise<void>
}

/** '#' is any text, and the dot before it has to be there. */
const asRegExp: Rule = (pattern, key) => {
  const escaped = pattern.replaceAll('.', '\\.').replaceAll('*', '[^.]+').replaceAll('#', '.*')
  return new RegExp(`^${escaped}$`).test(key)
}

const publishing =
  (change: (copies: PublishedCopy[], engine: Engine) => PublishedCopy[] | Promise<PublishedCopy[]>): Plant =>
  (engine) => ({
    publish: async (messages, tx) =>
      Promise.all((await engine.publish(messages, tx)).map((copies) => change(copies, engine))),
  })

export const topicRoutingFaults = faults('topic routing', {
  'publishes into queues alone': publishing(queueCopies),
  'makes a regular expression of the pattern of a topic': publishingByParts({ rule: asRegExp }),
  'takes a message for every pattern of a topic': publishingByParts({ everyPattern: true }),
  'copies a message by every way that leads to a queue': publishingByParts(),
  'stores the copies in topics later': publishingByParts({ pause: async () => void (await turn()) }),
  'tells of topics first': publishing((copies) => [...topicCopies(copies), ...queueCopies(copies)]),
  'sends a batch where its first message goes': (engine) => ({
    publish: (messages, tx) =>
      engine.publish(
        messages.map((message) => ({ ...message, routingKey: messages[0]!.routingKey })),
        tx,
      ),
  }),
  'does not tell of copies behind a topic': publishing(async (copies, engine) => {
    const bound = (await engine.bindings(null)).map(({ queue }) => queue)
    return copies.filter((copy) => !('queue' in copy) || bound.includes(copy.queue))
  }),
  'stores what a topic has already': (engine) => ({
    publish: (messages, tx) =>
      engine.publish(
        messages.map((message) => ({ ...message, dedup: null })),
        tx,
      ),
  }),
  'gives up when publishers of one dedup id meet': (engine) => {
    const held = new Set<string>()
    const alone = async <T>(messages: readonly NewMessage[], call: () => Promise<T>): Promise<T> => {
      const ids = messages.flatMap(({ dedup }) => (dedup ? [dedup.id] : []))
      if (ids.some((id) => held.has(id))) throw new TidingsError('STORAGE_FAILED', 'deadlock detected')
      for (const id of ids) held.add(id)
      await turn()
      for (const id of ids) held.delete(id)
      return await call()
    }
    return {
      publish: (messages, tx) => alone(messages, () => engine.publish(messages, tx)),
      topics: {
        append: (topic, messages, tx) => alone(messages, () => topicsOf(engine).append(topic, messages, tx)),
      },
    }
  },
  'takes back from a queue what its topic has already': publishing(async (copies, engine) => {
    for (const { topic, duplicate } of topicCopies(copies)) {
      const { queues } = await infoOf(topicsOf(engine), topic)
      const refused = queueCopies(copies).filter(({ queue }) => duplicate && queues.includes(queue))
      for (const { queue, id } of refused) await engine.cancel(queue, [id])
    }
    return copies
  }),
})

const isLinked = async (store: TopicStore, topic: string, link: TopicLink): Promise<boolean> => {
  const { patterns, queues } = await infoOf(store, topic)
  return 'pattern' in link ? patterns.includes(link.pattern) : queues.includes(link.queue)
}

export const topicLinkFaults = faults('topic links', {
  'copies into one linked queue': inTopics((store) => ({
    link: async (topic, link) => {
      const { queues } = await infoOf(store, topic)
      return 'queue' in link && queues.length > 0 ? true : await store.link(topic, link)
    },
  })),
  'names the queue in the topic too': inTopics((store) => ({
    append: (topic, messages, tx) =>
      store.append(
        topic,
        messages.map((message) => ({ ...message, meta: { ...message.meta, queue_name: topic } })),
        tx,
      ),
  })),
  'removes a message with its copy': (engine) => {
    let deleted = 0
    return {
      settle: async (queue, settlements, tx) => {
        deleted += settlements.length
        return await engine.settle(queue, settlements, tx)
      },
      topics: { read: (topic, after, limit) => topicsOf(engine).read(topic, Math.max(after, deleted), limit) },
    }
  },
  'copies a batch in another order': inTopics((store) => ({
    append: (topic, messages, tx) => inOtherOrder(messages, (reversed) => store.append(topic, reversed, tx)),
  })),
  'ignores the delays of copies': appending((message) => ({ ...message, delayMs: 0, notBefore: null })),
  'ignores the targets of copies': appending((message) => ({ ...message, uniqueTarget: null })),
  'ignores the priorities of copies': appending((message) => ({ ...message, priority: 0 })),
  'does not count copies as tasks': appending(({ tracked: _, ...message }) => message),
  'copies duplicates': inTopics((store, engine) => ({
    append: async (topic, messages, tx) => {
      const results = await store.append(topic, messages, tx)
      const { queues } = await infoOf(store, topic)
      const duplicates = messages.filter((_, index) => results[index]!.duplicate)
      for (const queue of queues)
        await engine.send(
          queue,
          duplicates.map((message) => ({ ...message, dedup: null })),
          tx,
        )
      return results
    },
  })),
  'wakes nobody for copies': (engine) => {
    let quiet = false
    return {
      watch: (queue, wake) => engine.watch(queue, (dueMs) => (quiet ? undefined : wake(dueMs))),
      topics: {
        append: async (topic, messages, tx) => {
          quiet = true
          const results = await topicsOf(engine).append(topic, messages, tx)
          await turn()
          quiet = false
          return results
        },
      },
    }
  },
  'lists patterns in the order of an alphabet': telling((info) => ({
    ...info,
    patterns: [...info.patterns].sort((a, b) => a.localeCompare(b)),
  })),
  'calls every link new': inTopics((store) => ({
    link: async (topic, link) => {
      await store.link(topic, link)
      return true
    },
  })),
  'links in two steps': inTopics((store) => ({
    link: async (topic, link) => {
      const there = await isLinked(store, topic, link)
      await turn()
      await store.link(topic, link)
      return !there
    },
  })),
  'unlinks every pattern of a topic': inTopics((store) => ({
    unlink: async (topic, link) => {
      const removed = await store.unlink(topic, link)
      for (const pattern of (await infoOf(store, topic)).patterns) await store.unlink(topic, { pattern })
      return removed
    },
  })),
  'unlinks with success what was not linked': inTopics((store) => ({
    unlink: async (topic, link) => {
      await store.unlink(topic, link)
      return true
    },
  })),
  'gives a new topic the links of a dropped one': inTopics((store) => {
    const kept = new Map<string, readonly string[]>()
    return {
      dropTopic: async (topic) => {
        const [info] = await store.listTopics(topic).catch(() => [])
        if (info) kept.set(topic, info.queues)
        return await store.dropTopic(topic)
      },
      createTopic: async (topic, settings) => {
        const created = await store.createTopic(topic, settings)
        for (const queue of kept.get(topic) ?? []) await store.link(topic, { queue })
        return created
      },
    }
  }),
  'gives a new queue the links of a dropped one': (engine) => {
    const kept = new Map<string, string[]>()
    const store = topicsOf(engine)
    return {
      dropQueue: async (queue) => {
        const linked = (await store.listTopics(null)).filter(({ queues }) => queues.includes(queue))
        if (linked.length > 0)
          kept.set(
            queue,
            linked.map(({ topic }) => topic),
          )
        return await engine.dropQueue(queue)
      },
      createQueue: async (queue) => {
        const created = await engine.createQueue(queue)
        for (const topic of kept.get(queue) ?? []) await store.link(topic, { queue }).catch(() => {})
        return created
      },
    }
  },
  'links queues that are missing': inTopics((store) => ({
    link: (topic, link) =>
      store.link(topic, link).catch((error) => {
        if (isTidingsError(error, 'QUEUE_NOT_FOUND')) return true
        throw error
      }),
  })),
  'fails when a queue is dropped between finding it and storing': inTopics((store, engine) => ({
    append: async (topic, messages, tx) => {
      const { queues } = await infoOf(store, topic)
      await turn()
      for (const queue of queues) await engine.peek(queue, { ...all, limit: 1 })
      return await store.append(topic, messages, tx)
    },
  })),
})
