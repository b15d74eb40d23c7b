import { setMaxListeners } from 'node:events'
import type { MiddlewareHandler } from 'hono'
import type { Bus } from 'tidings/internal/bus/bus'
import { type Logger, silentLogger } from 'tidings/internal/core/logger'
import { loggable } from 'tidings/internal/core/message-error'
import { version } from 'tidings/internal/core/version'
import { admission } from '../app/admission.ts'
import { createApp } from '../app/app.ts'
import { bodyReader } from '../app/body.ts'
import type { AppContext, AppEnv } from '../app/context.ts'
import { checkHost, checkUrl, securityHeaders } from '../app/guards.ts'
import type { NodeBindings } from '../app/node-bindings.ts'
import type { Tokens } from '../auth/tokens.ts'
import { redactedBy, unredacted } from '../http/redaction.ts'
import { scopes } from '../http/route.ts'
import { allRoutes } from '../routes/all.ts'
import { actionLog } from './action-log.ts'
import { changesNothing } from './callers.ts'
import { Entrance } from './entrance.ts'
import { checkSource, documentPolicy } from './guards.ts'
import { nodeHandler } from './node.ts'
import type { Dashboard, DashboardSettings } from './options.ts'
import { answerPage, Pages } from './pages.ts'
import { documentPath, pathWithin, sessionPath, withoutSlashPath } from './paths.ts'

/** What a server around it shares with it. */
export interface DashboardSurroundings {
  readonly logger?: Logger | undefined
  readonly tokens: Tokens
  /** The path at which the server has it; null: at any. */
  readonly place?: string | null
  /** What it does before everything. Left out: what a server must. */
  readonly before?: readonly MiddlewareHandler<AppEnv>[]
}

export function makeDashboard(
  bus: Bus,
  settings: DashboardSettings,
  { logger = silentLogger, tokens, before, place = settings.basePath }: DashboardSurroundings,
): Dashboard {
  const { basePath, hosts, redact, maxBodyBytes, maxMessageBytes, maxEventStreams } = settings
  let read: Pages | undefined
  // Who never looks at them need not have built them.
  const pages = () => (read ??= new Pages(basePath))
  const entrance = new Entrance(settings, tokens)
  const stopping = new AbortController()
  // One listens for every request that waits.
  setMaxListeners(0, stopping.signal)
  const app = createApp(bus, allRoutes, {
    pathOf: (request) => pathWithin(new URL(request.url).pathname, place, basePath !== null),
    before: [
      ...(before ?? [securityHeaders(false), checkUrl]),
      actionLog(logger),
      ...(hosts.length > 0 ? [checkHost(new Set(hosts), () => true)] : []),
    ],
    beside(app) {
      app.get(documentPath, entrance.forDocument, (context) => {
        context.header('Content-Security-Policy', documentPolicy)
        return answerPage(context, pages().document, 'no-cache')
      })
      app.get(withoutSlashPath, entrance.forDocument, (context) => {
        // Relative: what is in front may have cut off the path before.
        const { pathname, search } = new URL(context.req.url)
        return context.redirect(`${pathname.slice(pathname.lastIndexOf('/') + 1)}/${search}`, 308)
      })
      app.get('/assets/:name', entrance.forDocument, (context, next) => {
        const page = pages().asset(context.req.param('name'))
        return page === undefined
          ? next()
          : Promise.resolve(answerPage(context, page, 'public, max-age=31536000, immutable'))
      })
      const guard = checkSource(() => entrance.isGuarded)
      app.get(sessionPath, guard, (context) => session(context, entrance, bus))
      app.use('/v1', guard, entrance.forCalls)
      app.use('/v1/*', guard, entrance.forCalls)
    },
    admit: admission((context) => context.get('access')!),
    readBody: bodyReader(maxBodyBytes),
    failed: (error, context) =>
      logger.error({ route: context.get('route')?.path, err: loggable(error) }, 'dashboard: request failed'),
    redacted: redact === null ? unredacted : redactedBy(redact),
    stopping: stopping.signal,
    maxEventStreams,
    maxMessageBytes,
    maxBodyBytes,
  })
  const handler = async (request: Request, bindings?: unknown) =>
    app.fetch(request, bindingsIn(bindings) as AppEnv['Bindings'])
  const stop = async () => stopping.abort()
  return Object.assign(handler, { node: nodeHandler(handler), stop, [Symbol.asyncDispose]: stop })
}

/** Frameworks pass other things in its place. */
function bindingsIn(given: unknown): NodeBindings | object {
  const isNode = typeof given === 'object' && given !== null && 'incoming' in given && 'outgoing' in given
  return isNode ? given : {}
}

/** What the page has to know before all else. */
async function session(context: AppContext, entrance: Entrance, bus: Bus): Promise<Response> {
  const caller = await entrance.forSession(context)
  if (caller instanceof Response) return caller
  if (caller === null) return context.json({ who: null, readOnly: true, needsToken: true, version })
  const { name, supports } = bus.stored.storage
  return context.json({
    who: caller.name,
    readOnly: changesNothing(caller),
    needsToken: false,
    scopes: scopes.filter((scope) => caller.has(scope)),
    version,
    storage: { engine: name, supports: [...supports].sort() },
  })
}
