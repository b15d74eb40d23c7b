import { show, TidingsError } from '../errors.ts'

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

/** Whether the name fits the pattern, in which '*' stands for any text. The work grows with the name only. */
export function fits(pattern: string, name: string): boolean {
  const [head, ...rest] = pattern.split('*') as [string, ...string[]]
  const tail = rest.pop()
  if (tail === undefined) return name === pattern
  if (!name.startsWith(head) || !name.endsWith(tail)) return false
  let position = head.length
  for (const part of rest) {
    const found = name.indexOf(part, position)
    if (found < 0) return false
    position = found + part.length
  }
  return position + tail.length <= name.length
}
