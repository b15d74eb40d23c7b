import { show, TidingsError } from '../core/errors.ts'

/** `worker_X_queue` → X, else `X_queue` → X. */
export const defaultQueuePattern = 'worker_(?<namespace>.+)_queue|(?<namespace>.+)_queue'
/** The namespace of a queue that the pattern does not match. */
const defaultNamespace = 'default'

/** The expressions that a namespace group may have. These patterns are fixed, never the user's. */
const classes = {
  '.+': { all: /^.+$/s, outside: null },
  '\\w+': { all: /^\w+$/, outside: '[^A-Za-z0-9_]' },
  '[a-z]+': { all: /^[a-z]+$/, outside: '[^a-z]' },
  '[a-z0-9]+': { all: /^[a-z0-9]+$/, outside: '[^a-z0-9]' },
  '[^_]+': { all: /^[^_]+$/, outside: '_' },
} as const
type Class = keyof typeof classes

/** One alternative of a pattern: the text before the namespace, its class of characters, and the text behind it. */
export interface NamespaceRule {
  readonly before: string
  readonly of: Class
  readonly behind: string
}

/**
 * Reads a pattern for whole names of queues: text around one group `(?<namespace>…)`, or several of these with `|`
 * between them, of which the first that matches counts. It looks like a regular expression but is none: JavaScript and
 * PostgreSQL read regular expressions differently, and this pattern must mean the same to both.
 * @throws CONFIG_INVALID
 */
export function parseQueuePattern(pattern: string, path: string): NamespaceRule[] {
  return pattern.split('|').map((alternative) => parseAlternative(alternative, pattern, path))
}

function parseAlternative(alternative: string, pattern: string, path: string): NamespaceRule {
  const found = /^\^?([a-z0-9_.-]*)\(\?P?<namespace>([^)]*)\)([a-z0-9_.-]*)\$?$/.exec(alternative)
  const [, before = '', of = '', behind = ''] = found ?? []
  if (found && Object.hasOwn(classes, of)) return { before, of: of as Class, behind }
  const why = found ? `has ${show(of)} for the namespace` : 'cannot be read'
  throw new TidingsError('CONFIG_INVALID', `${path} is ${show(pattern)}; ${show(alternative)} ${why}`, {
    details: { field: path },
    hint: `Write it like 'worker_(?<namespace>\\w+)_queue', with one of ${Object.keys(classes).join(' ')} for the namespace; alternatives with '|'.`,
  })
}

/** The namespace of a queue, by rules from `parseQueuePattern`. */
export function namespaceOf(queue: string, rules: readonly NamespaceRule[]): string {
  for (const { before, of, behind } of rules) {
    const inner = queue.slice(before.length, queue.length - behind.length)
    const isFramed = queue.length > before.length + behind.length && queue.startsWith(before) && queue.endsWith(behind)
    if (isFramed && classes[of].all.test(inner)) return inner
  }
  return defaultNamespace
}

/** The same as an expression of SQL, over `queue`. */
export function namespaceSql(rules: readonly NamespaceRule[]): string {
  const cases = rules.map(({ before, of, behind }) => {
    const inner = `substr(queue, ${before.length + 1}, length(queue) - ${before.length + behind.length})`
    const conditions = [
      `length(queue) > ${before.length + behind.length}`,
      ...(before === '' ? [] : [`left(queue, ${before.length}) = '${before}'`]),
      ...(behind === '' ? [] : [`right(queue, ${behind.length}) = '${behind}'`]),
      ...(classes[of].outside === null ? [] : [`${inner} COLLATE "C" !~ '${classes[of].outside}'`]),
    ]
    return `    WHEN ${conditions.join(' AND ')}\n      THEN ${inner}`
  })
  return ['CASE', ...cases, `    ELSE '${defaultNamespace}'`, '  END'].join('\n')
}
