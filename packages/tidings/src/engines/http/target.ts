import { TidingsError } from '../../core/errors.ts'
import type { TlsSettings } from '../../core/tls.ts'

/** Where the server is. */
export interface HttpTarget {
  /** `https://host:port`, with a path where a proxy puts the server below one. */
  readonly url: string
  /** Null for a server without tokens. */
  readonly token: string | null
  /** What Node is to know of TLS beyond what it knows by itself. */
  readonly tls?: TlsSettings | null
  /** Further headers of each request: the context of its trace. */
  readonly headers?: () => Record<string, string>
}

/** @throws URL_INVALID, OPTION_CONFLICT; never with what may be a secret */
export function parseTarget({ url, tls }: HttpTarget): URL {
  const invalid = (why: string) =>
    new TidingsError('URL_INVALID', `the URL of the server ${why}`, {
      hint: "Write it as 'https://host:port', and pass the token as { token }, or to the command line in TIDINGS_TOKEN.",
    })
  const parsed = URL.canParse(url) ? new URL(url) : null
  if (parsed === null) throw invalid('cannot be read')
  if (parsed.username !== '' || parsed.password !== '') throw invalid('has a user or a password')
  if (parsed.search !== '' || parsed.hash !== '') throw invalid("has a '?' or a '#'")
  if (tls && parsed.protocol !== 'https:')
    throw new TidingsError('OPTION_CONFLICT', 'tls is given, but the URL begins with http://, which is without TLS', {
      hint: 'Write https:// in the URL, or leave out tls.',
    })
  return parsed
}
