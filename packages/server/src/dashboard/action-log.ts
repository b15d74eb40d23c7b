import type { MiddlewareHandler } from 'hono'
import type { Logger } from 'tidings/internal/core/logger'
import type { AppContext, AppEnv } from '../app/context.ts'

/** Texts of a body that say what is done. What is in messages stands in no log. */
const telling = new Set(['to', 'reason', 'note', 'error', 'ids', 'name', 'settings'])
const mostIds = 20

/** A line for each action and each refusal: who, what, and what became of it. */
export const actionLog =
  (logger: Logger): MiddlewareHandler<AppEnv> =>
  async (context, next) => {
    await next()
    const { method } = context.req
    const { status } = context.res
    const isRefused = [401, 403, 421, 429].includes(status)
    const isAction =
      method !== 'GET' && method !== 'HEAD' && context.get('route')?.scope !== 'read' && !isPreview(context)
    if (!isRefused && !isAction) return
    const details = {
      who: context.get('caller') ?? null,
      action: context.get('route')?.name ?? null,
      method,
      ...what(context),
      status,
    }
    if (isRefused) logger.warn(details, 'dashboard: refused')
    else if (status >= 400) logger.warn(details, 'dashboard: action failed')
    else logger.info(details, 'dashboard: action')
  }

function what(context: AppContext): object {
  const asked = context.get('asked')
  if (asked === undefined) return { path: context.req.path }
  const told = Object.entries(asked.body)
    .filter(([name, value]) => value !== null && (telling.has(name) || ['number', 'boolean'].includes(typeof value)))
    .map(([name, value]) => [name, Array.isArray(value) ? value.slice(0, mostIds) : value])
  return { ...asked.params, ...Object.fromEntries(told) }
}

/** What would be done is asked for anew while one types. */
function isPreview(context: AppContext): boolean {
  const body: { readonly dry_run?: unknown } = context.get('asked')?.body ?? {}
  return body.dry_run === true
}
