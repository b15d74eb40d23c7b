import assert from 'node:assert/strict'
import fc from 'fast-check'
import { listOptions, redriveOptions } from 'tidings/internal/bus/dead-letters'
import { connectOptions } from 'tidings/internal/connect'
import { type ErrorCode, isTidingsError } from 'tidings/internal/core/errors'
import * as option from 'tidings/internal/core/options'
import { releaseOptions } from 'tidings/internal/messages/message'
import {
  peekOptions,
  popOptions,
  queueOptions,
  readByIdOptions,
  readOptions,
  sendOptionsWithTx,
} from 'tidings/internal/messages/options'
import { batchWorkOptions, consumeOptions, stopOptions, workOptions } from 'tidings/internal/worker/options'
import { describe, expectTypeOf, test } from 'vitest'

const schema = {
  lease: option.duration('How long.', { default: 30_000, min: 100, max: 60_000, rangeCode: 'LEASE_RANGE' }),
  limit: option.integer('How many.', { default: null, min: 1, max: 10 }),
  quiet: option.boolean('Whether.', { default: false }),
  name: option.text('Which.', { default: 'x' }),
  from: option.choice('Where.', ['earliest', 'latest'], { default: 'latest' }),
  handler: option.value<() => void, (() => void) | null>('What.', {
    default: null,
    defaultText: 'none',
    typeText: 'function',
    parse: option.parseFunction,
  }),
} as const
const parse = (input: unknown) => option.parseOptions(schema, input, 'call')
const defaults = { lease: 30_000, limit: null, quiet: false, name: 'x', from: 'latest', handler: null }

describe('parsing options', () => {
  test('fills in the defaults', () => {
    assert.deepEqual(parse(undefined), defaults)
    assert.deepEqual(parse({}), defaults)
    assert.deepEqual(parse({ lease: undefined, limit: undefined }), defaults)
  })

  test('turns durations into milliseconds and rounds them', () => {
    assert.equal(parse({ lease: '1.5s' }).lease, 1_500)
    assert.equal(parse({ lease: 100.4 }).lease, 100)
  })

  const refused: [string, unknown, ErrorCode, string][] = [
    ['no object', 5, 'TYPE', 'the options of call is 5; it must be an object'],
    ['null', null, 'TYPE', 'the options of call is null; it must be an object'],
    ['an array', [1], 'TYPE', 'the options of call is an array of 1; it must be an object'],
    ['an unknown name', { laese: 5 }, 'OPTION_UNKNOWN', 'call has no option "laese"'],
    ['a name of the language', { constructor: 5 }, 'OPTION_UNKNOWN', 'call has no option "constructor"'],
    ['__proto__', JSON.parse('{"__proto__":{}}'), 'OPTION_UNKNOWN', 'call has no option "__proto__"'],
    ['no duration', { lease: '5' }, 'DURATION', 'lease is "5", which is not a duration'],
    ['too short', { lease: '50ms' }, 'LEASE_RANGE', 'lease is 50ms; it must be between 100ms and 1m'],
    ['too long', { lease: '2m' }, 'LEASE_RANGE', 'lease is 2m; it must be between 100ms and 1m'],
    ['too few', { limit: 0 }, 'RANGE', 'limit is 0; it must be between 1 and 10'],
    ['too many', { limit: 11 }, 'RANGE', 'limit is 11; it must be between 1 and 10'],
    ['a fraction', { limit: 1.5 }, 'RANGE', 'limit is 1.5; it must be a whole number'],
    ['NaN', { limit: Number.NaN }, 'RANGE', 'limit is NaN; it must be a whole number'],
    ['no number', { limit: '5' }, 'TYPE', 'limit is "5"; it must be a whole number'],
    ['no boolean', { quiet: 'yes' }, 'TYPE', 'quiet is "yes"; it must be true or false'],
    ['no text', { name: 5 }, 'TYPE', 'name is 5; it must be a string'],
    ['no choice', { from: 'now' }, 'TYPE', "from is \"now\"; it must be 'earliest' or 'latest'"],
    ['no function', { handler: {} }, 'TYPE', 'handler is an object; it must be a function'],
    ['null for a value', { limit: null }, 'TYPE', 'limit is null; it must be a whole number'],
  ]
  test.each(refused)('refuses %s', (_name, input, code, message) => {
    assert.throws(
      () => parse(input),
      (error) => {
        assert(isTidingsError(error, code), String(error))
        assert.equal(error.message, message)
        assert.notEqual(error.hint, '')
        return true
      },
    )
  })

  test('suggests the nearest name, or lists them all', () => {
    const hintOf = (input: unknown) => {
      try {
        parse(input)
      } catch (error) {
        return isTidingsError(error) ? error.hint : undefined
      }
    }
    assert.equal(hintOf({ laese: 5 }), "Did you mean 'lease'?")
    assert.equal(hintOf({ visibilityTimeout: 5 }), "Did you mean 'lease'?")
    assert.equal(hintOf({ jobId: 'a' }), "Did you mean 'dedupId'? It is an option of queue.send.")
    assert.equal(hintOf({ whatever: 5 }), 'Its options are lease, limit, quiet, name, from, handler.')
  })

  test('infers the input and the output type', () => {
    expectTypeOf<option.OptionsInput<typeof schema>>().toExtend<{ readonly limit?: number | undefined }>()
    expectTypeOf<{ lease: '5s'; from: 'earliest' }>().toExtend<option.OptionsInput<typeof schema>>()
    expectTypeOf<{ from: 'now' }>().not.toExtend<option.OptionsInput<typeof schema>>()
    const { lease, limit, quiet, from } = parse({})
    expectTypeOf(lease).toEqualTypeOf<number>()
    expectTypeOf(limit).toEqualTypeOf<number | null>()
    expectTypeOf(quiet).toEqualTypeOf<boolean>()
    expectTypeOf(from).toEqualTypeOf<'earliest' | 'latest'>()
  })
})

