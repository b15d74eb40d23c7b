import { type Moment, momentOf, passedBetween } from '../core/clock.ts'
import { TidingsError } from '../core/errors.ts'
import type { QueueAccess } from '../messages/access.ts'
import { MessageLease, type Term } from '../messages/lease.ts'
import type { Life } from '../messages/life.ts'
import type { Ending, StoredMessage } from '../port/engine.ts'
import type { CallContext } from './context.ts'

/** The claim that brought a message. */
export interface ClaimedBy extends Term {
  /** That of the life of this process when the claim was begun. */
  readonly epoch: number
  /** The storage was told that no handler begins the message at once. */
  readonly isAhead: boolean
}

/** One message of a worker, from its claim to the end of its lease. */
export class Delivery extends MessageLease {
  phase: 'waiting' | 'handling' | 'settling' = 'waiting'
  /** The lease was lost or released while the handler ran: the handler's result does not count. */
  lost = false
  /** The handler call that has this message. */
  context: CallContext | null = null
  /** The settlement takes the message out of the queue. After a release the message may be claimed again at once. */
  leavesQueue = false
  /** The message is settled in the transaction of its handler. */
  transactional = false

  readonly isAhead: boolean
  /** Whether the lease may have run out on the way here. */
  readonly isLate: boolean
  readonly #access: QueueAccess<unknown>
  readonly #life: Life
  readonly #claimed: Moment
  #epoch: number

  constructor(access: QueueAccess<unknown>, message: StoredMessage, claim: ClaimedBy) {
    super(access.name, access.deadLetterQueue, message, access.leaseCalls, claim)
    this.#access = access
    this.#life = access.life
    this.#claimed = momentOf(access.clock)
    this.isAhead = claim.isAhead
    this.isLate = this.leftMs <= 0
    // So little is left of the lease that it is renewed first.
    this.#epoch = this.leftMs < claim.leaseMs / 2 ? -1 : claim.epoch
  }

  /** The time since the claim was answered. */
  get heldMs(): number {
    return passedBetween(this.#claimed, momentOf(this.#access.clock))
  }

  /** Whether the lease has to be renewed before the message may be begun. */
  get isInDoubt(): boolean {
    return this.#epoch !== this.#life.epoch || this.leftMs <= 0
  }

  protected override get isCertain(): boolean {
    return !this.isInDoubt
  }

  override settle(ending: Ending): Promise<boolean> {
    return this.transactional && this.phase === 'handling'
      ? Promise.reject(this.#isTransactional())
      : super.settle(ending)
  }

  #isTransactional(): TidingsError {
    return new TidingsError(
      'UNSUPPORTED',
      `message ${this.message.id} cannot be settled by itself: it ends with the transaction of its handler`,
      { hint: 'Return done(), archive(), retry(), snooze() or deadLetter() instead.' },
    )
  }

  override async extend(leaseMs: number): Promise<void> {
    const { epoch } = this.#life
    await super.extend(leaseMs)
    this.#epoch = epoch
  }

  override continueWith(newer: Delivery): void {
    super.continueWith(newer)
    this.#epoch = newer.#epoch
  }
}
