import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Bus } from 'tidings/internal/bus/bus'
import { isTidingsError, TidingsError } from 'tidings/internal/core/errors'
import { Service } from 'tidings/internal/core/service'
import type { Worker } from 'tidings/internal/worker/worker'
import { storageProbe } from 'tidings-server/internal/http/storage-probe'
import { Metrics } from 'tidings-server/internal/metrics/metrics'

interface Running {
  readonly bus: Bus
  readonly workers: readonly Worker[]
  storageAnswers(): Promise<void>
}

interface Answer {
  readonly status: number
  readonly text: string
  readonly type?: string
}

/** Answers probes of a process with workers: /livez, /readyz and /metrics. Listens before there is a storage. */
export class Health extends Service {
  readonly #metrics = new Metrics()
  readonly #server = createServer((request, response) => {
    const path = request.url?.replace(/\?.*$/, '') ?? ''
    const answering = request.method === 'GET' || request.method === 'HEAD' ? this.#answer(path) : notAllowed()
    void answering.then(({ status, text, type = 'application/json' }) => {
      response.writeHead(status, { 'content-type': type, 'cache-control': 'no-store' })
      response.end(request.method === 'HEAD' ? undefined : text)
    })
  })
  readonly #host: string
  readonly #port: number
  #running: Running | undefined

  constructor(host: string, port: number) {
    super()
    this.#host = host
    this.#port = port
  }

  /** Where it listens: 'http://127.0.0.1:9000'. */
  get url(): string {
    const { address, family, port } = this.#server.address() as AddressInfo
    return `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`
  }

  /** From now on it is ready while the storage answers and a worker runs. */
  watch(bus: Bus, workers: readonly Worker[]): void {
    this.#running = { bus, workers, storageAnswers: storageProbe(bus) }
  }

  /** @throws CONFIG_INVALID if the port is taken, or none of this machine's */
  protected override async onStart(): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', (cause) =>
        reject(
          new TidingsError(
            'CONFIG_INVALID',
            `--health-port: cannot listen on ${this.#host}:${this.#port}: ${cause.message}`,
            {
              cause,
              hint: 'Choose another --health-port or --health-host.',
            },
          ),
        ),
      )
      this.#server.listen(this.#port, this.#host, resolve)
    })
  }

  protected override async onStop(): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }

  async #answer(path: string): Promise<Answer> {
    switch (path) {
      case '/livez':
        return ok
      case '/readyz':
        return this.#readiness()
      case '/metrics':
        return {
          ...{ status: 200, type: this.#metrics.contentType },
          text: await this.#metrics.scrapeOwn(this.#running?.bus),
        }
      default:
        return { status: 404, text: problem('NOT_FOUND', 'there are /livez, /readyz and /metrics') }
    }
  }

  async #readiness(): Promise<Answer> {
    if (this.#running === undefined) return notReady('STOPPED', 'the workers do not run yet')
    const { workers, storageAnswers } = this.#running
    if (workers.some(({ state }) => state !== 'running'))
      return notReady('STOPPED', 'the workers stop, or have stopped')
    try {
      await storageAnswers()
      return ok
    } catch (error) {
      return isTidingsError(error) ? notReady(error.code, error.message) : notReady('UNEXPECTED', 'an unexpected error')
    }
  }
}

const ok: Answer = { status: 200, text: '{"status":"ok"}' }
const problem = (code: string, message: string) => JSON.stringify({ code, message })
const notReady = (code: string, message: string): Answer => ({ status: 503, text: problem(code, message) })
const notAllowed = async (): Promise<Answer> => ({ status: 405, text: problem('METHOD_NOT_ALLOWED', 'GET only') })
