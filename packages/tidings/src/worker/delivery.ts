import { TidingsError } from '../core/errors.ts'
import type { QueueAccess } from '../messages/access.ts'
import { MessageLease } from '../messages/lease.ts'
import type { Ending, StoredMessage } from '../port/engine.ts'
import type { CallContext } from './context.ts'

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

  /** Whether the lease may have run out on the way here. */
  readonly isLate: boolean
  #leaseMs: number
  /**
   * The sum of the renewer's ticks, not a clock difference: a clock that is set back would stop renewals for a long time.
   */
  #elapsedMs: number
  readonly #claimMs: number
  #leasedFromMs = 0

  /** @param elapsedMs the duration of the claim: the lease may have begun that long ago */
  constructor(access: QueueAccess<unknown>, message: StoredMessage, leaseMs: number, elapsedMs: number) {
    super(access.name, access.deadLetterQueue, message, access.leaseCalls)
    this.#leaseMs = leaseMs
    this.#elapsedMs = elapsedMs
    this.#claimMs = elapsedMs
    this.isLate = elapsedMs >= leaseMs
  }

  /** How long the lease lasts at least, unless it was taken away. */
  get leftMs(): number {
    return this.#leasedFromMs + this.#leaseMs - this.#elapsedMs
  }

  /** The time since the claim was answered. */
  get heldMs(): number {
    return this.#elapsedMs - this.#claimMs
  }

  timePassed(milliseconds: number): void {
    this.#elapsedMs += milliseconds
  }

  override async settle(ending: Ending): Promise<boolean> {
    if (this.transactional && this.phase === 'handling')
      throw new TidingsError(
        'UNSUPPORTED',
        `message ${this.message.id} cannot be settled by itself: it ends with the transaction of its handler`,
        { hint: 'Return done(), archive(), retry(), snooze() or deadLetter() instead.' },
      )
    return super.settle(ending)
  }

  override async extend(leaseMs: number): Promise<void> {
    const asked = this.#elapsedMs
    await super.extend(leaseMs)
    this.#leaseMs = leaseMs
    this.#leasedFromMs = asked
  }
}
