import assert from 'node:assert/strict'
import { sleep } from 'tidings/internal/core/clock'
import { FakeClock } from 'tidings/testing'
import { describe, test } from 'vitest'

describe('FakeClock', () => {
  test('moves only when told to', async () => {
    const clock = new FakeClock(1_000)
    assert.equal(clock.now(), 1_000)
    await clock.advance(500)
    assert.equal(clock.now(), 1_500)
  })

  test('calls timers at their own time and in order', async () => {
    const clock = new FakeClock(0)
    const calls: string[] = []
    clock.after(30, () => calls.push(`late at ${clock.now()}`))
    clock.after(10, () => calls.push(`early at ${clock.now()}`))
    clock.after(10, () => calls.push(`too at ${clock.now()}`))
    clock.after(31, () => calls.push('never'))
    await clock.advance(30)
    assert.deepEqual(calls, ['early at 10', 'too at 10', 'late at 30'])
    assert.equal(clock.now(), 30)
    assert.equal(clock.pending, 1)
  })

  test('goes on with what waits for a timer before the next', async () => {
    const clock = new FakeClock(0)
    const times: number[] = []
    const waiting = (async () => {
      for (let round = 0; round < 3; round++) {
        await sleep(clock, 10)
        times.push(clock.now())
      }
    })()
    await clock.advance(35)
    await waiting
    assert.deepEqual(times, [10, 20, 30])
  })

  test('does not call what was cancelled', async () => {
    const clock = new FakeClock()
    const timer = clock.after(10, () => assert.fail('cancelled'))
    timer.cancel()
    timer.cancel()
    await clock.advance(10)
    assert.equal(clock.pending, 0)
  })

  test('calls what is due now', async () => {
    const clock = new FakeClock()
    let called = false
    clock.after(-5, () => {
      called = true
    })
    assert.equal(called, false)
    await clock.advance(0)
    assert.equal(called, true)
  })
})
