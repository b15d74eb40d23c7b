import type { Engine, Feature } from '../engine.ts'
import { MemoryEngine } from '../engines/memory/memory.ts'
import { TidingsError } from '../errors.ts'
import { FakeClock } from '../fake-clock.ts'
import type { Harness } from './harness.ts'

/** Members that take the place of an engine's own. */
export type Plant = (engine: Engine, clock: FakeClock) => Partial<Engine>

const nothing: Plant = () => ({})

/** The suite on the memory engine, with a clock that is moved by hand. */
export function memoryHarness(plant: Plant = nothing): Harness {
  const clock = new FakeClock()
  return {
    name: 'the memory engine',
    supports: [],
    async createEngine() {
      const engine = new MemoryEngine({ clock })
      await engine.open()
      return { ...forward(engine), ...plant(engine, clock) }
    },
    passTime: (_engine, milliseconds) => clock.advance(milliseconds),
  }
}

/**
 * The same with engines that are connections to one memory engine, which outlives them. It stands for a server, to
 * try the cases about durability on.
 */
export function durableMemoryHarness(plant: Plant = nothing): Harness {
  const clock = new FakeClock()
  const server = new MemoryEngine({ clock })
  const connect = async () => {
    const connection = connectTo(server)
    return { ...connection, ...plant(connection, clock) }
  }
  return {
    name: 'connections to a memory engine',
    supports: ['durable'],
    createEngine: connect,
    secondEngine: connect,
    passTime: (_engine, milliseconds) => clock.advance(milliseconds),
  }
}

function connectTo(server: Engine): Engine {
  let closed = false
  const whileOpen: Around = (call) =>
    closed ? Promise.reject(new TidingsError('CLOSED', 'the connection is closed')) : call()
  return {
    ...forward(server, whileOpen),
    supports: new Set<Feature>(['durable']),
    close: async () => {
      closed = true
    },
  }
}

type Around = <T>(call: () => Promise<T>) => Promise<T>

/** An engine that passes every call on, as an object of its own whose members can be replaced. */
function forward(engine: Engine, around: Around = (call) => call()): Engine {
  return {
    name: engine.name,
    supports: engine.supports,
    open: () => around(() => engine.open()),
    close: () => around(() => engine.close()),
    createQueue: (queue) => around(() => engine.createQueue(queue)),
    dropQueue: (queue) => around(() => engine.dropQueue(queue)),
    listQueues: () => around(() => engine.listQueues()),
    purgeQueue: (queue) => around(() => engine.purgeQueue(queue)),
    stats: (queue) => around(() => engine.stats(queue)),
    prune: (queue, request) => around(() => engine.prune(queue, request)),
    send: (queue, messages, transaction) => around(() => engine.send(queue, messages, transaction)),
    bind: (pattern, queue) => around(() => engine.bind(pattern, queue)),
    unbind: (pattern, queue) => around(() => engine.unbind(pattern, queue)),
    bindings: (queue) => around(() => engine.bindings(queue)),
    publish: (messages, transaction) => around(() => engine.publish(messages, transaction)),
    claim: (queue, request) => around(() => engine.claim(queue, request)),
    pop: (queue, limit) => around(() => engine.pop(queue, limit)),
    peek: (queue, request) => around(() => engine.peek(queue, request)),
    settle: (queue, settlements, transaction) => around(() => engine.settle(queue, settlements, transaction)),
    extend: (queue, leases, leaseMs) => around(() => engine.extend(queue, leases, leaseMs)),
    cancel: (queue, ids) => around(() => engine.cancel(queue, ids)),
    correlation: (id) => around(() => engine.correlation(id)),
    watch: (queue, wake) => around(() => engine.watch(queue, wake)),
    transaction: (work) => around(() => engine.transaction(work)),
    maintain: () => around(() => engine.maintain()),
    diagnose: () => around(() => engine.diagnose()),
  }
}
