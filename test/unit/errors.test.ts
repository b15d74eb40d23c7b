import assert from 'node:assert/strict'
import fc from 'fast-check'
import { type ErrorCode, errorTable, isTidingsError, nearest, show, TidingsError } from 'tidings/internal/core/errors'
import { describe, expectTypeOf, test } from 'vitest'

describe('the table of errors', () => {
  test.each(Object.entries(errorTable))('%s has a hint, a status and an exit code that fit together', (code, row) => {
    assert.match(code, /^[A-Z]+(_[A-Z]+)*$/)
    assert.match(row.hint, /^[A-Z].*\.$/)
    assert(row.httpStatus >= 400 && row.httpStatus < 600)
    if (row.exitCode === 2)
      assert.equal(row.retryable, false, 'what was asked for wrongly does not get right by itself')
    if (row.retryable)
      assert(
        row.httpStatus >= 500 || row.httpStatus === 408 || row.httpStatus === 429,
        'only what is wrong with the server, or with the moment, passes',
      )
  })
})

describe('TidingsError', () => {
  test('takes the properties of its code from the table', () => {
    const error = new TidingsError('LEASE_LOST', 'too late', { details: { id: '1' } })
    assert(error instanceof Error)
    assert.deepEqual(
      [error.name, error.code, error.message, error.retryable, error.httpStatus, error.exitCode],
      ['TidingsError', 'LEASE_LOST', 'too late', false, 409, 1],
    )
    assert.equal(error.hint, errorTable.LEASE_LOST.hint)
    assert.equal(Object.hasOwn(error, 'cause'), false)
  })

  test('is written as JSON without stack and cause', () => {
    const error = new TidingsError('TYPE', 'x is 1', { cause: new Error('secret'), details: { field: 'x' }, hint: 'h' })
    assert.deepEqual(JSON.parse(JSON.stringify(error)), {
      code: 'TYPE',
      message: 'x is 1',
      hint: 'h',
      details: { field: 'x' },
    })
  })

  test('can have a location in front', () => {
    const cause = new Error('why')
    const error = new TidingsError('RANGE', 'x is 1', { cause, details: { field: 'x' }, hint: 'h' }).within('entry 3')
    assert.deepEqual(
      [error.code, error.message, error.cause, error.details, error.hint],
      ['RANGE', 'entry 3: x is 1', cause, { field: 'x' }, 'h'],
    )
  })

  test('is recognised, by its code too', () => {
    const error: unknown = new TidingsError('CLOSED', 'closed')
    assert.equal(isTidingsError(error), true)
    assert.equal(isTidingsError(error, 'CLOSED'), true)
    assert.equal(isTidingsError(error, 'TYPE'), false)
    for (const other of [new Error('CLOSED'), { code: 'CLOSED' }, null, undefined])
      assert.equal(isTidingsError(other), false)
    if (isTidingsError(error)) expectTypeOf(error.code).toEqualTypeOf<ErrorCode>()
  })
})

describe('show', () => {
  test.each([
    ['text', '"text"'],
    ['two\nlines', '"two\\nlines"'],
    [5, '5'],
    [5n, '5n'],
    [null, 'null'],
    [undefined, 'undefined'],
    [Symbol('s'), 'Symbol(s)'],
    [() => 1, 'a function'],
    [[1, 2], 'an array of 2'],
    [{ secret: 1 }, 'an object'],
    [Object.create(null), 'an object'],
    [new Date(), 'an instance of Date'],
  ])('%o', (value, words) => {
    assert.equal(show(value), words)
  })

  test('is short and whole for any value', () => {
    const trap = new Proxy(
      {},
      {
        getPrototypeOf() {
          throw new Error('boom')
        },
      },
    )
    const values = fc.oneof(fc.anything({ withBigInt: true }), fc.string({ unit: 'binary', minLength: 50 }))
    fc.assert(
      fc.property(fc.oneof(values, fc.constant(trap)), (value) => {
        const words = show(value)
        assert(words.length > 0 && words.length <= 60)
        assert(words.isWellFormed())
      }),
    )
    assert.equal(show('x'.repeat(50_000_000)).length, 60)
  })
})

describe('nearest', () => {
  test.each([
    ['dealy', ['delay', 'data'], 'delay'],
    ['oders', ['orders', 'invoices'], 'orders'],
    ['orders', ['orders', 'order'], 'orders'],
    ['x', ['y'], 'y'],
    ['completely', ['different'], undefined],
    ['', ['abc'], undefined],
    ['a', [], undefined],
  ])('%s of %j', (word, candidates, meant) => {
    assert.equal(nearest(word, candidates), meant)
  })

  test('takes no time for long names', () => {
    const startedAt = performance.now()
    nearest('a'.repeat(1_000_000), new Array(100).fill('b'.repeat(1_000_000)))
    assert(performance.now() - startedAt < 20_000)
  })
})
