import { TidingsError } from '../core/errors.ts'
import type { QueueAccess } from '../messages/access.ts'
import { MessageLease } from '../messages/lease.ts'
import type { Ending, StoredMessage } from '../port/engine.ts'
import type { CallContext } from './context.ts'

/** One message in the hands of a worker, from its claim until its lease has ended. */
export class Delivery extends MessageLease {
  phase: 'waiting' | 'handling' | 'settling' = 'waiting'
  /** The lease was lost, or given up, while the handler ran: whatever the handler answers does not count. */
  lost = false
  /** The call of the handler that it is in. */
  context: CallContext | null = null
  /** Its end belongs to the transaction of its handler. */
  transactional = false

  #leaseMs: number
  /**
   * Measured in what the renewer's ticks add up to and not by the clock, which may be set back; then nothing would be
   * renewed for a long time.
   */
  #elapsedMs: number
  readonly #claimMs: number
  #leasedFromMs = 0

  /** @param elapsedMs how long ago the lease may have begun: the time that the claim took */
  constructor(access: QueueAccess<unknown>, message: StoredMessage, leaseMs: number, elapsedMs: number) {
    super(access.name, access.deadLetterQueue, message, access.leaseCalls)
    this.#leaseMs = leaseMs
    this.#elapsedMs = elapsedMs
    this.#claimMs = elapsedMs
  }

  /** How long the lease lasts at least, if nobody took it away. */
  get leftMs(): number {
    return this.#leasedFromMs + this.#leaseMs - this.#elapsedMs
  }

  /** For how long it has been here, since its claim was answered. */
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
