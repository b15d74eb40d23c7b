import { type ErrorCode, type ErrorDetails, TidingsError } from '../core/errors.ts'

/** From which version on PGMQ has a function at the latest. */
const since: readonly (readonly [functions: RegExp, version: string])[] = [
  [/^read_grouped_head_with_poll$/, '1.12'],
  [/^read_grouped_head$/, '1.11.1'],
  [/^send_batch_topic$/, '1.11'],
  [/^(update|list)_notify_insert/, '1.12'],
  [/^create_partitioned$/, '1.13'],
]
const otherwise = '1.10'

/** What PGMQ's functions raise, in their words, before which a library may put others. The first group is the queue. */
const raised: readonly (readonly [words: RegExp, code: ErrorCode])[] = [
  [/queue "([^"]*)" does not exist/i, 'QUEUE_NOT_FOUND'],
  [/relation "pgmq\.[qa]_([^"]*)" does not exist/, 'QUEUE_NOT_FOUND'],
  [/queue name (?:contains|is too long)/, 'QUEUE_NAME_INVALID'],
  [/routing_key (?:cannot|length|contains)/, 'KEY_INVALID'],
  [/pattern (?:cannot|length|contains)/, 'PATTERN_INVALID'],
  [/pg_partman is required/, 'UNSUPPORTED'],
]

const hints: { readonly [code in ErrorCode]?: string } = {
  UNSUPPORTED: 'Run CREATE EXTENSION pg_partman as a role that may, or create the queue without partitions.',
  PATTERN_INVALID: "Use letters, digits, '_', '-' and '.'; '*' stands for one segment, '#' for any characters.",
}

/** The error of PostgreSQL as one of PGMQ: what is missing, or not as PGMQ wants it. */
export function explain(error: TidingsError): TidingsError {
  const { cause, details } = error
  const why = cause instanceof Error ? cause.message : ''
  const as = (code: ErrorCode, message: string, hint = hints[code], more: ErrorDetails = {}) =>
    new TidingsError(code, message, { cause, details: { ...details, ...more }, ...(hint ? { hint } : {}) })
  switch (details.sqlState) {
    case '3F000':
      return as('SCHEMA_MISSING', why, 'Run `npx tidings migrate`, or CREATE EXTENSION pgmq.')
    case '42883': {
      const [, called = '', name = ''] = /function (pgmq\.(\w+)\(.*\)) does not exist/.exec(why) ?? []
      if (called === '') return error
      const version = since.find(([functions]) => functions.test(name))?.[1] ?? otherwise
      const hint = `PGMQ ${version} has it, and so has Tidings: update the extension, or run \`npx tidings migrate\`.`
      return as('UNSUPPORTED', `the installed PGMQ has no ${called}`, hint)
    }
    default: {
      for (const [words, code] of raised) {
        const found = words.exec(why)
        if (!found) continue
        const queue = found[1]
        if (queue !== undefined) return as(code, `queue '${queue}' does not exist`, undefined, { queue })
        return as(code, why.slice(found.index))
      }
      return error
    }
  }
}
