import type { Bus } from 'tidings/internal/bus/bus'
import { type Logger, silentLogger } from 'tidings/internal/core/logger'
import * as option from 'tidings/internal/core/options'
import { Service } from 'tidings/internal/core/service'
import { checkHost, checkUrl, securityHeaders } from '../app/guards.ts'
import { checkReach, isLoopback, serverOptions } from '../app/options.ts'
import { newToken, parseToken } from '../auth/token.ts'
import { readTokenFile } from '../auth/token-file.ts'
import { Tokens } from '../auth/tokens.ts'
import { makeDashboard } from '../dashboard/handler.ts'
import type { Dashboard } from '../dashboard/options.ts'
import { dashboardServerOptions, parseDashboardOptions } from '../dashboard/options.ts'
import { Listener } from './listener.ts'

/** The dashboard alone, with nothing beside it. Beyond this machine it needs a token, and makes one if there is none. */
export class DashboardServer extends Service {
  readonly #listener: Listener
  readonly #dashboard: Dashboard
  readonly #token: string | null

  /** @throws CONFIG_INVALID for files that are none, and for an address beyond this machine without TLS */
  constructor(bus: Bus, given: option.OptionsInput<typeof dashboardServerOptions>, logger: Logger = silentLogger) {
    super()
    const { readOnly, ...reach } = option.parseOptions(dashboardServerOptions, given, 'dashboard')
    const settings = { ...option.parseOptions(serverOptions, {}, 'dashboard'), ...reach }
    const known = reach.tokenFile === null ? [] : readTokenFile(reach.tokenFile)
    const isNeeded = !isLoopback(reach.host) || reach.behindProxy
    const made = isNeeded && reach.tokenFile === null ? newToken() : null
    this.#token = made?.token ?? null
    const scopes = readOnly ? (['read'] as const) : (['read', 'send', 'receive', 'admin'] as const)
    const tokens = made ? [parseToken({ name: 'dashboard', hash: made.hash, scopes: [...scopes] }, 'token')] : known
    checkReach(settings, tokens.length > 0)
    const names = new Set([...reach.hosts, reach.host.toLowerCase(), 'localhost', '127.0.0.1', '[::1]'])
    const before = [
      securityHeaders(reach.tlsCert !== null),
      checkUrl,
      ...(isLoopback(reach.host) || reach.hosts.length > 0 ? [checkHost(names, () => true)] : []),
    ]
    const areNeeded = made !== null || reach.tokenFile !== null
    const own = { logger, tokens: new Tokens(tokens, areNeeded), before, place: '' }
    this.#dashboard = makeDashboard(bus, parseDashboardOptions({ readOnly }), own)
    this.#listener = new Listener(settings, this.#dashboard)
  }

  /** What to open; with the token behind the `#`, which browsers send to nobody. */
  get url(): string {
    return `${this.#listener.address}/${this.#token === null ? '' : `#token=${this.#token}`}`
  }

  /** @throws LISTEN_FAILED */
  protected override onStart(): Promise<void> {
    return this.#listener.start()
  }

  protected override async onStop(): Promise<void> {
    await Promise.all([this.#dashboard.stop(), this.#listener.stop()])
  }
}
