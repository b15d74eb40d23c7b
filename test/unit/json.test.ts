import assert from 'node:assert/strict'
import { runInNewContext } from 'node:vm'
import fc from 'fast-check'
import { type ErrorCode, isTidingsError, type TidingsError } from 'tidings/internal/core/errors'
import { checkJson, decodeText, fromJson, parseJson, toJson, toJsonValue, writeJson } from 'tidings/internal/core/json'
import { describe, test } from 'vitest'

/** Texts that can be stored: everything but NUL and lone surrogates, the names of the language often. */
const text = fc.oneof(
  { weight: 5, arbitrary: fc.string({ unit: 'binary' }).filter((each) => !each.includes('\u0000')) },
  { weight: 1, arbitrary: fc.constantFrom('__proto__', 'constructor', 'toString', 'toJSON', 'length', '"', '\\', '') },
)
const json = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc.constantFrom(null, true, false),
    fc.double({ noNaN: true, noDefaultInfinity: true }).map((number) => (Object.is(number, -0) ? 0 : number)),
    fc.integer(),
    text,
    fc.array(tie('value'), { maxLength: 6 }),
    fc.dictionary(text, tie('value'), { maxKeys: 6, noNullPrototype: true }),
  ),
})).value

const anything = fc.anything({
  key: text,
  maxDepth: 4,
  withBoxedValues: true,
  withDate: true,
  withMap: true,
  withSet: true,
  withNullPrototype: true,
  withObjectString: true,
  withSparseArray: true,
  withTypedArray: true,
})

function attempt<T>(call: () => T): T | undefined {
  try {
    return call()
  } catch {
    return undefined
  }
}

/** The error that a call must fail with; anything but a TidingsError with a hint fails the test. */
function refusal(call: () => unknown): TidingsError {
  try {
    call()
  } catch (error) {
    assert(isTidingsError(error), `untyped: ${error}`)
    assert.notEqual(error.hint, '')
    return error
  }
  assert.fail('was not refused')
}

function assertRefused(value: unknown, code: ErrorCode, path: string, words: RegExp): void {
  const error = refusal(() => toJson(value, 'data'))
  assert.equal(error.code, code)
  assert.equal(error.details.path, path)
  assert.match(error.message, words)
}

describe('what JSON can hold', () => {
  test('comes back equal', () => {
    fc.assert(
      fc.property(json, (value) => {
        assert.deepEqual(fromJson(toJson(value, 'data')), value)
      }),
      { numRuns: 500 },
    )
  })

  test('is known to be what reading gives only where it is that', () => {
    fc.assert(
      fc.property(anything, (value) => {
        const written = attempt(() => writeJson(value, 'data'))
        if (written?.isSame) assert.deepStrictEqual(fromJson(written.text), value)
      }),
      { numRuns: 2_000 },
    )
    fc.assert(
      fc.property(json, (value) => {
        const { isSame, text } = writeJson(value, 'data')
        assert.equal(isSame || /\d{16}/.test(text), true)
      }),
    )
    const other = [{ a: undefined }, [new Date(0)], { a: new (class A {})() }, Object.create(null), 2 ** 60, 2n ** 70n]
    for (const value of other) assert.equal(attempt(() => writeJson(value, 'data'))?.isSame ?? false, false)
  })

  test('is a copy that shares nothing with the original', () => {
    const original = { list: [{ a: 1 }], left: undefined }
    const copy = toJsonValue(original, 'data') as { list: { a: number }[] }
    original.list[0]!.a = 2
    assert.deepEqual(copy, { list: [{ a: 1 }] })
  })

  test('writes what JSON.stringify writes, or refuses with a path', () => {
    fc.assert(
      fc.property(anything, (value) => {
        let written: string
        try {
          written = toJson(value, 'data')
        } catch (error) {
          assert(isTidingsError(error), `untyped: ${error}`)
          assert.match(error.code, /^BODY_/)
          assert.match(String(error.details.path), /^data/)
          assert.notEqual(error.hint, '')
          assert(error.message.length < 300, error.message)
          return
        }
        assert.equal(written, JSON.stringify(value))
        assert.equal(JSON.stringify(toJsonValue(value, 'data')), written)
      }),
      { numRuns: 2_000 },
    )
  })

  test('calls toJSON like JSON.stringify, at any depth', () => {
    class Money {
      toJSON() {
        return { amount: 5, at: new Date(0) }
      }
    }
    assert.equal(
      toJson({ price: [new Money()], left: null }, 'data'),
      '{"price":[{"amount":5,"at":"1970-01-01T00:00:00.000Z"}],"left":null}',
    )
  })

  test('takes the same object at two places', () => {
    const address = { city: 'London' }
    assert.equal(
      toJson({ home: address, work: address }, 'data'),
      '{"home":{"city":"London"},"work":{"city":"London"}}',
    )
  })
})

