const unknownAuthority =
  'Give the certificate of the authority that signed it: connect(url, { tls: { ca } }), ?cacert=<file> in the URL, or NODE_EXTRA_CA_CERTS=<file>.'
const clientCertificate =
  'The server demands a certificate of its clients: connect(url, { tls: { cert, key } }), or ?cert=<file>&key=<file> in the URL.'
const notTls = 'The server does not speak TLS there: write redis:// in the URL, or the port where it does.'

const brokenOff =
  'Check that the server runs, whether it speaks TLS there (rediss://), and whether it demands a certificate of its clients.'

/** By the codes of Node and OpenSSL. */
const hints: Readonly<Record<string, string>> = {
  SELF_SIGNED_CERT_IN_CHAIN: unknownAuthority,
  DEPTH_ZERO_SELF_SIGNED_CERT: unknownAuthority,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: unknownAuthority,
  UNABLE_TO_GET_ISSUER_CERT: unknownAuthority,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: unknownAuthority,
  CERT_SIGNATURE_FAILURE: unknownAuthority,
  CERT_HAS_EXPIRED: 'Renew the certificate of the server.',
  CERT_NOT_YET_VALID: 'Check the clocks of this machine and of the server.',
  ERR_TLS_CERT_ALTNAME_INVALID:
    'Connect by a name that the certificate bears, or say which it is: connect(url, { tls: { servername } }).',
  ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED: clientCertificate,
  ERR_SSL_SSLV3_ALERT_HANDSHAKE_FAILURE: clientCertificate,
  ERR_SSL_TLSV1_ALERT_UNKNOWN_CA: 'The server does not know the authority that signed your certificate.',
  ERR_SSL_WRONG_VERSION_NUMBER: notTls,
  // A server that expects something else may say nothing, or hang up before it can be heard.
  ECONNRESET: brokenOff,
  EPIPE: brokenOff,
  ETIMEDOUT: brokenOff,
}

/** What to do about a connection that was not made. */
export function connectHint(error: unknown): string | undefined {
  const { code, message } = (error ?? {}) as { code?: unknown; message?: unknown }
  // Said by ioredis of sentinels that know no such name, too.
  if (String(message).startsWith('All sentinels are unreachable'))
    return 'Check `sentinels` and `name` of the client: they cannot be reached, or know nothing of that name.'
  return hints[String(code)]
}
