import { Hono, type MiddlewareHandler } from 'hono'
import type { Bus } from 'tidings/internal/bus/bus'
import { systemClock } from 'tidings/internal/core/clock'
import { show, TidingsError } from 'tidings/internal/core/errors'
import { messageBytesOption } from 'tidings/internal/messages/options'
import { fromWord, readDescription } from 'tidings/internal/port/processes'
import { defaultMaxBodyBytes, processHeader, wireError } from 'tidings/internal/protocol/messages'
import { everything } from '../auth/caller.ts'
import { AckBoard } from '../http/ack-board.ts'
import { Claims } from '../http/claims.ts'
import { redact } from '../http/error-redaction.ts'
import { HoldBook } from '../http/hold-book.ts'
import { Holders } from '../http/holders.ts'
import { parseBody, parseQuery } from '../http/input.ts'
import { LeaseBook } from '../http/lease-book.ts'
import { giveBackOf } from '../http/lost-holder.ts'
import { QueueBoard } from '../http/queue-board.ts'
import { type Redacted, unredacted } from '../http/redaction.ts'
import { Repeats } from '../http/repeats.ts'
import {
  type Access,
  type Call,
  type EventSink,
  parametersOf,
  pathParameters,
  type Reply,
  type Route,
} from '../http/route.ts'
import { StreamLimit } from '../http/stream-limit.ts'
import { eventStream } from '../streams/event-stream.ts'
import { ClientConnection } from './client-connection.ts'
import type { AppContext, AppEnv } from './context.ts'
import { legacyTopics } from './legacy-topics.ts'

/** What the server puts around the routes. */
export interface AppHooks {
  /** Comes before everything, in this order. What it throws is answered like an error of a route. */
  readonly before?: readonly MiddlewareHandler<AppEnv>[]
  /**
   * Says what the caller may do, before anything of the request is read or checked. Names are those in the path,
   * unchecked.
   * @throws to refuse
   */
  readonly admit?: (
    context: AppContext,
    needs: Pick<Route, 'scope' | 'isPublic'>,
    names: { readonly queue?: string; readonly topic?: string },
  ) => Access | Promise<Access>
  /** Reads the body. @throws if it is too large */
  readonly readBody?: (context: AppContext) => Promise<Uint8Array>
  /** Told of errors that are not about the input. */
  readonly failed?: (error: unknown, context: AppContext) => void
  /** Told of a holder that is gone, once something that it had was given back. */
  readonly holderLost?: (holder: string, given: { messages: number; subscriptions: number }) => void
  /** Aborted when the server stops: ends what waits and what streams. */
  readonly stopping?: AbortSignal
  /** Left out: no limit. */
  readonly maxEventStreams?: number
  /** How large the data of a message may be. Left out: as large as in a queue. */
  readonly maxMessageBytes?: number
  /** How large bodies may be. Left out: the usual. */
  readonly maxBodyBytes?: number
  /** Whether the old topic server's routes are answered, too. */
  readonly legacyTopics?: boolean
  /** Where a request leads, if that is not its path. */
  readonly pathOf?: (request: Request) => string
  /** What of messages is shown. Left out: all. */
  readonly redacted?: Redacted
  /** What is there beside the routes, and comes before them. */
  readonly beside?: (app: Hono<AppEnv>) => void
}

/** The routes as a Hono app. */
export function createApp(bus: Bus, routes: readonly Route[], hooks: AppHooks = {}): Hono<AppEnv> {
  const app = new Hono<AppEnv>(hooks.pathOf === undefined ? {} : { getPath: hooks.pathOf })
  const streamLimit = new StreamLimit(hooks.maxEventStreams ?? Number.POSITIVE_INFINITY)
  const { maxMessageBytes = messageBytesOption.defaultValue, maxBodyBytes = defaultMaxBodyBytes } = hooks
  const limits = { maxMessageBytes, maxBodyBytes }
  const books = { leases: new LeaseBook(systemClock), holds: new HoldBook(systemClock) }
  const dependencies = {
    bus,
    hooks,
    streamLimit,
    ...limits,
    ...books,
    holders: lookAfter(bus, books, hooks),
    claims: new Claims(),
    extensions: new Repeats<(string | null)[]>(),
    acks: new AckBoard(),
    board: new QueueBoard(bus, systemClock),
    redacted: hooks.redacted ?? unredacted,
  }
  for (const middleware of hooks.before ?? []) app.use(middleware)
  hooks.beside?.(app)
  for (const route of routes)
    app.on(route.method, toHonoPath(route.path), (context) => answer(context, route, dependencies))
  for (const [path, methods] of methodsByPath(routes))
    app.all(path, (context) => {
      context.header('Allow', methods.join(', '))
      throw new TidingsError('METHOD_NOT_ALLOWED', `${context.req.method} is not for ${show(context.req.path)}`, {
        details: { allowed: methods },
      })
    })
  if (hooks.legacyTopics)
    app.all(
      '/:route',
      legacyTopics({
        bus,
        maxMessageBytes,
        admit: async (context, needs) => (await hooks.admit?.(context, needs, {})) ?? everything,
        readBody: async (context) => hooks.readBody?.(context) ?? context.req.bytes(),
        redact: (error, context) => redactAndLog(error, context, hooks),
      }),
    )
  app.notFound((context) => {
    const error = new TidingsError('ROUTE_NOT_FOUND', `there is no ${show(context.req.path)}`)
    return context.json(wireError(error), 404)
  })
  app.onError((error, context) => refuse(error, context, hooks))
  return app
}