describe('names of the language', () => {
  test('are plain data when written and when read', () => {
    const body = '{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}},"toString":1}'
    for (const source of [body, body.replace('1}', '12345678901234567890}')]) {
      const value = fromJson(source) as Record<string, unknown>
      assert(Object.hasOwn(value, '__proto__'))
      assert.equal(Object.getPrototypeOf(value), Object.prototype)
      assert.equal(({} as Record<string, unknown>).polluted, undefined)
      if (source === body) assert.equal(toJson(value, 'data'), body)
    }
  })

  test('stay plain data where a toJSON makes a copy', () => {
    const value = JSON.parse('{"__proto__":{"polluted":1}}')
    value.at = new Date(0)
    assert.equal(toJson(value, 'data'), '{"__proto__":{"polluted":1},"at":"1970-01-01T00:00:00.000Z"}')
    assert(Object.hasOwn(toJsonValue(value, 'data') as object, '__proto__'))
  })
})

describe('what is refused', () => {
  const cycle: Record<string, unknown> = { name: 'x' }
  cycle.list = [cycle]
  const endless = {
    toJSON: () => endless,
  }
  const revoked = Proxy.revocable({}, {})
  revoked.revoke()
  const throwing = {
    get x() {
      throw new Error('boom')
    },
  }
  const cases: [string, unknown, ErrorCode, string, RegExp][] = [
    ['undefined', undefined, 'BODY_NOT_JSON', 'data', /data is undefined/],
    ['a function', { f: () => 1 }, 'BODY_NOT_JSON', 'data.f', /data\.f is a function/],
    ['a symbol', [Symbol('s')], 'BODY_NOT_JSON', 'data[0]', /data\[0\] is Symbol\(s\)/],
    ['a BigInt', { n: 5n }, 'BODY_NOT_JSON', 'data.n', /data\.n is 5n/],
    ['a boxed BigInt', { n: Object(5n) }, 'BODY_NOT_JSON', 'data.n', /BigInt/],
    ['NaN', { a: { b: Number.NaN } }, 'BODY_NOT_JSON', 'data.a.b', /data\.a\.b is NaN/],
    ['Infinity', [1, [Number.POSITIVE_INFINITY]], 'BODY_NOT_JSON', 'data[1][0]', /Infinity/],
    ['undefined in an array', [1, undefined], 'BODY_NOT_JSON', 'data[1]', /data\[1\] is undefined/],
    // biome-ignore lint/suspicious/noSparseArray: that is the case
    ['a hole in an array', [1, , 3], 'BODY_NOT_JSON', 'data[1]', /data\[1\] is undefined/],
    ['a Map', { m: new Map() }, 'BODY_NOT_JSON', 'data.m', /an instance of Map/],
    ['a Set', new Set(), 'BODY_NOT_JSON', 'data', /an instance of Set/],
    ['a RegExp', [/x/], 'BODY_NOT_JSON', 'data[0]', /an instance of RegExp/],
    ['an Error', { e: new Error('x') }, 'BODY_NOT_JSON', 'data.e', /an instance of Error/],
    ['bytes', { b: new Uint8Array(3) }, 'BODY_NOT_JSON', 'data.b', /an instance of Uint8Array/],
    ['a promise', { p: Promise.resolve() }, 'BODY_NOT_JSON', 'data.p', /an instance of Promise/],
    ['an invalid date', { d: new Date(Number.NaN) }, 'BODY_NOT_JSON', 'data.d', /not a valid date/],
    ['a cycle', { c: cycle }, 'BODY_NOT_JSON', 'data.c.list[0]', /contains itself/],
    ['a toJSON without end', endless, 'BODY_NOT_JSON', 'data', /contains itself/],
    ['a getter that throws', [throwing], 'BODY_NOT_JSON', 'data[0]', /data\[0\] is an object, which threw/],
    ['a revoked proxy', { p: revoked.proxy }, 'BODY_NOT_JSON', 'data.p', /data\.p is an object, which threw/],
    ['a NUL', { a: 'x\u0000y' }, 'BODY_UNSUPPORTED_CHAR', 'data.a', /data\.a contains a NUL/],
    ['a NUL in a key', { 'a\u0000': 1 }, 'BODY_UNSUPPORTED_CHAR', 'data', /data contains a NUL/],
    ['a lone surrogate', ['\ud800'], 'BODY_UNSUPPORTED_CHAR', 'data[0]', /lone surrogate/],
    ['an odd key', { 'a b"': Number.NaN }, 'BODY_NOT_JSON', 'data["a b\\""]', /data\["a b\\""\] is NaN/],
  ]
  test.each(cases)('%s', (_name, value, code, path, words) => {
    assertRefused(value, code, path, words)
  })

  const other = (code: string) => runInNewContext(code)
  class Hidden {
    #cents = 5
    get cents() {
      return this.#cents
    }
  }
  class Named extends Map<number, number> {
    name = 'x'
  }
  class Tagged extends Headers {
    tag = 'x'
  }
  const form = new FormData()
  form.set('a', '1')
  const args = (function (..._: number[]) {
    // biome-ignore lint/complexity/noArguments: that is the case
    return arguments
  })(1, 2)
  const flattened: [string, unknown, RegExp][] = [
    ['Headers with a property', new Tagged({ a: '1' }), /Tagged/],
    ['a Map of another realm', other('new Map([[1, 2]])'), /Map/],
    ['a Set of another realm', other('new Set([1])'), /Set/],
    ['a RegExp of another realm', other('/x/g'), /RegExp/],
    ['an Error of another realm', other('Object.assign(new Error("lost"), { code: 1 })'), /Error/],
    ['a buffer of another realm', other('new ArrayBuffer(4)'), /ArrayBuffer/],
    ['bytes of another realm', other('new Uint8Array(3)'), /Uint8Array/],
    ['an invalid date of another realm', other('new Date(NaN)'), /not a valid date/],
    ['a promise of another realm', other('Promise.resolve(1)'), /Promise/],
    ['a Buffer', Buffer.from('abc'), /Buffer/],
    ['Headers', new Headers({ a: '1' }), /Headers/],
    ['URLSearchParams', new URLSearchParams('a=1'), /URLSearchParams/],
    ['FormData', form, /FormData/],
    ['a Blob', new Blob(['abc']), /Blob/],
    ['a Request', new Request('http://x.test/'), /Request/],
    ['a Response', new Response('hi'), /Response/],
    ['a signal', new AbortController().signal, /AbortSignal/],
    ['a WeakRef', new WeakRef({}), /WeakRef/],
    ['an iterator', new Map([[1, 2]]).entries(), /holds something else/],
    ['a format of Intl', new Intl.NumberFormat('en'), /NumberFormat/],
    ['private fields', new Hidden(), /Hidden/],
    ['a Map with fields beside its entries', new Named([[1, 2]]), /Named/],
    ['a Proxy of a Map', new Proxy(new Map([[1, 2]]), {}), /Map/],
    ['symbols as keys', { a: 1, [Symbol('b')]: 2 }, /named by symbols/],
    ['an array with a name in it', Object.assign([1, 2], { total: 3 }), /beside its items/],
    ['arguments', args, /arguments of a function/],
    ['−0', -0, /is -0/],
  ]
  test.each(flattened)('%s, which JSON.stringify flattens', (_name, value, words) => {
    assertRefused({ list: [value] }, 'BODY_NOT_JSON', 'data.list[0]', words)
    assert.equal(refusal(() => toJsonValue({ v: value }, 'meta')).details.path, 'meta.v')
  })

  test('the thrown error is the cause', () => {
    const error = refusal(() => toJson(throwing, 'data'))
    assert.equal((error.cause as Error).message, 'boom')
  })

  test('depth 101, however deep it is', () => {
    const nested = (depth: number) => {
      let value: unknown = 1
      for (let level = 0; level < depth; level++) value = level % 2 ? [value] : { value }
      return value
    }
    assert.equal(fromJson(toJson(nested(100), 'data')) !== null, true)
    for (const depth of [101, 1_000_000])
      assert.match(refusal(() => toJson(nested(depth), 'data')).message, /deeper than 100/)
  })

  test('a toJSON that always gives something new', () => {
    const next = () => ({ toJSON: next })
    assert.equal(refusal(() => toJson(next(), 'data')).code, 'BODY_TOO_DEEP')
  })

  test('long keys and texts are cut in the message', () => {
    const error = refusal(() => toJson({ ['k'.repeat(1_000_000)]: Number.NaN }, 'data'))
    assert(error.message.length < 200, error.message)
    assert(String(error.details.path).length < 100)
  })
})

describe('size', () => {
  test('is counted in bytes, both numbers in the message', () => {
    assert.equal(toJson('ä'.repeat(49), 'data', 100).length, 51)
    const error = refusal(() => toJson('ä'.repeat(50), 'data', 100))
    assert.equal(error.code, 'BODY_TOO_LARGE')
    assert.equal(error.message, 'data is 102 bytes of JSON; at most 100')
  })

  test('of what is wide is no problem', () => {
    const wide = { list: Array.from({ length: 300_000 }, (_, index) => index) }
    assert.equal(toJson(wide, 'data').length > 300_000, true)
  })

  test('of what doubles at every level is noticed before it is written', () => {
    let value: unknown = 1
    for (let level = 0; level < 99; level++) value = [value, value]
    const error = refusal(() => toJson(value, 'data', 1_000_000))
    assert.equal(error.message, 'data is more than 1000000 bytes of JSON; at most 1000000')
  })

  test('never counts too much', () => {
    fc.assert(
      fc.property(json, (value) => {
        const written = toJson(value, 'data')
        assert.equal(toJson(value, 'data', Buffer.byteLength(written)), written)
      }),
    )
  })
})

describe('large integers', () => {
  /** As another client would write them: JSON text whose integers have any length. */
  const write = (value: unknown): string => {
    if (typeof value === 'bigint') return String(value)
    if (Array.isArray(value)) return `[${value.map(write).join(', ')}]`
    if (typeof value === 'object' && value !== null)
      return `{${Object.entries(value)
        .map(([key, each]) => `${JSON.stringify(key)}: ${write(each)}`)
        .join(', ')}}`
    return JSON.stringify(value)
  }
  const digits = fc.oneof(
    text,
    fc.bigInt({ min: 10n ** 15n, max: 10n ** 20n }).map((number) => `${number}`),
    fc.constantFrom('"12345678901234567890', '\\', '\\"', 'a"b\\\\"12345678901234567890'),
  )
  const exact = fc.letrec<{ value: unknown }>((tie) => ({
    value: fc.oneof(
      { depthSize: 'small' },
      fc.bigInt(),
      digits,
      fc.constantFrom(1.5, null, true),
      fc.array(tie('value'), { maxLength: 5 }),
      fc.dictionary(digits, tie('value'), { maxKeys: 5, noNullPrototype: true }),
    ),
  })).value
  /** Whether a number shows these digits again. */
  const isHeld = (value: bigint) => Number(value).toLocaleString('fullwide', { useGrouping: false }) === `${value}`
  const readBack = (value: unknown): unknown => {
    if (typeof value === 'bigint') return isHeld(value) ? Number(value) : value
    if (Array.isArray(value)) return value.map(readBack)
    if (typeof value === 'object' && value !== null)
      return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, readBack(each)]))
    return value
  }

  test('stay exact, and texts of digits stay texts', () => {
    fc.assert(
      fc.property(exact, (value) => {
        assert.deepEqual(fromJson(write(value)), readBack(value))
      }),
      { numRuns: 1_000 },
    )
  })

  test('begin where a number would be rounded', () => {
    const read = (token: string) => fromJson(token)
    assert.equal(read('9007199254740991'), 2 ** 53 - 1)
    assert.equal(read('9007199254740992'), 2 ** 53)
    assert.equal(read('9007199254740993'), 2n ** 53n + 1n)
    assert.equal(read('-9223372036854775807'), -(2n ** 63n) + 1n)
    assert.equal(read('100000000000000000000000'), 1e23, 'as PostgreSQL writes 1e23')
    assert.equal(read('9'.repeat(400)), BigInt('9'.repeat(400)))
  })

  test('numbers with a fraction or an exponent are numbers', () => {
    const numbers = ['12345678901234567.5', '12345678901234567e2', '-0.12345678901234567']
    assert.deepEqual(fromJson(`[${numbers}]`), numbers.map(Number))
  })

  test('are written again as they were, and no others', () => {
    fc.assert(
      fc.property(exact, (value) => {
        const read = fromJson(write(value))
        assert.deepEqual(fromJson(toJson(read, 'data')), read)
      }),
    )
    assert.match(refusal(() => toJson({ n: 5n }, 'data')).message, /data\.n is 5n, which would come back as a number/)
    assert.match(refusal(() => toJsonValue({ n: 2n ** 64n }, 'meta')).message, /meta\.n is/)
  })

  test('beside very long texts', () => {
    const long = 'ab\\"'.repeat(5_000_000)
    const value = fromJson(`{"a":"${long}","b":12345678901234567890}`) as { a: string; b: bigint }
    assert.equal(value.a.length, 15_000_000)
    assert.equal(value.b, 12345678901234567890n)
  })
})

