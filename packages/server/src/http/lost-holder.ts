import { randomUUID } from 'node:crypto'
import type { StoredBus } from 'tidings/internal/bus/stored-bus'
import { sleep, systemClock } from 'tidings/internal/core/clock'
import { isTidingsError } from 'tidings/internal/core/errors'
import type { JsonObject } from 'tidings/internal/core/json'
import { retrying } from 'tidings/internal/core/retry'
import type { HoldBook, KnownHold } from './hold-book.ts'
import type { KnownLease, LeaseBook } from './lease-book.ts'

export interface LostHolder {
  readonly name: string
  readonly bus: StoredBus
  readonly leases: LeaseBook
  readonly holds: HoldBook
  /** Whether it came back meanwhile: then all that is left stays its own. */
  isBack(): boolean
}

const batchSize = 500
/** A storage that is away is asked again for so long; then the leases end by themselves. */
const persistMs = 30_000

/** Gives back what a lost holder had. @returns how many messages and subscriptions that were */
export async function giveBackOf(lost: LostHolder): Promise<{ messages: number; subscriptions: number }> {
  const lostAt = new Date().toISOString()
  const given = { messages: 0, subscriptions: 0 }
  const held = lost.leases.of(lost.name).filter(({ owner }) => owner?.held)
  for (const queue of new Set(held.map((one) => one.queue))) {
    const own = held.filter((one) => one.queue === queue)
    for (let from = 0; from < own.length; from += batchSize) {
      const batch = own.slice(from, from + batchSize)
      given.messages += (await persistently(lost, () => release(lost, queue, batch, lostAt))) ?? 0
    }
  }
  for (const hold of lost.holds.of(lost.name))
    if (await persistently(lost, () => letGo(lost, hold))) given.subscriptions++
  return given
}

/** @returns undefined where the holder is back, or it cannot be done */
async function persistently<T>(lost: LostHolder, attempt: () => Promise<T>): Promise<T | undefined> {
  const giveUpAt = performance.now() + persistMs
  const mayTryAgain = (error: unknown) =>
    isTidingsError(error) && error.retryable && performance.now() < giveUpAt && !lost.isBack()
  if (lost.isBack()) return undefined
  return retrying(attempt, { firstMs: 100, longestMs: 2_000 }, mayTryAgain).catch(() => undefined)
}

/** What a handler may have begun counts; what was read ahead does not. */
async function release({ bus, leases }: LostHolder, queue: string, own: readonly KnownLease[], lostAt: string) {
  const results = await bus.queue(queue).settle(
    own.map(({ id, receipt, owner }) => {
      const ahead = owner?.ahead === true
      const meta: JsonObject = { process_lost_at: lostAt, ...(ahead ? { read_ahead_lost: true } : {}) }
      return { id, receipt, kind: 'release', delayMs: 0, meta, uncount: ahead }
    }),
  )
  leases.ended(queue, own)
  return results.filter(({ settled }) => settled).length
}

/**
 * Its lease runs out now, as if by itself, so that its holder counts as vanished. Somebody who takes it over counts that,
 * and by leaving again tells those who wait.
 */
async function letGo({ bus, holds }: LostHolder, { topic, subscription: name, consumer }: KnownHold): Promise<boolean> {
  const subscription = bus.topic(topic).subscription(name)
  if ((await subscription.state()).consumer !== consumer) return false
  if (!(await subscription.hold(consumer, 1)).held) return false
  holds.ended(topic, name)
  for (let attempt = 0; attempt < 5; attempt++) {
    await sleep(systemClock, 2)
    const taken = await subscription.hold(randomUUID(), 5_000)
    if (taken.held) return subscription.leave(taken.receipt)
  }
  return false
}
