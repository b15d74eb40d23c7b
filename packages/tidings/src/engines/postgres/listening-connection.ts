import { settlesWithin } from '../../core/awake.ts'
import { sleep, systemClock } from '../../core/clock.ts'
import { TidingsError } from '../../core/errors.ts'
import { isEventChannel } from '../../events/channels.ts'
import { inTurn } from '../../port/in-turn.ts'
import { type Interest, isCancels, isChannel, type Listener, nameIn } from '../../port/listening.ts'
import { thisProcess } from '../../port/processes.ts'
import type { Connection } from './connections.ts'
import type { Driver, Row } from './driver.ts'
import { toTidingsError } from './errors.ts'
import type { Life } from './life.ts'
import { statements } from './sql.gen.ts'
import { isOfServer } from './sqlstates.ts'
import { Unannounced } from './unannounced.ts'

/** A half-open connection is noticed within these two together. */
const lookMs = 1_300
/** The same where nobody waits for messages. */
const idleLookMs = 2_000
const silenceMs = 2_500
/** A process whose lock was free is looked at again after this. */
const lookAgainMs = 320
/** For so many looks a channel is kept that nobody waits for: most readers wait again soon. */
const keptLooks = 8
/** How soon and how slowly the end of transactions is looked for that were writing when the waiting began. */
const firstLookMs = 10
const longestLookMs = 500

type Ear = Pick<Listener, 'woken' | 'changed' | 'notified' | 'lost'>

/**
 * A connection that listens. While somebody waits for a queue it holds a shared advisory lock, by which senders see that
 * they have to announce what they send; and with 'life' another one, by which other processes see that this one lives.
 * One statement, again and again, asks whether the server is still there and whatever else the server does not tell by
 * itself.
 */
export class ListeningConnection {
  readonly #connection: Connection
  readonly #listener: Ear
  readonly #life: Life
  readonly #driver: Pick<Driver, 'query'>
  readonly #session: ReturnType<typeof inTurn>
  /** What is asked for, and since when it is in force. */
  readonly #wanted = new Map<Interest, Promise<void>>()
  /** Those of it that need a channel only: for events, the application's own, or for what is cancelled. */
  readonly #named = new Set<Interest>()
  /** What comes through a channel of the server, and for how many looks nobody has wanted it. */
  readonly #channels = new Map<string, { readonly interest: Interest; unwantedLooks: number }>()
  readonly #unannounced = new Unannounced()
  /** Processes that are gone, which are being seen to. */
  readonly #gone = new Set<number>()
  /** How often this connection looks for what nobody announced. */
  readonly lookMs = lookMs
  readonly #sleeps: boolean
  #next: NodeJS.Timeout | undefined
  /** Since when others see that this process lives. */
  #livesSince = Number.POSITIVE_INFINITY
  #isOver = false

  /** @param sleeps looks only when it is told to */
  constructor(connection: Connection, listener: Ear, life: Life, driver: Pick<Driver, 'query'>, sleeps: boolean) {
    const { client } = connection
    this.#connection = connection
    this.#listener = listener
    this.#life = life
    this.#driver = driver
    this.#sleeps = sleeps
    this.#session = inTurn({ query: (text, values) => unlessSilent(client.query(text, [...values])) })
    client.on('notification', ({ channel, payload }) => this.#notified(channel, payload ?? ''))
    client.on('error', (error) => this.#end(error))
    client.on('end', () => this.#end(new Error('the connection was ended')))
    this.#lookIn(lookMs)
  }

  /** Whether somebody wants events. */
  get hearsEvents(): boolean {
    return [...this.#named].some((one) => isChannel(one) && isEventChannel(nameIn(one)))
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
      if (isHeardOnly(interest)) {
        this.#named.add(interest)
        return await this.#listenTo(interest)
      }
      if (interest === 'life') return await this.#live()
      const [, [row]] = await Promise.all([
        this.#listenTo(interest),
        this.#query(statements.startWaiting, [placeOf(interest)]),
      ])
      const writers = parseList(row?.writers)
      if (writers.length > 0) void this.#follow(interest, writers)
    } catch (error) {
      this.#wanted.delete(interest)
      this.#named.delete(interest)
      throw this.#judge(error)
    }
  }

  /** A role that may not receive holds nothing, so there is nothing to look after. */
  async #live(): Promise<void> {
    try {
      await this.#life.begin(this, async (before) => {
        const values = [before?.number ?? null, before?.secret ?? null, JSON.stringify(thisProcess)]
        const [row] = await this.#query(statements.beginLife, values)
        return { number: row?.number as number, secret: row?.secret as string }
      })
      this.#livesSince = performance.now()
    } catch (error) {
      if (toTidingsError(error, 'the listening connection', 'CONNECTION_LOST').code !== 'PERMISSION_DENIED') throw error
    }
  }

