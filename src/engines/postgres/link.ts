import type { Client } from 'pg'
import type { Driver } from './driver.ts'
import { toTidingsError } from './errors.ts'
import { isDirect } from './pooler.ts'
import { statements } from './sql.gen.ts'

export interface LinkEvents {
  notified(queue: string, dueMs: number): void
  lost(): void
}

/** A half-open connection is noticed within these two together. */
const heartbeatMs = 2_000
const heartbeatTimeoutMs = 2_500
/** How often readers are woken behind a pooler, through which notifications do not come. */
const pooledPollMs = 500

/**
 * One listening connection. While somebody waits for a queue it holds a shared advisory lock, by which senders see that
 * they have to announce what they send.
 */
export class Link {
  readonly #client: Client
  readonly #events: LinkEvents
  /** False behind a pooler that gives every transaction another server connection. */
  readonly #direct: boolean
  readonly #listening = new Set<string>()
  readonly #waiting = new Map<string, Promise<void>>()
  readonly #heartbeat: NodeJS.Timeout
  #over = false

  static async open(driver: Driver, events: LinkEvents): Promise<Link> {
    const client = await driver.connectAlone()
    try {
      return new Link(client, await isDirect(client), events)
    } catch (error) {
      await client.end().catch(() => {})
      throw error
    }
  }

  private constructor(client: Client, direct: boolean, events: LinkEvents) {
    this.#client = client
    this.#direct = direct
    this.#events = events
    client.on('notification', ({ channel, payload }) => {
      const queue = queueOf(channel)
      if (queue !== undefined) events.notified(queue, Number(payload) || 0)
    })
    client.on('error', () => this.#end())
    client.on('end', () => this.#end())
    this.#heartbeat = setInterval(() => this.#beat(), direct ? heartbeatMs : pooledPollMs)
    this.#heartbeat.unref()
  }

  /** Resolves once senders know. @throws QUEUE_NOT_FOUND */
  async startWaiting(queue: string): Promise<void> {
    const before = this.#waiting.get(queue)
    if (before !== undefined) await before
    const first = !this.#waiting.has(queue)
    const started = this.#tell(queue, first ? statements.startWaiting : statements.checkQueue)
    if (first) this.#waiting.set(queue, started)
    await started
  }

  async #tell(queue: string, statement: string): Promise<void> {
    try {
      await Promise.all([this.#listen(queue), this.#client.query(statement, [queue])])
    } catch (error) {
      const typed = toTidingsError(error, 'the listening connection', 'CONNECTION_LOST')
      if (typed.code !== 'QUEUE_NOT_FOUND') return this.#end()
      this.#waiting.delete(queue)
      throw typed
    }
  }

  async #listen(queue: string): Promise<void> {
    if (this.#listening.has(queue)) return
    this.#listening.add(queue)
    // Names of queues have no quotes. The second channel is that of PGMQ's own insert trigger, where it is enabled.
    await this.#client.query(`LISTEN "tidings.${queue}"; LISTEN "pgmq.q_${queue}.INSERT"`)
  }

  /** Does not wait: a late announcement does no harm. The connection carries its statements out in order. */
  stopWaiting(queue: string): void {
    if (!this.#waiting.delete(queue)) return
    this.#client.query(statements.stopWaiting, [queue]).catch(() => this.#end())
  }

  async close(): Promise<void> {
    this.#over = true
    clearInterval(this.#heartbeat)
    await this.#client.end().catch(() => {})
  }

  #beat(): void {
    if (!this.#direct) {
      for (const queue of this.#waiting.keys()) this.#events.notified(queue, 0)
      return
    }
    const config = { text: 'SELECT 1', query_timeout: heartbeatTimeoutMs }
    this.#client.query(config).catch(() => this.#end())
  }

  #end(): void {
    if (this.#over) return
    void this.close()
    this.#events.lost()
  }
}

function queueOf(channel: string): string | undefined {
  return /^tidings\.(.+)$/.exec(channel)?.[1] ?? /^pgmq\.q_(.+)\.INSERT$/.exec(channel)?.[1]
}
