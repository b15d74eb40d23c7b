import type { Timer } from '../core/clock.ts'
import { isTidingsError } from '../core/errors.ts'
import { soon } from '../core/turns.ts'
import type { QueueAccess } from '../messages/access.ts'
import type { LifeMember } from '../messages/life.ts'
import type { Watch } from '../port/wakeups.ts'
import type { Delivery } from './delivery.ts'

interface HeldCalls {
  /** Before every round of renewals. */
  tick?(): void
  /** The lease is lost, or could not be renewed and has run out. */
  lost(delivery: Delivery): void
  /** Somebody cancelled the message; the lease goes on. */
  cancelled(delivery: Delivery): void
  /** Messages may be begun again. */
  cleared?(): void
  /** Nothing could run in this process while these were in handlers. */
  blocked(handling: Delivery[], milliseconds: number): void
}

const longestTickMs = 500
/** An answer that is missing after this many ticks no longer counts. */
const patientTicks = 4

/**
 * The messages that are held, each from its claim to the end of its lease. Renews their leases, with one timer, and so
 * early that a process in which nothing runs for more than half of the time keeps them. What may be another reader's by now
 * is renewed before any of it is begun.
 */
export class Held implements Iterable<Delivery>, LifeMember {
  readonly #access: QueueAccess<unknown>
  readonly #options: { readonly lease: number }
  readonly #calls: HeldCalls
  readonly #held = new Set<Delivery>()
  /** Ticks since the call to the storage. */
  readonly #renewing = new Map<Delivery, number>()
  #isClear = true
  #isChecking = false
  #unconfirmed: (() => void)[] = []
  #timer: Timer | undefined
  #leave: (() => void) | undefined
  #cancels: Promise<Watch | null> | undefined
  /** Something was cancelled while these were renewed, and the answer may be from before. */
  readonly #unheard = new WeakSet<Delivery>()

  constructor(access: QueueAccess<unknown>, options: { readonly lease: number }, calls: HeldCalls) {
    this.#access = access
    this.#options = options
    this.#calls = calls
  }

