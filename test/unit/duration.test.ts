import assert from 'node:assert/strict'
import fc from 'fast-check'
import { type Duration, showDuration, toMilliseconds } from 'tidings/internal/core/duration'
import { isTidingsError } from 'tidings/internal/core/errors'
import { describe, expectTypeOf, test } from 'vitest'

const units = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }

describe('durations', () => {
  test.each([
    ['250ms', 250],
    ['5s', 5_000],
    ['2m', 120_000],
    ['1h', 3_600_000],
    ['7d', 604_800_000],
    ['1.5s', 1_500],
    [' 5s ', 5_000],
    ['-5s', -5_000],
    ['0s', 0],
    ['250 milliseconds', 250],
    ['1 second', 1_000],
    ['5 minutes', 300_000],
    ['1.5 hours', 5_400_000],
    ['-2 days', -172_800_000],
    [1_234, 1_234],
    [-1.5, -1.5],
  ])('%j', (value, milliseconds) => {
    assert.equal(toMilliseconds(value, 'delay'), milliseconds)
  })

  test.each([
    [''],
    ['5'],
    ['s'],
    ['5 s'],
    ['5minutes'],
    ['5 constructor'],
    ['5sec'],
    ['5S'],
    ['1h30m'],
    ['1e3s'],
    ['.5s'],
    ['0x10s'],
    ['5s\n5s'],
    [`${'9'.repeat(400)}s`],
    [Number.NaN],
    [Number.POSITIVE_INFINITY],
    [null],
    [undefined],
    [true],
    [5n],
    [{}],
    [['5s']],
    [new Date()],
  ])('%o is none', (value) => {
    assert.throws(
      () => toMilliseconds(value, 'delay'),
      (error) => isTidingsError(error, 'DURATION') && error.message.startsWith('delay is ') && error.hint !== '',
    )
  })

  test('anything gives finite milliseconds or a DURATION error', () => {
    const texts = fc.tuple(fc.oneof(fc.integer(), fc.double()), fc.constantFrom(...Object.keys(units), '', ' ', 'x'))
    fc.assert(
      fc.property(
        fc.oneof(
          fc.anything(),
          texts.map(([count, unit]) => `${count}${unit}`),
        ),
        (value) => {
          try {
            assert(Number.isFinite(toMilliseconds(value, 'x')))
          } catch (error) {
            assert(isTidingsError(error, 'DURATION'), String(error))
          }
        },
      ),
    )
  })

  test('are shown so that they are read as the same', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.nat(),
          fc.nat({ max: 1_000 }).map((days) => days * units.d),
        ),
        (milliseconds) => {
          assert.equal(toMilliseconds(showDuration(milliseconds), 'x'), milliseconds)
        },
      ),
    )
    assert.deepEqual([90_000, 3_600_000, 0, 1_500, 86_400_000].map(showDuration), ['90s', '1h', '0ms', '1500ms', '1d'])
  })

  test('are checked by the compiler too', () => {
    expectTypeOf<'5s'>().toExtend<Duration>()
    expectTypeOf<'5 minutes'>().toExtend<Duration>()
    expectTypeOf<'5'>().not.toExtend<Duration>()
    expectTypeOf<'5 sec'>().not.toExtend<Duration>()
  })
})
