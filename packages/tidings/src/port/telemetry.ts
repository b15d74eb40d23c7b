import { isTidingsError } from '../core/errors.ts'
import type { Claim, ClaimRequest, Engine, PublishedCopy, SendResult, SettleResult, StoredMessage } from './engine.ts'
import type { ScheduleStore, Sending } from './schedule-store.ts'
import type { AppendResult, TopicMessage, TopicStore } from './topic-store.ts'
import type { NewMessage } from './types.ts'

/** What OpenTelemetry calls us. */
export const systemName = 'tidings'
/** In seconds; those that OpenTelemetry advises for messaging. */
export const durationBuckets = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10]

/** The class of an error in OpenTelemetry's `error.type`: few, whatever handlers throw. */
export function errorType(error: unknown): string {
  if (isTidingsError(error)) return error.code
  const name = error instanceof Error ? error.constructor.name : ''
  return name === '' ? '_OTHER' : name
}

/** One call of the port, or of a handler. */
export interface Operation {
  /** In the words of OpenTelemetry where there is one for it, else the member's name. */
  readonly name: string
  readonly type: 'send' | 'receive' | 'process' | 'settle' | 'manage'
  /** The queue or topic; null where there is none, or not one that is known at the beginning. */
  readonly destination: string | null
  /** Of a handler's call for a topic. */
  readonly subscription?: string
}

/** How a call ended. */
export interface Outcome {
  readonly durationMs: number
  /** Undefined: it succeeded. */
  readonly error: unknown
  /** Messages that were stored, given to a reader, handled or settled. */
  readonly count: number
  /** How many messages were stored, by queue or topic; duplicates are not. */
  readonly stored: ReadonlyMap<string, number>
}

/** Called at the beginning of a call; what it returns is called at its end. */
export type Observer = (operation: Operation) => ((outcome: Outcome) => void) | undefined

/** A message that is handed to the application. */
export type Received = Pick<TopicMessage | StoredMessage, 'headers' | 'meta'> & { readonly id?: string }

/** Where a message that is sent, or a settlement, comes from: in the words of the tracer. */
export type Origin = object

/** Follows messages through the calls in which they are sent, received, handled and settled. */
export interface Tracer {
  /** Where what is sent or settled now comes from. @param message the one that is settled */
  origin(message?: Received): Origin
  /** @param run stores the messages, with what is to travel in their headers. Rejects as `run` does */
  send<R extends readonly unknown[]>(
    operation: Operation,
    messages: readonly NewMessage[],
    run: (messages: readonly NewMessage[]) => Promise<R>,
  ): Promise<R>
  settle<R>(
    operation: Operation,
    settlements: readonly { readonly origin?: Origin }[],
    run: () => Promise<R>,
  ): Promise<R>
  /** Messages were handed to the application, or could not be. @param startedAt by `performance.now()` */
  received(operation: Operation, messages: readonly Received[], startedAt: number, error?: unknown): void
  /** @param failureOf what failed according to the result; undefined: nothing */
  process<R>(
    operation: Operation,
    messages: readonly Received[],
    run: () => Promise<R>,
    failureOf: (result: R) => unknown,
  ): Promise<R>
  /** Runs a call in the context that a request brought along. */
  within<T>(headers: Readonly<Record<string, string | undefined>>, call: () => T): T
}

type Counts = Pick<Outcome, 'count' | 'stored'>

interface Rule extends Pick<Operation, 'name' | 'type'> {
  /** Whether the first argument is the destination. */
  readonly isNamed: boolean
  readonly counts: (answer: never, destination: string | null) => Counts
  /** How the tracer is told of a call; left out: not at all. */
  readonly trace?: Trace
}

type Trace = (
  tracer: Tracer,
  operation: Operation,
  args: readonly unknown[],
  call: (...args: unknown[]) => Promise<unknown>,
) => Promise<unknown>

