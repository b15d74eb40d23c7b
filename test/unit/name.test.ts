import assert from 'node:assert/strict'
import fc from 'fast-check'
import { isTidingsError } from 'tidings/internal/core/errors'
import { checkQueueName, defaultDeadLetterQueue, maxQueueNameBytes } from 'tidings/internal/core/names'
import { describe, test } from 'vitest'

describe('names of queues', () => {
  test.each([
    ['orders'],
    ['a'],
    ['0'],
    ['_private'],
    ['my-queue.v2_final'],
    ['__proto__'],
    ['constructor'],
    ['select'],
    ['a'.repeat(47)],
    ['a.'],
    ['a-'],
  ])('%s', (name) => {
    assert.equal(checkQueueName(name), name)
  })

  test.each([
    ['', 'queue name is empty'],
    ['a'.repeat(48), `queue name "${'a'.repeat(48)}" is 48 bytes; at most 47`],
    ['注'.repeat(20), `queue name "${'注'.repeat(20)}" is 60 bytes; at most 47`],
    ['Orders', 'queue name "Orders" has upper-case letters; write "orders"'],
    ['toString', 'queue name "toString" has upper-case letters; write "tostring"'],
    ["a'b; drop", 'queue name "a\'b; drop" contains "\'"'],
    ['a$b', 'queue name "a$b" contains "$"'],
    ['a"b', 'queue name "a\\"b" contains "\\""'],
    ['a/../b', 'queue name "a/../b" contains "/"'],
    ['a\nb', 'queue name "a\\nb" contains "\\n"'],
    ['a\u0000b', 'queue name "a\\u0000b" contains "\\u0000"'],
    ['naïve', 'queue name "naïve" contains "ï"'],
    ['a🎉', 'queue name "a🎉" contains "🎉"'],
    ['a--b', 'queue name "a--b" contains \'--\''],
    ['-a', 'queue name "-a" starts with "-"'],
    ['.a', 'queue name ".a" starts with "."'],
  ])('%j is none', (name, message) => {
    assert.throws(
      () => checkQueueName(name),
      (error) => {
        assert(isTidingsError(error, 'QUEUE_NAME_INVALID'))
        assert.equal(error.message, message)
        assert.match(error.hint, /1 to 47 bytes of a-z, 0-9/)
        return true
      },
    )
  })

  test.each([[null], [5], [{}], [[]], [undefined], [Symbol('x')]])('%o is of the wrong type', (name) => {
    assert.throws(
      () => checkQueueName(name, 'deadLetter'),
      (error) => isTidingsError(error, 'TYPE') && /^deadLetter is .*; it must be a string$/.test(error.message),
    )
  })

  test('are taken if and only if they follow the rule', () => {
    const near = fc.string({ unit: fc.constantFrom(...'abz059_-.', 'A', ' ', '$', 'ä'), maxLength: 60 })
    const any = fc.oneof(near, fc.string({ unit: 'binary' }), fc.anything())
    fc.assert(
      fc.property(any, (name) => {
        const valid =
          typeof name === 'string' &&
          new TextEncoder().encode(name).length <= 47 &&
          /^[a-z0-9_][a-z0-9_.-]*$/.test(name) &&
          !/\n$/.test(name) &&
          !name.includes('--')
        try {
          assert.equal(checkQueueName(name), name)
          assert(valid, 'was taken')
        } catch (error) {
          if (error instanceof assert.AssertionError) throw error
          assert(isTidingsError(error), String(error))
          assert(!valid, `was refused: ${error.message}`)
        }
      }),
      { numRuns: 2_000 },
    )
  })
})

describe('the default dead-letter queue', () => {
  test('is named after its queue, is a valid name, and has none itself', () => {
    const names = fc.stringMatching(/^[a-z0-9_][a-z0-9_.]{0,46}$/)
    fc.assert(
      fc.property(names, (name) => {
        const deadLetters = defaultDeadLetterQueue(name)
        if (deadLetters === null) {
          assert(name.endsWith('_dlq') || name.length > maxQueueNameBytes - 4)
          return
        }
        assert.equal(checkQueueName(deadLetters), `${name}_dlq`)
        assert.equal(defaultDeadLetterQueue(deadLetters), null)
      }),
    )
    assert.equal(defaultDeadLetterQueue('a'.repeat(43))?.length, 47)
    assert.equal(defaultDeadLetterQueue('a'.repeat(44)), null)
  })
})
