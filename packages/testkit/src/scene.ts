import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import type { ErrorCode } from 'tidings/internal/core/errors'
import type {
  ClaimRequest,
  Ending,
  Engine,
  NewMessage,
  Peeked,
  PeekRequest,
  Place,
  PublishedCopy,
  QueueCopy,
  RoutedMessage,
  SettleResult,
  StoredMessage,
  TopicCopy,
  Transaction,
} from 'tidings/internal/port/engine'
import type { Interest, Listener, Listening } from 'tidings/internal/port/listening'
import type { TopicStore } from 'tidings/internal/port/topic-store'
import type { Harness } from './harness.ts'

/** A time that does not pass while a case runs, in ms. */
export const long = 60_000
/** Waits that do not end while a case runs: an engine may keep short and long ones in different places. */
export const waits = [long / 2, 100 * long]
/** A time that cases wait for, in ms. */
export const short = 40

export type Leased = StoredMessage & { readonly receipt: string }

const plain: NewMessage = {
  data: 'null',
  meta: {},
  headers: {},
  delayMs: 0,
  notBefore: null,
  priority: 0,
  orderingKey: null,
  dedup: null,
  uniqueTarget: null,
  bare: false,
}

/** The reason for which cases roll a transaction back. */
export const rolledBack = new Error('rolled back on purpose')

/** The stage of one case: an engine, a queue that exists, and what lets a case be read as sentences. */
export class Scene {
  readonly harness: Harness
  readonly engine: Engine
  readonly queue: string
  readonly #names: string[] = []
  readonly #topicNames: string[] = []
  readonly #engines: Engine[]

  private constructor(harness: Harness, engine: Engine) {
    this.harness = harness
    this.engine = engine
    this.#engines = [engine]
    this.queue = this.newName()
  }

  static async open(harness: Harness): Promise<Scene> {
    const scene = new Scene(harness, await harness.createEngine())
    await scene.engine.createQueue(scene.queue)
    return scene
  }

