import assert from 'node:assert/strict'
import { runInNewContext } from 'node:vm'
import fc from 'fast-check'
import { type ErrorCode, isTidingsError } from 'tidings/internal/core/errors'
import type { JsonValue } from 'tidings/internal/core/json'
import { describeError, errorMeta } from 'tidings/internal/core/message-error'
import { fromWireMeta, type MessageMeta, metaFields, toWireMeta } from 'tidings/internal/port/meta'
import { describe, expectTypeOf, test } from 'vitest'

describe('meta', () => {
  const names: [keyof MessageMeta & string, string][] = [
    ['correlationId', 'correlation_id'],
    ['correlationQueue', 'correlation_queue'],
    ['targetId', 'target_id'],
    ['version', 'version'],
    ['sourceSystem', 'source_system'],
    ['actionType', 'action_type'],
    ['businessReason', 'business_reason'],
    ['associatedPeriod', 'associated_period'],
    ['eventKey', 'event_key'],
    ['errorMessage', 'error_message'],
    ['stackTrace', 'stack_trace'],
    ['originQueue', 'origin_queue'],
    ['originId', 'origin_id'],
    ['deadLetteredAt', 'dead_lettered_at'],
  ]

  test.each(names)('%s is written as %s', (name, wireName) => {
    assert.deepEqual(toWireMeta({ [name]: 'x' }, 'jobs'), { queue_name: 'jobs', [wireName]: 'x' })
    assert.deepEqual(toWireMeta({ [wireName]: 'x' }, 'jobs'), { queue_name: 'jobs', [wireName]: 'x' })
    assert.deepEqual(fromWireMeta({ [wireName]: 'x' }), { [name]: 'x' })
  })

  test('holds the name of the queue that it is sent to, whatever is given', () => {
    for (const meta of [{ queueName: 'other' }, { queue_name: 'other' }])
      assert.deepEqual(toWireMeta(meta, 'jobs'), { queue_name: 'jobs' })
    assert.deepEqual(fromWireMeta({ queue_name: 'jobs' }), { queueName: 'jobs' })
  })

  test('leaves out what is undefined or null, both ways', () => {
    assert.deepEqual(toWireMeta({ version: undefined, tenant: null }, 'jobs'), { queue_name: 'jobs' })
    assert.deepEqual(fromWireMeta({ version: null, tenant: null, attempts: 0 }), { attempts: 0 })
  })

  test('reads what other clients wrote as numbers as text', () => {
    const wire = { correlation_id: 17, target_id: 5, version: 2.5, attempts: 3, tenant: 4 }
    assert.deepEqual(fromWireMeta(wire), { correlationId: '17', targetId: '5', version: '2.5', attempts: 3, tenant: 4 })
    const exact = { correlation_id: 12345678901234567890n } as unknown as Record<string, JsonValue>
    assert.deepEqual(fromWireMeta(exact), { correlationId: '12345678901234567890' })
  })

  const refused: [string, Record<string, unknown>, ErrorCode, string][] = [
    ...metaFields.map((name): [string, Record<string, unknown>, ErrorCode, string] => [
      name,
      { [name]: 0.5 },
      'TYPE',
      `meta.${name} is 0.5; it must be a string`,
    ]),
    ['a wire name', { target_id: 5 }, 'TYPE', 'meta.target_id is 5; it must be a string'],
    [
      'no JSON',
      { tenant: [() => 1] },
      'BODY_NOT_JSON',
      'meta.tenant[0] is a function, which cannot be written as JSON',
    ],
    ['NUL', { version: '\u0000' }, 'BODY_UNSUPPORTED_CHAR', 'meta.version contains a NUL'],
    ['too much', { tenant: 'x'.repeat(2_000_000) }, 'BODY_TOO_LARGE', 'meta is more than 1048576 bytes of JSON'],
  ]
  test.each(refused)('is refused: %s', (_name, meta, code, message) => {
    assert.throws(
      () => toWireMeta(meta as MessageMeta, 'jobs'),
      (error) => isTidingsError(error, code) && error.message.startsWith(message),
    )
  })

  test('of the application comes back as it was, names of the language too', () => {
    const json = fc.jsonValue().map((value): unknown => JSON.parse(JSON.stringify(value)))
    const key = fc.oneof(fc.string(), fc.constantFrom('__proto__', 'constructor', 'toString', 'attempts', 'version'))
    fc.assert(
      fc.property(fc.dictionary(key, json, { noNullPrototype: true }), (given) => {
        const known = Object.entries(given).filter(([name]) => (metaFields as readonly string[]).includes(name))
        for (const [name] of known) given[name] = 'text'
        const expected = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== null))
        const wire = JSON.parse(JSON.stringify(toWireMeta(given as MessageMeta, 'jobs')))
        assert.deepEqual(fromWireMeta(wire), { queueName: 'jobs', ...expected })
      }),
    )
    assert.equal(({} as Record<string, unknown>).polluted, undefined)
  })

  test('is a copy: what the application changes after the call is not sent', () => {
    const tags = ['a']
    const wire = toWireMeta({ tags }, 'jobs')
    tags.push('b')
    assert.deepEqual(wire.tags, ['a'])
  })

  test('has known fields of known types and others of JSON', () => {
    expectTypeOf<MessageMeta['correlationId']>().toEqualTypeOf<string | undefined>()
    expectTypeOf<MessageMeta['attempts']>().toEqualTypeOf<number | undefined>()
    expectTypeOf<MessageMeta['tenant']>().toEqualTypeOf<JsonValue | undefined>()
  })
})

describe('what is kept of an error', () => {
  const trap = new Proxy(new Error('x'), {
    get() {
      throw new Error('boom')
    },
  })
  test.each([
    [new Error('boom'), 'boom'],
    [new TypeError(), 'TypeError'],
    ['text', 'text'],
    [null, 'threw null'],
    [undefined, 'threw undefined'],
    [{ a: 1 }, 'threw an object'],
    ['x\u0000y\ud800', 'xy\ufffd'],
    [runInNewContext('new TypeError("of another realm")'), 'of another realm'],
    [runInNewContext('new TypeError()'), 'TypeError'],
    [{ message: 'of a library', code: 42 }, 'of a library'],
    [{ message: 5 }, 'threw an object'],
    [trap, 'threw something that cannot be described'],
  ])('%#', (thrown, message) => {
    assert.equal(describeError(thrown).message, message)
  })

  test('has the stack of an error of another realm', () => {
    assert.match(String(errorMeta(runInNewContext('new Error("far")')).stack_trace), /Error: far\n/)
  })

  test('is cut', () => {
    const error = new Error('x'.repeat(1_000_000))
    const { error_message, stack_trace } = errorMeta(error) as Record<string, string>
    assert(error_message!.length <= 2_001 && stack_trace!.length <= 8_001)
  })

  test('can be stored, whatever was thrown', () => {
    fc.assert(
      fc.property(fc.oneof(fc.anything({ withBigInt: true }), fc.string({ unit: 'binary' })), (thrown) => {
        for (const text of Object.values(errorMeta(thrown)))
          assert(text === null || (typeof text === 'string' && text.isWellFormed() && !text.includes('\u0000')))
      }),
    )
  })
})
