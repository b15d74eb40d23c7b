import type { QueryConfig } from 'pg'
import { sleep, systemClock } from '../../core/clock.ts'
import { TidingsError } from '../../core/errors.ts'
import { inTurn } from '../../port/in-turn.ts'
import { type Interest, isChannel, type Listener, nameIn } from '../../port/listening.ts'
import type { Connection } from './connections.ts'
import type { Row } from './driver.ts'
import { toTidingsError } from './errors.ts'
import { statements } from './sql.gen.ts'

/** A half-open connection is noticed within these two together. */
const heartbeatMs = 2_000
const heartbeatTimeoutMs = 2_500
/** For so many heartbeats a channel is kept that nobody waits for: most readers wait again soon. */
const keptBeats = 5
/** How soon and how slowly the end of transactions is looked for that were writing when the waiting began. */
const firstLookMs = 10
const longestLookMs = 500

type Ear = Pick<Listener, 'woken' | 'notified' | 'lost'>

/**
 * A connection that listens. While somebody waits for a queue it holds a shared advisory lock, by which senders see that
 * they have to announce what they send.
 */
export class ListeningConnection {
  readonly #connection: Connection
  readonly #listener: Ear
  readonly #session: ReturnType<typeof inTurn>
  /** What is asked for, and since when it is in force. */
  readonly #wanted = new Map<Interest, Promise<void>>()
  /** Those of it that are channels for events. */
  readonly #events = new Set<Interest>()
  /** What comes through a channel of the server, and for how many heartbeats nobody has wanted it. */
  readonly #channels = new Map<string, { readonly interest: Interest; unwantedBeats: number }>()
  readonly #heartbeat: NodeJS.Timeout
  #isOver = false

