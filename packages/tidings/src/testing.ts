import { Bus } from './bus/bus.ts'
import type { Clock } from './core/clock.ts'
import { MemoryEngine } from './engines/memory/memory.ts'

export type { Clock, Timer } from './core/clock.ts'
export { FakeClock } from './core/fake-clock.ts'

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
 * @param options clock: where the time comes from; the system's if left out
 */
export function memoryBus({ clock }: { readonly clock?: Clock } = {}): Bus {
  return clock ? new Bus(new MemoryEngine({ clock }), { clock }) : new Bus(new MemoryEngine())
}
