import assert from 'node:assert/strict'
import { isTidingsError } from 'tidings/internal/core/errors'
import { parseSchema, type StandardSchemaV1, validate } from 'tidings/internal/core/schema'
import { describe, test } from 'vitest'
import { z } from 'zod'

const custom = (outcome: () => unknown): StandardSchemaV1 =>
  ({ '~standard': { version: 1, vendor: 'test', validate: outcome } }) as unknown as StandardSchemaV1

describe('a schema', () => {
  test('may be an object or a function', () => {
    const schema = z.string()
    assert.equal(parseSchema(schema, 'schema'), schema)
    const callable = Object.assign(
      () => {},
      custom(() => ({ value: 1 })),
    )
    assert.equal(parseSchema(callable, 'schema'), callable)
  })

  test.each([[null], [undefined], ['string'], [{}], [() => true], [{ '~standard': { version: 2 } }], [z.string]])(
    '%o is none',
    (value) => {
      assert.throws(
        () => parseSchema(value, 'schema'),
        (error) => isTidingsError(error, 'TYPE') && /^schema is .*Standard Schema/.test(error.message),
      )
    },
  )
})

describe('validating', () => {
  test('gives the output of the schema at once, or later if it is asynchronous', async () => {
    assert.equal(validate(z.string().transform(Number), '5', 'data'), 5)
    const late = validate(
      z.string().refine(async () => true),
      'x',
      'data',
    )
    assert(late instanceof Promise)
    assert.equal(await late, 'x')
  })

  test('takes promises of any make', async () => {
    // biome-ignore lint/suspicious/noThenProperty: that is the case
    const thenable = custom(() => ({ then: (resolve: (result: unknown) => void) => resolve({ value: 7 }) }))
    const late = validate(thenable, 1, 'data')
    assert(late instanceof Promise)
    assert.equal(await late, 7)
  })

  test('names the first place and counts the others', () => {
    const schema = z.object({ name: z.string(), tags: z.array(z.object({ id: z.number() })) })
    assert.throws(
      () => validate(schema, { name: 5, tags: [{ id: 1 }, { id: 'x' }] }, "data for queue 'jobs'"),
      (error) => {
        assert(isTidingsError(error, 'BODY_INVALID'))
        assert.match(error.message, /^data for queue 'jobs' is invalid at name: .*string.* \(and 1 more\)$/)
        const issues = error.details.issues as { path: string; message: string }[]
        assert.deepEqual(
          issues.map(({ path }) => path),
          ['name', 'tags.1.id'],
        )
        return true
      },
    )
  })

  test('rethrows an error of the schema itself: it says nothing about the data', () => {
    const broken = custom(() => {
      throw new Error('database is away')
    })
    assert.throws(() => validate(broken, 1, 'data'), /database is away/)
  })
})
