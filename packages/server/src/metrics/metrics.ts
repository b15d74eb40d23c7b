import { collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'
import type { Bus } from 'tidings/internal/bus/bus'
import { durationBuckets } from 'tidings/internal/port/telemetry'
import type { SentinelFigures } from 'tidings/internal/sentinel/sentinel'
import type { Access } from '../http/route.ts'
import { exposeFigures, type Figures, readFigures } from './queue-figures.ts'
import { exposeSentinel } from './sentinel-figures.ts'

/** How long the figures of the storage count as new. */
const freshMs = 1_000

/** What a process serves as /metrics: what it counts, what its bus counts, and the figures of the storage. */
export class Metrics {
  readonly #registry = new Registry()
  readonly #requests
  readonly #active
  #figures: { readonly at: number; readonly found: Promise<Figures | null> } | undefined

  constructor() {
    const registers = [this.#registry]
    collectDefaultMetrics({ register: this.#registry })
    this.#requests = new Histogram({
      name: 'http_server_request_duration_seconds',
      help: 'How long requests took until their answer began.',
      labelNames: ['http_request_method', 'http_route', 'http_response_status_code'] as const,
      buckets: durationBuckets,
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

  /** What a process with workers counts, without the figures of the storage: these are a server's to tell. */
  async scrapeOwn(bus: Bus | undefined): Promise<string> {
    return `${await this.#registry.metrics()}\n${bus?.metrics() ?? ''}`
  }

  /** All of it as Prometheus reads it, without the queues and topics that the caller may not see. */
  async scrape(bus: Bus, access: Access, now: number, sentinel?: SentinelFigures): Promise<string> {
    if (this.#figures === undefined || now - this.#figures.at >= freshMs)
      this.#figures = { at: now, found: readFigures(bus).catch(() => null) }
    const mayRead = (name: string) => access.allows('read', name)
    const storage = new Registry()
    exposeFigures(await this.#figures.found, storage, mayRead)
    if (sentinel) exposeSentinel(sentinel, storage, mayRead)
    const counted = (await this.scrapeOwn(bus)).split('\n').filter((line) => {
      const name = /(?:messaging_destination_name|queue)="([^"]*)"/.exec(line)?.[1]
      return name === undefined || name === '_OTHER' || mayRead(name)
    })
    return `${counted.join('\n')}\n${await storage.metrics()}`
  }
}

/** A method may be any word. */
const methodOf = (method: string) =>
  ['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH'].includes(method) ? method : '_OTHER'
