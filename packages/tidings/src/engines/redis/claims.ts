import { sleep, systemClock } from '../../core/clock.ts'
import { isTidingsError } from '../../core/errors.ts'
import type { Claim, ClaimRequest } from '../../port/engine.ts'
import type { Interest } from '../../port/listening.ts'
import type { Driver } from './driver.ts'
import { Lost, replyCode } from './errors.ts'
import { keysOf, newNonce } from './keys.ts'
import { checkId, type FreshRow, type Row, toFreshMessage, toStoredMessage } from './messages.ts'

const giveBackPauseMs = 500
/** A call may be on its way for so long. */
const onTheWayMs = 60_000

/** Claims of one engine. One whose answer never came is given back as soon as the server can be reached. */
export class Claims {
  readonly #driver: Driver
  readonly #tokenFor: (interest: Interest, leaseMs: number) => Promise<string>

  /** @param tokenFor the token of the process that is to hold leases there, '' if there is none */
  constructor(driver: Driver, tokenFor: (interest: Interest, leaseMs: number) => Promise<string>) {
    this.#driver = driver
    this.#tokenFor = tokenFor
  }

  async claim(queue: string, request: ClaimRequest): Promise<Claim> {
    const { limit, leaseMs, ids, held = false, ahead = 0, maxBytes = '' } = request
    const token = held ? await this.#tokenFor(`queue:${queue}`, leaseMs) : ''
    const nonce = token + newNonce()
    const askedAt = performance.now()
    let lostBefore = 0
    const argsAfter = (lost: number) => {
      lostBefore = lost
      return [nonce, limit, leaseMs, ids ? JSON.stringify(ids.map(checkId)) : '', ahead, maxBytes, lost]
    }
    try {
      const answer = await this.#driver.run('claim', keysOf(queue), argsAfter, { repeatable: true })
      const [rows, nextDueMs, heldBack, now] = answer as [(Row | FreshRow)[], number | null, number, number]
      const messages = rows.map((row) => (row.length === 3 ? toFreshMessage(row, now, leaseMs) : toStoredMessage(row)))
      return { messages, nextDueMs, ...(heldBack === 1 ? { heldBack: true } : {}) }
    } catch (error) {
      const isLost = lostBefore > 0 || (error as Error).cause instanceof Lost
      if (isLost) void this.#giveBack(queue, nonce, leaseMs, askedAt)
      throw error
    }
  }

  async #giveBack(queue: string, nonce: string, leaseMs: number, askedAt: number): Promise<void> {
    const keys = keysOf(queue)
    for (;;) {
      const ageMs = Math.ceil(performance.now() - askedAt)
      try {
        const { topology } = this.#driver
        await this.#driver.runAt(topology.serverOf(keys[0]), 'unclaim', keys, [nonce, leaseMs, ageMs + onTheWayMs])
        return
      } catch (error) {
        // The leases end, or have ended, by themselves.
        if (ageMs > leaseMs + giveBackPauseMs || isTidingsError(error, 'CLOSED') || replyCode(error) === 'MISSING')
          return
        await sleep(systemClock, giveBackPauseMs)
      }
    }
  }
}
