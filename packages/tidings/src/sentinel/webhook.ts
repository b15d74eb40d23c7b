import { createHmac } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { type Clock, sleep } from '../core/clock.ts'
import { isTidingsError, TidingsError } from '../core/errors.ts'
import type { Logger } from '../core/logger.ts'
import { loggable } from '../core/message-error.ts'
import { Service } from '../core/service.ts'
import type { Resolve } from './addresses.ts'
import type { AlertReport } from './alerts.ts'
import type { WebhookSettings } from './options.ts'
import { postJson } from './post-json.ts'

const firstPauseMs = 1_000
const longestPauseMs = 60_000
/** About five minutes in all. */
const maxAttempts = 10
/** Reports that may wait; beyond that the oldest are dropped. */
const maxWaiting = 1_000
/** Reports in one request. */
const batchSize = 100

export interface WebhookFigures {
  /** Reports that the receiver accepted. */
  readonly delivered: number
  /** Attempts that failed. */
  readonly failures: number
  /** Reports that were abandoned. */
  readonly dropped: number
  readonly waiting: number
}

/** Posts reports in batches, one after the other. A batch that fails is tried again, and finally logged and dropped. */
export class Webhook extends Service {
  readonly #settings: WebhookSettings
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #resolve: Resolve | undefined
  readonly #stopping = new AbortController()
  readonly #waiting: AlertReport[] = []
  #secret: string | null = null
  #delivering: Promise<void> | undefined
  #delivered = 0
  #failures = 0
  #dropped = 0

  constructor(
    settings: WebhookSettings,
    dependencies: { clock: Clock; logger: Logger; resolve?: Resolve | undefined },
  ) {
    super()
    this.#settings = settings
    this.#clock = dependencies.clock
    this.#logger = dependencies.logger
    this.#resolve = dependencies.resolve
  }

  get figures(): WebhookFigures {
    const waiting = this.#waiting.length
    return { delivered: this.#delivered, failures: this.#failures, dropped: this.#dropped, waiting }
  }

  add(reports: readonly AlertReport[]): void {
    this.#waiting.push(...reports)
    const surplus = this.#waiting.length - maxWaiting
    if (surplus > 0) this.#drop(this.#waiting.splice(0, surplus), 'too many wait for the webhook')
    if (this.#waiting.length === 0) return
    this.#delivering ??= this.#deliverAll().finally(() => {
      this.#delivering = undefined
    })
  }

  /** @throws CONFIG_INVALID if the secret cannot be read */
  protected override async onStart(): Promise<void> {
    const { secret, secretFile } = this.#settings
    this.#secret = secretFile === null ? secret : await readSecret(secretFile)
  }

  /** Tries the waiting reports once more. */
  protected override async onStop(): Promise<void> {
    this.#stopping.abort()
    await this.#delivering
  }

  async #deliverAll(): Promise<void> {
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.splice(0, batchSize)
      if (await this.#deliver(batch)) this.#delivered += batch.length
    }
  }

  async #deliver(batch: readonly AlertReport[]): Promise<boolean> {
    for (let attempt = 1; ; attempt++) {
      const outcome = await this.#post(batch)
      if (outcome === null) return true
      this.#failures++
      const { error, final } = outcome
      if (final || attempt >= maxAttempts || this.#stopping.signal.aborted) {
        this.#drop(batch, 'the webhook could not be reached', error)
        return false
      }
      const retryMs = Math.min(longestPauseMs, firstPauseMs * 2 ** (attempt - 1))
      this.#logger.warn({ err: loggable(error), attempt, retryMs }, 'the webhook failed; it is tried again')
      await sleep(this.#clock, retryMs, this.#stopping.signal)
    }
  }

  /** @returns null if the batch was accepted; `final` if another attempt would fail too */
  async #post(batch: readonly AlertReport[]): Promise<{ error: unknown; final: boolean } | null> {
    const { url, allowPrivate, timeout } = this.#settings
    const body = JSON.stringify({ alerts: batch })
    try {
      const headers = { 'user-agent': 'tidings', ...this.#signature(body) }
      const status = await postJson({ url, body, headers, allowPrivate, timeoutMs: timeout, resolve: this.#resolve })
      if (status >= 200 && status < 300) return null
      const passes = status >= 500 || status === 408 || status === 429
      return { error: new Error(`the webhook answered ${status}`), final: !passes }
    } catch (error) {
      return { error, final: isTidingsError(error, 'URL_NOT_ALLOWED') }
    }
  }

  /** The signature covers the time, so that an overheard request cannot be replayed later. */
  #signature(body: string): Record<string, string> {
    if (this.#secret === null) return {}
    const time = Math.floor(this.#clock.now() / 1_000)
    const code = createHmac('sha256', this.#secret).update(`${time}.${body}`).digest('hex')
    return { 'x-tidings-signature': `t=${time},v1=${code}` }
  }

  #drop(batch: readonly AlertReport[], why: string, error?: unknown): void {
    this.#dropped += batch.length
    const alerts = batch.map(({ state, message }) => `${state}: ${message}`)
    this.#logger.error(
      { alerts, ...(error === undefined ? {} : { err: loggable(error) }) },
      `${why}; alerts were dropped`,
    )
  }
}

async function readSecret(path: string): Promise<string> {
  const invalid = (why: string, cause?: unknown) =>
    new TidingsError('CONFIG_INVALID', `webhook.secretFile ${why}`, { cause, details: { field: 'webhook.secretFile' } })
  const secret = await readFile(path, 'utf8').catch((error: Error) => {
    throw invalid(`cannot be read: ${error.message}`, error)
  })
  if (secret.trim() === '') throw invalid('names an empty file')
  return secret.trim()
}
