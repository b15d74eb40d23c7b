import { setImmediate as turn } from 'node:timers/promises'
import { isTidingsError, TidingsError } from 'tidings/internal/core/errors'
import { matches } from 'tidings/internal/core/pattern'
import type { Engine, PublishedCopy, RoutedMessage, Transaction } from 'tidings/internal/port/engine'
import type { Plant } from '../memory-harness.ts'
import { queueCopies } from '../scene.ts'
import { all, faults, inOtherOrder } from './fault.ts'

/** Changes what is published. */
const publishing =
  (change: (message: RoutedMessage) => RoutedMessage): Plant =>
  (engine) => ({ publish: (messages, tx) => engine.publish(messages.map(change), tx) })

type Rule = (pattern: string, key: string) => boolean

/** Finds the queues by a rule, as often as they are bound if `everyBinding`. */
async function routesBy(engine: Engine, rule: Rule, key: string, everyBinding = false): Promise<string[]> {
  const queues = (await engine.bindings(null)).filter(({ pattern }) => rule(pattern, key)).map(({ queue }) => queue)
  return everyBinding ? queues : [...new Set(queues)]
}

/** A publish made of sends, one after the other; `pause` comes before each of them. */
async function publishBySending(
  engine: Engine,
  routes: (key: string) => Promise<string[]>,
  messages: readonly RoutedMessage[],
  tx: Transaction | null,
  pause: () => Promise<void> = async () => {},
): Promise<PublishedCopy[][]> {
  const results: PublishedCopy[][] = []
  for (const { routingKey, ...message } of messages) {
    const deliveries: PublishedCopy[] = []
    for (const queue of await routes(routingKey)) {
      await pause()
      const [sent] = await engine.send(queue, [{ ...message, meta: { ...message.meta, queue_name: queue } }], tx)
      deliveries.push({ queue, ...sent! })
    }
    results.push(deliveries)
  }
  return results
}

const routingBy =
  (rule: Rule, everyBinding = false): Plant =>
  (engine) => ({
    publish: (messages, tx) =>
      publishBySending(engine, (key) => routesBy(engine, rule, key, everyBinding), messages, tx),
  })

/** As PGMQ does it: '#' is any text, and the dot before it has to be there. Long patterns would take for ever. */
const asRegExp: Rule = (pattern, key) => {
  if (pattern.length > 100) return matches(pattern, key)
  const escaped = pattern.replaceAll('.', '\\.').replaceAll('*', '[^.]+').replaceAll('#', '.*')
  return new RegExp(`^${escaped}$`).test(key)
}

