import type { Bus } from 'tidings/internal/bus/bus'
import { type Clock, systemClock } from 'tidings/internal/core/clock'
import { TidingsError } from 'tidings/internal/core/errors'
import * as option from 'tidings/internal/core/options'
import { version } from 'tidings/internal/core/version'
import type { SentinelFigures } from 'tidings/internal/sentinel/sentinel'
import { docsPage, docsParts } from '../http/docs-page.ts'
import { openApiDocument } from '../http/openapi.ts'
import { type Reply, type Route, route } from '../http/route.ts'
import { storageProbe } from '../http/storage-probe.ts'
import type { Metrics } from '../metrics/metrics.ts'

const status = { status: option.text("'ok'", { default: null }) }
const ready = {
  200: { description: 'It answers.', fields: status },
  503: { description: 'It does not, or the server stops.' },
}

export interface SystemDependencies {
  readonly metrics: Metrics
  readonly stopping: AbortSignal
  readonly sentinel: SentinelWatch | undefined
  readonly clock?: Clock
  needsTokens(): boolean
}

/** A sentinel that runs in this process. */
export interface SentinelWatch {
  figures(): SentinelFigures
}

/** What is there beside queues and topics: probes, metrics and the documentation of all routes. */
export function systemRoutes(bus: Bus, dependencies: SystemDependencies, others: readonly Route[]): Route[] {
  const { metrics, stopping, sentinel, clock = systemClock } = dependencies
  const isReady = readiness(bus, stopping, clock)
  const probe = (
    name: string,
    path: string,
    summary: string,
    answers: Route['answers'],
    handle: () => Promise<Reply>,
  ) => route({ name, method: 'GET', path, tag: 'System', summary, scope: null, isPublic: true, answers, handle })
  const alive = { 200: { description: 'It does.', fields: status } }
  const healthy = {
    200: {
      description: 'It does.',
      fields: {
        ...status,
        version: option.text('Of Tidings.', { default: null }),
        auth: option.text("'enabled' if requests need a token, else 'disabled'", { default: null }),
      },
    },
  }
  const health = async () => {
    return { status: 200, body: { status: 'ok', version, auth: dependencies.needsTokens() ? 'enabled' : 'disabled' } }
  }
  const routes: Route[] = [
    probe('isAlive', '/livez', 'Whether the process answers', alive, async () => ({
      status: 200,
      body: { status: 'ok' },
    })),
    probe('isReady', '/readyz', 'Whether the storage answers', ready, isReady),
    probe('getHealth', '/health', 'As /livez, for clients of PGMQ', healthy, health),
    probe('getHealthV1', '/v1/health', 'As /livez, for clients of PGMQ', healthy, health),
    probe('getReady', '/ready', 'As /readyz, for clients of PGMQ', ready, isReady),
    probe('getReadyV1', '/v1/ready', 'As /readyz, for clients of PGMQ', ready, isReady),
    route({
      name: 'getPrometheusMetrics',
      method: 'GET',
      path: '/metrics',
      tag: 'System',
      summary: 'Figures for Prometheus',
      scope: 'read',
      answers: { 200: { description: 'In its text format.', type: metrics.contentType } },
      handle: async ({ bus: own, access }) => {
        return {
          status: 200,
          type: metrics.contentType,
          text: await metrics.scrape(own, access, clock.now(), sentinel?.figures()),
        }
      },
    }),
    probe(
      'getOpenApi',
      '/openapi.json',
      'This description of all routes',
      { 200: { description: 'An OpenAPI document.', type: 'application/json' } },
      async () => ({ status: 200, type: 'application/json', text: description }),
    ),
    probe(
      'getRoot',
      '/',
      'Leads to the documentation',
      { 302: { description: 'To /docs.', type: 'text/plain' } },
      async () => {
        // Relative, since the server may be mounted below a path.
        return { status: 302, type: 'text/plain', text: 'See docs\n', headers: { Location: 'docs' } }
      },
    ),
    probe(
      'getDocs',
      '/docs',
      'The same for people',
      { 200: { description: 'A page.', type: 'text/html' } },
      async () => docsPage,
    ),
  ]
  const description = JSON.stringify(openApiDocument([...others, ...routes]))
  const parts = docsParts.map(({ name, type, handle }) =>
    probe('', `/docs/${name}`, 'A part of that page', { 200: { description: 'As it is.', type } }, handle),
  )
  return [...routes, ...parts]
}

/** Whether the storage answers, and the server goes on. */
function readiness(bus: Bus, stopping: AbortSignal, clock: Clock): () => Promise<Reply> {
  const storageAnswers = storageProbe(bus, clock)
  return async () => {
    if (stopping.aborted) throw new TidingsError('STOPPED', 'the server stops', { hint: 'Ask another one.' })
    await storageAnswers()
    return { status: 200, body: { status: 'ok' } }
  }
}