  constructor(connection: Connection, listener: Ear) {
    const { client } = connection
    this.#connection = connection
    this.#listener = listener
    this.#session = inTurn({
      query: (text, values) => {
        const config: QueryConfig & { query_timeout: number } = {
          text,
          values: [...values],
          query_timeout: heartbeatTimeoutMs,
        }
        return client.query(config)
      },
    })
    client.on('notification', ({ channel, payload }) => this.#notified(channel, payload ?? ''))
    client.on('error', (error) => this.#end(error))
    client.on('end', () => this.#end(new Error('the connection was ended')))
    this.#heartbeat = setInterval(() => void this.#beat(), heartbeatMs)
    this.#heartbeat.unref()
  }

  get hearsChannels(): boolean {
    return this.#events.size > 0
  }

  /** Resolves once it is in force. @throws QUEUE_NOT_FOUND, TOPIC_NOT_FOUND, CONNECTION_LOST */
  async start(interest: Interest): Promise<void> {
    const before = this.#wanted.get(interest)
    if (before !== undefined) await before
    if (this.#wanted.has(interest)) return await this.#check(interest)
    const wanted = this.#start(interest)
    // Who asks next may await it, or nobody.
    wanted.catch(() => {})
    this.#wanted.set(interest, wanted)
    await wanted
  }

  async #start(interest: Interest): Promise<void> {
    try {
      if (isChannel(interest)) {
        this.#events.add(interest)
        return await this.#listenTo(interest)
      }
      const [, [row]] = await Promise.all([
        this.#listenTo(interest),
        this.#query(statements.startWaiting, [placeOf(interest)]),
      ])
      const writers = parseList(row?.writers)
      if (writers.length > 0) void this.#follow(interest, writers)
    } catch (error) {
      this.#wanted.delete(interest)
      this.#events.delete(interest)
      throw this.#judge(error)
    }
  }

  /** Somebody waits for it already, but it may be gone by now. */
  async #check(interest: Interest): Promise<void> {
    try {
      if (!isChannel(interest)) await this.#query(statements.checkQueue, [placeOf(interest)])
    } catch (error) {
      throw this.#judge(error)
    }
  }

  /** An error that is not about the interest alone ends the connection. */
  #judge(error: unknown): TidingsError {
    const known = toTidingsError(error, 'the listening connection', 'CONNECTION_LOST')
    if (!['QUEUE_NOT_FOUND', 'TOPIC_NOT_FOUND'].includes(known.code)) this.#end(known)
    return known
  }

  async #listenTo(interest: Interest): Promise<void> {
    const fresh = channelsOf(interest).filter((channel) => !this.#channels.has(channel))
    for (const channel of channelsOf(interest)) this.#channels.set(channel, { interest, unwantedBeats: 0 })
    if (fresh.length > 0) await this.#query(this.#each('LISTEN', fresh))
  }

  #each(command: 'LISTEN' | 'UNLISTEN', channels: readonly string[]): string {
    const { client } = this.#connection
    return channels.map((channel) => `${command} ${client.escapeIdentifier(channel)}`).join('; ')
  }

  /** Wakes whenever one of the transactions ends that were writing when the waiting began. */
  async #follow(interest: Interest, writers: readonly string[]): Promise<void> {
    const wanted = this.#wanted.get(interest)
    let open = writers
    for (let pauseMs = firstLookMs; open.length > 0; pauseMs = Math.min(pauseMs * 2, longestLookMs)) {
      await sleep(systemClock, pauseMs)
      if (this.#isOver || this.#wanted.get(interest) !== wanted) return
      const [row] = await this.#query(statements.stillOpen, [JSON.stringify(open)]).catch((): Row[] => [])
      const left = parseList(row?.writers)
      if (left.length < open.length) this.#listener.woken(interest, 0)
      open = left
    }
  }

  /** Does not wait: a late announcement does no harm. The connection carries its statements out in order. */
  stop(interest: Interest): void {
    if (!this.#wanted.delete(interest) || this.#isOver) return
    if (this.#events.delete(interest)) this.#unlisten(channelsOf(interest))
    else this.#query(statements.stopWaiting, [placeOf(interest)]).catch((error: unknown) => this.#end(error))
  }

  #unlisten(channels: readonly string[]): void {
    for (const channel of channels) this.#channels.delete(channel)
    if (channels.length > 0) this.#query(this.#each('UNLISTEN', channels)).catch((error: unknown) => this.#end(error))
  }

  async close(): Promise<void> {
    if (this.#isOver) return
    this.#isOver = true
    clearInterval(this.#heartbeat)
    this.#connection.release(true)
  }

  #notified(channel: string, text: string): void {
    const interest = this.#channels.get(channel)?.interest
    if (this.#isOver || interest === undefined || !this.#wanted.has(interest)) return
    if (isChannel(interest)) this.#listener.notified(channel, text)
    else this.#listener.woken(interest, Number(text) || 0)
  }

  async #beat(): Promise<void> {
    const stale: string[] = []
    for (const [channel, state] of this.#channels) {
      state.unwantedBeats = this.#wanted.has(state.interest) ? 0 : state.unwantedBeats + 1
      if (state.unwantedBeats > keptBeats) stale.push(channel)
    }
    this.#unlisten(stale)
    try {
      const [row] = await this.#query(statements.mode)
      // A server that became read only announces nothing: senders have another one.
      if (row?.read_only !== 'off') throw new TidingsError('CONNECTION_LOST', 'the server that listens is read only')
    } catch (error) {
      this.#end(error)
    }
  }

  /** One statement after the other, as `pg` wants it. One that hangs ends by its timeout, and with it the connection. */
  async #query(text: string, values: readonly unknown[] = []): Promise<readonly Row[]> {
    return (await this.#session.query(text, values)).rows
  }

  #end(error: unknown): void {
    if (this.#isOver) return
    void this.close()
    this.#listener.lost([...this.#wanted.keys()], toTidingsError(error, 'the listening connection', 'CONNECTION_LOST'))
  }
}

/** What a queue or topic is called in tidings.place_of_topic. No queue can have the name of a topic's place. */
export const placeOf = (interest: Interest) => (interest.startsWith('topic:') ? interest : nameIn(interest))

/** The channels of the server. For a queue also that of PGMQ's own insert trigger, where it is enabled. */
function channelsOf(interest: Interest): string[] {
  if (isChannel(interest)) return [nameIn(interest)]
  const place = placeOf(interest)
  return interest === place ? [`tidings.${place}`] : [`tidings.${place}`, `pgmq.q_${place}.INSERT`]
}

function parseList(json: unknown): string[] {
  return typeof json === 'string' ? (JSON.parse(json) as string[]) : []
}
