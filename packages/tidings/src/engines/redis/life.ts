import type { Interest } from '../../port/listening.ts'
import { thisProcess, toWord } from '../../port/processes.ts'
import { isTransient, replyCode } from './errors.ts'
import { lifeChannelOf, newToken, processChannelOf } from './keys.ts'
import type { SubscriberConnection } from './subscriber-connection.ts'

const askedMs = 4_000

/**
 * The life of this process, as servers see it: a channel with its token, to which its connections listen. Leases bear the
 * token, and belong to others once a server has nobody who listens to it.
 */
export class Life {
  readonly token = newToken()
  /** The connections that keep it, and whether the user may have it kept there. */
  readonly #keepers = new Map<SubscriberConnection, Promise<boolean>>()
  readonly #keeping = new Set<SubscriberConnection>()
  /** Says who this process is; null while nobody wants it to be looked after. */
  #word: string | null = null
  /** In which queues and topics something may be in hand, and until when at most. */
  readonly #held = new Map<Interest, number>()

  /** From now on it is said who this process is, wherever its life is kept. */
  async begin(): Promise<void> {
    this.#word ??= toWord({ ...thisProcess, since: Date.now() })
    await Promise.all([...this.#keeping].map((subscriber) => this.#introduceAt(subscriber)))
  }

  end(): void {
    const word = this.#word
    this.#word = null
    if (word !== null) for (const subscriber of this.#keeping) this.#withdrawAt(subscriber, word)
  }

  /** Nothing depends on it: where it fails, this process is not listed. */
  async #introduceAt(subscriber: SubscriberConnection): Promise<void> {
    const word = this.#word
    if (word === null) return
    await subscriber.subscribe(this.#channelAt(subscriber, word), 'subscribe').catch(() => {})
    if (this.#word !== word) this.#withdrawAt(subscriber, word)
  }

  #withdrawAt(subscriber: SubscriberConnection, word: string): void {
    subscriber.unsubscribe(this.#channelAt(subscriber, word), 'unsubscribe')
  }

  #channelAt({ server }: SubscriberConnection, word: string): string {
    return processChannelOf(server.database, this.token, word)
  }

  /** Resolves once it is in force, or known to be refused: false then. */
  async keepAt(subscriber: SubscriberConnection): Promise<boolean> {
    if (this.#keeping.has(subscriber)) return true
    const kept = this.#keepers.get(subscriber) ?? this.#keep(subscriber)
    this.#keepers.set(subscriber, kept)
    try {
      return await kept
    } catch (error) {
      this.#keepers.delete(subscriber)
      throw error
    }
  }

  async #keep(subscriber: SubscriberConnection): Promise<boolean> {
    const channel = lifeChannelOf(this.token)
    try {
      await subscriber.subscribe(channel, 'subscribe')
      // Whether others may ask, and find it.
      const answer = await subscriber.server.call(['PUBSUB', 'NUMSUB', channel], { timeoutMs: askedMs })
      if ((answer as [string, number])[1] === 0) return false
    } catch (error) {
      if (replyCode(error) === '' || isTransient(error)) throw error
      return false
    }
    if (subscriber.isOver) return true
    this.#keeping.add(subscriber)
    await this.#introduceAt(subscriber)
    return true
  }

  isAt(subscriber: SubscriberConnection): boolean {
    return this.#keeping.has(subscriber)
  }

  /** Whether it was not asked for there, or is not in force yet. */
  isMissingAt(subscriber: SubscriberConnection): boolean {
    return !this.#keepers.has(subscriber)
  }

  /** The connection is gone. @returns whether it has kept this life */
  leave(subscriber: SubscriberConnection): boolean {
    this.#keepers.delete(subscriber)
    return this.#keeping.delete(subscriber)
  }

  /** Something in there may be in hand from now on, for so long. */
  hold(interest: Interest, leaseMs: number): void {
    this.#held.set(interest, Math.max(this.#held.get(interest) ?? 0, performance.now() + leaseMs))
  }

  /** What is in hand in there may be so for longer. */
  prolong(interest: Interest, leaseMs: number): void {
    if (this.#held.has(interest)) this.hold(interest, leaseMs)
  }

  get held(): Interest[] {
    const now = performance.now()
    for (const [interest, until] of this.#held) if (until < now) this.#held.delete(interest)
    return [...this.#held.keys()]
  }
}
