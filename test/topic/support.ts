import { Bus } from 'tidings/internal/bus/bus'
import type { Topic } from 'tidings/internal/bus/topic'
import { MemoryEngine } from 'tidings/internal/engines/memory/memory'
import type { SubscriptionEvent } from 'tidings/internal/subscription/events'
import { FakeClock } from 'tidings/testing'
import { Watcher as AnyWatcher } from '../support/watcher.ts'
import { Lines, Server } from '../worker/support.ts'

/** Of consumers of subscriptions. */
export class Watcher extends AnyWatcher<SubscriptionEvent> {}

export interface Scene {
  readonly clock: FakeClock
  readonly server: Server
  readonly bus: Bus
  readonly news: Topic
  readonly watcher: Watcher
  readonly observe: Watcher['observe']
  readonly log: Lines
}

/** A bus on a memory engine with a clock that stands still, and a topic. */
export function scene(): Scene {
  const clock = new FakeClock()
  const server = new Server(clock)
  const log = new Lines()
  const bus = new Bus(server.engine, { clock, logger: log })
  const watcher = new Watcher()
  return { clock, server, bus, news: bus.topic('news'), watcher, observe: watcher.observe, log }
}

/** Another process on the same storage. */
export function otherBus({ clock, server }: Scene): { bus: Bus; news: Topic; watcher: Watcher } {
  const bus = new Bus(server.memory, { clock })
  return { bus, news: bus.topic('news'), watcher: new Watcher() }
}

export const publishMany = (topic: Topic, count: number) =>
  topic.publishBatch(Array.from({ length: count }, (_, index) => ({ data: index + 1 })))

export const offsets = (messages: readonly { readonly offset: number }[]) => messages.map(({ offset }) => offset)

/** An engine as it was before it had topics. */
export function withoutTopics(): Bus {
  const memory = new MemoryEngine()
  const engine = new Proxy(memory, {
    get(target, member) {
      if (member === 'topics') return undefined
      const value: unknown = Reflect.get(target, member, target)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
  return new Bus(engine)
}
