import { tlsHint } from '../../core/tls.ts'

const brokenOff =
  'Check that the server runs, whether it speaks TLS there (rediss://), and whether it demands a certificate of its clients.'

const hints: Readonly<Record<string, string>> = {
  ERR_SSL_WRONG_VERSION_NUMBER:
    'The server does not speak TLS there: write redis:// in the URL, or the port where it does.',
  // A server that expects another protocol may keep silent, or hang up before its answer is read.
  ECONNRESET: brokenOff,
  EPIPE: brokenOff,
  ETIMEDOUT: brokenOff,
}

/** The hint for a connection that failed. */
export function connectHint(error: unknown): string | undefined {
  const { code, message } = (error ?? {}) as { code?: unknown; message?: unknown }
  // ioredis says the same of sentinels that do not know the name.
  if (String(message).startsWith('All sentinels are unreachable'))
    return 'Check `sentinels` and `name` of the client: they cannot be reached, or know nothing of that name.'
  return hints[String(code)] ?? tlsHint(error)
}