const schemas: Record<string, option.OptionSchema> = {
  queue: queueOptions,
  send: sendOptionsWithTx,
  read: readOptions,
  readById: readByIdOptions,
  pop: popOptions,
  peek: peekOptions,
  release: releaseOptions,
  work: workOptions,
  workBatch: batchWorkOptions,
  consume: consumeOptions,
  stop: stopOptions,
  connect: connectOptions,
  'deadLetters.list': listOptions,
  'deadLetters.redrive': redriveOptions,
}
const every = Object.entries(schemas).flatMap(([where, options]) =>
  Object.entries(options).map(([name, each]) => [where, name, each] as const),
)

describe('all options', () => {
  test.each(every)('%s: %s has what help and reference show', (_where, _name, each) => {
    assert.match(each.doc, /^[A-Z'].*\.$/)
    assert.notEqual(each.defaultText, '')
    assert.notEqual(each.typeText, '')
  })

  test.each(every)('%s: the default of %s can be given', (_where, name, each) => {
    if (each.defaultValue === null || each.kind === 'value') return
    assert.equal(each.parse(each.defaultValue, name), each.defaultValue)
  })

  const numbers = fc.oneof(fc.integer(), fc.double(), fc.integer({ min: 0, max: 50_000 }))
  const value = fc.oneof(
    numbers,
    fc.tuple(numbers, fc.constantFrom('ms', 's', 'm', 'h', 'd', '')).map(([count, unit]) => `${count}${unit}`),
    fc.constantFrom('none', 'ready', '2026-01-01', 'orders', new Date(), new AbortController().signal, () => 1),
    fc.anything({ withBigInt: true, withDate: true, withMap: true, withNullPrototype: true }),
  )
  test.each(Object.entries(schemas))(
    '%s: whatever is given, what comes out is in bounds, or the error is typed',
    (where, options) => {
      const input = fc.oneof(
        {
          weight: 9,
          arbitrary: fc.record(Object.fromEntries(Object.keys(options).map((name) => [name, value])), {
            requiredKeys: [],
          }),
        },
        { weight: 1, arbitrary: fc.anything() },
      )
      fc.assert(
        fc.property(input, (given) => {
          let output: Record<string, unknown>
          try {
            output = option.parseOptions(options, given, where)
          } catch (error) {
            assert(isTidingsError(error), `untyped: ${error}`)
            assert.notEqual(error.hint, '')
            assert(error.message.length < 300, error.message)
            return
          }
          assert.deepEqual(Object.keys(output), Object.keys(options))
          for (const [name, each] of Object.entries(options)) {
            if (output[name] === each.defaultValue) continue
            if (each.kind === 'integer' || each.kind === 'duration') assert(Number.isInteger(output[name]), name)
            if (each.kind === 'boolean') assert.equal(typeof output[name], 'boolean', name)
            if (each.kind === 'text' || each.kind === 'choice') assert.equal(typeof output[name], 'string', name)
            assert.deepEqual(
              each.kind === 'value' || each.parse(output[name], name),
              each.kind === 'value' || output[name],
            )
          }
        }),
        { numRuns: 300 },
      )
    },
  )
})
