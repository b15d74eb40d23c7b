import type { Engine } from 'tidings/internal/port/engine'
import { type Fault, faults } from './fault.ts'

const waking =
  (filter: (dueMs: number, count: number) => number | null): Fault['plant'] =>
  (engine) => ({
    watch: (queue, wake) => {
      let count = 0
      return engine.watch(queue, (dueMs) => {
        const changed = filter(dueMs, count++)
        if (changed !== null) wake(changed)
      })
    },
  })

/** Holds wakes back while a call of one member runs, and so loses them. */
const silentIn =
  (member: 'settle' | 'cancel' | 'send', silent: (args: unknown[]) => boolean): Fault['plant'] =>
  (engine) => {
    let muted = false
    const call = engine[member].bind(engine) as (...args: unknown[]) => Promise<unknown>
    return {
      [member]: async (...args: unknown[]) => {
        muted = silent(args)
        const result = await call(...args)
        // The engine wakes after the call.
        await new Promise((resolve) => setImmediate(resolve))
        muted = false
        return result
      },
      watch: (queue: string, wake: (dueMs: number) => void) =>
        engine.watch(queue, (dueMs) => {
          if (!muted) wake(dueMs)
        }),
    } as Partial<Engine>
  }

const kindsOf = (args: unknown[]) => (args[1] as { kind: string }[]).map((one) => one.kind)

export const watchingFaults = faults('watching', {
  'never wakes': waking(() => null),
  'wakes once': waking((dueMs, count) => (count === 0 ? dueMs : null)),
  'does not announce what is delayed': waking((dueMs) => (dueMs > 0 ? null : dueMs)),
  'announces what is delayed as ready': waking(() => 0),
  'announces the time since 1970': waking((dueMs) => (dueMs > 0 ? 1_700_000_000_000 + dueMs : 0)),
  'announces only the first of a batch': (engine) => {
    let first = true
    return {
      send: async (queue, messages, tx) => {
        first = true
        return await engine.send(queue, messages, tx)
      },
      watch: (queue, wake) =>
        engine.watch(queue, (dueMs) => {
          if (first) wake(dueMs)
          first = false
        }),
    }
  },
  'does not wake for what is given back': silentIn('settle', (args) => kindsOf(args).includes('release')),
  'does not wake for what is moved': silentIn('settle', (args) => kindsOf(args).includes('move')),
  'does not wake for the next of a key': silentIn('settle', (args) => kindsOf(args).includes('delete')),
  'does not wake when it cancels': silentIn('cancel', () => true),
  'wakes before the message is there': (engine) => {
    const wakers = new Set<(dueMs: number) => void>()
    return {
      watch: async (queue, wake) => {
        wakers.add(wake)
        await engine.stats(queue)
        return { close: () => void wakers.delete(wake) }
      },
      send: async (queue, messages, tx) => {
        for (const wake of wakers) wake(0)
        await new Promise((resolve) => setImmediate(resolve))
        return await engine.send(queue, messages, tx)
      },
    }
  },
  'wakes the last watch only': (engine) => {
    const latest = new Map<string, () => void>()
    return {
      watch: async (queue, wake) => {
        latest.get(queue)?.()
        const watch = await engine.watch(queue, wake)
        latest.set(queue, () => watch.close())
        return watch
      },
    }
  },
  'watches one queue': (engine) => {
    let watched: string | undefined
    return {
      watch: (queue, wake) => {
        watched ??= queue
        return engine.watch(queue, (dueMs) => {
          if (queue === watched) wake(dueMs)
        })
      },
    }
  },
  'goes on after a watch is closed': (engine) => ({
    watch: async (queue, wake) => {
      await engine.watch(queue, wake)
      return { close: () => {} }
    },
  }),
  'closes all watches with one': (engine) => {
    let closed = false
    return {
      watch: async (queue, wake) => {
        const watch = await engine.watch(queue, (dueMs) => {
          if (!closed) wake(dueMs)
        })
        return {
          close: () => {
            closed = true
            watch.close()
          },
        }
      },
    }
  },
  'throws when a watch is closed after the engine': (engine) => {
    let closed = false
    return {
      close: async () => {
        closed = true
        await engine.close()
      },
      watch: async (queue, wake) => {
        const watch = await engine.watch(queue, wake)
        return {
          close: () => {
            if (closed) throw new Error('no connection')
            watch.close()
          },
        }
      },
    }
  },
  'watches a queue that is not there': (engine) => ({
    watch: (queue, wake) => engine.watch(queue, wake).catch(() => ({ close: () => {} })),
  }),
})
