import type { Claim, Engine, PublishedCopy, SendResult, SettleResult, StoredMessage } from './engine.ts'
import type { AppendResult, TopicMessage, TopicStore } from './topic-store.ts'

/** One call of the port. */
export interface Operation {
  /** In the words of OpenTelemetry where there is one for it, else the member's name. */
  readonly name: string
  readonly type: 'send' | 'receive' | 'settle' | 'manage'
  /** The queue or topic; null where there is none, or not one that is known at the beginning. */
  readonly destination: string | null
}

/** How a call ended. */
export interface Outcome {
  readonly durationMs: number
  /** Undefined: it succeeded. */
  readonly error: unknown
  /** Messages that were stored, given to a reader or settled. */
  readonly count: number
  /** How many messages were stored, by queue or topic; duplicates are not. */
  readonly stored: ReadonlyMap<string, number>
}

/** Called at the beginning of a call; what it returns is called at its end. */
export type Observer = (operation: Operation) => ((outcome: Outcome) => void) | undefined

type Counts = Pick<Outcome, 'count' | 'stored'>

interface Rule extends Pick<Operation, 'name' | 'type'> {
  /** Whether the first argument is the destination. */
  readonly isNamed: boolean
  readonly counts: (answer: never, destination: string | null) => Counts
}

type Members<T> = {
  [M in keyof T]-?: NonNullable<T[M]> extends (...args: never[]) => unknown ? M : never
}[keyof T] &
  string

/** Every member has a rule, so that none is forgotten. */
type Rules<T> = { readonly [M in Members<T>]: (member: M) => Rule }

const nothing: Counts = { count: 0, stored: new Map() }
const counted = (count: number): Counts => ({ ...nothing, count })
const storedIn = (stored: ReadonlyMap<string, number>): Counts => ({
  stored,
  count: [...stored.values()].reduce((sum, one) => sum + one, 0),
})

const managing = (isNamed: boolean) => (name: string) => ({
  name,
  type: 'manage' as const,
  isNamed,
  counts: () => nothing,
})
/** About one queue or topic… */
const ofOne = managing(true)
/** …or about none, or several. */
const ofAll = managing(false)

const rule =
  <A>(
    type: Operation['type'],
    name: string,
    counts: (answer: A, destination: string | null) => Counts,
    isNamed = true,
  ) =>
  (): Rule => ({ type, name, isNamed, counts })

const countStored = (results: readonly (SendResult | AppendResult)[], destination: string | null) =>
  storedIn(new Map([[destination ?? '', results.filter(({ duplicate }) => !duplicate).length]]))

function countCopies(copies: readonly (readonly PublishedCopy[])[]): Counts {
  const stored = new Map<string, number>()
  for (const copy of copies.flat()) {
    const destination = 'queue' in copy ? copy.queue : copy.topic
    if (!copy.duplicate) stored.set(destination, (stored.get(destination) ?? 0) + 1)
  }
  return storedIn(stored)
}

const engineRules: Rules<Engine> = {
  open: ofAll,
  close: ofAll,
  createQueue: ofOne,
  dropQueue: ofOne,
  describe: ofAll,
  purgeQueue: ofOne,
  stats: ofOne,
  send: rule('send', 'send', countStored),
  bind: ofAll,
  unbind: ofAll,
  bindings: ofAll,
  publish: rule('send', 'publish', countCopies, false),
  claim: rule('receive', 'receive', ({ messages }: Claim) => counted(messages.length)),
  pop: rule('receive', 'pop', (messages: StoredMessage[]) => counted(messages.length)),
  peek: ofOne,
  settle: rule('settle', 'settle', (all: SettleResult[]) => counted(all.filter(({ settled }) => settled).length)),
  extend: rule('settle', 'extend', (all: (string | null)[]) => counted(all.filter((one) => one !== null).length)),
  cancel: rule('settle', 'cancel', (all: boolean[]) => counted(all.filter(Boolean).length)),
  correlation: ofAll,
  transaction: ofAll,
  listen: ofAll,
  maintain: ofAll,
  diagnose: ofAll,
}

const topicRules: Rules<TopicStore> = {
  createTopic: ofOne,
  dropTopic: ofOne,
  listTopics: ofAll,
  append: rule('send', 'publish', countStored),
  read: rule('receive', 'receive', (messages: TopicMessage[]) => counted(messages.length)),
  subscribe: ofOne,
  unsubscribe: ofOne,
  subscriptions: ofOne,
  hold: ofOne,
  leave: ofOne,
  ack: rule('settle', 'ack', () => nothing),
  seek: ofOne,
}

/**
 * The one seam round the port: figures, logs and traces come from what is told here of every call. Without an observer
 * a call goes straight through.
 */
export class Telemetry {
  readonly #observers = new Set<Observer>()

  /** @returns what ends the observing */
  observe(observer: Observer): () => void {
    this.#observers.add(observer)
    return () => void this.#observers.delete(observer)
  }

  /** The same engine, with every call told to the observers. */
  instrument(engine: Engine): Engine {
    let store: TopicStore | undefined
    let topics: TopicStore | undefined
    const wrapTopics = () => {
      // An engine may know of its topics only once it is open.
      if (engine.topics !== store) {
        store = engine.topics
        topics = store && this.#wrap(store, topicRules, {})
      }
      return topics
    }
    return this.#wrap(engine, engineRules, {
      name: { get: () => engine.name },
      supports: { get: () => engine.supports },
      limits: { get: () => engine.limits },
      topics: { get: wrapTopics },
    })
  }

  #wrap<T extends object>(target: T, rules: Rules<T>, properties: PropertyDescriptorMap): T {
    const members = target as Record<string, (...args: unknown[]) => Promise<unknown>>
    const all = Object.entries<(member: never) => Rule>(rules).map(([member, ruleOf]) => {
      const ruling = ruleOf(member as never)
      // Looked up at every call, since a test may put another function in its place.
      const call = (...args: unknown[]) =>
        this.#observers.size === 0
          ? members[member]!(...args)
          : this.#tell(ruling, args, () => members[member]!(...args))
      return [member, call] as const
    })
    return Object.defineProperties(Object.fromEntries(all), properties) as T
  }

  async #tell({ name, type, isNamed, counts }: Rule, args: unknown[], call: () => Promise<unknown>): Promise<unknown> {
    const destination = isNamed ? (args[0] as string) : null
    const operation = { name, type, destination }
    const ends = [...this.#observers].map((observer) => safely(() => observer(operation)))
    const startedAt = performance.now()
    const end = (error: unknown, counts: Counts) => {
      const outcome = { ...counts, error, durationMs: performance.now() - startedAt }
      for (const one of ends) safely(() => one?.(outcome))
    }
    try {
      const answer = await call()
      end(undefined, counts(answer as never, destination))
      return answer
    } catch (error) {
      end(error, nothing)
      throw error
    }
  }
}

/** Whatever an observer does, the call has the outcome that it had. */
function safely<T>(call: () => T): T | undefined {
  try {
    return call()
  } catch (error) {
    process.emitWarning(error as Error)
    return undefined
  }
}
