import type { IncomingMessage, ServerResponse } from 'node:http'
import { TidingsError } from 'tidings/internal/core/errors'
import type { Logger } from 'tidings/internal/core/logger'
import * as option from 'tidings/internal/core/options'
import { serverOptions } from '../app/options.ts'
import type { Redact } from '../http/redaction.ts'

/** The dashboard as servers of Node call it. */
export type NodeHandler = (incoming: IncomingMessage, outgoing: ServerResponse) => Promise<void>

/** Answers requests for the dashboard, under whatever path they come. */
export interface Dashboard extends AsyncDisposable {
  /** As Hono, Next.js, Bun and Deno want it. @param bindings what Hono's server for Node hands over: `c.env` */
  (request: Request, bindings?: unknown): Promise<Response>
  /** The same as Express, NestJS, Fastify and `node:http` want it. */
  readonly node: NodeHandler
  /** Ends what streams. The bus stays the application's. */
  stop(): Promise<void>
}

/** Who looks at the dashboard, by the application's own log-in. */
export interface Viewer {
  /** Stands in the log beside each action, and on the page. */
  readonly who: string
  /** May look, and change nothing. */
  readonly readOnly?: boolean
}

/**
 * Says who asks. Null: nobody who may (401). A response is given as it is: one that leads to the log-in, for example.
 * It is asked at every request, and that of the document and its scripts too.
 */
export type Authorize = (request: Request) => Viewer | Response | null | Promise<Viewer | Response | null>

export const dashboardOptions = {
  readOnly: option.boolean('Shows everything and changes nothing, whoever asks.', { default: false }),
  authorize: option.value<Authorize, Authorize | null>(
    'The log-in of the application: says who asks. Left out: tokens, or else everybody on this machine.',
    {
      default: null,
      defaultText: 'none',
      typeText: 'function',
      parse: (value, path) => checkFunction<Authorize>(value, path, '(request) => ({ who })'),
    },
  ),
  redact: option.value<Redact, Redact | null>(
    'Replaces data, headers and meta of every message before it is shown or searched.',
    {
      default: null,
      defaultText: 'shows all',
      typeText: 'function',
      parse: (value, path) => checkFunction<Redact>(value, path, '(message) => ({ data })'),
    },
  ),
  tokens: { ...serverOptions.tokens, defaultText: 'none' },
  tokenFile: { ...serverOptions.tokenFile, doc: 'A file with further tokens, one a line, read once.' },
  basePath: {
    ...option.text(
      "The path under which browsers see it, where the framework hides that: it cuts the path off, or takes the slash from its end ('/admin/queues').",
      { default: null, check: checkBasePath },
    ),
    defaultText: 'found out from each request',
  },
  hosts: {
    ...serverOptions.hosts,
    doc: 'The names by which browsers address it; others are refused.',
    defaultText: 'any; without tokens and `authorize` only those of this machine',
  },
  maxBodyBytes: serverOptions.maxBodyBytes,
  maxMessageBytes: serverOptions.maxMessageBytes,
  maxEventStreams: serverOptions.maxEventStreams,
} as const

const { host, tokenFile, tlsCert, tlsKey, behindProxy, hosts } = serverOptions

/** Of `tidings dashboard`. */
export const dashboardServerOptions = {
  host,
  port: { ...serverOptions.port, defaultValue: 8090, defaultText: '8090' },
  readOnly: dashboardOptions.readOnly,
  tokenFile,
  tlsCert,
  tlsKey,
  behindProxy,
  hosts,
} as const

export type DashboardSettings = option.OptionsOutput<typeof dashboardOptions>
export type DashboardOptions = option.OptionsInput<typeof dashboardOptions> & {
  /** Gets a line for every action: who, what, and what became of it. */
  readonly logger?: Logger | undefined
}

/** @throws CONFIG_INVALID for `authorize` beside tokens, and what the options throw */
export function parseDashboardOptions(options: object): DashboardSettings {
  const settings = option.parseOptions(dashboardOptions, options, 'dashboard')
  if (settings.authorize !== null && (settings.tokens.length > 0 || settings.tokenFile !== null))
    throw new TidingsError('OPTION_CONFLICT', 'dashboard has both `authorize` and tokens', {
      details: { field: 'authorize' },
    })
  return settings
}

function checkFunction<T>(value: unknown, path: string, expected: string): T {
  if (typeof value !== 'function') throw option.typeError(path, value, `a function: ${expected}`)
  return value as T
}

function checkBasePath(value: string, path: string): void {
  if (/^(\/[\w.~%-]+)+$/.test(value) && !/\/\.\.?(\/|$)/.test(value)) return
  throw option.typeError(path, value, "a path with a slash at its start and none at its end: '/admin/queues'")
}
