import type { Timer } from '../core/clock.ts'
import { isTidingsError } from '../core/errors.ts'
import type { SubscriptionAccess } from './access.ts'
import type { Journal } from './events.ts'
import type { Holding, Tenure } from './holding.ts'
import { isMissing, type Retrying } from './retrying.ts'

/** How long acknowledgements are collected while there is more to read. */
const groupMs = 100

/** Acknowledges the read messages of a subscription in one tenure, and retries while the storage fails. */
export class Acker {
  readonly #access: SubscriptionAccess<unknown>
  readonly #holding: Holding
  readonly #tenure: Tenure
  readonly #retrying: Retrying
  readonly #journal: Journal
  readonly #giveUp: AbortSignal
  #done = 0
  #acked = 0
  #ended = false
  #lastAt = Number.NEGATIVE_INFINITY
  #timer: Timer | undefined
  #sending: Promise<void> | undefined

  constructor(
    access: SubscriptionAccess<unknown>,
    parts: { holding: Holding; tenure: Tenure; retrying: Retrying; journal: Journal; giveUp: AbortSignal },
  ) {
    this.#access = access
    this.#holding = parts.holding
    this.#tenure = parts.tenure
    this.#retrying = parts.retrying
    this.#journal = parts.journal
    this.#giveUp = parts.giveUp
  }

  /** The message at this offset and all before it are done. */
  done(offset: number): void {
    this.#done = Math.max(this.#done, offset)
    this.#arm()
  }

  /** Resolves when the storage has every acknowledgement; false if this tenure ended first. */
  async flush(): Promise<boolean> {
    while (this.#done > this.#acked && !this.#ended) await this.#send()
    return this.#done <= this.#acked
  }

  #arm(): void {
    if (this.#timer !== undefined || this.#sending !== undefined || this.#done <= this.#acked || this.#ended) return
    const { clock } = this.#access
    const waitMs = Math.min(groupMs, Math.max(0, this.#lastAt + groupMs - clock.now()))
    this.#timer = clock.after(waitMs, () => void this.#send())
  }

  #send(): Promise<void> {
    this.#timer?.cancel()
    this.#timer = undefined
    this.#sending ??= this.#sendNow().finally(() => {
      this.#sending = undefined
      this.#arm()
    })
    return this.#sending
  }

  async #sendNow(): Promise<void> {
    const offset = this.#done
    const accepted = await this.#ack(offset)
    this.#lastAt = this.#access.clock.now()
    if (accepted) {
      this.#acked = offset
      this.#tenure.passed = Math.max(this.#tenure.passed, offset)
      this.#journal.tell({ type: 'acked', offset })
    } else {
      this.#ended = true
      if (accepted === false) this.#holding.doubt(this.#tenure)
    }
  }

  /** @returns null if the call was given up */
  async #ack(offset: number): Promise<boolean | null> {
    const { store, topic, name } = this.#access
    try {
      return await this.#retrying.run(this.#giveUp, async () => {
        try {
          return await store.ack(topic, name, offset, this.#tenure.receipt)
        } catch (error) {
          if (isMissing(error)) return false
          throw error
        }
      })
    } catch (error) {
      if (isTidingsError(error, 'CLOSED')) return null
      throw error
    }
  }
}
