import { TidingsError } from 'tidings/internal/core/errors'
import { all, faults, sending } from './fault.ts'

/** Counts the engines of all harnesses, which run one after the other. */
let opened = 0

export const durabilityFaults = faults('durability', {
  'forgets all when it is closed': (engine) => ({
    close: async () => {
      for (const { queue } of await engine.listQueues()) await engine.purgeQueue(queue)
      await engine.close()
    },
  }),
  'gives leases back when it is closed': (engine) => {
    const leases: [string, string, string][] = []
    return {
      claim: async (queue, request) => {
        const claim = await engine.claim(queue, request)
        for (const { id, receipt } of claim.messages) leases.push([queue, id, receipt!])
        return claim
      },
      close: async () => {
        const ending = { kind: 'release', delayMs: 0, meta: {}, uncount: false } as const
        // The queue may have been dropped since.
        for (const [queue, id, receipt] of leases)
          await engine.settle(queue, [{ ...ending, id, receipt }]).catch(() => {})
        await engine.close()
      },
    }
  },
  'keeps receipts to itself': (engine) => {
    const own = new Set<string>()
    return {
      claim: async (queue, request) => {
        const claim = await engine.claim(queue, request)
        for (const { receipt } of claim.messages) own.add(receipt!)
        return claim
      },
      settle: async (queue, settlements) => {
        const results = await engine.settle(
          queue,
          settlements.filter((one) => own.has(one.receipt)),
        )
        return settlements.map((one) => (own.has(one.receipt) ? results.shift()! : { settled: false, newId: null }))
      },
    }
  },
  'keeps dedup ids and targets to itself': (engine, clock) => {
    const firsts = new Map<string, string>()
    return {
      send: async (queue, messages, tx) => {
        const results = []
        for (const message of messages) {
          const key = `${queue}/${message.dedup?.id}/${message.uniqueTarget}`
          const first = message.dedup || message.uniqueTarget ? firsts.get(key) : undefined
          if (first === undefined) {
            const [sent] = await sending((one) => ({ ...one, dedup: null, uniqueTarget: null }))(engine, clock).send!(
              queue,
              [message],
              tx,
            )
            firsts.set(key, sent!.id)
            results.push(sent!)
          } else results.push({ id: first, duplicate: true })
        }
        return results
      },
    }
  },
  'reads ahead for itself': (engine) => {
    const held = new Set<string>()
    return {
      claim: async (queue, request) => {
        const ready = await engine.peek(queue, { ...all, place: 'ready', ids: request.ids })
        const mine = ready.filter(({ id }) => !held.has(queue + id)).slice(0, request.limit)
        for (const { id } of mine) held.add(queue + id)
        return { messages: mine.map((message) => ({ ...message, receipt: 'mine' })), nextDueMs: null }
      },
    }
  },
  'wakes only for its own sends': (engine) => {
    const wakers = new Set<(dueMs: number) => void>()
    return {
      watch: async (_queue, wake) => {
        wakers.add(wake)
        return { close: () => void wakers.delete(wake) }
      },
      send: async (queue, messages, tx) => {
        const results = await engine.send(queue, messages, tx)
        for (const wake of wakers) wake(0)
        return results
      },
    }
  },
  'remembers queues that another engine dropped': (engine) => {
    const known = new Set<string>()
    return {
      send: async (queue, messages, tx) => {
        try {
          const results = await engine.send(queue, messages, tx)
          known.add(queue)
          return results
        } catch (error) {
          if (known.has(queue)) throw new TidingsError('STORAGE_FAILED', 'relation does not exist', { cause: error })
          throw error
        }
      },
    }
  },
  'works with one engine at a time': (engine) => {
    const mine = ++opened
    return {
      send: (queue, messages, tx) => {
        if (mine !== opened) throw new TidingsError('CONNECTION_LOST', 'another engine is open')
        return engine.send(queue, messages, tx)
      },
    }
  },
})
