import assert from 'node:assert/strict'
import { setTimeout as wait } from 'node:timers/promises'
import { Bus } from 'tidings/internal/bus/bus'
import * as option from 'tidings/internal/core/options'
import { MemoryEngine } from 'tidings/internal/engines/memory/memory'
import type { Engine, PublishedCopy, SendResult, StoredMessage } from 'tidings/internal/port/engine'
import type { TopicStore } from 'tidings/internal/port/topic-store'
import type { Actor, Role } from 'tidings-testkit/internal/stress/actors/actor'
import { producer } from 'tidings-testkit/internal/stress/actors/producer'
import { subscriber } from 'tidings-testkit/internal/stress/actors/subscriber'
import { worker } from 'tidings-testkit/internal/stress/actors/worker'
import { check } from 'tidings-testkit/internal/stress/checker/check'
import type { Violation, ViolationKind } from 'tidings-testkit/internal/stress/checker/violation'
import { finalStateOf } from 'tidings-testkit/internal/stress/final-state'
import { type Entry, type Fact, monotonicMs } from 'tidings-testkit/internal/stress/history'
import { stressOptions } from 'tidings-testkit/internal/stress/options'
import { type Plan, planOf } from 'tidings-testkit/internal/stress/plan'
import { Random } from 'tidings-testkit/internal/stress/random'
import { perform, prepare } from 'tidings-testkit/internal/stress/run'
import { describe, test } from 'vitest'

/** Whether enough has happened for a bug to show. */
type Enough = (entries: readonly Entry[]) => boolean

const hasSentMuch: Enough = (entries) => entries.filter(({ event }) => event === 'sent').length >= 500

const actors: Readonly<Record<Role, Actor>> = { producer, worker, subscriber }

/** The actors of a run as parts of this process, each with a bus of its own on one engine. Nobody is killed. */
class Troupe {
  readonly entries: Entry[] = []
  readonly #engine: Engine
  readonly #plan: Plan
  readonly #enough: Enough
  readonly #playing: { role: Role; stop: AbortController; ended: Promise<void> }[] = []

  constructor(engine: Engine, plan: Plan, enough: Enough) {
    this.#engine = engine
    this.#plan = plan
    this.#enough = enough
  }

