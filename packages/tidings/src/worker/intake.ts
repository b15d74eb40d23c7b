import type { Clock } from '../core/clock.ts'
import { attemptOf } from '../messages/lease.ts'
import type { Demand } from './claimer.ts'
import type { Delivery } from './delivery.ts'
import type { ParsedWorkOptions } from './options.ts'
import { ThroughputEstimate } from './throughput.ts'

const maxClaim = 1_000
/** For how long messages are given back that must not be in hand beside each other. */
const apartMs = 1_000

/** What a worker has in hand when it asks for more. */
export interface InHand {
  /** Handler calls under way. */
  readonly calls: number
  /** Messages that wait for a handler. */
  readonly buffered: number
  /** How many messages may still be begun. */
  readonly remaining: number
  /** Messages that are given back at this moment. */
  readonly returning: number
}

export interface Taken {
  readonly fresh: Delivery[]
  /** What must not be handled now, and for how many milliseconds. */
  readonly back: Delivery[]
  readonly backMs: number
}

/** How much a worker claims, and what it takes of that. */
export class Intake {
  readonly #options: ParsedWorkOptions
  readonly #clock: Clock
  readonly #held: Iterable<Delivery>
  readonly #throughput: ThroughputEstimate
  /** Nothing is read ahead until a message was claimed that may only be begun at once. */
  #onlyAtOnce = false
  /** Nothing is read ahead while the queue has limits that hold messages back: it would be for nothing. */
  #isHeldBack = false
  /** How many claims still take one message each: there are some that must be alone, see `mustBeAlone`. */
  #singly = 0

  constructor(options: ParsedWorkOptions, clock: Clock, held: Iterable<Delivery>) {
    this.#options = options
    this.#clock = clock
    this.#held = held
    this.#throughput = new ThroughputEstimate(options.concurrency * options.batchSize)
  }

  demand({ calls, buffered, remaining, returning }: InHand): Demand {
    const { concurrency, batchSize } = this.#options
    // A claim would bring late ones again, before they are settled.
    for (const { isLate } of this.#held) if (isLate) return { limit: 0, ahead: 0 }
    const idle = (concurrency - calls) * batchSize
    if (this.#singly > 0 && !this.#isAnyAlone)
      return { limit: idle > buffered && remaining > buffered && returning === 0 ? 1 : 0, ahead: 0 }
    const ahead = this.ahead
    const isNeeded = buffered < idle || buffered <= ahead / 2
    const limit = isNeeded ? Math.max(0, Math.min(idle + ahead - buffered, maxClaim, remaining - buffered)) : 0
    return { limit, ahead: Math.max(0, limit - Math.max(0, idle - buffered)) }
  }

  /** How many messages are read ahead of the handlers. */
  get ahead(): number {
    const { prefetch, batchSize, maxAttempts } = this.#options
    // With one attempt it has to be known whether it was made.
    if (this.#onlyAtOnce || this.#isHeldBack || maxAttempts === 1) return 0
    const ahead = Math.min(prefetch, this.#throughput.ahead(this.#clock.now()))
    // Whole batches only: the rest would be taken for a batch of its own.
    return ahead - (ahead % batchSize)
  }

  /** What the last claim said of limits. */
  heldBack(isHeldBack: boolean): void {
    this.#isHeldBack = isHeldBack
  }

  /** A call of the handler has ended. */
  ended(durationMs: number): void {
    this.#throughput.ended(durationMs, this.#clock.now())
  }

  /** @param inOrder what comes behind a message that is given back is given back too */
  take(claimed: readonly Delivery[], inOrder: boolean): Taken {
    const fresh = claimed.filter((delivery) => !this.#isInHand(delivery))
    // No handler is to see a message whose lease may be over, and so it has cost no attempt.
    if (fresh.some(({ isLate }) => isLate)) return { fresh: [], back: fresh, backMs: 0 }
    // A message whose process died: reading ahead starts slowly again, so that one that kills its process does not take
    // many others along.
    if (
      fresh.some(
        ({ message }) => message.meta.read_ahead_lost || (message.readCount > 1 && !message.meta.error_message),
      )
    )
      this.#throughput.forget()
    const isAlone = fresh.length === 1 && !this.#isAnyAlone
    if (this.#singly > 0 && isAlone) this.#singly--
    const first = fresh.findIndex(mayOnlyBeginAtOnce)
    if (fresh.length > 0) this.#onlyAtOnce = first !== -1
    if (inOrder)
      return first === -1
        ? { fresh, back: [], backMs: 0 }
        : { fresh: fresh.slice(0, first), back: fresh.slice(first), backMs: 0 }
    const apart = isAlone ? [] : fresh.filter((one) => this.#mustBeAlone(one))
    this.#singly = Math.max(this.#singly, apart.length)
    const back = fresh.filter((one) => mayOnlyBeginAtOnce(one) || apart.includes(one))
    const backMs = apart.length > 0 && this.#isAnyAlone ? apartMs : 0
    return { fresh: fresh.filter((one) => !back.includes(one)), back, backMs }
  }

  /**
   * A message on its last attempt, whose process was lost at the one before: it, or one that was in hand beside it, may
   * kill its process. No two of these are in hand at a time, so that a message ends only for what its own handler did.
   */
  #mustBeAlone({ message }: Delivery): boolean {
    return attemptOf(message) === this.#options.maxAttempts && typeof message.meta.process_lost_at === 'string'
  }

  get #isAnyAlone(): boolean {
    for (const one of this.#held) {
      // The storage does not know yet of the end of one that is being settled. One that is given back was not begun.
      const isBegunOrToBe = one.phase !== 'settling' || one.context !== null
      if (isBegunOrToBe && this.#mustBeAlone(one)) return true
    }
    return false
  }

  /**
   * Whether the message is in hand already: the storage gave its lease to the next reader, who is this one. It goes on under
   * the newer lease; if it was handled to its end, its settlement does.
   */
  #isInHand(delivery: Delivery): boolean {
    const { id, readCount, meta } = delivery.message
    if (readCount === 1 && !meta.read_ahead_lost) return false
    const isSame = (one: Delivery) =>
      one.message.id === id && !one.lost && (one.phase === 'settling' ? one.leavesQueue : !one.ended)
    const inHand = [...this.#held].find(isSame)
    inHand?.continueWith(delivery)
    return inHand !== undefined
  }
}

/**
 * A process that is gone had read the message ahead, and may have begun it. If it is lost again, that must count against
 * what began it, so it is not begun where the storage takes it for one that nobody begins.
 */
const mayOnlyBeginAtOnce = ({ isAhead, message }: Delivery) => isAhead && message.meta.read_ahead_lost === true
