import { setMaxListeners } from 'node:events'
import type { Hono, MiddlewareHandler } from 'hono'
import type { Bus } from 'tidings/internal/bus/bus'
import { type Logger, silentLogger } from 'tidings/internal/core/logger'
import { loggable } from 'tidings/internal/core/message-error'
import * as option from 'tidings/internal/core/options'
import { Service } from 'tidings/internal/core/service'
import type { Upkeep } from 'tidings/internal/sentinel/upkeep'
import { admission, byToken } from '../app/admission.ts'
import { createApp } from '../app/app.ts'
import { bodyReader } from '../app/body.ts'
import type { AppEnv } from '../app/context.ts'
import { checkHost, checkOrigin, checkUrl, securityHeaders } from '../app/guards.ts'
import { legacyPaths } from '../app/legacy-topics.ts'
import type { NodeBindings } from '../app/node-bindings.ts'
import { checkReach, isLoopback, type ServerOptions, type ServerSettings, serverOptions } from '../app/options.ts'
import { FileWatch } from '../auth/file-watch.ts'
import type { Token } from '../auth/token.ts'
import { readTokenFile } from '../auth/token-file.ts'
import { Tokens } from '../auth/tokens.ts'
import { makeDashboard } from '../dashboard/handler.ts'
import type { Dashboard } from '../dashboard/options.ts'
import { parseDashboardOptions } from '../dashboard/options.ts'
import { callerIn } from '../http/holders.ts'
import { Metrics } from '../metrics/metrics.ts'
import { allRoutes } from '../routes/all.ts'
import { type SentinelWatch, systemRoutes } from '../routes/system.ts'
import { Listener } from './listener.ts'
import { type RequestLog, requestLog } from './request-log.ts'

/**
 * Serves the queues and topics of a bus over HTTP. It listens once it was started; `fetch` answers requests without
 * that, for applications that have a server of their own: `app.mount('/queues', server.fetch)` in Hono.
 * @param bus stays the application's, who closes it after the server
 * @throws CONFIG_INVALID for tokens that are none; `start` for TLS files that are none, and for an address beyond this
 *   machine without tokens and TLS
 * @example await using server = createServer(bus, { port: 8080 })
 */
export function createServer(bus: Bus, options?: ServerOptions & ServerDependencies): Server {
  const { logger, sentinel, ...own } = options ?? {}
  return new Server(bus, option.parseOptions(serverOptions, own, 'createServer'), { logger, sentinel })
}

/** What of the application a server works with. */
export interface ServerDependencies {
  readonly logger?: Logger | undefined
  /** One of `bus.sentinel`, whose figures `/metrics` shows. */
  readonly sentinel?: SentinelWatch | undefined
}

/** Starts and stops by the contract of all services: `await using` stops it. */
export class Server extends Service {
  readonly #settings: ServerSettings
  readonly #logger: Logger
  readonly #tokens: Tokens
  readonly #stopping = new AbortController()
  /** What came in by its own listener. */
  readonly #received = new WeakSet<Request>()
  readonly #metrics = new Metrics()
  readonly #app: Hono<AppEnv>
  readonly #dashboard: Dashboard | null
  readonly #files: FileWatch
  /** Clients may have no right to do it. */
  readonly #upkeep: Upkeep
  #listener: Listener | undefined

  constructor(bus: Bus, settings: ServerSettings, { logger = silentLogger, sentinel }: ServerDependencies) {
    super()
    this.#settings = settings
    this.#logger = logger
    // One listens for every request that waits.
    setMaxListeners(0, this.#stopping.signal)
    const areNeeded = settings.tokenFile !== null || settings.tokens.length > 0
    this.#tokens = new Tokens(this.#readTokens(), areNeeded)
    const log = requestLog(logger, this.#metrics)
    const before = this.#guards(log)
    this.#app = this.#createApp(bus, sentinel, log, before)
    this.#dashboard = settings.dashboard ? this.#createDashboard(bus, before) : null
    this.#upkeep = bus.stored.upkeep(logger)
    const { tokenFile, tlsCert, tlsKey } = settings
    const files = [tokenFile, tlsCert, tlsKey].filter((file) => file !== null)
    this.#files = new FileWatch(files, () => this.reload())
  }

  /** Answers a request, as Bun, Deno, Next and Hono want it. */
  readonly fetch = (request: Request, bindings?: NodeBindings): Response | Promise<Response> =>
    this.#dashboard !== null && isOfDashboard(request)
      ? this.#dashboard(request, bindings)
      : this.#app.fetch(request, (bindings ?? {}) as AppEnv['Bindings'])

  /**
   * Where it listens: 'http://127.0.0.1:8080'. Empty before it was started.
   * @example console.log(`listening on ${server.url}`)
   */
  get url(): string {
    return this.#listener?.address ?? ''
  }

  /** Whether requests need a token. */
  get needsTokens(): boolean {
    return this.#tokens.areNeeded
  }

  /**
   * Reads the tokens and the certificate again. What is wrong with them is logged, and the old ones stay.
   * @example await server.reload()
   */
  reload(): void {
    this.#attempt('tokens', () => {
      const tokens = this.#readTokens()
      checkReach(this.#settings, tokens.length > 0)
      this.#tokens.replace(tokens)
    })
    this.#attempt('certificate', () => this.#listener?.reloadCertificate())
  }

  #attempt(what: string, load: () => void): void {
    try {
      load()
      this.#logger.info({}, `read the ${what} again`)
    } catch (error) {
      this.#logger.error({ err: loggable(error) }, `the old ${what} stay: ${(error as Error).message}`)
    }
  }

