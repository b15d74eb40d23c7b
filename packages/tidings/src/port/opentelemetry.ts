import type { Attributes, Context, Link, Span, SpanKind, TextMapGetter } from '@opentelemetry/api'
import { TidingsError } from '../core/errors.ts'
import type { JsonObject } from '../core/json.ts'
import { describeError } from '../core/message-error.ts'
import type { TelemetrySettings } from '../core/telemetry-option.ts'
import { version } from '../core/version.ts'
import { type ExceptionLog, exceptionLog } from './exception-log.ts'
import {
  durationBuckets,
  errorType,
  type Observer,
  type Operation,
  type Received,
  safely,
  systemName,
  type Tracer,
} from './telemetry.ts'
import type { NewMessage } from './types.ts'

/** Where a message is sent or settled: the active context, and the message that is settled. */
interface Place {
  readonly context: Context
  readonly message: Received | undefined
}

type SentResult = { readonly id?: unknown } | readonly unknown[]

/** The sends that one call carries out, each of one caller. */
interface Sending {
  readonly messages: readonly NewMessage[]
  readonly context: Context
  end(results: readonly unknown[]): void
  fail(error: unknown): void
}

type Api = typeof import('@opentelemetry/api')

const headerGetter: TextMapGetter<JsonObject> = {
  keys: (headers) => Object.keys(headers),
  get(headers, key) {
    const value = headers[key]
    return typeof value === 'string' ? value : undefined
  },
}

/**
 * Traces and metrics in the names of OpenTelemetry's conventions for messaging, by the providers and the propagator that
 * the application has set up. What has none goes nowhere.
 */
export class OpenTelemetry implements Tracer {
  readonly observer: Observer
  readonly #api: Api
  readonly #settings: TelemetrySettings
  readonly #exceptions: ExceptionLog
  readonly #tracer
  /** Of messages that were handled, by their headers: what ends them belongs to that. */
  readonly #handled = new WeakMap<JsonObject, Context>()

  private constructor(api: Api, settings: TelemetrySettings, exceptions: ExceptionLog) {
    this.#api = api
    this.#tracer = api.trace.getTracer('tidings', version)
    this.#settings = settings
    this.#exceptions = exceptions
    this.observer = metricsObserver(api)
  }

  /** @throws UNSUPPORTED where the package is not installed */
  static async create(settings: TelemetrySettings): Promise<OpenTelemetry> {
    try {
      // Here, and in no import of the module: bundlers must get by without it.
      const api = await import('@opentelemetry/api')
      return new OpenTelemetry(api, settings, await exceptionLog(version))
    } catch (error) {
      throw new TidingsError('UNSUPPORTED', 'telemetry is given, but the package @opentelemetry/api cannot be loaded', {
        cause: error,
        hint: 'Install it: npm install @opentelemetry/api',
      })
    }
  }

