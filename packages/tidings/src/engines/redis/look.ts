import { sleep, systemClock } from '../../core/clock.ts'
import { type Interest, isPlace, nameIn } from '../../port/listening.ts'
import type { Driver } from './driver.ts'
import { groupBy } from './groups.ts'
import { keysOf, lookedAtKeysOf, topicKeyOf, topicKeysOf } from './keys.ts'
import type { Life } from './life.ts'
import type { SubscriberConnection } from './subscriber-connection.ts'

/** How often it is looked. */
export const lookMs = 1_550
/** Looks of many processes shall not come together. */
const earlierMs = 100
export const untilNextLook = () => lookMs - earlierMs * Math.random()

/**
 * After a restart, a failover or the move of a slot others come back as this process does: only after so long on a connection
 * is one who is not there taken for gone, and only if that one is still away a moment later.
 */
const comeBackMs = 2_500
const sureMs = 300

/** Queues and topics in one call to one server. */
const mostAtOnce = 100
/** Leased messages in one step, during which the server does nothing else. */
const partSize = 500
/** One look of so many asks for processes that are gone also where nothing is leased, so that they are forgotten. */
const thoroughly = 64

type Answer = [now: number | null, found: (number | null)[], gone: string[][]]
type Place = readonly [interest: Interest, subscriber: SubscriberConnection]

/** Looks into queues and topics: for what nobody announced, and for processes that are gone and had something in hand. */
export class Look {
  readonly #driver: Driver
  readonly #life: Life
  readonly #woken: (interest: Interest, dueMs: number) => void
  /** Since when each is at which connection. */
  readonly #seen = new Map<Interest, { readonly subscriber: SubscriberConnection; readonly since: number }>()
  readonly #lastOffsets = new Map<Interest, number>()
  readonly #givingBack = new Set<Interest>()
  readonly #stop = new AbortController()
  #count = 0

  /** @param woken of something to be read, now or in so many milliseconds */
  constructor(driver: Driver, life: Life, woken: (interest: Interest, dueMs: number) => void) {
    this.#driver = driver
    this.#life = life
    this.#woken = woken
  }

  /** From now on it is at this connection. */
  see(interest: Interest, subscriber: SubscriberConnection): void {
    if (this.#seen.get(interest)?.subscriber !== subscriber)
      this.#seen.set(interest, { subscriber, since: performance.now() })
  }

  stop(): void {
    this.#stop.abort()
  }

  /** Never rejects: what cannot be looked at now is looked at next time. */
  async now(places: ReadonlyMap<Interest, SubscriberConnection>): Promise<void> {
    for (const interest of this.#seen.keys()) if (!places.has(interest)) this.#seen.delete(interest)
    for (const interest of this.#lastOffsets.keys()) if (!places.has(interest)) this.#lastOffsets.delete(interest)
    for (const [interest, subscriber] of places) this.see(interest, subscriber)
    const isThorough = this.#count++ % thoroughly === 0
    const looked = [...places].filter(([interest]) => isPlace(interest))
    const looks = [...groupBy(looked, ([, subscriber]) => subscriber).values()].flatMap((group) =>
      this.#driver.partsOf(group, mostAtOnce).map((chunk) => this.#lookAt(chunk, isThorough)),
    )
    await Promise.allSettled(looks)
  }

  async #lookAt(places: readonly Place[], isThorough: boolean): Promise<void> {
    const [, subscriber] = places[0]!
    const [queues, topics] = [places.filter(([interest]) => !isTopic(interest)), places.filter(([one]) => isTopic(one))]
    const keys = [
      ...lookedAtKeysOf(queues.map(([interest]) => nameIn(interest))),
      ...topics.map(([interest]) => topicKeyOf(nameIn(interest), 'meta')),
    ]
    const token = this.#life.isAt(subscriber) ? this.#life.token : ''
    const args = [queues.length, token, isThorough ? 1 : '']
    const [now, found, gone] = (await this.#driver.runAt(subscriber.server, 'look', keys, args)) as Answer
    for (const [index, [interest]] of [...queues, ...topics].entries()) {
      this.#found(interest, found[index]!)
      if (gone[index]!.length > 0) void this.#suspect(interest, subscriber, gone[index]!, now!).catch(() => {})
    }
  }

  #found(interest: Interest, found: number | null): void {
    if (!isTopic(interest)) {
      if (found !== null && found < lookMs) this.#woken(interest, found)
      return
    }
    const before = this.#lastOffsets.get(interest) ?? found
    this.#lastOffsets.set(interest, found!)
    if (found !== before) this.#woken(interest, 0)
  }

  /** @param now of the server */
  async #suspect(interest: Interest, subscriber: SubscriberConnection, tokens: string[], now: number): Promise<void> {
    const foundAt = performance.now()
    const isNew = foundAt - (this.#seen.get(interest)?.since ?? foundAt) < comeBackMs
    if (isNew || this.#givingBack.has(interest)) return
    this.#givingBack.add(interest)
    try {
      await sleep(systemClock, sureMs, this.#stop.signal)
      const script = isTopic(interest) ? 'topic-give-back' : 'give-back'
      const keys = isTopic(interest) ? topicKeysOf(nameIn(interest)) : keysOf(nameIn(interest))
      let [cursor, gone] = ['0', tokens]
      while (cursor !== '' && !subscriber.isOver) {
        const lostAt = new Date(now + performance.now() - foundAt).toISOString()
        const args = [lostAt, cursor, partSize, this.#life.token, ...gone]
        ;[cursor, gone] = (await this.#driver.runAt(subscriber.server, script, keys, args)) as [string, string[]]
      }
    } finally {
      this.#givingBack.delete(interest)
    }
  }
}

const isTopic = (interest: Interest) => interest.startsWith('topic:')