  #readTokens(): Token[] {
    const { tokens, tokenFile } = this.#settings
    return [...tokens, ...(tokenFile === null ? [] : readTokenFile(tokenFile))]
  }

  /** What stands before everything that it answers. */
  #guards({ middleware }: RequestLog): MiddlewareHandler<AppEnv>[] {
    const { host, hosts, tlsCert } = this.#settings
    const known = new Set([...hosts, host.toLowerCase(), 'localhost', '127.0.0.1', '[::1]'])
    // A server that is mounted in another one is called what that is called.
    const hasNames = hosts.length > 0 || isLoopback(host)
    const isOwn = (request: Request) => this.#received.has(request)
    return [middleware, securityHeaders(tlsCert !== null), checkUrl, ...(hasNames ? [checkHost(known, isOwn)] : [])]
  }

  #createDashboard(bus: Bus, before: readonly MiddlewareHandler<AppEnv>[]): Dashboard {
    const { maxBodyBytes, maxMessageBytes, maxEventStreams } = this.#settings
    const settings = parseDashboardOptions({ maxBodyBytes, maxMessageBytes, maxEventStreams })
    return makeDashboard(bus, settings, { logger: this.#logger, tokens: this.#tokens, before, place: dashboardPath })
  }

  #createApp(
    bus: Bus,
    sentinel: SentinelWatch | undefined,
    log: RequestLog,
    before: readonly MiddlewareHandler<AppEnv>[],
  ): Hono<AppEnv> {
    const { origins, maxBodyBytes, maxMessageBytes, maxEventStreams, legacyTopics } = this.#settings
    const metrics = this.#metrics
    // From now on it counts.
    bus.metrics()
    const stopping = this.#stopping.signal
    const dependencies = { metrics, stopping, sentinel, needsTokens: () => this.needsTokens }
    return createApp(bus, [...allRoutes, ...systemRoutes(bus, dependencies, allRoutes)], {
      before: [...before, checkOrigin(new Set(origins), legacyTopics ? legacyPaths : new Set())],
      admit: admission(byToken(this.#tokens)),
      readBody: bodyReader(maxBodyBytes),
      failed: log.failed,
      holderLost: (holder, given) =>
        this.#logger.warn({ token: callerIn(holder), ...given }, 'a client is gone; what it had was given back'),
      stopping,
      maxEventStreams,
      maxMessageBytes,
      maxBodyBytes,
      legacyTopics,
    })
  }

  /** @throws LISTEN_FAILED */
  protected async onStart(): Promise<void> {
    checkReach(this.#settings, this.#tokens.size > 0)
    this.#listener = new Listener(this.#settings, (request, bindings) => {
      this.#received.add(request)
      return this.fetch(request, bindings)
    })
    await this.#listener.start()
    await Promise.all([this.#files.start(), this.#upkeep.start()])
  }

  /** Takes nothing new, ends what waits and what streams, and finishes the rest. */
  protected async onStop(): Promise<void> {
    this.#stopping.abort()
    await Promise.all([this.#dashboard?.stop(), this.#listener?.stop(), this.#files.stop(), this.#upkeep.stop()])
  }
}

const dashboardPath = '/dashboard'

/** By the path before anything of it is decoded. */
function isOfDashboard({ url }: Request): boolean {
  const { pathname } = new URL(url)
  return pathname === dashboardPath || pathname.startsWith(`${dashboardPath}/`)
}
