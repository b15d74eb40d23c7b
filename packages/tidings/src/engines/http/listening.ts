import { systemClock, type Timer } from '../../core/clock.ts'
import { TidingsError } from '../../core/errors.ts'
import {
  type Announcing,
  type Interest,
  isChannel,
  type Listener,
  type Listening,
  nameIn,
} from '../../port/listening.ts'
import { thisProcess, toWord } from '../../port/processes.ts'
import { fromWireError, maxChannels, processHeader, type WireRefusal, type WireWake } from '../../protocol/messages.ts'
import type { Client } from './client.ts'
import type { ServerEvent } from './event-reader.ts'
import { EventStream } from './event-stream.ts'
import { refused } from './failures.ts'
import type { Holdings } from './holdings.ts'

type Refusals = ReadonlyMap<Interest, unknown>

/** Not in the body: a server of an older version refuses fields that it does not know. */
const introduction = { [processHeader]: toWord(thisProcess) }

/** For so long the server is listened to for what nobody wants: most readers wait again soon. */
const keptMs = 1_000

/**
 * Listens over one stream for all queues and topics. When more is asked for, another stream with everything replaces
 * it. What comes through channels must not come twice, so each batch of channels has a stream of its own.
 */
export class HttpListening implements Listening {
  readonly #client: Client
  readonly #holdings: Holdings
  /** By which the server looks after this process. */
  readonly #name: string
  readonly #listener: Listener
  readonly #wanted = new Set<Interest>()
  /** What the stream tells of. */
  #watched: ReadonlySet<Interest> = new Set()
  #stream: EventStream | undefined
  /** Streams on their way to take its place: the one that is opened now, and the one after that. */
  #opening: Promise<unknown> = Promise.resolve()
  #next: Promise<Refusals> | undefined
  #shrinking: Timer | undefined
  readonly #channelStreams = new Map<EventStream, Set<Interest>>()
  readonly #ended: () => void
  #lookMs: number | undefined
  #by: Announcing = { installed: false, prefix: null }
  #isClosed = false

  /** @param ended called when it is closed */
  constructor({ client, holdings }: { client: Client; holdings: Holdings }, listener: Listener, ended: () => void) {
    this.#ended = ended
    this.#client = client
    this.#holdings = holdings
    this.#name = holdings.newName()
    this.#listener = listener
  }

  /** The server looks for all of its clients. */
  get lookMs(): number | undefined {
    return this.#lookMs
  }

