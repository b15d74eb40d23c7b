import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'
import type { Bus } from 'tidings/internal/bus/bus'
import { isTidingsError } from 'tidings/internal/core/errors'
import type { Observer, Operation, Outcome } from 'tidings/internal/port/telemetry'
import type { SentinelFigures } from 'tidings/internal/sentinel/sentinel'
import type { Access } from '../http/route.ts'
import { exposeFigures, type Figures, readFigures } from './queue-figures.ts'
import { exposeSentinel } from './sentinel-figures.ts'

/** In seconds; those that OpenTelemetry advises for messaging. */
const buckets = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10]
/** Queues beyond these are counted together, so that their number does not fill the memory. */
const maxDestinations = 1_000
const otherDestination = '_OTHER'
const system = 'tidings'
/** How long the figures of the storage count as new. */
const freshMs = 1_000

/** What the server counts, in the names that OpenTelemetry's have in Prometheus, and the figures of the storage. */
export class Metrics {
  readonly #registry = new Registry()
  readonly #destinations = new Set<string>()
  readonly #sent
  readonly #consumed
  readonly #operations
  readonly #requests
  readonly #active
  #figures: { readonly at: number; readonly found: Promise<Figures | null> } | undefined

  constructor() {
    const registers = [this.#registry]
    collectDefaultMetrics({ register: this.#registry })
    const labels = ['messaging_system_name', 'messaging_operation_name', 'messaging_destination_name'] as const
    this.#sent = new Counter({
      name: 'messaging_client_sent_messages_total',
      help: 'Messages that were stored by this process.',
      labelNames: labels,
      registers,
    })
    this.#consumed = new Counter({
      name: 'messaging_client_consumed_messages_total',
      help: 'Messages that were given to readers by this process, once for every time.',
      labelNames: labels,
      registers,
    })
    this.#operations = new Histogram({
      name: 'messaging_client_operation_duration_seconds',
      help: 'How long calls of the storage took.',
      labelNames: [...labels, 'messaging_operation_type', 'error_type'] as const,
      buckets,
      registers,
    })
    this.#requests = new Histogram({
      name: 'http_server_request_duration_seconds',
      help: 'How long requests took until their answer began.',
      labelNames: ['http_request_method', 'http_route', 'http_response_status_code'] as const,
      buckets,
      registers,
    })
    this.#active = new Gauge({
      name: 'http_server_active_requests',
      help: 'Requests without an answer so far.',
      registers,
    })
  }

  get contentType(): string {
    return this.#registry.contentType
  }

  /** Counts what sends, receives or settles messages. */
  readonly observer: Observer = (operation) =>
    operation.type === 'manage' ? undefined : (outcome) => this.#note(operation, outcome)

  #note({ name, type, destination }: Operation, { durationMs, error, count, stored }: Outcome): void {
    const labels = { messaging_system_name: system, messaging_operation_name: name }
    for (const [queue, number] of stored)
      this.#sent.inc({ ...labels, messaging_destination_name: this.#destination(queue) }, number)
    const own = error === undefined ? this.#destination(destination ?? '') : this.#known(destination ?? '')
    const ownLabels = { ...labels, messaging_destination_name: own }
    if (type === 'receive') this.#consumed.inc(ownLabels, count)
    const errorType = error === undefined ? {} : { error_type: isTidingsError(error) ? error.code : otherDestination }
    this.#operations.observe({ ...ownLabels, messaging_operation_type: type, ...errorType }, durationMs / 1000)
  }

  #destination(name: string): string {
    if (this.#destinations.size < maxDestinations) this.#destinations.add(name)
    return this.#known(name)
  }

  /** A name that failed may be one that somebody made up. */
  #known(name: string): string {
    return this.#destinations.has(name) ? name : otherDestination
  }

  requestStarted(): void {
    this.#active.inc()
  }

  /** @param route its path in the table of routes; undefined where there is none */
  requestAnswered(method: string, route: string | undefined, status: number, seconds: number): void {
    this.#active.dec()
    this.#requests.observe(
      { http_request_method: methodOf(method), http_route: route ?? '', http_response_status_code: status },
      seconds,
    )
  }

  /** All of it as Prometheus reads it, without the queues and topics that the caller may not see. */
  async scrape(bus: Bus, access: Access, now: number, sentinel?: SentinelFigures): Promise<string> {
    if (this.#figures === undefined || now - this.#figures.at >= freshMs)
      this.#figures = { at: now, found: readFigures(bus).catch(() => null) }
    const mayRead = (name: string) => access.allows('read', name)
    const storage = new Registry()
    exposeFigures(await this.#figures.found, storage, mayRead)
    if (sentinel) exposeSentinel(sentinel, storage, mayRead)
    const counted = (await this.#registry.metrics()).split('\n').filter((line) => {
      const name = /messaging_destination_name="([^"]*)"/.exec(line)?.[1]
      return name === undefined || name === otherDestination || mayRead(name)
    })
    return `${counted.join('\n')}\n${await storage.metrics()}`
  }
}

/** A method may be any word. */
const methodOf = (method: string) =>
  ['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH'].includes(method) ? method : '_OTHER'