  /** What a request has to bring along, as headers. */
  carrier(): Record<string, string> {
    const headers: Record<string, string> = {}
    safely(() => this.#api.propagation.inject(this.#toTravel(this.#api.context.active()), headers))
    return headers
  }

  within<T>(headers: Readonly<Record<string, string | undefined>>, call: () => T): T {
    const active = this.#api.context.active()
    // The application follows requests itself.
    if (this.#api.trace.getSpan(active)) return call()
    return this.#api.context.with(this.#extract(active, headers as JsonObject), call)
  }

  origin(message?: Received): Place {
    const active = this.#api.context.active()
    const handled = message && this.#handled.get(message.headers)
    const isInHandler =
      this.#api.trace.getSpanContext(active)?.traceId === (handled && this.#api.trace.getSpanContext(handled)?.traceId)
    return { context: handled && !isInHandler ? handled : active, message }
  }

  async send<R extends readonly unknown[]>(
    operation: Operation,
    messages: readonly NewMessage[],
    run: (messages: readonly NewMessage[]) => Promise<R>,
  ): Promise<R> {
    const sending = safely(() => this.#beginSending(operation, messages))
    if (!sending) return run(messages)
    try {
      const results = await this.#api.context.with(sending.context, () => run(sending.messages))
      sending.end(results)
      return results
    } catch (error) {
      sending.fail(error)
      throw error
    }
  }

  /** Callers whose messages travel together by chance have a span each. */
  #beginSending(operation: Operation, messages: readonly NewMessage[]): Sending {
    const places = new Map<Place | undefined, number[]>()
    for (const [index, { origin }] of messages.entries()) {
      const place = origin as Place | undefined
      const indexes = places.get(place)
      if (indexes) indexes.push(index)
      else places.set(place, [index])
    }
    const prepared = messages.map(({ origin: _, ...message }) => message)
    const begun = [...places].map(([place, indexes]) => {
      const parent = place?.context ?? this.#api.context.active()
      const own = indexes.map((index) => messages[index]!)
      const { span, headers } = this.#beginSend(operation, own, parent)
      for (const [nth, index] of indexes.entries()) prepared[index] = { ...prepared[index]!, headers: headers[nth]! }
      return { span, parent, indexes }
    })
    const [first] = begun
    return {
      messages: prepared,
      context: first ? this.#api.trace.setSpan(first.parent, first.span) : this.#api.context.active(),
      end: (results) => {
        for (const { span, indexes } of begun) {
          const result = indexes.length === 1 ? (results[indexes[0]!] as SentResult | undefined) : undefined
          if (result && 'id' in result && typeof result.id === 'string')
            span.setAttribute('messaging.message.id', result.id)
          span.end()
        }
      },
      fail: (error) => {
        for (const { span, parent } of begun) this.#fail(span, parent, operation, error)
      },
    }
  }

  #beginSend(operation: Operation, messages: readonly NewMessage[], parent: Context) {
    const known = messages.map(({ headers }) => this.#creationIn(headers))
    const isAlone = messages.length === 1
    const creates = !isAlone && this.#settings.createSpans
    const isCreation = !creates && known.some((one) => one === undefined)
    const span = this.#start(
      operation,
      messages,
      isCreation ? this.#api.SpanKind.PRODUCER : this.#api.SpanKind.CLIENT,
      parent,
    )
    const headers = messages.map((message, index) => {
      let creation = known[index]
      let carrier = message.headers
      if (creation === undefined) {
        const creator = creates ? this.#create(operation, message, parent) : span
        carrier = { ...message.headers }
        this.#api.propagation.inject(this.#toTravel(this.#api.trace.setSpan(parent, creator)), carrier)
        creation = { context: creator.spanContext() }
      }
      if (creation.context !== span.spanContext()) span.addLink(creation)
      return carrier
    })
    return { span, headers }
  }

  #create({ destination }: Operation, message: NewMessage, parent: Context): Span {
    const operation = { name: 'create', type: 'create', destination } as const
    const span = this.#start(operation, [message], this.#api.SpanKind.PRODUCER, parent)
    span.end()
    return span
  }