  async listen(interests: readonly Interest[]): Promise<Refusals> {
    this.#client.checkOpen()
    if (this.#isClosed) throw new TidingsError('CLOSED', 'nothing is listened to any more')
    const others = interests.filter((interest) => !isChannel(interest))
    const refusals = await Promise.all([this.#watch(others), ...this.#hear(interests.filter(isChannel))])
    return new Map(refusals.flatMap((one) => [...one]))
  }

  unlisten(interests: readonly Interest[]): void {
    for (const interest of interests) this.#wanted.delete(interest)
    if (interests.includes('life')) this.#holdings.ended(this.#name)
    for (const [stream, channels] of this.#channelStreams) {
      for (const interest of interests) channels.delete(interest)
      if (channels.size === 0) this.#endChannels(stream)
    }
    this.#shrinking ??= systemClock.after(keptMs, () => this.#shrink())
  }

  async close(): Promise<void> {
    this.#isClosed = true
    this.#holdings.ended(this.#name)
    this.#ended()
    this.#shrinking?.cancel()
    this.#wanted.clear()
    this.#endWatching()
    for (const stream of this.#channelStreams.keys()) this.#endChannels(stream)
  }

  async #watch(interests: readonly Interest[]): Promise<Refusals> {
    for (const interest of interests) this.#wanted.add(interest)
    const begin = () => {
      if (interests.includes('life') && this.#watched.has('life')) this.#holdings.began(this.#name)
    }
    if (interests.every((interest) => this.#watched.has(interest))) {
      begin()
      return new Map()
    }
    try {
      const refusals = await this.#replaceSoon()
      begin()
      return new Map([...refusals].filter(([interest]) => interests.includes(interest)))
    } catch (error) {
      const missing = interests.filter((interest) => !this.#watched.has(interest))
      for (const interest of missing) this.#wanted.delete(interest)
      return new Map(missing.map((interest) => [interest, error]))
    }
  }

  /** The next stream has all that is wanted when it is opened. */
  #replaceSoon(): Promise<Refusals> {
    this.#next ??= this.#opening.then(() => {
      this.#next = undefined
      const opening = this.#replace()
      this.#opening = opening.catch(() => {})
      return opening
    })
    return this.#next
  }

  async #replace(): Promise<Refusals> {
    const wanted = new Set(this.#wanted)
    if (wanted.size === 0) {
      this.#endWatching()
      return new Map()
    }
    if (wanted.has('life')) return this.#holdings.telling({ holder: this.#name }, (told) => this.#open(wanted, told))
    return this.#open(wanted, {})
  }

  /** @param told of this process; nothing to a server that does not look after it */
  async #open(wanted: Set<Interest>, told: object): Promise<Refusals> {
    const interests = [...wanted].filter((interest) => interest !== 'life' || 'holder' in told)
    if (interests.length === 0) {
      this.#endWatching()
      this.#watched = wanted
      return new Map()
    }
    const stream: EventStream = new EventStream(this.#client, {
      came: (event) => this.#woken(event),
      ended: (error) => this.#broken(stream, error),
    })
    const text = await stream.open({
      method: 'POST',
      path: '/v1/watch',
      body: { interests, ...told },
      headers: introduction,
    })
    const { refused: answers, look_ms } = JSON.parse(text) as { refused: WireRefusal[]; look_ms?: number | null }
    this.#lookMs = look_ms ?? undefined
    const refusals = new Map<Interest, unknown>()
    for (const { interest, ...error } of answers) {
      refusals.set(interest, fromWireError(error))
      this.#wanted.delete(interest)
      wanted.delete(interest)
    }
    this.#endWatching()
    if (this.#isClosed) stream.close()
    else [this.#stream, this.#watched] = [stream, wanted]
    return refusals
  }

  #endWatching(): void {
    this.#stream?.close()
    this.#stream = undefined
    this.#watched = new Set()
  }

  #shrink(): void {
    this.#shrinking = undefined
    const isWanted = (interest: Interest) => this.#wanted.has(interest)
    // One that cannot be made leaves the old one as it is.
    if (![...this.#watched].every(isWanted)) this.#replaceSoon().catch(() => {})
  }

  #woken({ event, data }: ServerEvent): void {
    if (event !== 'wake') return
    const { interest, due_ms = 0, changed } = JSON.parse(data) as WireWake
    if (!this.#wanted.has(interest)) return
    if (changed) this.#listener.changed?.(interest)
    this.#listener.woken(interest, due_ms)
  }

  #broken(stream: EventStream, error: TidingsError): void {
    if (this.#stream !== stream) return
    const lost = [...this.#watched].filter((interest) => this.#wanted.delete(interest))
    this.#endWatching()
    this.#listener.lost(lost, error)
  }

  #hear(channels: readonly Interest[]): Promise<Refusals>[] {
    const heard = [...this.#channelStreams.values()]
    const missing = channels.filter((channel) => !heard.some((all) => all.has(channel)))
    const batches = Array.from({ length: Math.ceil(missing.length / maxChannels) }, (_, at) =>
      missing.slice(at * maxChannels, (at + 1) * maxChannels),
    )
    return batches.map((batch) => this.#hearBatch(batch))
  }

  async #hearBatch(batch: readonly Interest[]): Promise<Refusals> {
    const stream: EventStream = new EventStream(this.#client, {
      came: (event) => this.#came(stream, event),
      ended: (error) => {
        const lost = [...(this.#channelStreams.get(stream) ?? [])]
        this.#endChannels(stream)
        this.#listener.lost(lost, error)
      },
    })
    this.#channelStreams.set(stream, new Set(batch))
    try {
      const names = batch.map(nameIn).join(',')
      const text = await stream.open({ method: 'GET', path: `/v1/channels?names=${encodeURIComponent(names)}` })
      const { installed, prefix = null } = JSON.parse(text) as { installed: boolean; prefix?: string | null }
      this.#by = { installed, prefix }
      this.#listener.announcing(this.#by)
      return new Map()
    } catch (error) {
      this.#endChannels(stream)
      return new Map(batch.map((interest) => [interest, error]))
    }
  }

  #endChannels(stream: EventStream): void {
    this.#channelStreams.delete(stream)
    stream.close()
  }

  /** The server announces what is due, for all who listen. */
  #came(stream: EventStream, { event, data }: ServerEvent): void {
    const fields = JSON.parse(data) as { channel: string; text: string }
    if (event === 'failed') this.#listener.troubled(refused(500, fields, this.#client.where, 'STORAGE_FAILED'))
    if (event !== 'notified') return
    // Only what is installed tells of anything.
    if (!this.#by.installed) this.#listener.announcing({ ...this.#by, installed: true })
    const { channel, text } = fields
    if (this.#channelStreams.get(stream)?.has(`channel:${channel}`)) this.#listener.notified(channel, text)
  }
}
