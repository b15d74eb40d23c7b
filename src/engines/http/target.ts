import { TidingsError } from '../../errors.ts'

/** Where the server is. */
export interface HttpTarget {
  /** `https://host:port`, with a path where a proxy puts the server below one. */
  readonly url: string
  /** Null for a server without tokens. */
  readonly token: string | null
}

/** @throws URL_INVALID; never with what may be a secret */
export function parseTarget({ url }: HttpTarget): URL {
  const invalid = (why: string) =>
    new TidingsError('URL_INVALID', `the URL of the server ${why}`, {
      hint: "Write it as 'https://host:port', and pass the token as { token }, or to the command line in TIDINGS_TOKEN.",
    })
  const parsed = URL.canParse(url) ? new URL(url) : null
  if (parsed === null) throw invalid('cannot be read')
  if (parsed.username !== '' || parsed.password !== '') throw invalid('has a user or a password')
  if (parsed.search !== '' || parsed.hash !== '') throw invalid("has a '?' or a '#'")
  return parsed
}
