import { connect as connectSocket, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { type Bus, connect } from 'tidings'
import { createServer, type Server, type ServerOptions } from 'tidings-server'
import { newToken, type TokenOptions } from 'tidings-server/internal/auth/token'
import { onTestFinished } from 'vitest'

/** A server of a test's own in this process, on a port of its own; it ends with the test. */
export async function startServer(options: ServerOptions = {}, url = 'memory:'): Promise<Server & { bus: Bus }> {
  const bus = await connect(url)
  const server = createServer(bus, { port: 0, stopDeadline: 0, ...options })
  onTestFinished(async () => {
    await server.stop()
    await bus.close()
  })
  await server.start()
  return Object.assign(server, { bus })
}

/** A token with its place in the configuration. */
export function makeToken(about: Omit<TokenOptions, 'hash'>): { secret: string; entry: TokenOptions } {
  const { token: secret, hash } = newToken()
  return { secret, entry: { ...about, hash } }
}

export const bearer = (secret: string) => ({ authorization: `Bearer ${secret}` })

export interface Answer {
  readonly status: number
  readonly headers: Headers
  // biome-ignore lint/suspicious/noExplicitAny: tests look into it as they expect it
  readonly body: any
}

/** A request with a JSON body, if one is given. */
export async function ask(
  server: { readonly url: string },
  method: string,
  path: string,
  { body, headers, text }: { body?: unknown; headers?: Record<string, string>; text?: string } = {},
): Promise<Answer> {
  const content = text ?? (body === undefined ? undefined : JSON.stringify(body))
  const answer = await fetch(server.url + path, {
    method,
    headers: { ...(content === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
    ...(content === undefined ? {} : { body: content }),
  })
  const found = await answer.text()
  const isJson = answer.headers.get('content-type')?.startsWith('application/json')
  return { status: answer.status, headers: answer.headers, body: isJson ? JSON.parse(found) : found }
}

/** A connection on which a test says exactly what it wants. */
export class RawClient {
  readonly socket: Socket
  readonly closed: Promise<void>
  #received = ''
  #seen = () => {}
  #isClosed = false

  /** @param options with `allowHalfOpen` it does not close when the server does */
  constructor(url: string, options: { ca?: string; allowHalfOpen?: boolean } = {}) {
    const { hostname, port, protocol } = new URL(url)
    const address = { host: hostname, port: Number(port) }
    this.socket =
      protocol === 'https:' ? connectTls({ ...address, ...options }) : connectSocket({ ...address, ...options })
    this.socket.on('data', (chunk) => {
      this.#received += String(chunk)
      this.#seen()
    })
    // A server may close hard on whoever does not keep to the rules.
    this.socket.on('error', () => {})
    this.closed = new Promise((resolve) => {
      this.socket.on('close', () => {
        this.#isClosed = true
        this.#seen()
        resolve()
      })
    })
    onTestFinished(() => {
      this.socket.destroy()
    })
  }

  get received(): string {
    return this.#received
  }

  send(text: string): this {
    this.socket.write(text)
    return this
  }

  /** Waits until the pattern was received. */
  async until(pattern: RegExp): Promise<string> {
    while (!pattern.test(this.#received)) {
      if (this.#isClosed) throw new Error(`closed without ${pattern}:\n${this.#received}`)
      await new Promise<void>((resolve) => {
        this.#seen = resolve
      })
    }
    return this.#received
  }

  /** Everything up to the end of the connection. */
  async all(): Promise<string> {
    await this.closed
    return this.#received
  }
}

/** The head of a request, with further lines of headers. */
export const head = (line: string, ...headers: string[]) =>
  `${[`${line} HTTP/1.1`, ...(headers.some((one) => /^host:/i.test(one)) ? [] : ['Host: localhost']), ...headers].join('\r\n')}\r\n\r\n`
