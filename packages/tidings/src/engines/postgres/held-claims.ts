import { isTidingsError } from '../../core/errors.ts'
import type { ClaimRequest } from '../../port/engine.ts'
import type { Calls } from './calls.ts'
import type { Row } from './driver.ts'
import { type Holder, type Life, shortestHeldMs } from './life.ts'
import { statements } from './sql.gen.ts'

/** Claims of one process that are told from each other. */
const slots = 100

interface HeldClaim {
  readonly queue: string
  readonly holder: Holder
  readonly slot: number
  /** A time of the server from before it. */
  readonly seenMs: number
}

/** Claims, with their leases tied to the life of this process. What one has leased whose answer was lost is given back. */
export class HeldClaims {
  readonly #calls: Calls
  readonly #life: Life
  readonly #underWay = new Set<number>()
  readonly #lost = new Set<HeldClaim>()
  #next = 0
  #seenMs = 0

  constructor(calls: Calls, life: Life) {
    this.#calls = calls
    this.#life = life
  }

  /** @param text a statement whose last parameters are number, claim, is first, how many at once, and bytes */
  async read(
    queue: string,
    { limit, leaseMs, held = false, ahead = 0, maxBytes }: ClaimRequest,
    text: string,
    values: readonly unknown[],
  ): Promise<Row[]> {
    await this.#giveBackLost()
    const claim = held && leaseMs >= shortestHeldMs ? this.#begin(queue) : null
    const bounds = [ahead > 0 ? Math.max(limit - ahead, 0) : null, maxBytes ?? null]
    if (claim === null) return await this.#calls.read(text, [...values, null, null, false, ...bounds])
    try {
      const own = [claim.holder.number, claim.slot, !claim.holder.queues.has(queue), ...bounds]
      const rows = await this.#calls.read(text, [...values, ...own], () => this.#giveBack(claim))
      this.#note(claim, rows)
      return rows
    } catch (error) {
      if (isTidingsError(error, 'CONNECTION_LOST')) this.#lost.add(claim)
      throw error
    } finally {
      if (!this.#lost.has(claim)) this.#underWay.delete(claim.slot)
    }
  }

  #begin(queue: string): HeldClaim | null {
    const { holder } = this.#life
    if (holder === null || this.#underWay.size >= slots) return null
    while (this.#underWay.has(this.#next)) this.#next = (this.#next + 1) % slots
    const slot = this.#next
    this.#underWay.add(slot)
    this.#next = (slot + 1) % slots
    return { queue, holder, slot, seenMs: this.#seenMs }
  }

  #note({ queue, holder }: HeldClaim, rows: readonly Row[]): void {
    for (const { last_read_at } of rows)
      if (typeof last_read_at === 'number') {
        this.#seenMs = Math.max(this.#seenMs, last_read_at)
        holder.queues.add(queue)
      }
  }

  /** Before anything more is claimed; what cannot be given back now may be later, or its leases end with their time. */
  async #giveBackLost(): Promise<void> {
    for (const claim of this.#lost) {
      try {
        await this.#giveBack(claim)
      } catch (error) {
        if (!isTidingsError(error, 'QUEUE_NOT_FOUND')) continue
      }
      this.#lost.delete(claim)
      this.#underWay.delete(claim.slot)
    }
  }

  async #giveBack({ queue, holder, slot, seenMs }: HeldClaim): Promise<void> {
    await this.#calls.read(statements.giveBackClaim, [queue, holder.number, holder.secret, slot, seenMs])
  }
}
