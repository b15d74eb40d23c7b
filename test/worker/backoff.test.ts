import { exponential, fixed, linear } from 'tidings/internal/messages/backoff'
import { describe, expect, test } from 'vitest'

const delays = (curve: (attempt: number, error: unknown) => number, attempts: number[]) =>
  attempts.map((attempt) => curve(attempt, null))

describe('backoff curves', () => {
  test('exponential', () => {
    expect(delays(exponential({ jitter: 0 }), [1, 2, 3, 9, 10, 1e9])).toEqual([
      1_000, 2_000, 4_000, 256_000, 300_000, 300_000,
    ])
    expect(delays(exponential({ first: 10, factor: 3, max: '1s', jitter: 0 }), [1, 2, 3, 9])).toEqual([
      10, 30, 90, 1_000,
    ])
  })

  test('linear and fixed', () => {
    expect(delays(linear({ jitter: 0 }), [1, 2, 3, 1e9])).toEqual([1_000, 2_000, 3_000, 300_000])
    expect(delays(linear({ first: 0, step: '5s', max: '8s', jitter: 0 }), [1, 2, 3])).toEqual([0, 5_000, 8_000])
    expect(delays(fixed('7s'), [1, 2, 1e9])).toEqual([7_000, 7_000, 7_000])
  })

  test('the curve of seed 004 is a function: 2^(attempt-1) * 5 - 5 seconds', () => {
    const curve = (attempt: number) => (2 ** (attempt - 1) * 5 - 5) * 1_000
    expect(delays(curve, [1, 2, 3, 4])).toEqual([0, 5_000, 15_000, 35_000])
  })

  test('jitter varies each delay by up to its share, around the curve', () => {
    const drawn = Array.from({ length: 2_000 }, () => exponential({ jitter: 0.5 })(1, null))
    expect(Math.min(...drawn)).toBeGreaterThanOrEqual(500)
    expect(Math.max(...drawn)).toBeLessThanOrEqual(1_500)
    expect(Math.min(...drawn)).toBeLessThan(600)
    expect(Math.max(...drawn)).toBeGreaterThan(1_400)
  })

  test('bad options', () => {
    expect(() => exponential({ factor: 0.5 })).toThrow(expect.objectContaining({ code: 'RANGE' }))
    expect(() => exponential({ jitter: 2 })).toThrow(expect.objectContaining({ code: 'RANGE' }))
    expect(() => exponential({ jitter: Number.NaN })).toThrow(expect.objectContaining({ code: 'RANGE' }))
    expect(() => exponential({ factor: '2' as never })).toThrow(expect.objectContaining({ code: 'TYPE' }))
    expect(() => exponential({ first: -1 })).toThrow(expect.objectContaining({ code: 'DELAY_RANGE' }))
    expect(() => linear({ max: '20y' as '1d' })).toThrow(expect.objectContaining({ code: 'DURATION' }))
    expect(() => fixed('-1s')).toThrow(expect.objectContaining({ code: 'DELAY_RANGE' }))
    expect(() => exponential({ jiter: 1 } as never)).toThrow(
      expect.objectContaining({ hint: "Did you mean 'jitter'?" }),
    )
  })
})