describe('JSON from a sender', () => {
  const read = (text: string) => parseJson(text, 'the body', '')

  test('is read as JSON.parse reads it', () => {
    fc.assert(
      fc.property(json, fc.constantFrom(undefined, 1, '\t'), (value, indent) => {
        const text = JSON.stringify(value, null, indent)
        assert.deepEqual(read(text), JSON.parse(text))
      }),
      // A number halfway between two of seventeen digits.
      { numRuns: 1_000, examples: [[-102796628178730.12, undefined]] },
    )
  })

  test('is refused where JSON.parse refuses it, with a position', () => {
    const pieces = fc.constantFrom(...'[]{},:"\\ 01e.+-', 'true', 'nul', '"a"', '\n', '\ufeff', '\u0001', '"a":', '1.5')
    fc.assert(
      fc.property(fc.array(pieces, { maxLength: 8 }), (list) => {
        const text = list.join('')
        let expected: unknown
        let valid = true
        try {
          expected = JSON.parse(text)
        } catch {
          valid = false
        }
        if (valid && !/"a".*"a"|-0/.test(text)) assert.deepEqual(read(text), expected)
        if (!valid) assert.match(refusal(() => read(text)).message, /the body is not JSON|given twice/)
      }),
      { numRuns: 5_000 },
    )
  })

  const refused: [string, RegExp, string][] = [
    ['{"a":{"b":1,"b":2}}', /^a\.b is given twice/, 'a.b'],
    ['{"list":[1,0.12345678901234567890]}', /^list\[1\] is 0\.1234/, 'list[1]'],
    ['{"n":1e400}', /^n is 1e400, which a number cannot hold/, 'n'],
    ['{"n":1e-400}', /^n is 1e-400/, 'n'],
    ['{"n":3e-324}', /^n is 3e-324/, 'n'],
    ['{"id":9007199254740993.0}', /^id is 9007199254740993.0, which a number cannot hold/, 'id'],
    ['{"id":9.007199254740993e15}', /^id is 9.007199254740993e15/, 'id'],
    ['{"sum":1234567890123456.7}', /^sum is 1234567890123456.7/, 'sum'],
    [`[1${'0'.repeat(60_000)}1]`, /^\[0\] is an integer of 60002 digits; at most 4300/, '[0]'],
    ['{"a":"x\\q"}', /^the body is not JSON: Bad escaped character/, 'a'],
    ['{"a":1', /^the body is not JSON: .* at position 6/, 'a'],
    ['[1,}', /^the body is not JSON: Unexpected token '}'/, '[1]'],
    ['', /^the body is not JSON: Unexpected end of JSON input/, 'the body'],
  ]
  test.each(refused)('%s', (text, words, path) => {
    const error = refusal(() => read(text))
    assert.equal(error.code, 'BODY_NOT_JSON')
    assert.match(error.message, words)
    assert.equal(error.details.path, path)
  })

  test('keeps a double that is written differently', () => {
    assert.deepEqual(read('[1.0, 0.10000000000000001, 1E2, 1.50000000000000000000000, 0e9]'), [1, 0.1, 100, 1.5, 0])
  })

  test('keeps every digit where it is stored as text', () => {
    checkJson('{"price":0.12345678901234567890}', 'data', 100)
    assert.equal(refusal(() => checkJson('[', 'data', 100)).code, 'BODY_NOT_JSON')
    assert.equal(refusal(() => checkJson('[1]', 'data', 2)).code, 'BODY_TOO_LARGE')
    assert.equal(refusal(() => checkJson('['.repeat(101), 'data', 1_000)).code, 'BODY_TOO_DEEP')
  })

  test('is UTF-8, with or without a byte order mark', () => {
    assert.equal(decodeText(Buffer.from('\ufeff{"n":1}'), 'data'), '{"n":1}')
    assert.match(refusal(() => decodeText(Buffer.from('Zo\xeb', 'latin1'), 'data')).message, /not UTF-8/)
    for (const text of ['\ufeffa', '{"n":1}'])
      assert.match(refusal(() => decodeText(Buffer.from(text, 'utf16le'), 'data')).message, /is UTF-16/)
  })
})
