import { TidingsError } from 'tidings/internal/core/errors'
import { FakeClock } from 'tidings/internal/core/fake-clock'
import { MemoryEngine } from 'tidings/internal/engines/memory/memory'
import type { Engine, Feature } from 'tidings/internal/port/engine'
import type { HistoryStore, HistoryTurn, HistoryWriter, Tally } from 'tidings/internal/port/history'
import type { Listening } from 'tidings/internal/port/listening'
import type { ScheduleStore } from 'tidings/internal/port/schedule-store'
import type { TopicStore } from 'tidings/internal/port/topic-store'
import type { Harness } from './harness.ts'
import { topicsOf } from './scene.ts'

/** The suite on the memory engine, with a clock that is moved by hand. */
export function memoryHarness(): Harness {
  const clock = new FakeClock()
  return {
    name: 'the memory engine',
    supports: ['topics', 'limits', 'schedules'],
    async createEngine() {
      const engine = new MemoryEngine({ clock })
      await engine.open()
      return engine
    },
    passTime: (_engine, milliseconds) => clock.advance(milliseconds),
  }
}

/**
 * The same with engines that are connections to one memory engine, which outlives them. It stands for a server, to
 * try the cases about durability on.
 */
export function durableMemoryHarness(): Harness {
  const clock = new FakeClock()
  const server = new MemoryEngine({ clock })
  const connect = async () => connectTo(server)
  return {
    name: 'connections to a memory engine',
    supports: ['durable', 'topics', 'limits', 'schedules'],
    createEngine: connect,
    secondEngine: connect,
    passTime: (_engine, milliseconds) => clock.advance(milliseconds),
  }
}

function connectTo(server: Engine): Engine {
  let closed = false
  const listenings: Listening[] = []
  const whileOpen: Around = (call) =>
    closed ? Promise.reject(new TidingsError('CLOSED', 'the connection is closed')) : call()
  return {
    ...forward(server, whileOpen),
    supports: new Set<Feature>(['durable', 'topics', 'limits', 'schedules']),
    // As a server with a disk would.
    send: (queue, messages, transaction, { maxLength } = {}) =>
      whileOpen(() => server.send(queue, messages, transaction, { maxLength })),
    listen: (listener) =>
      whileOpen(async () => {
        const listening = await server.listen(listener)
        listenings.push(listening)
        return passOn(listening, whileOpen)
      }),
    close: async () => {
      closed = true
      for (const listening of listenings) await listening.close()
    },
  }
}

type Around = <T>(call: () => Promise<T>) => Promise<T>

/** An engine that passes every call on. */
function forward(engine: Engine, around: Around): Engine {
  return {
    name: engine.name,
    supports: engine.supports,
    limits: engine.limits,
    open: () => around(() => engine.open()),
    close: () => around(() => engine.close()),
    createQueue: (queue) => around(() => engine.createQueue(queue)),
    dropQueue: (queue) => around(() => engine.dropQueue(queue)),
    describe: (queue) => around(() => engine.describe(queue)),
    configure: (queue, change) => around(() => engine.configure(queue, change)),
    purgeQueue: (queue) => around(() => engine.purgeQueue(queue)),
    stats: (queue, options) => around(() => engine.stats(queue, options)),
    send: (queue, messages, transaction, terms) => around(() => engine.send(queue, messages, transaction, terms)),
    bind: (rule) => around(() => engine.bind(rule)),
    unbind: (rule) => around(() => engine.unbind(rule)),
    bindings: (queue) => around(() => engine.bindings(queue)),
    publish: (messages, transaction) => around(() => engine.publish(messages, transaction)),
    claim: (queue, request) => around(() => engine.claim(queue, request)),
    pop: (queue, limit) => around(() => engine.pop(queue, limit)),
    peek: (queue, request) => around(() => engine.peek(queue, request)),
    settle: (queue, settlements, transaction) => around(() => engine.settle(queue, settlements, transaction)),
    extend: (queue, leases, leaseMs) => around(() => engine.extend(queue, leases, leaseMs)),
    cancel: (queue, ids, options) => around(() => engine.cancel(queue, ids, options)),
    makeReady: (queue, ids) => around(() => engine.makeReady(queue, ids)),
    correlation: (id) => around(() => engine.correlation(id)),
    transaction: (work) => around(() => engine.transaction(work)),
    listen: (listener) => around(() => engine.listen(listener)),
    processes: () => around(() => engine.processes()),
    maintain: (request) => around(() => engine.maintain(request)),
    diagnose: () => around(() => engine.diagnose()),
    topics: forwardTopics(topicsOf(engine), around),
    schedules: forwardSchedules(engine.schedules, around),
    history: forwardHistory(engine.history, around),
  }
}

const passOn = (listening: Listening, around: Around): Listening => ({
  listen: (interests) => around(() => listening.listen(interests)),
  unlisten: (interests) => listening.unlisten(interests),
  close: () => listening.close(),
})

const forwardSchedules = (store: ScheduleStore, around: Around): ScheduleStore => ({
  put: (schedule, before, sending) => around(() => store.put(schedule, before, sending)),
  remove: (name, revision) => around(() => store.remove(name, revision)),
  list: (which) => around(() => store.list(which)),
})

function forwardHistory(store: HistoryStore, around: Around): HistoryStore {
  const { writer } = store
  const passed = writer && {
    begin: () => around(() => writer.begin()),
    note: (turn: HistoryTurn, queues: readonly string[]) => around(() => writer.note(turn, queues)),
    end: (...[turn, total]: Parameters<HistoryWriter['end']>) => around(() => writer.end(turn, total)),
    add: (tallies: readonly Tally[]) => around(() => writer.add(tallies)),
  }
  return { read: (queue, range) => around(() => store.read(queue, range)), ...(passed ? { writer: passed } : {}) }
}

function forwardTopics(store: TopicStore, around: Around): TopicStore {
  return {
    createTopic: (topic, settings) => around(() => store.createTopic(topic, settings)),
    dropTopic: (topic) => around(() => store.dropTopic(topic)),
    listTopics: (topic) => around(() => store.listTopics(topic)),
    append: (topic, messages, transaction) => around(() => store.append(topic, messages, transaction)),
    read: (topic, after, limit) => around(() => store.read(topic, after, limit)),
    subscribe: (topic, subscription, from) => around(() => store.subscribe(topic, subscription, from)),
    unsubscribe: (topic, subscription) => around(() => store.unsubscribe(topic, subscription)),
    subscriptions: (topic, subscription) => around(() => store.subscriptions(topic, subscription)),
    hold: (topic, subscription, consumer, leaseMs, held) =>
      around(() => store.hold(topic, subscription, consumer, leaseMs, held)),
    leave: (topic, subscription, receipt) => around(() => store.leave(topic, subscription, receipt)),
    ack: (topic, subscription, offset, receipt) => around(() => store.ack(topic, subscription, offset, receipt)),
    seek: (topic, subscription, position) => around(() => store.seek(topic, subscription, position)),
    planSeek: (topic, subscription, position) => around(() => store.planSeek(topic, subscription, position)),
  }
}
