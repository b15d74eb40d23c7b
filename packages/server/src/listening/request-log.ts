import type { MiddlewareHandler } from 'hono'
import type { Logger } from 'tidings/internal/core/logger'
import { loggable } from 'tidings/internal/core/message-error'
import type { AppContext, AppEnv } from '../app/context.ts'
import type { Metrics } from '../metrics/metrics.ts'

/** Counts and logs requests: their route and outcome, never their body, query or token. */
export function requestLog(logger: Logger, metrics: Metrics) {
  const middleware: MiddlewareHandler<AppEnv> = async (context, next) => {
    const start = performance.now()
    metrics.requestStarted()
    try {
      await next()
    } finally {
      const { method } = context.req
      const { status } = context.res
      const route = context.get('route')?.path
      const seconds = (performance.now() - start) / 1000
      metrics.requestAnswered(method, route, status, seconds)
      const details = { method, route, status, durationMs: Math.round(seconds * 1000), token: context.get('caller') }
      if (isRefusal(status)) logger.warn(details, 'request refused')
      else logger.debug(details, 'request')
    }
  }
  const failed = (error: unknown, context: AppContext) => {
    const details = { method: context.req.method, route: context.get('route')?.path }
    logger.error({ ...details, err: loggable(error) }, 'request failed')
  }
  return { middleware, failed }
}

export type RequestLog = ReturnType<typeof requestLog>

/** What somebody may try who should not. */
const isRefusal = (status: number) => [401, 403, 421, 429].includes(status)
