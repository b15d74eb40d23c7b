import { FakeClock } from 'tidings/internal/core/fake-clock'
import type { Delivery } from 'tidings/internal/worker/delivery'
import { Intake } from 'tidings/internal/worker/intake'
import type { ParsedWorkOptions } from 'tidings/internal/worker/options'
import { describe, expect, test } from 'vitest'

/** Two handlers that take a millisecond each. */
function setUp(options: { maxAttempts?: number } = {}) {
  const held: Delivery[] = []
  const whole = { concurrency: 2, batchSize: 1, prefetch: 500, maxAttempts: 5, ...options } as ParsedWorkOptions
  const intake = new Intake(whole, new FakeClock(), held)
  for (let call = 0; call < 200; call++) intake.ended(1)
  return { intake, held }
}

const delivery = (id: string, { isAhead = false, isLost = false, isLate = false }): Delivery =>
  ({
    message: { id, readCount: 1, meta: isLost ? { read_ahead_lost: true } : {} },
    isAhead,
    isLate,
    phase: 'waiting',
  }) as unknown as Delivery

const idle = { calls: 0, buffered: 0, remaining: 1_000, returning: 0 }
const idsOf = (deliveries: readonly Delivery[]) => deliveries.map(({ message }) => message.id)

describe('what a worker takes', () => {
  test('of what is claimed, the first are begun at once, as many as there are idle handlers', () => {
    const { intake } = setUp()
    const { limit, ahead } = intake.demand(idle)
    expect(limit - ahead).toBe(2)
    expect(ahead).toBeGreaterThan(100)
    const busy = intake.demand({ ...idle, calls: 2 })
    expect(busy.limit).toBe(busy.ahead)
    const buffered = intake.demand({ ...idle, calls: 1, buffered: 1 })
    expect(buffered.limit).toBe(buffered.ahead)
  })

  test('what a lost process had read ahead is given back where no handler begins it at once', () => {
    const { intake } = setUp()
    const claimed = [
      delivery('a', { isLost: true }),
      delivery('b', { isAhead: true }),
      delivery('c', { isAhead: true, isLost: true }),
      delivery('d', { isAhead: true }),
    ]
    const { fresh, back } = intake.take(claimed, false)
    expect([idsOf(fresh), idsOf(back)]).toEqual([['a', 'b', 'd'], ['c']])
  })

  test('in strict order, with all behind it', () => {
    const { intake } = setUp()
    const claimed = [
      delivery('a', { isAhead: true }),
      delivery('b', { isAhead: true, isLost: true }),
      delivery('c', { isAhead: true }),
    ]
    const { fresh, back } = intake.take(claimed, true)
    expect([idsOf(fresh), idsOf(back)]).toEqual([['a'], ['b', 'c']])
  })

  test('then nothing is read ahead until a claim brings none of these', () => {
    const { intake } = setUp()
    intake.take([delivery('a', { isAhead: true, isLost: true })], false)
    expect(intake.demand({ ...idle, calls: 2 })).toEqual({ limit: 0, ahead: 0 })
    expect(intake.demand(idle)).toEqual({ limit: 2, ahead: 0 })
    intake.take([delivery('a', { isLost: true })], false)
    for (let call = 0; call < 200; call++) intake.ended(1)
    expect(intake.demand(idle).ahead).toBeGreaterThan(100)
  })

  test('of a claim that came late, nothing', () => {
    const { intake, held } = setUp()
    const late = [delivery('a', { isLate: true }), delivery('b', { isLate: true })]
    const { fresh, back } = intake.take(late, false)
    expect([fresh, idsOf(back)]).toEqual([[], ['a', 'b']])
    held.push(...late)
    expect(intake.demand(idle).limit).toBe(0)
  })

  test('with one attempt nothing is read ahead', () => {
    expect(setUp({ maxAttempts: 1 }).intake.demand(idle)).toEqual({ limit: 2, ahead: 0 })
  })
})
