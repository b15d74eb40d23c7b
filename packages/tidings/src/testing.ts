import { type AnyTransaction, parseTransaction, standFor } from './adapters/recognise.ts'
import { Bus } from './bus/bus.ts'
import { type Clock, systemClock } from './core/clock.ts'
import { MemoryEngine } from './engines/memory/memory.ts'
import { EmittedEvents } from './events/emitted-events.ts'
import type { EventsOptions } from './events/options.ts'
import type { SendEntry } from './messages/options.ts'
import type { Transaction } from './port/engine.ts'
import type { Handler } from './worker/worker.ts'

export type { Clock, Timer } from './core/clock.ts'
export { FakeClock } from './core/fake-clock.ts'

export interface MemoryBusOptions {
  /** Where the time comes from. Default: the system's. */
  readonly clock?: Clock
  /**
   * What becomes of sends with `{ tx }`, a transaction of the application: they are done 'atOnce', as if it had committed,
   * or 'byHand', when the test calls `commit(tx)`. Default: 'atOnce'.
   */
  readonly transactions?: 'atOnce' | 'byHand'
}

/** A bus in memory that takes transactions, for unit tests. */
export class MemoryBus extends Bus {
  readonly #memory: MemoryEngine

  /** @internal */
  constructor({ clock, transactions = 'atOnce' }: MemoryBusOptions) {
    const memory = new MemoryEngine({ ...(clock && { clock }), transactions })
    super(memory, clock ? { clock } : {})
    this.#memory = memory
  }

  /**
   * Runs `work` in a transaction of the bus: what is sent in it with `{ tx }` is there when `work` resolves, and never if it
   * rejects.
   * @example await memoryBus().transaction((tx) => hires.send({ name: 'Ada' }, { tx }))
   */
  transaction<T>(work: (tx: Transaction) => Promise<T>): Promise<T> {
    return this.#memory.transaction((tx) => {
      standFor(tx, tx)
      return work(tx)
    })
  }

  /**
   * With `transactions: 'byHand'`: what was sent with this `tx` is there now. @throws CLOSED if it has ended
   * @example
   * const tx = { query: async () => ({ rows: [] }) }
   * await hires.send({ name: 'Ada' }, { tx })
   * memoryBus({ transactions: 'byHand' }).commit(tx)
   */
  commit(tx: AnyTransaction): void {
    this.#memory.transactions.within(parseTransaction(tx, 'tx'))?.commit()
  }

  /**
   * The same, but it never will be.
   * @example memoryBus({ transactions: 'byHand' }).rollBack({ query: async () => ({ rows: [] }) })
   */
  rollBack(tx: AnyTransaction): void {
    this.#memory.transactions.within(parseTransaction(tx, 'tx'))?.rollBack()
  }
}

/**
 * A bus on an empty storage of its own in memory, for unit tests of what uses one: nothing to start, nothing left
 * behind. With a clock of your own, delays, leases, backoffs and waits take no time:
 *
 * ```ts
 * const clock = new FakeClock()
 * await using bus = memoryBus({ clock })
 * const hires = bus.queue('hires')
 * await hires.send({ name: 'Ada' }, { delay: '1h' })
 * await clock.advance(3_600_000)
 * const [message] = await hires.read()
 * ```
 */
export function memoryBus(options: MemoryBusOptions = {}): MemoryBus {
  return new MemoryBus(options)
}

/**
 * Has a handler handle messages, one after the other, as if it had read them: the data make the way through JSON. Stops at
 * the first one that fails.
 * @param queue where they seem to come from; default 'test'
 * @throws what the handler throws
 * @example await deliver(handler, [{ data: { name: 'Ada' } }])
 */
export async function deliver<T>(
  handler: Handler<T>,
  messages: readonly SendEntry<T>[],
  { queue: name = 'test' }: { readonly queue?: string } = {},
): Promise<void> {
  await using bus = memoryBus()
  const queue = bus.queue<T>(name)
  for (const { delay: _delay, at: _at, ...message } of messages) {
    let failure: { readonly error: unknown } | undefined
    await queue.sendBatch([message as SendEntry<T>])
    const worker = queue.work(
      async (one, context) => {
        try {
          return await handler(one, context)
        } catch (error) {
          failure = { error }
          throw error
        }
      },
      { concurrency: 1, maxAttempts: 1, maxMessages: 1 },
    )
    await worker.finished
    if (failure) throw failure.error
  }
}

/**
 * Events for unit tests of what reads those of a bus, without PostgreSQL: what is emitted comes to the reader of `events`, by
 * the namespace and queue of the options.
 *
 * ```ts
 * const { events, emit } = testEvents()
 * await events.listen((event) => console.log(event.type))
 * emit({ type: 'queue_created', queue: 'hires', namespace: 'default', metadata: {}, createdAt: new Date() })
 * ```
 * @param options those of `bus.events`
 */
export function testEvents(options?: EventsOptions): {
  readonly events: EmittedEvents['events']
  /** @returns false if nobody listens */
  readonly emit: EmittedEvents['emit']
} {
  const emitted = new EmittedEvents(options, systemClock)
  return { events: emitted.events, emit: (event) => emitted.emit(event) }
}
