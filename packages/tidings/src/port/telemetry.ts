import { isTidingsError } from '../core/errors.ts'
import type { Engine, StoredMessage } from './engine.ts'
import type { HistoryStore } from './history.ts'
import type { Observer, Operation, Origin, Outcome, Received, Tracer } from './operations.ts'
import type { Tallies } from './tallies.ts'
import {
  counted,
  engineRules,
  historyRules,
  historyWriterRules,
  nothing,
  type Rule,
  type Rules,
  scheduleRules,
  type Tally,
  topicRules,
} from './telemetry-rules.ts'
import type { TopicStore } from './topic-store.ts'

export type { Observer, Operation, Origin, Outcome, Received, Tracer } from './operations.ts'

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
  /** Counts for the history of the storage; undefined where another process does. */
  tallies: Tallies | undefined

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

  /** Messages of a queue come to the application, or to a client of this server. @param heldMs since their claim */
  handed(queue: string, messages: readonly StoredMessage[], heldMs = 0): void {
    this.tallies?.handed(queue, messages, heldMs)
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
      history: { value: this.#wrapHistory(engine.history) },
    })
  }

  #wrapHistory(history: HistoryStore): HistoryStore {
    const { writer } = history
    const value = writer && this.#wrap(writer, historyWriterRules, {})
    return this.#wrap(history, historyRules, value ? { writer: { value } } : {})
  }

  get #isOff(): boolean {
    return this.#observers.size === 0 && this.#tracer === null
  }

  #wrap<T extends object>(target: T, rules: Rules<T>, properties: PropertyDescriptorMap): T {
    const members = target as Record<string, (...args: unknown[]) => Promise<unknown>>
    const all = Object.entries<(member: never) => Rule>(rules).map(([member, ruleOf]) => {
      const ruling = ruleOf(member as never)
      // Looked up at every call, since a test may put another function in its place.
      const plain = (...args: unknown[]) => members[member]!(...args)
      const call = ruling.tally ? this.#counting(ruling.tally, plain) : plain
      return [
        member,
        (...args: unknown[]) => (this.#isOff ? call(...args) : this.#tellMember(ruling, args, call)),
      ] as const
    })
    return Object.defineProperties(Object.fromEntries(all), properties) as T
  }

  #counting(tally: Tally, call: (...args: unknown[]) => Promise<unknown>) {
    return (...args: unknown[]) => {
      const { tallies } = this
      if (tallies === undefined) return call(...args)
      return call(...args).then((answer) => {
        safely(() => tally(tallies, answer as never, args))
        return answer
      })
    }
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