  /** Resolves when the storage looks after this process, or cannot do so for now. */
  async start(): Promise<void> {
    const { life, wakeups, name } = this.#access
    this.#leave ??= life.join(this)
    // Together with the former, in one call. Where nothing is heard, the next renewal tells.
    this.#cancels ??= wakeups
      .subscribe({ interests: [`cancels:${name}`], woken: () => this.#somethingIsCancelled() })
      .catch(() => null)
    await life.inForce()
  }

  stop(): void {
    this.#timer?.cancel()
    this.#timer = undefined
    this.#leave?.()
    void this.#cancels?.then((watch) => watch?.close())
    this.#cancels = undefined
  }

  [Symbol.iterator](): Iterator<Delivery> {
    return this.#held[Symbol.iterator]()
  }

  get size(): number {
    return this.#held.size
  }

  /** What is in doubt is renewed at once. */
  add(deliveries: readonly Delivery[]): void {
    for (const delivery of deliveries) this.#held.add(delivery)
    if (this.#held.size > 0) this.#timer ??= this.#arm()
    if (deliveries.some((delivery) => delivery.isInDoubt)) this.doubted()
  }

  delete(delivery: Delivery): void {
    this.#held.delete(delivery)
    this.#checkSoon()
    if (this.#held.size > 0) return
    this.#timer?.cancel()
    this.#timer = undefined
  }

  /** Whether nothing that waits is in doubt. To be asked before a message is begun. */
  get isClear(): boolean {
    this.#access.life.look()
    return this.#isClear
  }

  areInDoubt(deliveries: readonly Delivery[]): boolean {
    this.#access.life.look()
    return deliveries.some((one) => one.isInDoubt && !one.lost && !one.ended)
  }

  /** Resolves when each of these is certain, or lost. */
  async confirm(deliveries: readonly Delivery[]): Promise<void> {
    while (this.areInDoubt(deliveries)) {
      for (const delivery of deliveries) if (delivery.isInDoubt) void this.#renew(delivery)
      await new Promise<void>((resolve) => this.#unconfirmed.push(resolve))
    }
  }

  blocked(milliseconds: number): void {
    const handling = [...this.#held].filter(({ phase }) => phase === 'handling')
    if (handling.length > 0) this.#calls.blocked(handling, milliseconds)
  }

  doubted(): void {
    this.#check()
    for (const delivery of this.#held) if (delivery.isInDoubt) void this.#renew(delivery)
  }

  /** The answers to renewals tell what is. */
  #somethingIsCancelled(): void {
    for (const delivery of this.#held) {
      if (this.#renewing.has(delivery)) this.#unheard.add(delivery)
      else if (!delivery.cancelled) void this.#renew(delivery)
    }
  }

  #arm(): Timer {
    const tickMs = Math.min(longestTickMs, Math.max(1, Math.floor(this.#options.lease / 20)))
    return this.#access.clock.after(tickMs, () => this.#tick())
  }

  #tick(): void {
    this.#timer = this.#arm()
    this.#access.life.look()
    this.#calls.tick?.()
    const { lease: leaseMs } = this.#options
    const left = [...this.#held].map((delivery) => ({ delivery, leftMs: delivery.leftMs }))
    // One that has to be renewed takes the others along, so that they travel together from then on.
    const isTime = left.some(({ delivery, leftMs }) => leftMs <= leaseMs * 0.8 && !delivery.ended && !delivery.lost)
    for (const { delivery, leftMs } of left) {
      const ticks = this.#renewing.get(delivery)
      if (ticks !== undefined) this.#await(delivery, ticks + 1)
      else if ((isTime && leftMs <= leaseMs * 0.9) || delivery.isInDoubt) void this.#renew(delivery)
    }
    this.#check()
  }

  /** A storage that answers too late, because of a lock for example, keeps no lease alive. */
  #await(delivery: Delivery, ticks: number): void {
    this.#renewing.set(delivery, ticks)
    if (ticks >= patientTicks && delivery.leftMs <= 0 && !delivery.ended && !delivery.lost) this.#lose(delivery)
  }

  async #renew(delivery: Delivery): Promise<void> {
    if (delivery.ended || delivery.lost || this.#renewing.has(delivery)) return
    this.#renewing.set(delivery, 0)
    let renewed = false
    try {
      await delivery.extend(this.#options.lease)
      renewed = true
    } catch (error) {
      if (isTidingsError(error, 'CANCELLED')) this.#calls.cancelled(delivery)
      // A settlement that overtook the extension is no loss.
      const gone = isTidingsError(error, 'LEASE_LOST') || delivery.leftMs <= 0
      if (gone && !delivery.ended) this.#lose(delivery)
    }
    this.#renewing.delete(delivery)
    for (const resolve of this.#unconfirmed.splice(0)) resolve()
    // It was asked for before the doubt, or before the cancel.
    if (renewed && (delivery.isInDoubt || this.#unheard.delete(delivery))) void this.#renew(delivery)
    this.#checkSoon()
  }

  #lose(delivery: Delivery): void {
    this.#calls.lost(delivery)
    this.#checkSoon()
  }

  /** Once for all that are renewed together. */
  #checkSoon(): void {
    if (this.#isClear || this.#isChecking) return
    this.#isChecking = true
    soon(() => {
      this.#isChecking = false
      this.#check()
    })
  }

  #check(): void {
    const wasClear = this.#isClear
    this.#isClear = ![...this.#held].some(isDoubtful)
    if (this.#isClear && !wasClear) this.#calls.cleared?.()
  }
}

const isDoubtful = (delivery: Delivery) =>
  delivery.phase === 'waiting' && !delivery.lost && !delivery.ended && delivery.isInDoubt