  /** Drops the queues and topics of the case and gives its engines back; after a case that failed, closes them. */
  async close(passed: boolean): Promise<void> {
    for (const name of this.#topicNames) await this.#cleanUp((engine) => topicsOf(engine).dropTopic(name))
    for (const name of this.#names) await this.#cleanUp((engine) => engine.dropQueue(name))
    for (const engine of this.#engines)
      if (passed && this.harness.releaseEngine) await this.harness.releaseEngine(engine)
      else await engine.close()
  }

  async #cleanUp(drop: (engine: Engine) => Promise<unknown>): Promise<void> {
    try {
      await drop(this.engine)
    } catch {
      // The case has closed its engine.
      const janitor = await this.harness.createEngine()
      await drop(janitor)
      await janitor.close()
    }
  }

  /** The name of a queue that does not exist; it is dropped after the case if it does by then. */
  newName(prefix = 'case_', suffix = ''): string {
    const name = `${prefix}${randomBytes(6).toString('hex')}${suffix}`
    this.#names.push(name)
    return name
  }

  /** The name of a topic that does not exist. A topic or a queue of it is dropped after the case. */
  newTopicName(prefix = 'case_', suffix = ''): string {
    const name = this.newName(prefix, suffix)
    this.#topicNames.push(name)
    return name
  }

  async newQueue(): Promise<string> {
    const name = this.newName()
    await this.engine.createQueue(name)
    return name
  }

  async secondEngine(first: Engine = this.engine): Promise<Engine> {
    assert(this.harness.secondEngine, 'the harness has a secondEngine')
    const engine = await this.harness.secondEngine(first)
    this.#engines.push(engine)
    return engine
  }

  /** One of the application. */
  async transaction<T>(work: (transaction: Transaction) => Promise<T>): Promise<T> {
    assert(this.harness.transaction, 'the harness has a transaction')
    return await this.harness.transaction(this.engine, work)
  }

  /** Runs `work` in a transaction of the application that is rolled back. */
  async rollBack(work: (transaction: Transaction) => Promise<unknown>): Promise<void> {
    const outcome = this.transaction(async (transaction) => {
      await work(transaction)
      throw rolledBack
    })
    await assert.rejects(outcome, rolledBack)
  }

  passTime(milliseconds: number): Promise<void> {
    return this.harness.passTime(this.engine, milliseconds)
  }

  /** Stores messages in the queue of the case. @returns their ids */
  send<const M extends readonly Partial<NewMessage>[]>(...messages: M): Promise<{ -readonly [K in keyof M]: string }> {
    return this.sendTo(this.queue, ...messages)
  }

  async sendTo<const M extends readonly Partial<NewMessage>[]>(
    queue: string,
    ...messages: M
  ): Promise<{ -readonly [K in keyof M]: string }> {
    const results = await this.engine.send(queue, messages.map(newMessage), null)
    assert.deepEqual(
      results.map((result) => result.duplicate),
      messages.map(() => false),
      'duplicates',
    )
    return results.map((result) => result.id) as { -readonly [K in keyof M]: string }
  }

  /** Stores the same plain message many times. */
  async sendMany(count: number): Promise<string[]> {
    return await this.send(...Array.from({ length: count }, () => ({})))
  }

  async claim(request: Partial<ClaimRequest> = {}, queue = this.queue): Promise<Leased[]> {
    const { messages } = await this.engine.claim(queue, { limit: 100, leaseMs: long, ids: null, ...request })
    return messages.map(asLeased)
  }

  async claimOne(request: Partial<ClaimRequest> = {}, queue = this.queue): Promise<Leased> {
    return only(await this.claim(request, queue))
  }

  /** Claims as a reader does: what the engine has put off is claimed when it said so. */
  async claimSoon(request: Partial<ClaimRequest> = {}, queue = this.queue): Promise<Leased[]> {
    for (;;) {
      const whole = { limit: 100, leaseMs: long, ids: null, ...request }
      const { messages, nextDueMs } = await this.engine.claim(queue, whole)
      // The leases and delays of cases end later than that.
      if (messages.length > 0 || nextDueMs === null || nextDueMs > long / 2) return messages.map(asLeased)
      await this.passTime(nextDueMs)
    }
  }

  /** Stores one message and leases it. */
  async lease(message: Partial<NewMessage> = {}, leaseMs = long): Promise<Leased> {
    const [id] = await this.send(message)
    return await this.claimOne({ ids: [id], leaseMs })
  }

  /** Stores one message and leases it for a time that has run out. */
  async leaseRunOut(message: Partial<NewMessage> = {}): Promise<Leased> {
    const leased = await this.lease(message, short)
    await this.passTime(short)
    return leased
  }

  /** The answer of a claim that finds nothing; of the next one, if this one says when the engine will know. */
  async nextDueMs(queue = this.queue): Promise<number | null> {
    const ask = async () => {
      const claim = await this.engine.claim(queue, { limit: 100, leaseMs: long, ids: null })
      assert.deepEqual(claim.messages, [], 'nothing is ready')
      return claim.nextDueMs
    }
    const first = await ask()
    if (first === null || first > long / 4) return first
    await this.passTime(first)
    return await ask()
  }

  /** The time of the storage. */
  async now(): Promise<number> {
    const queue = await this.newQueue()
    const [id] = await this.sendTo(queue, {})
    return (await this.look(id, queue)).sentAt
  }

  async pop(limit = 100, queue = this.queue): Promise<StoredMessage[]> {
    return await this.engine.pop(queue, limit)
  }

  async peek(request: Partial<PeekRequest> = {}, queue = this.queue): Promise<Peeked> {
    return await this.engine.peek(queue, { place: null, limit: 1_000, afterId: null, ids: null, ...request })
  }

  /** The message with this id, wherever it is. */
  async look(id: string, queue = this.queue): Promise<StoredMessage> {
    const live = await this.peek({ ids: [id] }, queue)
    return only(live.length > 0 ? live : await this.peek({ ids: [id], place: 'archived' }, queue))
  }

  /** The places where a message is found; there must not be two. */
  async placeOf(id: string, queue = this.queue): Promise<Place | 'gone'> {
    const places: Place[] = []
    for (const place of ['ready', 'delayed', 'leased', 'archived'] as const)
      if ((await this.peek({ place, ids: [id] }, queue)).length > 0) places.push(place)
    assert(places.length <= 1, `message ${id} is in one place, not in ${places.join(' and ')}`)
    return places[0] ?? 'gone'
  }

  async settle(message: Leased, ending: Ending, queue = this.queue, transaction?: Transaction): Promise<SettleResult> {
    return only(await this.engine.settle(queue, [settlement(message, ending)], transaction))
  }

  /** Tries to end the lease by deleting. @returns whether the receipt was good */
  async delete(message: Leased, queue = this.queue): Promise<boolean> {
    return (await this.settle(message, remove, queue)).settled
  }

  async extend(message: Leased, leaseMs = long): Promise<string | null> {
    return only(await this.engine.extend(this.queue, [leaseOf(message)], leaseMs))
  }

  async watch(queue = this.queue, engine = this.engine): Promise<Wakes> {
    return await watch(engine, `queue:${queue}`)
  }
}

/** Listens to one queue or topic, over a connection of its own. @throws why it cannot be listened to */
export async function watch(engine: Engine, interest: Interest): Promise<Wakes> {
  const wakes = new Wakes()
  const listening = await listen(engine, (_, dueMs) => wakes.add(dueMs))
  const refused = await listening.listen([interest])
  wakes.watch = { close: () => void listening.close() }
  if (!refused.has(interest)) return wakes
  wakes.watch.close()
  throw refused.get(interest)
}

/** Listens to what it is told to, and takes only what tells of queues and topics. */
export const listen = (
  engine: Engine,
  woken: Listener['woken'],
  changed: Listener['changed'] = () => {},
): Promise<Listening> =>
  engine.listen({ woken, changed, notified() {}, lost() {}, announcing() {}, troubled() {}, polling() {} })

/** What a watch has reported. */
export class Wakes {
  watch: { close(): void } = { close: () => {} }
  #seen: number[] = []
  #waiting: (() => void)[] = []

  add(dueMs: number): void {
    this.#seen.push(dueMs)
    for (const look of this.#waiting.splice(0)) look()
  }

  get count(): number {
    return this.#seen.length
  }

  /** Forgets what was reported so far. */
  clear(): void {
    this.#seen = []
  }

  /** Resolves with a report that fits, an earlier one or one to come. Reports that do not fit are passed over. */
  async next(fits: (dueMs: number) => boolean | Promise<boolean> = () => true): Promise<number> {
    for (let index = 0; ; index++) {
      while (index >= this.#seen.length) await new Promise<void>((resolve) => this.#waiting.push(resolve))
      const dueMs = this.#seen[index]!
      if (await fits(dueMs)) return dueMs
    }
  }
}

export function topicsOf(engine: Engine): TopicStore {
  assert(engine.topics, "an engine with 'topics' has them")
  return engine.topics
}

export const newMessage = (message: Partial<NewMessage>): NewMessage => ({ ...plain, ...message })

/** Bindings are those of the whole storage, so every case has routing keys of its own: all start with this. */
export const newStart = () => `case-${randomBytes(6).toString('hex')}`
export const routed = (routingKey: string, message: Partial<NewMessage> = {}): RoutedMessage => ({
  ...newMessage(message),
  routingKey,
})

export const remove: Ending = { kind: 'delete' }
export const archive = (meta = {}): Ending => ({ kind: 'archive', meta })
interface Release {
  delayMs?: number
  meta?: object
  uncount?: boolean
  hold?: 'queue' | 'group'
}
export const release = (change: Release = {}): Ending => ({
  kind: 'release',
  delayMs: 0,
  uncount: false,
  ...change,
  meta: { ...change.meta },
})
export const move = (to: string, change: { delayMs?: number; meta?: object } = {}): Ending => ({
  kind: 'move',
  to,
  delayMs: 0,
  ...change,
  meta: { ...change.meta },
})

export const leaseOf = ({ id, receipt }: Leased) => ({ id, receipt })
export const settlement = (message: Leased, ending: Ending) => ({ ...leaseOf(message), ...ending })

export const idsOf = (messages: readonly { readonly id: string }[]) => messages.map((message) => message.id)
/** The data of messages, read from JSON. */
export const dataOf = (messages: readonly { readonly data: string }[]) =>
  messages.map((message): unknown => JSON.parse(message.data))
/** A message that carries this text, for cases that tell messages apart by it. */
export const text = (label: string) => ({ data: JSON.stringify(label) })

/**
 * Tries a rule about a time that must not be over too early: a short one and, where the machine was too slow for that to
 * prove anything, longer ones.
 * @param attempt says whether it proved something
 */
export async function patiently(attempt: (milliseconds: number) => Promise<boolean>): Promise<void> {
  for (const milliseconds of [200, 1_500, 6_000]) if (await attempt(milliseconds)) return
  assert.fail('the time was over too early')
}

export const times = <T>(count: number, make: (index: number) => T): T[] =>
  Array.from({ length: count }, (_, index) => make(index))
export const atOnce = <T>(count: number, start: (index: number) => Promise<T>): Promise<T[]> =>
  Promise.all(times(count, start))

export function only<T>(items: readonly T[]): T {
  assert.equal(items.length, 1, 'exactly one')
  return items[0] as T
}

function asLeased(message: StoredMessage): Leased {
  assert(typeof message.receipt === 'string' && message.receipt !== '', 'a claimed message has a receipt')
  return message as Leased
}

/** Times are whole milliseconds, but a storage may count finer and round. */
export function assertAtLeast(actual: number | null, expected: number, what: string): void {
  assert(actual !== null && actual >= expected - 1, `${what} is ${actual}; at least ${expected}`)
}

export function assertSameTime(actual: number | null, expected: number, what: string): void {
  assert(actual !== null && Math.abs(actual - expected) <= 1, `${what} is ${actual}; expected ${expected}`)
}

export async function assertRejects(promise: Promise<unknown>, code: ErrorCode, what: string): Promise<void> {
  const outcome = await promise.then(
    (value) => `resolved with ${JSON.stringify(value)}`,
    (error: unknown) => (error instanceof Error && 'code' in error ? error.code : error),
  )
  assert.equal(outcome, code, what)
}

/** Of published copies those in queues. */
export const queueCopies = (copies: readonly PublishedCopy[]): QueueCopy[] => copies.filter((copy) => 'queue' in copy)
/** Of published copies those in topics. */
export const topicCopies = (copies: readonly PublishedCopy[]): TopicCopy[] => copies.filter((copy) => 'topic' in copy)
