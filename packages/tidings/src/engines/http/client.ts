import http from 'node:http'
import https from 'node:https'
import { isTidingsError } from '../../core/errors.ts'
import { retrying } from '../../core/retry.ts'
import { OpenCalls } from '../../port/open-calls.ts'
import { checkBodySize, defaultMaxBodyBytes, exactHeader } from '../../protocol/messages.ts'
import { cannotConnect, lostAnswer, refused } from './failures.ts'
import { KeptConnections } from './kept-connections.ts'
import { Patience } from './patience.ts'
import { Silence, Silent } from './silence.ts'
import { type HttpTarget, parseTarget } from './target.ts'

export interface RequestOptions {
  /** Whether repeating the request after a lost connection does no harm. */
  readonly repeatable: boolean
  /** Gives up on an answer of which nothing comes for so long, in milliseconds. */
  readonly timeoutMs?: number
}

export interface StreamRequest {
  readonly method: 'GET' | 'POST'
  readonly path: string
  readonly body?: object
  /** Beside those of every request. */
  readonly headers?: Record<string, string>
}

const maxConnections = 32
/** A server that cannot be reached is reported within 5 s. */
const connectTimeoutMs = 4_000
/** After a first success, how long a call waits for the server to come back before it fails. */
const reconnectMs = 5_000
const longestRequestMs = 60_000

/** Requests to one server, over connections that are kept. */
export class Client {
  readonly #base: URL
  readonly #token: string | null
  readonly #headers: () => Record<string, string>
  readonly #tls: https.RequestOptions
  readonly #library: typeof http | typeof https
  readonly #agent: http.Agent
  readonly #kept: KeptConnections
  readonly #calls = new OpenCalls()
  readonly #silence = new Silence((signal) => this.#ask(signal))
  readonly #streams = new Set<http.IncomingMessage>()
  #opened = false
  #maxBodyBytes = defaultMaxBodyBytes

  /** @throws URL_INVALID, OPTION_CONFLICT */
  constructor(target: HttpTarget) {
    this.#base = parseTarget(target)
    this.#token = target.token
    this.#headers = target.headers ?? (() => ({}))
    const { ca, ...tls } = target.tls ?? {}
    this.#tls = { ...tls, ...(ca ? { ca: [...ca] } : {}) }
    this.#library = this.#base.protocol === 'https:' ? https : http
    this.#agent = new this.#library.Agent({ keepAlive: true, maxSockets: maxConnections })
    this.#kept = new KeptConnections(this.#agent)
  }

  /** 'host:port', for messages. */
  get where(): string {
    return this.#base.host
  }

  get isClosed(): boolean {
    return this.#calls.isClosed
  }

  /** The largest request that the server takes. */
  get maxBodyBytes(): number {
    return this.#maxBodyBytes
  }

  /** From now on a server that is away is waited for. */
  opened(maxBodyBytes = defaultMaxBodyBytes): void {
    this.#opened = true
    this.#maxBodyBytes = maxBodyBytes
  }

