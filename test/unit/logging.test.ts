import assert from 'node:assert/strict'
import { TidingsError } from 'tidings/internal/core/errors'
import { loggable } from 'tidings/internal/core/message-error'
import { describe, test } from 'vitest'

describe('what is logged of something thrown', () => {
  test('is an error of its class, without fields that may be secret', () => {
    class RequestError extends TypeError {
      readonly config = { headers: { authorization: 'Bearer secret' } }
    }
    const thrown = new RequestError('no answer')
    const logged = loggable(thrown)
    assert(logged instanceof RequestError)
    assert.deepEqual([logged.message, logged.stack, Object.keys(logged)], ['no answer', thrown.stack, []])
    assert.equal(JSON.stringify(logged).includes('secret'), false)
  })

  test.each([
    ['a text', 'a text'],
    [null, 'threw null'],
    [{ message: 'like an error' }, 'like an error'],
  ])('is an error where %j was thrown', (thrown, message) => {
    const logged = loggable(thrown)
    assert(logged instanceof Error)
    assert.deepEqual([logged.message, logged.stack], [message, message])
  })

  test('is an error of Tidings as it is, which holds no secrets', () => {
    const error = new TidingsError('TIMEOUT', 'too long')
    assert.equal(loggable(error), error)
  })
})
