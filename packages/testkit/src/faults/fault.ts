import type { FakeClock } from 'tidings/internal/core/fake-clock'
import type {
  ClaimRequest,
  Engine,
  NewMessage,
  PeekRequest,
  Settlement,
  SettleResult,
  StoredMessage,
} from 'tidings/internal/port/engine'
import type { TopicInfo, TopicStore } from 'tidings/internal/port/topic-store'
import type { Plant } from '../memory-harness.ts'
import { only, topicsOf } from '../scene.ts'

/** One planted bug. */
export interface Fault {
  /** The group of cases that must catch it. */
  readonly group: string
  /** What the engine does wrong, after 'an engine that'. */
  readonly bug: string
  readonly plant: Plant
}

export function faults(group: string, bugs: Readonly<Record<string, Plant>>): Fault[] {
  return Object.entries(bugs).map(([bug, plant]) => ({ group, bug, plant }))
}

export const all: PeekRequest = { place: null, limit: 100_000, afterId: null, ids: null }

/** Changes what is sent. */
export const sending =
  (change: (message: NewMessage) => NewMessage): Plant =>
  (engine) => ({ send: (queue, messages, tx) => engine.send(queue, messages.map(change), tx) })

/** Changes what is claimed. */
export const claiming =
  (change: (request: ClaimRequest) => ClaimRequest): Plant =>
  (engine) => ({ claim: (queue, request) => engine.claim(queue, change(request)) })

/** Claims, and pops, what `choose` finds among all messages that are ready, in that order. */
export const choosing =
  (choose: (ready: StoredMessage[], queue: string, limit: number) => StoredMessage[]): Plant =>
  (engine) => {
    const claim: Engine['claim'] = async (queue, { limit, leaseMs, ids }) => {
      const ready = await engine.peek(queue, { ...all, place: 'ready', ids })
      const chosen = choose(ready, queue, limit).slice(0, limit)
      const messages: StoredMessage[] = []
      let nextDueMs: number | null = null
      for (const { id } of chosen) {
        const one = await engine.claim(queue, { limit: 1, leaseMs, ids: [id] })
        messages.push(...one.messages)
        nextDueMs = one.nextDueMs
      }
      return { messages, nextDueMs }
    }
    return { claim, pop: popBy(engine, claim) }
  }

/** A pop made of a claim. */
export const popBy =
  (engine: Engine, claim: Engine['claim']): Engine['pop'] =>
  async (queue, limit) => {
    const { messages } = await claim(queue, { limit, leaseMs: 60_000, ids: null })
    await engine.settle(
      queue,
      messages.map(({ id, receipt }) => ({ kind: 'delete', id, receipt: receipt! })),
    )
    return messages.map((message) => ({ ...message, receipt: null }))
  }

/** Changes how leases end. */
export const settling =
  (change: (settlement: Settlement, queue: string) => Settlement): Plant =>
  (engine) => ({
    settle: (queue, settlements) =>
      engine.settle(
        queue,
        settlements.map((one) => change(one, queue)),
      ),
  })

/** Does something else instead of one kind of ending. */
export const endingAs =
  (
    kind: Settlement['kind'],
    end: (engine: Engine, queue: string, settlement: Settlement) => Promise<SettleResult>,
  ): Plant =>
  (engine) => ({
    async settle(queue, settlements) {
      const results: SettleResult[] = []
      for (const one of settlements)
        results.push(one.kind === kind ? await end(engine, queue, one) : (await engine.settle(queue, [one]))[0]!)
      return results
    },
  })

/** Changes the messages that readers get to see. */
export const showing =
  (change: (message: StoredMessage) => StoredMessage): Plant =>
  (engine) => ({
    async claim(queue, request) {
      const claim = await engine.claim(queue, request)
      return { ...claim, messages: claim.messages.map(change) }
    },
    pop: async (queue, limit) => (await engine.pop(queue, limit)).map(change),
    peek: async (queue, request) => (await engine.peek(queue, request)).map(change),
  })

/** Changes what peek looks for. */
export const peeking =
  (change: (request: PeekRequest) => PeekRequest): Plant =>
  (engine) => ({ peek: (queue, request) => engine.peek(queue, change(request)) })

/** An engine that knows the newest receipt of every message, whoever holds it. */
export function withReceipts(engine: Engine): {
  newest: (queue: string, id: string) => string
  members: Partial<Engine>
} {
  const receipts = new Map<string, string>()
  const note = (queue: string, id: string, receipt: string | null) => {
    if (receipt !== null) receipts.set(`${queue}/${id}`, receipt)
  }
  return {
    newest: (queue, id) => receipts.get(`${queue}/${id}`) ?? '',
    members: {
      async claim(queue, request) {
        const claim = await engine.claim(queue, request)
        for (const { id, receipt } of claim.messages) note(queue, id, receipt)
        return claim
      },
      async extend(queue, leases, leaseMs) {
        const extended = await engine.extend(queue, leases, leaseMs)
        for (const [index, receipt] of extended.entries()) note(queue, leases[index]!.id, receipt)
        return extended
      },
    },
  }
}

/** Answers of a batch that was carried out in another order. */
export async function inOtherOrder<Request, Result>(
  requests: readonly Request[],
  call: (requests: Request[]) => Promise<Result[]>,
): Promise<Result[]> {
  return await call([...requests].reverse())
}

/** Changes members of the topics. */
export const inTopics =
  (change: (store: TopicStore, engine: Engine, clock: FakeClock) => Partial<TopicStore>): Plant =>
  (engine, clock) => ({ topics: change(topicsOf(engine), engine, clock) })

/** Changes what is appended. */
export const appending = (change: (message: NewMessage) => NewMessage): Plant =>
  inTopics((store) => ({ append: (topic, messages, tx) => store.append(topic, messages.map(change), tx) }))

/** Changes what is told of topics. */
export const telling = (change: (info: TopicInfo, store: TopicStore) => TopicInfo | Promise<TopicInfo>): Plant =>
  inTopics((store) => ({
    listTopics: async (topic) => Promise.all((await store.listTopics(topic)).map((info) => change(info, store))),
  }))

export async function infoOf(store: TopicStore, topic: string): Promise<TopicInfo> {
  return only(await store.listTopics(topic))
}
