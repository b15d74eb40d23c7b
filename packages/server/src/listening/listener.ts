import { readFileSync } from 'node:fs'
import {
  createServer as createHttp,
  type Server as HttpServer,
  type IncomingMessage,
  type ServerResponse,
} from 'node:http'
import { createServer as createHttps, type Server as HttpsServer } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import { createSecureContext } from 'node:tls'
import { getRequestListener } from '@hono/node-server'
import { type ErrorCode, TidingsError } from 'tidings/internal/core/errors'
import { Service } from 'tidings/internal/core/service'
import { wireError } from 'tidings/internal/protocol/messages'
import type { Fetch } from '../app/context.ts'
import type { ServerSettings } from '../app/options.ts'

const maxHeaderBytes = 16_384
/** Requests that one connection may have sent without waiting for their answers. */
const maxPipelined = 64
/** How often open connections are looked at for being too slow. */
const checkMs = 1_000
/** A connection on which nothing has come for so long is probed: a host that died says nothing by itself. */
const probeMs = 10_000
/** How long a client that is sent away may take to read why. */
const graceMs = 1_000

/** What listens: connections, TLS and the limits that hold before a request is one. */
export class Listener extends Service {
  readonly #settings: ServerSettings
  readonly #fetch: Fetch
  readonly #server: HttpServer | HttpsServer
  #address = ''

  /** @throws CONFIG_INVALID for files of TLS that are none */
  constructor(settings: ServerSettings, fetch: Fetch) {
    super()
    this.#settings = settings
    this.#fetch = fetch
    this.#server = this.#create()
  }

  /** Where it listens: 'http://127.0.0.1:8080'. */
  get address(): string {
    return this.#address
  }

