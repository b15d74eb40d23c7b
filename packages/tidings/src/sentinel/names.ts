import { show, TidingsError } from '../core/errors.ts'

/** @throws PATTERN_INVALID if no name of a queue or topic could fit */
export function checkNamePattern(pattern: string, path: string): void {
  const bad = /[^a-z0-9_.*-]/u.exec(pattern)
  if (pattern !== '' && !bad) return
  const why = bad ? `${show(pattern)} contains ${show(bad[0])}` : 'is empty'
  throw new TidingsError('PATTERN_INVALID', `${path} ${why}`, {
    details: { field: path },
    hint: "Write a name, with '*' where any text may stand: 'orders', 'orders_*', '*'.",
  })
}
