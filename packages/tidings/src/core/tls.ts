import { createSecureContext } from 'node:tls'
import { TidingsError } from './errors.ts'
import * as option from './options.ts'

type Pem = string | Uint8Array

/** @public */
export const tlsFields = {
  ca: option.value<Pem | readonly Pem[], readonly Buffer[] | null>(
    'The authorities that may have signed the certificate of the server, instead of those that Node knows.',
    { default: null, defaultText: 'those of Node', typeText: 'PEM, or a list of it', parse: parsePems },
  ),
  cert: option.value<Pem, Buffer | null>('The certificate to show to a server that demands one.', {
    default: null,
    defaultText: 'none',
    typeText: 'PEM',
    parse: parsePem,
  }),
  key: option.value<Pem, Buffer | null>('The private key of `cert`.', {
    default: null,
    defaultText: 'none',
    typeText: 'PEM',
    parse: parsePem,
  }),
  passphrase: option.text('Of `key`.', { default: null }),
  servername: option.text('The name that the certificate of the server has to bear.', { default: null }),
  rejectUnauthorized: option.boolean(
    'Refuse a certificate that cannot be checked. Without it, anybody can be in between.',
    { default: true },
  ),
} as const

/** The options have the names of Node's. */
export type TlsOptions = option.OptionsInput<typeof tlsFields>

export const tlsOption: option.Option<TlsOptions, TlsSettings | null> = {
  ...option.object('TLS of a `rediss://` or `https://` URL, beyond what Node does by itself.', tlsFields),
  defaultValue: null,
  parse,
}

/** The TLS options for Node. */
export interface TlsSettings {
  readonly ca?: readonly Buffer[]
  readonly cert?: Buffer
  readonly key?: Buffer
  readonly passphrase?: string
  readonly servername?: string
  readonly rejectUnauthorized: boolean
}

function parse(value: unknown, path: string): TlsSettings {
  const parsed = option.object('', tlsFields).parse(value, path) ?? {}
  // Node does not accept null for a missing option.
  const settings = Object.fromEntries(
    Object.entries(parsed).filter(([, one]) => one !== null),
  ) as unknown as TlsSettings
  checkTls(settings, path)
  return settings
}

/** @throws TYPE for settings that Node would refuse only when it connects, or would ignore */
export function checkTls({ ca, cert, key, passphrase }: Partial<TlsSettings>, path: string): void {
  if ((cert === undefined) !== (key === undefined))
    throw new TidingsError(
      'OPTION_CONFLICT',
      `${path} has a ${cert ? 'cert without its key' : 'key without its cert'}`,
      { hint: 'A certificate is shown together with its private key: give both `cert` and `key`.' },
    )
  try {
    createSecureContext({ ca: ca && [...ca], cert, key, passphrase })
  } catch (error) {
    // The reason contains no part of the key.
    const { reason, message } = error as Error & { reason?: string }
    throw new TidingsError('TYPE', `${path} has no certificate with its key that can be read: ${reason ?? message}`, {
      details: { field: path },
      hint: 'Check that `key` belongs to `cert`, and whether it needs a `passphrase`.',
    })
  }
}

function parsePems(value: unknown, path: string): readonly Buffer[] {
  return Array.isArray(value) ? value.map((one, index) => parsePem(one, `${path}[${index}]`)) : [parsePem(value, path)]
}

/** The value is never shown: it may be a private key. Node silently skips an authority that it cannot read. */
export function parsePem(value: unknown, path: string): Buffer {
  const isText = typeof value === 'string'
  const pem = isText || value instanceof Uint8Array ? Buffer.from(value as Uint8Array) : undefined
  if (pem?.includes('-----BEGIN ')) return pem
  throw new TidingsError('TYPE', `${path} is no PEM: text or bytes with '-----BEGIN …'`, {
    details: { field: path },
    ...(isText ? { hint: "Give what is in the file, not its name: readFileSync('ca.pem')." } : {}),
  })
}

/** How a storage is told of TLS. */
interface Ways {
  readonly authority: string
  readonly certificate: string
  readonly name: string
}

const byOptions: Ways = {
  authority: 'connect(url, { tls: { ca } }), NODE_EXTRA_CA_CERTS=<file>, or in the URL of a Redis ?cacert=<file>.',
  certificate: 'connect(url, { tls: { cert, key } }), or in the URL of a Redis ?cert=<file>&key=<file>.',
  name: 'Connect by a name that the certificate bears, or say which it is: connect(url, { tls: { servername } }).',
}

/** For PostgreSQL, of which the URL says everything. */
export const byUrl: Ways = {
  authority:
    'in the URL ?sslmode=verify-full&sslrootcert=<file>, or NODE_EXTRA_CA_CERTS=<file>. ?sslmode=no-verify checks no certificate.',
  certificate: 'in the URL ?sslcert=<file>&sslkey=<file>.',
  name: 'Connect by a name that the certificate bears. ?sslmode=no-verify checks no certificate.',
}

const unknownAuthority = ({ authority }: Ways) => `Give the certificate of the authority that signed it: ${authority}`
const clientCertificate = ({ certificate }: Ways) => `The server demands a certificate of its clients: ${certificate}`

/** Hints by the codes of Node and OpenSSL. */
const hints: Readonly<Record<string, (ways: Ways) => string>> = {
  SELF_SIGNED_CERT_IN_CHAIN: unknownAuthority,
  DEPTH_ZERO_SELF_SIGNED_CERT: unknownAuthority,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: unknownAuthority,
  UNABLE_TO_GET_ISSUER_CERT: unknownAuthority,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: unknownAuthority,
  CERT_SIGNATURE_FAILURE: unknownAuthority,
  CERT_HAS_EXPIRED: () => 'Renew the certificate of the server, and check the clock of this machine.',
  CERT_NOT_YET_VALID: () => 'Check the clocks of this machine and of the server.',
  ERR_TLS_CERT_ALTNAME_INVALID: ({ name }) => name,
  ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED: clientCertificate,
  ERR_SSL_SSLV3_ALERT_HANDSHAKE_FAILURE: clientCertificate,
  ERR_SSL_TLSV1_ALERT_UNKNOWN_CA: () => 'The server does not know the authority that signed your certificate.',
}

/** The hint for a connection that failed because of TLS. */
export const tlsHint = (error: unknown, ways = byOptions): string | undefined =>
  hints[String((error as { code?: unknown } | null)?.code)]?.(ways)