  async start(role: Role): Promise<void> {
    const name = `${role}-${this.#playing.length + 1}`
    const stop = new AbortController()
    const bus = new Bus(this.#engine)
    const random = new Random(this.#playing.length)
    const history = this.teller(name)
    const scene = { bus, plan: this.#plan, history, random, name, stop: stop.signal, isToDie: () => false }
    this.#playing.push({ role, stop, ended: actors[role](scene) })
  }

  async stop(role: Role): Promise<void> {
    // On a slow machine time alone may be too short.
    while (role === 'producer' && !this.#enough(this.entries)) await wait(20)
    const playing = this.#playing.filter((one) => one.role === role)
    for (const { stop } of playing) stop.abort()
    await Promise.all(playing.map(({ ended }) => ended))
  }

  async killOne(): Promise<void> {}

  teller(process: string) {
    return { tell: (fact: Fact) => void this.entries.push({ time: monotonicMs(), process, ...fact }) }
  }
}

interface Run {
  readonly plant: (engine: Engine) => Partial<Engine>
  readonly seconds?: number
  readonly drain?: string
  readonly enough?: Enough
}

/** The same engine with members of its own in place of some. */
function planted<E extends object>(engine: E, members: Partial<E>): E {
  return new Proxy(engine, {
    get(target, name) {
      const value = (Object.hasOwn(members, name) ? members : target)[name as keyof E]
      return typeof value === 'function' ? value.bind(Object.hasOwn(members, name) ? members : target) : value
    },
  })
}

async function run({ plant, seconds = 1, drain = '3s', enough = hasSentMuch }: Run): Promise<Violation[]> {
  const engine = new MemoryEngine()
  await engine.open()
  const given = { seconds, seed: 1, rate: 300, killEvery: 0, seekEvery: 100, drain, producers: 2, workers: 2 }
  const options = { ...option.parseOptions(stressOptions, given, 'stress'), seed: 1 }
  const plan = planOf(options, 'test', true)
  const faulty = planted<Engine>(engine, plant(engine))
  const bus = new Bus(faulty)
  const troupe = new Troupe(faulty, plan, enough)
  await prepare(bus, plan)
  await perform(bus, plan, options, troupe, troupe.teller('conductor'), () => {})
  const entries = troupe.entries.sort((a, b) => a.time - b.time)
  return check(plan, entries, await finalStateOf(new Bus(engine), plan))
}

/** True every so often. */
function everyNth(n: number): () => boolean {
  let count = 0
  return () => ++count % n === 0
}

const topics = (engine: Engine, plant: (store: TopicStore) => Partial<TopicStore>): Partial<Engine> => ({
  topics: planted(engine.topics!, plant(engine.topics!)),
})

interface Bug extends Run {
  readonly kinds: readonly ViolationKind[]
}

const bugs: Record<string, Bug> = {
  'acknowledges messages that it does not store': {
    kinds: ['lost'],
    plant: (engine) => {
      const now = everyNth(20)
      return {
        send: async (queue, messages, tx) =>
          now()
            ? messages.map((_, index): SendResult => ({ id: `${index}`, duplicate: false }))
            : engine.send(queue, messages, tx),
      }
    },
  },
  'stores messages twice': {
    kinds: ['stored twice'],
    plant: (engine) => {
      const now = everyNth(20)
      return {
        send: async (queue, messages, tx) => {
          if (now())
            await engine.send(
              queue,
              messages.map((one) => ({ ...one, dedup: null })),
              tx,
            )
          return engine.send(queue, messages, tx)
        },
      }
    },
  },
  'gives a lease to two readers': {
    kinds: ['delivered twice'],
    plant: (engine) => {
      const now = everyNth(10)
      let again: { queue: string; messages: StoredMessage[] } | undefined
      return {
        claim: async (queue, request) => {
          const claim = await engine.claim(queue, request)
          const messages = again?.queue === queue ? [...claim.messages, ...again.messages] : claim.messages
          again = claim.messages.length > 0 && now() ? { queue, messages: claim.messages } : undefined
          return { ...claim, messages }
        },
      }
    },
  },
  'keeps what was settled': {
    kinds: ['two states', 'delivered after its end', 'stuck'],
    plant: (engine) => {
      const now = everyNth(20)
      return {
        settle: async (queue, settlements, tx) =>
          now() ? settlements.map(() => ({ settled: true, newId: null })) : engine.settle(queue, settlements, tx),
      }
    },
  },
  'deletes instead of archiving': {
    kinds: ['lost'],
    plant: (engine) => ({
      settle: (queue, settlements, tx) =>
        engine.settle(
          queue,
          settlements.map((one) => (one.kind === 'archive' ? { ...one, kind: 'delete' } : one)),
          tx,
        ),
    }),
  },
  'loses dead letters': {
    kinds: ['lost'],
    enough: (entries) => entries.some((entry) => entry.event === 'settled' && entry.as === 'deadLettered'),
    plant: (engine) => ({
      settle: (queue, settlements, tx) =>
        engine.settle(
          queue,
          settlements.map((one) => (one.kind === 'move' ? { ...one, kind: 'delete' } : one)),
          tx,
        ),
    }),
  },
  'ignores ordering keys': {
    kinds: ['order of a key'],
    plant: (engine) => ({
      send: (queue, messages, tx) =>
        engine.send(
          queue,
          messages.map((one) => ({ ...one, orderingKey: null })),
          tx,
        ),
    }),
  },
  'does not count attempts': {
    kinds: ['delivered twice'],
    plant: (engine) => ({
      settle: (queue, settlements, tx) =>
        engine.settle(
          queue,
          settlements.map((one) => (one.kind === 'release' ? { ...one, uncount: true } : one)),
          tx,
        ),
    }),
  },
  'publishes to some of the places': {
    kinds: ['not all or none'],
    plant: (engine) => ({
      publish: async (messages, tx) => {
        const results: PublishedCopy[][] = []
        for (const { routingKey: _, ...message } of messages)
          for (const { queue } of (await engine.bindings(null)).slice(0, 1)) {
            const [sent] = await engine.send(queue, [message], tx)
            results.push([{ queue, ...sent! }])
          }
        return results
      },
    }),
  },
  'acknowledges what its topics do not take': {
    kinds: ['lost'],
    plant: (engine) =>
      topics(engine, (store) => {
        const now = everyNth(20)
        return {
          append: async (topic, messages, tx) =>
            now()
              ? messages.map((_, index) => ({ offset: index + 1, duplicate: false }))
              : store.append(topic, messages, tx),
        }
      }),
  },
  'takes messages of a batch in the opposite order': {
    kinds: ['order of a topic'],
    plant: (engine) =>
      topics(engine, (store) => ({
        append: async (topic, messages, tx) => (await store.append(topic, [...messages].reverse(), tx)).reverse(),
      })),
  },
  'passes over a message of a topic': {
    kinds: ['passed over'],
    plant: (engine) =>
      topics(engine, (store) => ({
        read: async (topic, after, limit) =>
          (await store.read(topic, after, limit)).filter(({ offset }) => offset % 20 !== 0),
      })),
  },
  'gives a subscription to everybody': {
    kinds: ['two consumers'],
    plant: (engine) =>
      topics(engine, (store) => ({
        hold: async (topic, subscription) => {
          const [state] = await store.subscriptions(topic, subscription)
          return { held: true, receipt: 'everybody', cursor: state!.cursor, vanished: 0 }
        },
        ack: (topic, subscription, offset) => store.ack(topic, subscription, offset, null),
        leave: async () => true,
      })),
  },
  'says that it has moved a subscription': {
    kinds: ['seek without effect'],
    seconds: 3,
    plant: (engine) => topics(engine, () => ({ seek: async () => 1 })),
  },
  'acknowledges more than it was told': {
    kinds: ['passed over'],
    plant: (engine) =>
      topics(engine, (store) => ({
        ack: async (topic, subscription, offset, receipt) => {
          await store.ack(topic, subscription, offset + 3, receipt)
          return false
        },
      })),
  },
}

describe('stress', () => {
  test('finds nothing on the memory engine', { timeout: 30_000 }, async () => {
    assert.deepEqual(await run({ plant: () => ({}), drain: '20s' }), [])
  })
})

describe.concurrent('stress catches an engine that', () => {
  for (const [bug, { kinds, ...given }] of Object.entries(bugs))
    test(bug, { timeout: 300_000 }, async () => {
      const found = (await run(given)).map(({ kind }) => kind)
      assert(
        kinds.some((kind) => found.includes(kind)),
        `found ${found.join(', ')}`,
      )
    })
})
