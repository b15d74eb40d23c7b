import type { Bus } from 'tidings/internal/bus/bus'
import { type Clock, systemClock } from 'tidings/internal/core/clock'
import { isTidingsError, TidingsError } from 'tidings/internal/core/errors'
import * as option from 'tidings/internal/core/options'
import { version } from 'tidings/internal/core/version'
import type { SentinelFigures } from 'tidings/internal/sentinel/sentinel'
import { docsPage } from '../http/docs-page.ts'
import { openApiDocument } from '../http/openapi.ts'
import { type Reply, type Route, route } from '../http/route.ts'
import type { Metrics } from '../metrics/metrics.ts'

/** How long the storage may take to answer a probe. */
const patienceMs = 2_000
/** Probes need no token, so that they must not be a way to load the storage. */
const freshMs = 500

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
  const probe = (path: string, summary: string, answers: Route['answers'], handle: () => Promise<Reply>) =>
    route({ method: 'GET', path, tag: 'System', summary, scope: null, isPublic: true, answers, handle })
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
  const routes = [
    probe('/livez', 'Whether the process answers', alive, async () => ({ status: 200, body: { status: 'ok' } })),
    probe('/readyz', 'Whether the storage answers', ready, isReady),
    probe('/health', 'As /livez, for clients of PGMQ', healthy, health),
    probe('/v1/health', 'As /livez, for clients of PGMQ', healthy, health),
    probe('/ready', 'As /readyz, for clients of PGMQ', ready, isReady),
    probe('/v1/ready', 'As /readyz, for clients of PGMQ', ready, isReady),
    route({
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
      '/openapi.json',
      'This description of all routes',
      { 200: { description: 'An OpenAPI document.', type: 'application/json' } },
      async () => ({ status: 200, type: 'application/json', text: description }),
    ),
    probe('/', 'Leads to the documentation', { 302: { description: 'To /docs.', type: 'text/plain' } }, async () => {
      // Relative, since the server may be mounted below a path.
      return { status: 302, type: 'text/plain', text: 'See docs\n', headers: { Location: 'docs' } }
    }),
    probe('/docs', 'The same for people', { 200: { description: 'A page.', type: 'text/html' } }, async () => page),
  ]
  const document = openApiDocument([...others, ...routes])
  const description = JSON.stringify(document)
  const page = { status: 200, ...docsPage(document) }
  return routes
}

/** Answers probes at the same time by one look at the storage. */
function readiness(bus: Bus, stopping: AbortSignal, clock: Clock): () => Promise<Reply> {
  let last: { readonly at: number; readonly answer: Promise<unknown> } | undefined
  return async () => {
    if (stopping.aborted) throw new TidingsError('STOPPED', 'the server stops', { hint: 'Ask another one.' })
    if (last === undefined || clock.now() - last.at >= freshMs) {
      const answer = inTime(bus.queues(), clock)
      answer.catch(() => {})
      last = { at: clock.now(), answer }
    }
    try {
      await last.answer
    } catch (error) {
      if (isTidingsError(error) && error.httpStatus === 503) throw error
      const code = isTidingsError(error) ? error.code : 'an unexpected error'
      throw new TidingsError('CONNECTION_LOST', `the storage does not answer as it should: ${code}`)
    }
    return { status: 200, body: { status: 'ok' } }
  }
}

function inTime<T>(answer: Promise<T>, clock: Clock): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = clock.after(patienceMs, () =>
      reject(new TidingsError('CONNECTION_LOST', `the storage did not answer within ${patienceMs} ms`)),
    )
    answer.then(resolve, reject).finally(() => timer.cancel())
  })
}