/** @param at the argument that has the messages */
const sending =
  (at: number): Trace =>
  (tracer, operation, args, call) =>
    tracer.send(
      operation,
      args[at] as NewMessage[],
      (messages) => call(...args.with(at, messages)) as Promise<unknown[]>,
    )

const settling: Trace = (tracer, operation, args, call) =>
  tracer.settle(operation, args[1] as { origin?: Origin }[], () => call(...args))

/** @param isForHandlers the call reads ahead: its messages are handed over later, one by one */
const receiving =
  <A>(
    messagesIn: (answer: A) => readonly Received[],
    isForHandlers: (...args: never[]) => boolean = () => false,
  ): Trace =>
  async (tracer, operation, args, call) => {
    const startedAt = performance.now()
    try {
      const answer = await call(...args)
      const messages = messagesIn(answer as A)
      if (messages.length > 0 && !isForHandlers(...(args as never[]))) tracer.received(operation, messages, startedAt)
      return answer
    } catch (error) {
      tracer.received(operation, [], startedAt, error)
      throw error
    }
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
    trace?: Trace,
    isNamed = true,
  ) =>
  (): Rule => ({ type, name, isNamed, counts, ...(trace ? { trace } : {}) })

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
  configure: ofOne,
  purgeQueue: ofOne,
  stats: ofOne,
  send: rule('send', 'send', countStored, sending(1)),
  bind: ofAll,
  unbind: ofAll,
  bindings: ofAll,
  publish: rule('send', 'publish', countCopies, sending(0), false),
  claim: rule(
    'receive',
    'receive',
    ({ messages }: Claim) => counted(messages.length),
    receiving(
      ({ messages }: Claim) => messages,
      (_queue: string, { held }: ClaimRequest) => held === true,
    ),
  ),
  pop: rule(
    'receive',
    'pop',
    (messages: StoredMessage[]) => counted(messages.length),
    receiving((messages: StoredMessage[]) => messages),
  ),
  peek: ofOne,
  settle: rule(
    'settle',
    'settle',
    (all: SettleResult[]) => counted(all.filter(({ settled }) => settled).length),
    settling,
  ),
  extend: rule('settle', 'extend', (all: (string | null)[]) => counted(all.filter((one) => one !== null).length)),
  cancel: rule('settle', 'cancel', (all: readonly unknown[]) => counted(all.filter(Boolean).length)),
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
  append: rule('send', 'publish', countStored, sending(1)),
  read: rule('receive', 'receive', (messages: TopicMessage[]) => counted(messages.length)),
  subscribe: ofOne,
  unsubscribe: ofOne,
  subscriptions: ofOne,
  hold: ofOne,
  leave: ofOne,
  ack: rule('settle', 'ack', () => nothing),
  seek: ofOne,
}

/** Occurrences that are sent begin a trace: what declared the schedule is long over. */
const firing: Trace = async (tracer, operation, args, call) => {
  const sending = args[2] as Sending | undefined
  if (sending === undefined) return call(...args)
  const { target, messages } = sending
  const destination = 'queue' in target ? target.queue : 'topic' in target ? target.topic : null
  const send = { ...operation, name: 'send', type: 'send', destination } as const
  const [stored] = await tracer.send(send, messages, async (traced) => [
    await call(...args.with(2, { ...sending, messages: traced })),
  ])
  return stored
}

const scheduleRules: Rules<ScheduleStore> = {
  put: (name) => ({ ...ofAll(name), trace: firing }),
  remove: ofAll,
  list: ofAll,
}

/** What is told of a handler's call. */
export interface HandlerCall<R> {
  readonly destination: string
  readonly subscription?: string
  readonly messages: readonly Received[]
  /** What failed according to the result; undefined: nothing. */
  failureOf(result: R): unknown
}

/**
 * The one seam round the port and round handlers: figures, logs and traces come from what is told here of every call.
 * Without an observer and a tracer a call goes straight through.
 */
export class Telemetry {
  readonly #observers = new Set<Observer>()
  readonly #tracer: Tracer | null

