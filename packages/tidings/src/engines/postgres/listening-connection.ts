import type { QueryConfig, QueryResult } from 'pg'
import { sleep, systemClock } from '../../core/clock.ts'
import { isTidingsError } from '../../core/errors.ts'
import { believedMs, type Connection } from './connections.ts'
import type { Driver } from './driver.ts'
import { toTidingsError } from './errors.ts'
import { type LinkEvents, Poller } from './poller.ts'
import { statements } from './sql.gen.ts'

/** A half-open connection is noticed within these two together. */
const heartbeatMs = 2_000
const heartbeatTimeoutMs = 2_500
/** How soon and how slowly the end of transactions is looked for that were writing when the waiting began. */
const firstLookMs = 10
const longestLookMs = 500

/**
 * One listening connection. While somebody waits for a queue it holds a shared advisory lock, by which senders see that
 * they have to announce what they send.
 */
export class Link {
  readonly #connection: Connection
  readonly #events: LinkEvents
  readonly #listening = new Set<string>()
  readonly #waiting = new Map<string, Promise<void>>()
  readonly #heartbeat: NodeJS.Timeout
  #last: Promise<unknown> = Promise.resolve()
  #over = false

  static async open(driver: Driver, events: LinkEvents): Promise<Link | Poller> {
    const connection = await driver.connect('listening').catch((error: unknown) => {
      if (isTidingsError(error, 'CONNECTION_LIMIT')) return null
      throw error
    })
    if (connection?.session.isDirect) return new Link(connection, events)
    // A lock of a session would stay behind on a connection of the pooler.
    connection?.release(true)
    return new Poller(driver, events, connection ? null : believedMs)
  }

  private constructor(connection: Connection, events: LinkEvents) {
    const { client } = connection
    this.#connection = connection
    this.#events = events
    client.on('notification', ({ channel, payload }) => {
      const queue = queueOf(channel)
      if (queue !== undefined) events.notified(queue, Number(payload) || 0)
    })
    client.on('error', () => this.#end())
    client.on('end', () => this.#end())
    this.#heartbeat = setInterval(() => void this.#beat(), heartbeatMs)
    this.#heartbeat.unref()
  }

  /** Resolves once senders know. @throws QUEUE_NOT_FOUND, TOPIC_NOT_FOUND */
  async startWaiting(queue: string): Promise<void> {
    const before = this.#waiting.get(queue)
    if (before !== undefined) await before
    if (this.#waiting.has(queue)) {
      // Somebody waits already; but the queue may be gone by now.
      await this.#ask(queue, statements.checkQueue)
      return
    }
    const started = this.#ask(queue, statements.startWaiting)
    const waiting = started.then(() => {})
    // Whoever comes next may await it, or nobody.
    waiting.catch(() => {})
    this.#waiting.set(queue, waiting)
    const writers = parseList((await started)?.writers)
    if (writers.length > 0) void this.#follow(queue, waiting, writers)
  }

  async #ask(queue: string, statement: string): Promise<Record<string, unknown> | undefined> {
    try {
      const [, { rows }] = await Promise.all([this.#listen(queue), this.#query(statement, [queue])])
      return rows[0]
    } catch (error) {
      const typed = toTidingsError(error, 'the listening connection', 'CONNECTION_LOST')
      if (typed.code === 'QUEUE_NOT_FOUND' || typed.code === 'TOPIC_NOT_FOUND') {
        this.#waiting.delete(queue)
        throw typed
      }
      this.#end()
      return undefined
    }
  }

  /** Wakes whenever one of the transactions ends that were writing when the waiting began. */
  async #follow(queue: string, waiting: Promise<void>, writers: readonly string[]): Promise<void> {
    let open = writers
    for (let pauseMs = firstLookMs; open.length > 0; pauseMs = Math.min(pauseMs * 2, longestLookMs)) {
      await sleep(systemClock, pauseMs)
      if (this.#over || this.#waiting.get(queue) !== waiting) return
      const { rows } = await this.#query(statements.stillOpen, [JSON.stringify(open)]).catch(() => ({
        rows: [{ writers: null }],
      }))
      const left = parseList(rows[0].writers)
      if (left.length < open.length) this.#events.notified(queue, 0)
      open = left
    }
  }

  async #listen(queue: string): Promise<void> {
    if (this.#listening.has(queue)) return
    this.#listening.add(queue)
    // Names have no quotes. The second channel is that of PGMQ's own insert trigger, where it is enabled.
    const foreign = isTopicPlace(queue) ? '' : `; LISTEN "pgmq.q_${queue}.INSERT"`
    await this.#query(`LISTEN "tidings.${queue}"${foreign}`)
  }

  /** Does not wait: a late announcement does no harm. The connection carries its statements out in order. */
  stopWaiting(queue: string): void {
    if (!this.#waiting.delete(queue)) return
    this.#query(statements.stopWaiting, [queue]).catch(() => this.#end())
  }

  async close(): Promise<void> {
    if (this.#over) return
    this.#over = true
    clearInterval(this.#heartbeat)
    this.#connection.release(true)
  }

  /** A server that became read only announces nothing: senders have another one. */
  async #beat(): Promise<void> {
    const { rows } = await this.#query(statements.mode).catch(() => ({ rows: [] }))
    if (rows[0]?.read_only !== 'off') this.#end()
  }

  /** One statement after the other, as `pg` wants it. One that hangs ends by its timeout, and with it the link. */
  #query(text: string, values: readonly unknown[] = []): Promise<QueryResult> {
    const config: QueryConfig & { query_timeout: number } = {
      text,
      values: [...values],
      query_timeout: heartbeatTimeoutMs,
    }
    const result = this.#last.then(() => this.#connection.client.query(config))
    this.#last = result.catch(() => {})
    return result
  }

  #end(): void {
    if (this.#over) return
    void this.close()
    this.#events.lost()
  }
}

/** What a topic is called among queues, as tidings.place_of_topic. No queue can have such a name. */
export const topicPlace = (topic: string) => `topic:${topic}`
const isTopicPlace = (queue: string) => queue.startsWith('topic:')

function queueOf(channel: string): string | undefined {
  return /^tidings\.(.+)$/.exec(channel)?.[1] ?? /^pgmq\.q_(.+)\.INSERT$/.exec(channel)?.[1]
}

function parseList(json: unknown): string[] {
  return typeof json === 'string' ? (JSON.parse(json) as string[]) : []
}
