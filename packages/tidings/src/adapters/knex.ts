import { adapter, isFunction, rowsOf } from './adapter.ts'

/** The `trx` of `knex.transaction(…)`, also as Objection passes it. */
export interface KnexTransaction {
  readonly isTransaction?: boolean
  raw(text: string, values: never[]): PromiseLike<unknown>
}

interface KnexFunction {
  readonly isTransaction?: boolean
  raw(text: string, values: readonly unknown[]): PromiseLike<unknown>
}

/** What in PostgreSQL's SQL may hold a `$1` that is no parameter, or else a parameter or a question mark. */
const tokens = /'(?:[^']|'')*'|"(?:[^"]|"")*"|--[^\n]*|\/\*[\s\S]*?\*\/|\$([a-z_]\w*)?\$[\s\S]*?\$\1\$|\$(\d+)|\?/gi

/**
 * From `$1` to Knex's `?`, with a value for each. Every other question mark is escaped, in literals and comments too,
 * since Knex does not tell them apart.
 */
export function toKnex(text: string, values: readonly unknown[]): { text: string; values: unknown[] } {
  const given: unknown[] = []
  const rewritten = text.replace(tokens, (token: string, _tag: unknown, number: string | undefined) => {
    if (number === undefined) return token.replaceAll('?', '\\?')
    given.push(values[Number(number) - 1])
    return '?'
  })
  // Knex would take `\??` for one token.
  return { text: rewritten.replaceAll('\\??', '\\? ?'), values: given }
}

export const knex = adapter<KnexFunction>({
  library: 'Knex',
  fits: (candidate) => isFunction(candidate) && isFunction(candidate.raw),
  isOpen: (tx) => tx.isTransaction === true,
  async query(tx, text, values) {
    const query = toKnex(text, values)
    return rowsOf(await tx.raw(query.text, query.values))
  },
})
