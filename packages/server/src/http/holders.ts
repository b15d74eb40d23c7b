import { createHash } from 'node:crypto'
import type { Clock, Timer } from 'tidings/internal/core/clock'

import type { ProcessDescription, ProcessInfo } from 'tidings/internal/port/processes'

/** Why a call is given up whose client has gone by itself; the server's stopping and an ended token are other reasons. */
export const clientLeft = new Error('the client has left')

/** So long after its last stream has gone, and the last request of it, a holder is lost… */
const goneMs = 1_000
/** …if meanwhile the stream of another one has lasted for so long: then the way to this server is in order… */
const witnessMs = 2_500
/** …else, if it does not come back for so long: what stands in between may be starting anew. */
const aloneMs = 4_000
/** By then a stream has taken the place of an older one; if that has not ended, only its end was not heard of. */
const replacedMs = 5_000
const lookMs = 200
/** A look that comes later than this says nothing: what the clients did meanwhile is still to be read. */
const lateMs = 300

/** What a process calls itself holds among those of its token only, so that no other can speak for it. */
export const holderName = ({ name }: { readonly name: string | null }, holder: string) => `${name ?? ''}/${holder}`
/** The caller in such a name. */
export const callerIn = (name: string) => name.slice(0, name.lastIndexOf('/'))

interface Stream {
  readonly since: number
}

interface Holder {
  readonly streams: Set<Stream>
  /** Since when it has been there, by the time of day. */
  readonly since: number
  /** Who it says that it is; null: it has not said so. */
  about: ProcessDescription | null
  /** From which queues it has claimed messages that are held. */
  readonly queues: Set<string>
  /** When it was there for the last time. */
  seenAt: number
  look: Timer | undefined
}

/**
 * The processes that look after their leases by a stream: each has a name that nobody else can guess, within those of
 * its token. One is lost when its stream goes because the client goes, and no other stream of it is there soon. A stream
 * that this server ends itself loses nobody, and neither does one that it has not seen.
 */
export class Holders {
  readonly #clock: Clock
  readonly #lost: (holder: string) => void
  readonly #holders = new Map<string, Holder>()
  #isStopped = false

  /** @param lost called once for each that is lost */
  constructor(clock: Clock, lost: (holder: string) => void) {
    this.#clock = clock
    this.#lost = lost
  }

  /** The holder is there for as long as the stream runs. @param about who it says that it is, if it does */
  async attend(
    name: string,
    { signal, about }: { readonly signal: AbortSignal; readonly about: ProcessDescription | null },
    stream: () => Promise<void>,
  ): Promise<void> {
    const holder = this.#holders.get(name) ?? this.#newHolder()
    this.#holders.set(name, holder)
    holder.about = about
    const own = { since: performance.now() }
    holder.streams.add(own)
    holder.look?.cancel()
    try {
      await stream()
    } finally {
      holder.streams.delete(own)
      // A client has one stream, and for a moment the one that takes its place.
      if (performance.now() - own.since >= replacedMs)
        for (const older of holder.streams) if (older.since < own.since) holder.streams.delete(older)
      if (holder.streams.size === 0) this.#gone(name, holder, signal.reason === clientLeft)
    }
  }

  /** A request of it has come. */
  heard(name: string): void {
    const holder = this.#holders.get(name)
    if (holder) holder.seenAt = performance.now()
  }

  /** It has claimed messages from the queue, which are held. */
  claimed(name: string, queue: string): void {
    this.#holders.get(name)?.queues.add(queue)
  }

  /** Those that are there, and have said who they are. */
  get processes(): ProcessInfo[] {
    return [...this.#holders].flatMap(([name, { about, since, queues, streams }]) =>
      about === null || streams.size === 0
        ? []
        : [{ ...about, id: idOf(name), since, queues: [...queues].sort(), ...tokenIn(name) }],
    )
  }

  #newHolder(): Holder {
    return { streams: new Set(), since: this.#clock.now(), about: null, queues: new Set(), seenAt: 0, look: undefined }
  }

  isThere(name: string): boolean {
    return (this.#holders.get(name)?.streams.size ?? 0) > 0
  }

  /** From now on nobody is lost. */
  stop(): void {
    this.#isStopped = true
    for (const { look } of this.#holders.values()) look?.cancel()
  }

  #gone(name: string, holder: Holder, byItself: boolean): void {
    if (!byItself || this.#isStopped) {
      this.#holders.delete(name)
      return
    }
    holder.seenAt = performance.now()
    this.#lookLater(name, holder)
  }

  #lookLater(name: string, holder: Holder): void {
    const dueAt = performance.now() + lookMs
    holder.look = this.#clock.after(lookMs, () => {
      const now = performance.now()
      if (now - dueAt > lateMs) holder.seenAt = now
      if (!this.#isLost(holder, now)) return this.#lookLater(name, holder)
      this.#holders.delete(name)
      this.#lost(name)
    })
  }

  #isLost({ seenAt }: Holder, now: number): boolean {
    const missingMs = now - seenAt
    if (missingMs < goneMs) return false
    return missingMs >= aloneMs || this.#hasWitness(now)
  }

  #hasWitness(now: number): boolean {
    return [...this.#holders.values()].some(({ streams }) => [...streams].some(({ since }) => now - since >= witnessMs))
  }
}

/** Says nothing of the name, by which others could speak for it. */
const idOf = (name: string) => createHash('sha256').update(name).digest('base64url').slice(0, 16)

const tokenIn = (name: string) => (callerIn(name) === '' ? {} : { token: callerIn(name) })
