import { toKnex } from 'tidings/internal/adapters/knex'
import { parseTransaction } from 'tidings/internal/adapters/recognise'
import { describe, expect, test } from 'vitest'

describe('the tx option', () => {
  test.each([null, 1, 'tx', true, {}, [], () => {}, { query: 'SELECT 1' }, Promise.resolve()])(
    'refuses %o',
    (value) => {
      expect(() => parseTransaction(value, 'tx')).toThrow(
        expect.objectContaining({
          code: 'TYPE',
          message: expect.stringMatching(
            /pg, postgres\.js, Drizzle, Kysely, Knex, TypeORM or Prisma.*query\(text, values\)/,
          ),
        }),
      )
    },
  )

  test('takes any object with query(text, values)', async () => {
    const calls: unknown[] = []
    const own = { query: async (...call: unknown[]) => ({ rows: [{ call: calls.push(call) }] }) }
    const transaction = parseTransaction(own, 'tx')
    expect(await transaction.query('SELECT $1', ['x'])).toEqual({ rows: [{ call: 1 }] })
    expect(calls).toEqual([['SELECT $1', ['x']]])
  })

  test('one statement at a time for one transaction, also after one that failed', async () => {
    const log: string[] = []
    const own = {
      async query(text: string) {
        log.push(`begin ${text}`)
        await new Promise(setImmediate)
        log.push(`end ${text}`)
        if (text === 'a') throw new Error('a fails')
        return { rows: [] }
      },
    }
    const queries = ['a', 'b', 'c'].map((text) => parseTransaction(own, 'tx').query(text, []))
    const outcomes = await Promise.allSettled(queries)
    expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'fulfilled', 'fulfilled'])
    expect(log).toEqual(['begin a', 'end a', 'begin b', 'end b', 'begin c', 'end c'])
  })
})

describe("placeholders in Knex's way", () => {
  test.each([
    ['SELECT $1::text, $2::text::jsonb', 'SELECT ?::text, ?::text::jsonb', ['a', 'b']],
    ['SELECT $2, $1, $2', 'SELECT ?, ?, ?', ['b', 'a', 'b']],
    ['SELECT $12 || $1', 'SELECT ? || ?', ['l', 'a']],
    ["SELECT '{}'::jsonb ? $1", "SELECT '{}'::jsonb \\? ?", ['a']],
    ['SELECT a ?$1', 'SELECT a \\? ?', ['a']],
    ['SELECT a ?| $1, b ?? $2', 'SELECT a \\?| ?, b \\?\\? ?', ['a', 'b']],
    ["SELECT '$1 is a ?', $1", "SELECT '$1 is a \\?', ?", ['a']],
    ["SELECT 'it''s $2', $1", "SELECT 'it''s $2', ?", ['a']],
    ['SELECT "$1?" FROM t WHERE x = $2', 'SELECT "$1\\?" FROM t WHERE x = ?', ['b']],
    ['SELECT $1 -- $2 ?\n, $2', 'SELECT ? -- $2 \\?\n, ?', ['a', 'b']],
    ['SELECT /* $2 ? */ $1', 'SELECT /* $2 \\? */ ?', ['a']],
    ['DO $$ SELECT $1 ? $$; $2', 'DO $$ SELECT $1 \\? $$; ?', ['b']],
    ['DO $x$ $1 $$ ? $x$; $2', 'DO $x$ $1 $$ \\? $x$; ?', ['b']],
  ])('%s', (text, expected, values) => {
    expect(toKnex(text, [...'abcdefghijkl'])).toEqual({ text: expected, values })
  })
})
