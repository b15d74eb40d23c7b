import { show, TidingsError } from 'tidings/internal/core/errors'
import * as option from 'tidings/internal/core/options'
import { messageBytesOption } from 'tidings/internal/messages/options'
import { defaultMaxBodyBytes } from 'tidings/internal/protocol/messages'
import { parseToken, type Token, type TokenOptions } from '../auth/token.ts'

/** How the server may be reached, and by whom; in the configuration file below `serve`. */
const reachOptions = {
  host: option.text('The address to listen on.', { default: '127.0.0.1' }),
  port: option.integer('The port to listen on; 0 for any that is free.', { default: 8080, min: 0, max: 65_535 }),
  tokens: option.value<readonly TokenOptions[], readonly Token[]>('Who may do what.', {
    default: [],
    defaultText: 'none: everybody on this machine may do everything',
    typeText: 'array of tokens',
    parse: parseTokens,
  }),
  tokenFile: option.text('A file with further tokens, one a line. It is read again when it changes.', {
    default: null,
  }),
  tlsCert: option.text('The certificate chain for TLS, a PEM file. It is read again when it changes.', {
    default: null,
  }),
  tlsKey: option.text('The private key of the certificate, a PEM file.', { default: null }),
  behindProxy: option.boolean('Something in front of this server does TLS, so that it may be reached without.', {
    default: false,
  }),
  hosts: option.value<readonly string[], readonly string[]>(
    'Further names by which clients address the server; others are refused.',
    { default: [], defaultText: 'on loopback only its own, else any', typeText: 'array of names', parse: parseHosts },
  ),
  origins: option.value<readonly string[], readonly string[]>('Web pages of these origins may use the server (CORS).', {
    default: [],
    defaultText: 'none',
    typeText: "array of origins: 'https://example.org'",
    parse: parseOrigins,
  }),
} as const

/** What a request may cost. */
const limitOptions = {
  maxBodyBytes: option.integer('The largest body of a request.', {
    default: defaultMaxBodyBytes,
    min: 1_024,
    max: 268_435_456,
  }),
  maxMessageBytes: {
    ...messageBytesOption,
    doc: 'The largest data of a message, in bytes of JSON, whatever `maxMessageBytes` of its queue or topic is.',
  },
  maxConnections: option.integer('How many connections may be open; further ones are closed at once.', {
    default: 1_000,
    min: 1,
    max: 1_000_000,
  }),
  maxEventStreams: option.integer('How many of them may be streams of the events of queues.', {
    default: 500,
    min: 0,
    max: 1_000_000,
  }),
  headerTimeout: option.duration('How long a client may take to send the headers of a request.', {
    default: 10_000,
    min: 100,
    max: 600_000,
  }),
  requestTimeout: option.duration('How long a client may take to send a request as a whole.', {
    default: 30_000,
    min: 100,
    max: 3_600_000,
  }),
  stallTimeout: option.duration(
    'After how long without a byte either way a connection is closed whose client does not read its answers; more than the longest wait, 2 minutes.',
    { default: 150_000, min: 100, max: 3_600_000 },
  ),
  idleTimeout: option.duration('How long a connection may be kept open between two requests.', {
    default: 30_000,
    min: 100,
    max: 3_600_000,
  }),
} as const

const stopOptions = {
  stopDeadline: option.duration('How long requests may take to end when the server is to stop.', {
    default: 10_000,
    min: 0,
    max: 3_600_000,
  }),
} as const

const routeOptions = {
  legacyTopics: option.boolean(
    'Answers `/publish`, `/subscribe`, `/get_message` and the other routes of queue-sample, too, as that server did.',
    { default: false },
  ),
  dashboard: option.boolean('Shows the queues to people, at `/dashboard`. With tokens it asks for one.', {
    default: true,
  }),
} as const

export const serverOptions = { ...reachOptions, ...limitOptions, ...stopOptions, ...routeOptions } as const
export type ServerOptions = option.OptionsInput<typeof serverOptions>
export type ServerSettings = option.OptionsOutput<typeof serverOptions>

function parseTokens(value: unknown, path: string): readonly Token[] {
  if (!Array.isArray(value)) throw option.typeError(path, value, 'an array of tokens')
  return value.map((one, index) => parseToken(one, `${path}[${index}]`))
}

function parseHosts(value: unknown, path: string): readonly string[] {
  const isHost = (one: unknown) => typeof one === 'string' && /^([a-z0-9.-]{1,253}|\[[0-9a-f:]+\])$/i.test(one)
  if (!Array.isArray(value)) throw option.typeError(path, value, 'an array of names')
  for (const one of value)
    if (!isHost(one)) throw option.typeError(path, one, "a name or address without a port: 'queues.example.org'")
  return value.map((one: string) => one.toLowerCase())
}

function parseOrigins(value: unknown, path: string): readonly string[] {
  if (!Array.isArray(value)) throw option.typeError(path, value, 'an array of origins')
  for (const one of value)
    if (typeof one !== 'string' || !/^https?:\/\/[^*]+$/.test(one) || !URL.canParse(one) || new URL(one).origin !== one)
      throw new TidingsError('CONFIG_INVALID', `${path} has ${show(one)}, which is not an origin`, {
        details: { field: path },
        hint: "Write scheme, host and, if it is unusual, port: 'https://example.org'. There is no origin for all.",
      })
  return value
}

export const isLoopback = (host: string) => /^(localhost|127(\.\d{1,3}){3}|\[?::1\]?)$/i.test(host)

/**
 * Only who has a token, and only where nobody can read along, may come from another machine.
 * @param hasTokens at this moment
 * @throws CONFIG_INVALID that says what is missing
 */
export function checkReach({ host, tlsCert, tlsKey, behindProxy }: ServerSettings, hasTokens: boolean): void {
  if ((tlsCert === null) !== (tlsKey === null))
    throw new TidingsError('CONFIG_INVALID', `${tlsCert === null ? 'tlsKey' : 'tlsCert'} is given, but not the other`, {
      hint: 'TLS needs both --tls-cert and --tls-key.',
    })
  if (isLoopback(host)) return
  const lacking = [
    ...(hasTokens ? [] : ['tokens']),
    ...(tlsCert !== null || behindProxy ? [] : ['TLS (or something in front that does it)']),
  ]
  if (lacking.length === 0) return
  throw new TidingsError(
    'CONFIG_INVALID',
    `${host} can be reached from other machines, but there are no ${lacking.join(' and no ')}`,
    {
      details: { field: 'host', host },
      hint: 'Listen on 127.0.0.1, or give --token-file, and --tls-cert and --tls-key or --behind-proxy. `tidings token create` makes tokens.',
    },
  )
}