  /** Uses the certificate that the files hold now, for new connections. @throws CONFIG_INVALID; the old one stays then */
  reloadCertificate(): void {
    if ('setSecureContext' in this.#server) this.#server.setSecureContext(readCertificate(this.#settings))
  }

  #create(): HttpServer | HttpsServer {
    const { tlsCert, headerTimeout, requestTimeout, stallTimeout, idleTimeout, maxConnections } = this.#settings
    const options = {
      maxHeaderSize: maxHeaderBytes,
      headersTimeout: headerTimeout,
      requestTimeout: Math.max(headerTimeout, requestTimeout),
      keepAliveTimeout: idleTimeout,
      connectionsCheckingInterval: checkMs,
      keepAlive: true,
      keepAliveInitialDelay: probeMs,
      // Its refusal would have no body.
      requireHostHeader: false,
    }
    const tls = { minVersion: 'TLSv1.2', handshakeTimeout: headerTimeout } as const
    const server =
      tlsCert === null ? createHttp(options) : createHttps({ ...options, ...readCertificate(this.#settings), ...tls })
    server.maxConnections = maxConnections
    server.timeout = stallTimeout
    return server
  }

  /** @throws LISTEN_FAILED */
  protected async onStart(): Promise<void> {
    const server = this.#server
    const answer = getRequestListener(this.#fetch as Parameters<typeof getRequestListener>[0], {
      overrideGlobalObjects: false,
      errorHandler: () => refusal('REQUEST_INVALID', 'the request has no valid Host or path'),
    })
    server.on('request', (incoming, outgoing) => {
      // It asks for no Host, and plain health checks send none.
      if (incoming.httpVersion === '1.0') incoming.headers.host ??= 'localhost'
      if (this.state === 'stopping') outgoing.setHeader('Connection', 'close')
      if (!isOverPipelined(incoming, outgoing)) void answer(incoming, outgoing)
    })
    server.on('checkContinue', (incoming: IncomingMessage, outgoing: ServerResponse) => {
      // A body that is too large is better not sent at all.
      if (!(Number(incoming.headers['content-length']) > this.#settings.maxBodyBytes)) outgoing.writeContinue()
      server.emit('request', incoming, outgoing)
    })
    server.on('clientError', refuseOnSocket)
    await this.#listen()
    const { port } = server.address() as AddressInfo
    const { host, tlsCert } = this.#settings
    this.#address = `${tlsCert === null ? 'http' : 'https'}://${host.includes(':') ? `[${host}]` : host}:${port}`
  }

  #listen(): Promise<void> {
    const { host, port } = this.#settings
    return new Promise((resolve, reject) => {
      this.#server.once('error', (error: NodeJS.ErrnoException) => reject(cannotListen(error, host, port)))
      this.#server.listen({ host: host.replace(/^\[(.*)\]$/, '$1'), port }, () => {
        this.#server.removeAllListeners('error')
        resolve()
      })
    })
  }

  /** Takes nothing new, waits for what runs until the deadline, then cuts it off. */
  protected async onStop(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()))
    const closeIdle = setInterval(() => this.#server.closeIdleConnections(), 20)
    const cut = setTimeout(() => this.#server.closeAllConnections(), this.#settings.stopDeadline)
    await closed
    clearInterval(closeIdle)
    clearTimeout(cut)
  }
}

function readCertificate({ tlsCert, tlsKey }: ServerSettings): { cert: string; key: string } {
  const read = (path: string | null, what: string) => {
    try {
      return readFileSync(path ?? '', 'utf8')
    } catch (cause) {
      throw new TidingsError('CONFIG_INVALID', `the ${what} cannot be read: ${(cause as Error).message}`, { cause })
    }
  }
  const found = { cert: read(tlsCert, 'certificate'), key: read(tlsKey, 'key of the certificate') }
  try {
    createSecureContext(found)
    return found
  } catch (cause) {
    const why = (cause as Error).message
    throw new TidingsError('CONFIG_INVALID', `'${tlsCert}' and '${tlsKey}' are no certificate with its key: ${why}`, {
      cause,
    })
  }
}

function cannotListen(error: NodeJS.ErrnoException, host: string, port: number): TidingsError {
  const reasons: Readonly<Record<string, string>> = {
    EADDRINUSE: 'another program listens there',
    EACCES: 'this user may not use the port',
    EADDRNOTAVAIL: 'this machine does not have the address',
    ENOTFOUND: 'the name is unknown',
  }
  const why = reasons[error.code ?? ''] ?? error.message
  return new TidingsError('LISTEN_FAILED', `cannot listen on ${host}:${port}: ${why}`, {
    details: { host, port },
  })
}

/** What a connection waits for. */
interface Waiting {
  readonly requests: Set<IncomingMessage>
  /** What came after them was not HTTP. */
  broken?: NodeJS.ErrnoException
}
const waiting = new WeakMap<Socket, Waiting>()

/** A client that sends on and on without reading the answers loses its connection. */
function isOverPipelined(incoming: IncomingMessage, outgoing: ServerResponse): boolean {
  const { socket } = incoming
  const own = waiting.get(socket) ?? { requests: new Set() }
  waiting.set(socket, own)
  own.requests.add(incoming)
  if (own.requests.size > maxPipelined) {
    socket.destroy()
    return true
  }
  outgoing.once('close', () => {
    own.requests.delete(incoming)
    if (own.requests.size === 0 && own.broken) refuseOnSocket(own.broken, socket)
  })
  return false
}

/** Requests that came whole before what is broken are answered first. */
function hasWholeRequests(socket: Socket, error: NodeJS.ErrnoException): boolean {
  const own = waiting.get(socket)
  if (!own || own.requests.size === 0 || ![...own.requests].every(({ complete }) => complete)) return false
  own.broken = error
  return true
}

/** What is not HTTP, or too slow or too large to become a request. */
function refuseOnSocket(error: NodeJS.ErrnoException, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy()
    return
  }
  if (hasWholeRequests(socket, error)) return
  const [code, message]: [ErrorCode, string] =
    error.code === 'HPE_HEADER_OVERFLOW'
      ? ['REQUEST_HEADERS_TOO_LARGE', `the headers are larger than ${maxHeaderBytes} bytes`]
      : error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
        ? ['REQUEST_TIMEOUT', 'the request did not come in time']
        : ['REQUEST_INVALID', 'this is not a valid request of HTTP/1.1']
  const known = new TidingsError(code, message)
  const body = JSON.stringify(wireError(known))
  const head = [
    `HTTP/1.1 ${known.httpStatus} ${statusText[known.httpStatus] ?? 'Bad Request'}`,
    'Content-Type: application/json',
    `Content-Length: ${Buffer.byteLength(body)}`,
    'X-Content-Type-Options: nosniff',
    'Connection: close',
  ]
  // One that does not close as well would keep its place.
  const cut = setTimeout(() => socket.destroy(), graceMs)
  socket.once('close', () => clearTimeout(cut))
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`)
}

const statusText: Readonly<Record<number, string>> = { 408: 'Request Timeout', 431: 'Request Header Fields Too Large' }

function refusal(code: ErrorCode, message: string): Response {
  const error = new TidingsError(code, message)
  return Response.json(wireError(error), { status: error.httpStatus, headers: { Connection: 'close' } })
}