  /** Somebody waits for it already, but it may be gone by now. */
  async #check(interest: Interest): Promise<void> {
    try {
      if (!isHeardOnly(interest) && interest !== 'life') await this.#query(statements.checkQueue, [placeOf(interest)])
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
    for (const channel of channelsOf(interest)) this.#channels.set(channel, { interest, unwantedLooks: 0 })
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
      if (this.#isOver) return
      const [row] = await this.#query(statements.stillOpen, [JSON.stringify(open)]).catch((): Row[] => [])
      if (this.#isOver || this.#wanted.get(interest) !== wanted) return
      const left = parseList(row?.writers)
      if (left.length < open.length) this.#listener.woken(interest, 0)
      open = left
    }
  }

  /** Does not wait: a late announcement does no harm. The connection carries its statements out in order. */
  stop(interest: Interest): void {
    if (!this.#wanted.delete(interest) || this.#isOver) return
    if (this.#named.delete(interest)) this.#unlisten(channelsOf(interest))
    else if (interest === 'life') this.#liveNoMore()
    else this.#query(statements.stopWaiting, [placeOf(interest)]).catch((error: unknown) => this.#end(error))
  }

  #liveNoMore(): void {
    this.#livesSince = Number.POSITIVE_INFINITY
    const holder = this.#life.end(this)
    if (holder === null) return
    const values = [holder.number, holder.secret]
    this.#query(statements.endLife, values).catch((error: unknown) => this.#end(error))
  }

  #unlisten(channels: readonly string[]): void {
    for (const channel of channels) this.#channels.delete(channel)
    if (channels.length > 0) this.#query(this.#each('UNLISTEN', channels)).catch((error: unknown) => this.#end(error))
  }

  async close(): Promise<void> {
    if (this.#isOver) return
    this.#over()
    this.#connection.release(true)
  }

  #over(): void {
    this.#isOver = true
    clearTimeout(this.#next)
    this.#life.end(this)
  }

  #notified(channel: string, text: string): void {
    const interest = this.#channels.get(channel)?.interest
    if (this.#isOver || interest === undefined || !this.#wanted.has(interest)) return
    if (isChannel(interest)) {
      this.#listener.notified(channel, text)
      return
    }
    if (text === 'changed') this.#listener.changed?.(interest)
    this.#listener.woken(interest, Number(text) || 0)
  }

  /** The server is awake. */
  lookSoon(): void {
    if (!this.#isOver && this.#next === undefined) this.#lookIn(lookMs)
  }

  #lookIn(milliseconds: number): void {
    this.#next = setTimeout(() => void this.#look(), milliseconds)
    this.#next.unref()
  }

  async #look(): Promise<void> {
    const stale: string[] = []
    for (const [channel, state] of this.#channels) {
      state.unwantedLooks = this.#wanted.has(state.interest) ? 0 : state.unwantedLooks + 1
      if (state.unwantedLooks > keptLooks) stale.push(channel)
    }
    this.#unlisten(stale)
    try {
      const isAgain = await this.#lookRound()
      const isWaiting = [...this.#wanted.keys()].some((interest) => !isHeardOnly(interest))
      this.#next = undefined
      if (this.#isOver) return
      if (isAgain) this.#lookIn(lookAgainMs)
      else if (!this.#sleeps) this.#lookIn(isWaiting ? lookMs : idleLookMs)
      // Others may be judged only by who has lived for a while.
      else if (this.#life.number !== null && !this.#mayJudge) this.#lookIn(silenceMs)
    } catch (error) {
      this.#end(error)
    }
  }

  get #mayJudge(): boolean {
    return performance.now() - this.#livesSince >= silenceMs
  }

  /** @returns whether to look again soon */
  async #lookRound(): Promise<boolean> {
    const places = this.#unannounced.due(this.#wanted.keys())
    const mine = this.#mayJudge ? this.#life.number : null
    const [row] = await this.#query(statements.look, [JSON.stringify(places.map(placeOf)), mine])
    // A server that became read only announces nothing: senders have another one.
    if (row?.read_only !== false) throw new TidingsError('CONNECTION_LOST', 'the server that listens is read only')
    for (const interest of this.#unannounced.note(places, row.answers as string))
      if (this.#wanted.has(interest)) this.#listener.woken(interest, 0)
    if (mine !== null) for (const gone of parseList<number>(row.gone)) void this.#giveBack(mine, gone)
    return row.missed === true
  }

  /** What a process had that is gone. Not on this connection, which has to tell of messages meanwhile. */
  async #giveBack(mine: number, gone: number): Promise<void> {
    if (this.#gone.has(gone)) return
    this.#gone.add(gone)
    try {
      let queue: unknown = null
      do {
        const values = [mine, gone, queue]
        queue = (await this.#driver.query(statements.giveBackOfGone, values, { repeatable: true }))[0]?.queue ?? null
      } while (queue !== null)
    } catch {
      // It is found again, by this process or by others.
    }
    // What others have locked, or this role may not receive, is tried again after a while.
    setTimeout(() => this.#gone.delete(gone), silenceMs).unref()
  }

  /** One statement after the other, as `pg` wants it. One that hangs ends by its timeout, and with it the connection. */
  async #query(text: string, values: readonly unknown[] = []): Promise<readonly Row[]> {
    return (await this.#session.query(text, values)).rows
  }

  #end(error: unknown): void {
    if (this.#isOver) return
    this.#over()
    if (isOfServer(error)) this.#connection.release(true)
    else this.#connection.abandon()
    this.#listener.lost([...this.#wanted.keys()], toTidingsError(error, 'the listening connection', 'CONNECTION_LOST'))
  }
}

const isHeardOnly = (interest: Interest) => isChannel(interest) || isCancels(interest)

async function unlessSilent<T>(answer: Promise<T>): Promise<T> {
  if (await settlesWithin(answer, silenceMs)) return answer
  throw new TidingsError('CONNECTION_LOST', 'the connection that listens is silent')
}

/** What a queue or topic is called in tidings.place_of_topic. No queue can have the name of a topic's place. */
export function placeOf(interest: Interest): string {
  if (interest === 'schedules') return 'schedules:'
  return interest.startsWith('topic:') || isCancels(interest) ? interest : nameIn(interest)
}

/** The channels of the server. For a queue also that of PGMQ's own insert trigger, where it is enabled. */
function channelsOf(interest: Interest): string[] {
  if (isChannel(interest)) return [nameIn(interest)]
  const place = placeOf(interest)
  return !interest.startsWith('queue:') ? [`tidings.${place}`] : [`tidings.${place}`, `pgmq.q_${place}.INSERT`]
}

function parseList<T = string>(json: unknown): T[] {
  return typeof json === 'string' ? (JSON.parse(json) as T[]) : []
}