  /** Waits for the answers that are still to come, and ends the streams. */
  close(): Promise<void> {
    for (const stream of this.#streams) stream.destroy()
    return this.#calls.close(async () => this.#agent.destroy())
  }

  /** @throws CLOSED */
  checkOpen(): void {
    this.#calls.check()
  }

  /** @returns the body of the answer; undefined if it has none */
  request<T>(method: string, path: string, body: unknown, options: RequestOptions): Promise<T> {
    return this.#calls.run(() => this.#requestPersistently<T>(method, path, body, options))
  }

  /**
   * An answer that goes on for as long as somebody listens. It has a connection of its own, and is the caller's to
   * destroy.
   */
  stream({ method, path, body, headers }: StreamRequest, signal: AbortSignal): Promise<http.IncomingMessage> {
    return this.#calls.run(async () => {
      const ended = new AbortController()
      const end = () => ended.abort()
      signal.addEventListener('abort', end, { once: true })
      const patience = new Patience(longestRequestMs, end)
      const answer = await this.#send(method, path, body && JSON.stringify(body), {
        lostAs: 'CONNECTION_LOST',
        signal: ended.signal,
        agent: false,
        headers,
      }).finally(() => patience.cancel())
      this.#streams.add(answer)
      answer.once('close', () => {
        signal.removeEventListener('abort', end)
        this.#streams.delete(answer)
      })
      // One that breaks before it is read would end the process.
      answer.on('error', () => {})
      if (this.isClosed || signal.aborted) answer.destroy()
      if (answer.statusCode === 200) return answer
      throw refused(answer.statusCode ?? 0, await readJson(answer), this.where, 'CONNECTION_LOST')
    })
  }

  async #requestPersistently<T>(method: string, path: string, body: unknown, options: RequestOptions): Promise<T> {
    const text = body === undefined ? undefined : JSON.stringify(body)
    if (text !== undefined) checkBodySize(Buffer.byteLength(text), this.#maxBodyBytes)
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#requestPatiently<T>(method, path, text, options)
      } catch (error) {
        if (!options.repeatable || !isTidingsError(error, 'CONNECTION_LOST')) throw error
        if (attempt === 3 || error.cause instanceof Silent || this.isClosed) throw error
      }
    }
  }

  /** Waits for a server that is just starting again. Nothing was sent yet, so nothing can be done twice. */
  #requestPatiently<T>(method: string, path: string, text: string | undefined, options: RequestOptions): Promise<T> {
    const giveUpAt = Date.now() + (this.#opened ? reconnectMs : 0)
    let lateTimes = 0
    const attempt = () => this.#requestOnce<T>(method, path, text, options)
    return retrying(attempt, { firstMs: 50, longestMs: 500 }, (error, pauseMs) => {
      if (this.isClosed) return false
      // Of a process that was busy the server may not have had the request in time; nothing was done then either.
      if (isTidingsError(error, 'REQUEST_TIMEOUT')) return lateTimes++ < 3
      const comesBack = isTidingsError(error, 'CONNECTION_FAILED') && error.details.comesBack === true
      return comesBack && Date.now() + pauseMs <= giveUpAt
    })
  }

  async #requestOnce<T>(
    method: string,
    path: string,
    text: string | undefined,
    { repeatable, timeoutMs = longestRequestMs }: RequestOptions,
  ): Promise<T> {
    const lostAs = repeatable ? 'CONNECTION_LOST' : 'OUTCOME_UNKNOWN'
    const overdue = new AbortController()
    const patience = new Patience(timeoutMs, () => overdue.abort(new Error(`nothing came for ${timeoutMs} ms`)))
    const watch = this.#silence.watch(text?.length ?? 0, () => {
      // What waits for its next request is as dead.
      this.#kept.dropAll()
      overdue.abort(new Silent('the server does not answer any more'))
    })
    this.#kept.dropOld()
    try {
      const answer = await this.#send(method, path, text, { lostAs, signal: overdue.signal, agent: this.#agent })
      this.#kept.answered(answer.headers['keep-alive'])
      const heard = () => {
        patience.heard()
        watch.heard()
      }
      const body = await readJson(answer, heard).catch((error: unknown) => {
        throw lostAnswer(error, this.where, lostAs)
      })
      const status = answer.statusCode ?? 0
      // A body that is no JSON was written by somebody else.
      if (status >= 300 || body === unreadable) throw refused(status, body, this.where, lostAs)
      return body as T
    } catch (error) {
      if (!overdue.signal.aborted) throw error
      throw lostAnswer(overdue.signal.reason, this.where, lostAs)
    } finally {
      patience.cancel()
      watch.cancel()
    }
  }

  /** A short question on a connection of its own. */
  async #ask(signal: AbortSignal): Promise<void> {
    const answer = await this.#send('GET', '/livez', undefined, { lostAs: 'CONNECTION_LOST', signal, agent: false })
    answer.destroy()
  }

  /** @returns the answer once its head is there */
  #send(
    method: string,
    path: string,
    text: string | undefined,
    options: {
      lostAs: 'CONNECTION_LOST' | 'OUTCOME_UNKNOWN'
      signal: AbortSignal
      agent: http.Agent | false
      headers?: Record<string, string> | undefined
    },
  ): Promise<http.IncomingMessage> {
    return new Promise((resolve, reject) => {
      let connected = false
      const request = this.#library.request(
        {
          ...this.#tls,
          // An IPv6 address stands in brackets in a URL only.
          host: this.#base.hostname.replace(/^\[|\]$/g, ''),
          port: this.#base.port,
          path: this.#base.pathname.replace(/\/$/, '') + path,
          method,
          agent: options.agent,
          signal: options.signal,
          headers: { ...this.#headersOf(text), ...options.headers },
        },
        resolve,
      )
      let patience: Patience | undefined
      request.on('socket', (socket) => {
        connected = !socket.connecting
        if (connected) return
        patience = new Patience(connectTimeoutMs, () => request.destroy(new Error('no connection in time')))
        socket.once(this.#library === https ? 'secureConnect' : 'connect', () => {
          connected = true
          patience?.cancel()
        })
      })
      request.on('error', (error) => {
        patience?.cancel()
        reject(connected ? lostAnswer(error, this.where, options.lostAs) : cannotConnect(error, this.where))
      })
      request.end(text)
    })
  }

  #headersOf(text: string | undefined): http.OutgoingHttpHeaders {
    return {
      ...this.#headers(),
      accept: 'application/json',
      [exactHeader.name]: exactHeader.value,
      ...(this.#token === null ? {} : { authorization: `Bearer ${this.#token}` }),
      ...(text === undefined
        ? {}
        : { 'content-type': 'application/json', 'content-length': String(Buffer.byteLength(text)) }),
    }
  }
}

/** In place of a body that is no JSON. */
const unreadable = Symbol('unreadable')

/** Rejects if the connection breaks before the end. */
async function readJson(answer: http.IncomingMessage, heard = () => {}): Promise<unknown> {
  const chunks: Buffer[] = []
  heard()
  for await (const chunk of answer) {
    heard()
    chunks.push(chunk as Buffer)
  }
  if (chunks.length === 0) return undefined
  try {
    return JSON.parse(Buffer.concat(chunks).toString())
  } catch {
    return unreadable
  }
}