  async settle<R>(
    operation: Operation,
    settlements: readonly { readonly origin?: object; readonly id?: string }[],
    run: () => Promise<R>,
  ): Promise<R> {
    const places = settlements.map(({ origin }) => origin as Place | undefined)
    const contexts = new Set(places.map((place) => place?.context ?? this.#api.context.active()))
    const [first = this.#api.ROOT_CONTEXT] = contexts
    // What is settled together by chance belongs to none of them.
    const parent = contexts.size === 1 ? first : this.#api.ROOT_CONTEXT
    const messages = places.flatMap((place) => place?.message ?? [])
    const span = safely(() => {
      const started = this.#start(operation, settlements, this.#api.SpanKind.CLIENT, parent)
      started.addLinks(this.#linksTo(messages))
      return started
    })
    if (!span) return run()
    try {
      const answer = await this.#api.context.with(this.#api.trace.setSpan(parent, span), run)
      span.end()
      return answer
    } catch (error) {
      this.#fail(span, parent, operation, error)
      throw error
    }
  }

  received(operation: Operation, messages: readonly Received[], startedAt: number, error?: unknown): void {
    safely(() => {
      const active = this.#api.context.active()
      const links = this.#linksTo(messages)
      const span = this.#start(operation, messages, this.#api.SpanKind.CLIENT, active, { startTime: startedAt, links })
      if (error === undefined) span.end()
      else this.#fail(span, active, operation, error)
    })
  }

  async process<R>(
    operation: Operation,
    messages: readonly Received[],
    run: () => Promise<R>,
    failureOf: (result: R) => unknown,
  ): Promise<R> {
    const begun = safely(() => this.#beginProcess(operation, messages))
    if (!begun) return run()
    const { span, handled } = begun
    const end = (error: unknown) => (error === undefined ? span.end() : this.#fail(span, handled, operation, error))
    try {
      const result = await this.#api.context.with(handled, run)
      end(failureOf(result))
      return result
    } catch (error) {
      end(error)
      throw error
    }
  }

  /** Begins at the root: what was active when the worker was started has nothing to do with the message. */
  #beginProcess(operation: Operation, messages: readonly Received[]) {
    const [message] = messages
    const sender =
      messages.length === 1 && message ? this.#extract(this.#api.ROOT_CONTEXT, message.headers) : this.#api.ROOT_CONTEXT
    const parent = this.#settings.parent ? sender : this.#api.trace.deleteSpan(sender)
    const span = this.#start(operation, messages, this.#api.SpanKind.CONSUMER, parent, {
      links: this.#linksTo(messages),
    })
    const handled = this.#api.trace.setSpan(parent, span)
    for (const { headers } of messages) this.#handled.set(headers, handled)
    return { span, handled }
  }

  #start(
    operation: Named,
    messages: readonly { readonly id?: unknown; readonly meta?: JsonObject; readonly routingKey?: unknown }[],
    kind: SpanKind,
    parent: Context,
    more: { readonly startTime?: number; readonly links?: Link[] } = {},
  ): Span {
    const { name, destination } = operation
    const attributes: Attributes = attributesOf(operation)
    const [message] = messages
    if (messages.length > 1) attributes['messaging.batch.message_count'] = messages.length
    else if (message) {
      const { id, meta, routingKey } = message
      if (typeof id === 'string') attributes['messaging.message.id'] = id
      if (typeof routingKey === 'string') attributes['messaging.tidings.routing_key'] = routingKey
      const conversation = meta?.correlation_id
      if (typeof conversation === 'string') attributes['messaging.message.conversation_id'] = conversation
    }
    const spanName = destination === null ? name : `${name} ${destination}`
    return this.#tracer.startSpan(spanName, { kind, attributes, ...more }, parent)
  }

  #fail(span: Span, around: Context, operation: Operation, error: unknown): void {
    safely(() => {
      span.setAttribute('error.type', errorType(error))
      span.setStatus({ code: this.#api.SpanStatusCode.ERROR, message: describeError(error).message })
      this.#exceptions(operation, error, this.#api.trace.setSpan(around, span), attributesOf(operation))
      span.end()
    })
  }

  #linksTo(messages: readonly Received[]): Link[] {
    return messages.flatMap(({ headers }) => this.#creationIn(headers) ?? [])
  }

  /** What a message was created in, if its sender said so. */
  #creationIn(headers: JsonObject): Link | undefined {
    for (const _ in headers) {
      const found = this.#api.trace.getSpanContext(
        this.#api.propagation.extract(this.#api.ROOT_CONTEXT, headers, headerGetter),
      )
      return found && this.#api.isSpanContextValid(found) ? { context: found } : undefined
    }
    return undefined
  }

  #extract(base: Context, headers: JsonObject): Context {
    return this.#toTravel(this.#api.propagation.extract(base, headers, headerGetter))
  }

  #toTravel(one: Context): Context {
    return this.#settings.baggage ? one : this.#api.propagation.deleteBaggage(one)
  }
}

type Named = Omit<Operation, 'type'> & { readonly type: string }

const attributesOf = (operation: Named): Attributes => ({
  ...labelsOf(operation),
  'messaging.operation.type': operation.type,
})

/** Those of counts. */
function labelsOf({ name, destination, subscription }: Omit<Named, 'type'>): Attributes {
  return {
    'messaging.system.name': systemName,
    'messaging.operation.name': name,
    ...(destination === null ? {} : { 'messaging.destination.name': destination }),
    ...(subscription === undefined ? {} : { 'messaging.destination.subscription.name': subscription }),
  }
}

function metricsObserver({ metrics }: Api): Observer {
  const meter = metrics.getMeter('tidings', version)
  const sent = meter.createCounter('messaging.client.sent.messages', {
    description: 'Messages that were stored.',
    unit: '{message}',
  })
  const consumed = meter.createCounter('messaging.client.consumed.messages', {
    description: 'Messages that were given to readers, once for every time.',
    unit: '{message}',
  })
  const duration = (name: string, description: string) =>
    meter.createHistogram(name, { description, unit: 's', advice: { explicitBucketBoundaries: durationBuckets } })
  const calls = duration('messaging.client.operation.duration', 'How long calls of the storage took.')
  const handling = duration('messaging.process.duration', 'How long handlers took.')
  return (operation) => {
    const { name, type } = operation
    if (type === 'manage') return undefined
    return ({ durationMs, error, count, stored }) => {
      for (const [destination, number] of stored) if (number > 0) sent.add(number, labelsOf({ name, destination }))
      if (type === 'receive' && count > 0) consumed.add(count, labelsOf(operation))
      const failure = error === undefined ? {} : { 'error.type': errorType(error) }
      if (type === 'process') handling.record(durationMs / 1000, { ...labelsOf(operation), ...failure })
      else calls.record(durationMs / 1000, { ...attributesOf(operation), ...failure })
    }
  }
}