export const routingFaults = faults('routing', {
  'publishes into one queue': (engine) => ({
    publish: (messages, tx) =>
      publishBySending(engine, async (key) => (await routesBy(engine, matches, key)).slice(0, 1), messages, tx),
  }),
  'makes a regular expression of a pattern': routingBy(asRegExp),
  'looks at the start of a long key': routingBy((pattern, key) => matches(pattern, key.slice(0, 200))),
  'stores a copy for every binding': routingBy(matches, true),
  'refuses what no pattern matches': (engine) => ({
    publish: async (messages, tx) => {
      const results = await engine.publish(messages, tx)
      if (results.some((deliveries) => deliveries.length === 0)) throw new TidingsError('NO_ROUTE', 'no route')
      return results
    },
  }),
  'calls every binding new': (engine) => ({
    bind: async (pattern, queue) => {
      await engine.bind(pattern, queue)
      return true
    },
  }),
  'unbinds every pattern of a queue': (engine) => ({
    unbind: async (unwanted, queue) => {
      const there = await engine.unbind(unwanted, queue)
      for (const { pattern } of await engine.bindings(queue)) await engine.unbind(pattern, queue)
      return there
    },
  }),
  'unbinds with success what was not bound': (engine) => ({
    unbind: async (pattern, queue) => {
      await engine.unbind(pattern, queue)
      return true
    },
  }),
  'lists bindings in the order of an alphabet': (engine) => ({
    bindings: async (queue) =>
      (await engine.bindings(queue)).sort(
        (a, b) => a.queue.localeCompare(b.queue) || a.pattern.localeCompare(b.pattern),
      ),
  }),
  'makes a binding anew that is there': (engine) => ({
    bind: async (pattern, queue) => {
      const there = await engine.unbind(pattern, queue)
      await engine.bind(pattern, queue)
      return !there
    },
  }),
  'gives a new queue the bindings of a dropped one': (engine) => {
    const kept = new Map<string, string[]>()
    return {
      dropQueue: async (queue) => {
        const bound = await engine.bindings(queue).catch(() => [])
        kept.set(
          queue,
          bound.map(({ pattern }) => pattern),
        )
        return await engine.dropQueue(queue)
      },
      createQueue: async (queue) => {
        const created = await engine.createQueue(queue)
        for (const pattern of kept.get(queue) ?? []) await engine.bind(pattern, queue)
        return created
      },
    }
  },
  'removes bindings with the messages': (engine) => ({
    purgeQueue: async (queue) => {
      for (const { pattern } of await engine.bindings(queue)) await engine.unbind(pattern, queue)
      return await engine.purgeQueue(queue)
    },
  }),
  'lists no bindings for a queue that is missing': (engine) => ({
    bindings: (queue) =>
      engine.bindings(queue).catch((error) => {
        if (isTidingsError(error, 'QUEUE_NOT_FOUND')) return []
        throw error
      }),
  }),
  'loses the headers of copies': publishing((message) => ({ ...message, headers: {} })),
  'leaves the name of the queue as it was given': (engine) => ({
    publish: async (messages, tx) => {
      const results: PublishedCopy[][] = []
      for (const { routingKey, ...message } of messages) {
        const deliveries: PublishedCopy[] = []
        for (const queue of await routesBy(engine, matches, routingKey))
          deliveries.push({ queue, ...(await engine.send(queue, [message], tx))[0]! })
        results.push(deliveries)
      }
      return results
    },
  }),
  'keeps one copy for all queues': (engine) => {
    const copies: PublishedCopy[][] = []
    return {
      publish: async (messages, tx) => {
        const results = await engine.publish(messages, tx)
        copies.push(...results)
        return results
      },
      pop: async (name, limit) => {
        const popped = await engine.pop(name, limit)
        const gone = copies
          .map(queueCopies)
          .filter((all) => all.some(({ queue, id }) => queue === name && popped[0]?.id === id))
        for (const { queue, id } of gone.flat()) await engine.cancel(queue, [id])
        return popped
      },
    }
  },
  'publishes a batch in another order': (engine) => ({
    publish: async (messages, tx) =>
      (await inOtherOrder(messages, (reversed) => engine.publish(reversed, tx))).reverse(),
  }),
  'sends a batch where its first message goes': (engine) => ({
    publish: (messages, tx) =>
      engine.publish(
        messages.map((message) => ({ ...message, routingKey: messages[0]!.routingKey })),
        tx,
      ),
  }),
  'ignores the delays of copies': publishing((message) => ({ ...message, delayMs: 0, notBefore: null })),
  'ignores the priorities of copies': publishing((message) => ({ ...message, priority: 0 })),
  'ignores the ordering keys of copies': publishing((message) => ({ ...message, orderingKey: null })),
  'ignores the dedup ids of copies': publishing((message) => ({ ...message, dedup: null })),
  'ignores the targets of copies': publishing((message) => ({ ...message, uniqueTarget: null })),
  'wakes nobody for copies': (engine) => {
    let quiet = false
    return {
      watch: (queue, wake) => engine.watch(queue, (dueMs) => (quiet ? undefined : wake(dueMs))),
      publish: async (messages, tx) => {
        quiet = true
        const results = await engine.publish(messages, tx)
        await turn()
        quiet = false
        return results
      },
    }
  },
  'stores the copies one after the other': (engine) => ({
    publish: (messages, tx) =>
      publishBySending(
        engine,
        (key) => routesBy(engine, matches, key),
        messages,
        tx,
        async () => void (await turn()),
      ),
  }),
  'loses a publish when another is under way': (engine) => {
    let busy = false
    return {
      publish: async (messages, tx) => {
        const lost = busy
        busy = true
        await turn()
        busy = false
        return lost ? messages.map(() => []) : await engine.publish(messages, tx)
      },
    }
  },
  'gives up when publishers of one dedup id meet': (engine) => {
    const held = new Set<string>()
    return {
      publish: async (messages, tx) => {
        const ids = messages.flatMap(({ dedup }) => (dedup ? [dedup.id] : []))
        if (ids.some((id) => held.has(id))) throw new TidingsError('STORAGE_FAILED', 'deadlock detected')
        for (const id of ids) held.add(id)
        await turn()
        for (const id of ids) held.delete(id)
        return await engine.publish(messages, tx)
      },
    }
  },
  'remembers where a routing key led': (engine) => {
    const known = new Map<string, string[]>()
    const routes = async (key: string) => {
      const queues = known.get(key) ?? (await routesBy(engine, matches, key))
      known.set(key, queues)
      return queues
    }
    return { publish: (messages, tx) => publishBySending(engine, routes, messages, tx) }
  },
  'fails when a queue is dropped between finding it and storing': (engine) => ({
    publish: async (messages, tx) => {
      const routes = new Map<string, string[]>()
      for (const { routingKey } of messages) routes.set(routingKey, await routesBy(engine, matches, routingKey))
      await turn()
      return await publishBySending(engine, async (key) => routes.get(key)!, messages, tx)
    },
  }),
  'binds in two steps': (engine) => ({
    bind: async (wanted, queue) => {
      const there = (await engine.bindings(queue)).some(({ pattern }) => pattern === wanted)
      await turn()
      await engine.bind(wanted, queue)
      return !there
    },
  }),
  'publishes before it refuses': (engine) => ({
    publish: async (messages, tx) => {
      const results = await engine.publish(messages, null)
      return tx === null ? results : await engine.publish(messages, tx)
    },
  }),
})

export const routingDurabilityFaults = faults('durability', {
  'forgets its bindings when it is closed': (engine) => ({
    close: async () => {
      for (const { pattern, queue } of await engine.bindings(null)) await engine.unbind(pattern, queue)
      await engine.close()
    },
  }),
  'keeps bindings to itself': (engine) => {
    const own = new Set<string>()
    return {
      bind: async (pattern, queue) => {
        await engine.peek(queue, { ...all, limit: 1 })
        const isNew = !own.has(`${pattern} ${queue}`)
        own.add(`${pattern} ${queue}`)
        return isNew
      },
      publish: (messages, tx) =>
        publishBySending(
          engine,
          async (key) => {
            const bound = [...own].map((one) => one.split(' ') as [string, string])
            return bound.filter(([pattern]) => matches(pattern, key)).map(([, queue]) => queue)
          },
          messages,
          tx,
        ),
    }
  },
})