function lookAfter(bus: Bus, books: { leases: LeaseBook; holds: HoldBook }, hooks: AppHooks): Holders {
  const lost = async (name: string) => {
    const given = await giveBackOf({ name, bus: bus.stored, ...books, isBack: () => holders.isThere(name) })
    if (given.messages + given.subscriptions > 0) hooks.holderLost?.(name, given)
  }
  const holders = new Holders(systemClock, (name) => void lost(name))
  hooks.stopping?.addEventListener('abort', () => holders.stop(), { once: true })
  return holders
}

const toHonoPath = (path: string) => path.replaceAll(/\{(\w+)\}/g, ':$1')

function methodsByPath(routes: readonly Route[]): Map<string, string[]> {
  const methods = new Map<string, string[]>()
  for (const { method, path } of routes) {
    const known = methods.get(toHonoPath(path)) ?? []
    methods.set(toHonoPath(path), [...known, ...(method === 'GET' ? ['GET', 'HEAD'] : [method])])
  }
  return methods
}

interface Dependencies {
  readonly bus: Bus
  readonly leases: LeaseBook
  readonly holds: HoldBook
  readonly holders: Holders
  readonly claims: Claims
  readonly extensions: Repeats<(string | null)[]>
  readonly acks: AckBoard
  readonly board: QueueBoard
  readonly redacted: Redacted
  readonly streamLimit: StreamLimit
  readonly maxMessageBytes: number
  readonly maxBodyBytes: number
  readonly hooks: AppHooks
}

async function answer(context: AppContext, route: Route, { hooks, ...rest }: Dependencies): Promise<Response> {
  context.set('route', route)
  const raw = context.req.param() as Record<string, string>
  const access = (await hooks.admit?.(context, route, raw)) ?? everything
  const params = Object.fromEntries(
    parametersOf(route.path).map((name) => [name, pathParameters[name].parse(raw[name], name)]),
  )
  const query = parseQuery(route.query, new URL(context.req.url).searchParams)
  const body = route.body === null ? {} : await readBody(context, route.body, hooks)
  context.set('asked', { params, query, body })
  const connection = new ClientConnection(context, access, hooks.stopping)
  const exact = context.req.header('Tidings-Data') === 'text'
  // With the stream that names a client, and no other request.
  const word = context.req.header(processHeader)
  const about = word === undefined ? null : readDescription(fromWord(word))
  const call = { ...rest, access, params, query, body, exact, about, signal: connection.signal } as Call
  try {
    const reply = await rest.bus.telemetry.within(context.req.header(), () => route.handle(call))
    await checkStillGood(route, reply, connection)
    return respond(context, reply, connection, hooks)
  } catch (error) {
    connection.end()
    throw error
  }
}

async function readBody(context: AppContext, schema: NonNullable<Route['body']>, hooks: AppHooks) {
  const bytes = await (hooks.readBody?.(context) ?? context.req.bytes())
  return parseBody(schema, bytes, {
    contentType: context.req.header('Content-Type'),
    contentEncoding: context.req.header('Content-Encoding'),
  })
}

/** A caller whose token ended meanwhile gets no result of waiting. Completed work is answered all the same. */
async function checkStillGood({ method }: Route, reply: Reply, { refusal }: ClientConnection): Promise<void> {
  if (refusal === null || 'run' in reply) return
  const undelivered = 'undelivered' in reply ? reply.undelivered : undefined
  if (method !== 'GET' && undelivered === undefined) return
  // Its leases run out in any case.
  await undelivered?.().catch(() => {})
  throw refusal
}

/** Whoever compresses answers on the way, as Next.js and Express can, would keep events until there are many. */
const eventCaching = 'no-store, no-transform'

function respond(context: AppContext, reply: Reply, connection: ClientConnection, hooks: AppHooks): Response {
  if ('run' in reply) {
    const asEvent = (error: unknown) => wireError(redactAndLog(error, context, hooks))
    // A HEAD has no body.
    if (context.req.method === 'HEAD') connection.leave()
    const run = async (events: EventSink) => {
      await reply.run(events).finally(connection.end)
      if (connection.refusal !== null) throw connection.refusal
    }
    const body = eventStream(run, asEvent, connection)
    return context.body(body, 200, { 'Content-Type': 'text/event-stream', 'Cache-Control': eventCaching })
  }
  if ('text' in reply) {
    connection.end()
    return context.body(reply.text, reply.status as 200, { ...reply.headers, 'Content-Type': reply.type })
  }
  if (reply.undelivered) connection.onLoss(reply.undelivered)
  else connection.end()
  const { status, body } = reply as { status: 200; body?: unknown }
  if (body === undefined) return context.body(null, status)
  const text = typeof body === 'string' ? body : JSON.stringify(body)
  return context.body(text, status, { 'Content-Type': 'application/json' })
}

function refuse(error: unknown, context: AppContext, hooks: AppHooks): Response {
  const known = redactAndLog(error, context, hooks)
  return context.json(wireError(known), known.httpStatus as 500)
}

/** What the client is told of an error; the log has what is kept back. */
function redactAndLog(error: unknown, context: AppContext, hooks: AppHooks): TidingsError {
  const known = redact(error)
  if (known !== error || known.httpStatus >= 500) hooks.failed?.(error, context)
  return known
}
