import assert from 'node:assert/strict'
import { sleep, systemClock } from 'tidings/internal/core/clock'
import { FakeClock } from 'tidings/internal/core/fake-clock'
import { afterEach, beforeEach, describe, test, vi } from 'vitest'

describe('the system clock', () => {
  beforeEach(() => void vi.useFakeTimers())
  afterEach(() => void vi.useRealTimers())

  test('calls back once after the time', () => {
    let calls = 0
    systemClock.after(1_000, () => calls++)
    vi.advanceTimersByTime(999)
    assert.equal(calls, 0)
    vi.advanceTimersByTime(10_000)
    assert.equal(calls, 1)
  })

  test('waits longer than setTimeout can', () => {
    let calls = 0
    const month = 30 * 86_400_000
    systemClock.after(month, () => calls++)
    vi.advanceTimersByTime(month - 1)
    assert.equal(calls, 0)
    vi.advanceTimersByTime(1)
    assert.equal(calls, 1)
  })

  test('can be told not to call, in each piece of a long wait', () => {
    for (const advance of [0, 2 ** 31]) {
      const timer = systemClock.after(2 ** 31 * 2, () => assert.fail('cancelled'))
      vi.advanceTimersByTime(advance)
      timer.cancel()
      assert.equal(vi.getTimerCount(), 0)
    }
  })

  test('takes a time that is over for now', () => {
    let calls = 0
    systemClock.after(-5, () => calls++)
    vi.advanceTimersByTime(1)
    assert.equal(calls, 1)
  })
})

describe('sleeping', () => {
  test('ends after the time', async () => {
    const clock = new FakeClock(0)
    const slept = sleep(clock, 500)
    await clock.advance(500)
    await slept
  })

  test('ends early when the signal is aborted, and leaves no timer', async () => {
    const clock = new FakeClock(0)
    const controller = new AbortController()
    const slept = sleep(clock, 500, controller.signal)
    controller.abort()
    await slept
    await sleep(clock, 500, controller.signal)
    assert.equal(clock.pending, 0)
  })
})