  constructor(tracer: Tracer | null = null) {
    this.#tracer = tracer
  }

  /** @returns what ends the observing */
  observe(observer: Observer): () => void {
    this.#observers.add(observer)
    return () => void this.#observers.delete(observer)
  }

  /** Where what is sent or settled now comes from; undefined if nobody wants to know. */
  origin(message?: Received): Origin | undefined {
    return this.#tracer?.origin(message)
  }

  /** Messages that were read before are handed to the application now. */
  received(operation: Pick<Operation, 'destination' | 'subscription'>, messages: readonly Received[]): void {
    if (messages.length > 0)
      this.#tracer?.received({ name: 'receive', type: 'receive', ...operation }, messages, performance.now())
  }

  /** Calls a handler. */
  process<R>(handlerCall: HandlerCall<R>, call: () => Promise<R>): Promise<R> {
    if (this.#isOff) return call()
    const { messages, failureOf, destination, subscription } = handlerCall
    const operation = {
      name: 'process',
      type: 'process',
      destination,
      ...(subscription ? { subscription } : {}),
    } as const
    const tracer = this.#tracer
    const run = tracer ? () => tracer.process(operation, messages, call, failureOf) : call
    return this.#tell(operation, run, (result) => ({ ...counted(messages.length), error: failureOf(result) }))
  }

  /** Runs a call in the context that a request brought along, by its headers. */
  within<T>(headers: Readonly<Record<string, string | undefined>>, call: () => T): T {
    return this.#tracer ? this.#tracer.within(headers, call) : call()
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
      schedules: { value: this.#wrap(engine.schedules, scheduleRules, {}) },
    })
  }

  get #isOff(): boolean {
    return this.#observers.size === 0 && this.#tracer === null
  }

  #wrap<T extends object>(target: T, rules: Rules<T>, properties: PropertyDescriptorMap): T {
    const members = target as Record<string, (...args: unknown[]) => Promise<unknown>>
    const all = Object.entries<(member: never) => Rule>(rules).map(([member, ruleOf]) => {
      const ruling = ruleOf(member as never)
      // Looked up at every call, since a test may put another function in its place.
      const call = (...args: unknown[]) => members[member]!(...args)
      return [
        member,
        (...args: unknown[]) => (this.#isOff ? call(...args) : this.#tellMember(ruling, args, call)),
      ] as const
    })
    return Object.defineProperties(Object.fromEntries(all), properties) as T
  }

  #tellMember(
    { name, type, isNamed, counts, trace }: Rule,
    args: unknown[],
    call: (...args: unknown[]) => Promise<unknown>,
  ) {
    const destination = isNamed ? (args[0] as string) : null
    const operation = { name, type, destination }
    const tracer = this.#tracer
    const run = tracer && trace ? () => trace(tracer, operation, args, call) : () => call(...args)
    return this.#tell(operation, run, (answer) => ({ ...counts(answer as never, destination), error: undefined }))
  }

  async #tell<R>(
    operation: Operation,
    run: () => Promise<R>,
    toOutcome: (answer: R) => Omit<Outcome, 'durationMs'>,
  ): Promise<R> {
    if (this.#observers.size === 0) return run()
    const ends = [...this.#observers].map((observer) => safely(() => observer(operation)))
    const startedAt = performance.now()
    const end = (known: Omit<Outcome, 'durationMs'>) => {
      const outcome = { ...known, durationMs: performance.now() - startedAt }
      for (const one of ends) safely(() => one?.(outcome))
    }
    try {
      const answer = await run()
      end(toOutcome(answer))
      return answer
    } catch (error) {
      end({ ...nothing, error })
      throw error
    }
  }
}

/** Whatever an observer does, the call has the outcome that it had. */
export function safely<T>(call: () => T): T | undefined {
  try {
    return call()
  } catch (error) {
    process.emitWarning(error as Error)
    return undefined
  }
}
