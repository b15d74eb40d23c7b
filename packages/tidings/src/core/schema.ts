import type { StandardSchemaV1 } from '@standard-schema/spec'
import { show, TidingsError } from './errors.ts'
import { typeError } from './options.ts'

export type { StandardSchemaV1 }

export function parseSchema(value: unknown, path: string): StandardSchemaV1 {
  const standard = (value as StandardSchemaV1 | null)?.['~standard']
  if (standard?.version !== 1 || typeof standard.validate !== 'function')
    throw typeError(path, value, 'a Standard Schema (zod, valibot, arktype and others)')
  return value as StandardSchemaV1
}

/**
 * @param what the start of the message: "data for queue 'orders'"
 * @returns the schema's output; a promise only if the schema is asynchronous
 * @throws BODY_INVALID with the path and message of every issue in `details.issues`
 */
export function validate(schema: StandardSchemaV1, data: unknown, what: string): unknown {
  const result = schema['~standard'].validate(data)
  return isPromise(result) ? Promise.resolve(result).then((settled) => outcome(settled, what)) : outcome(result, what)
}

/** By `then`: not every library uses the Promise of this realm. */
function isPromise<T>(value: T | PromiseLike<T>): value is PromiseLike<T> {
  return typeof (value as PromiseLike<T> | null)?.then === 'function'
}

function outcome(result: StandardSchemaV1.Result<unknown>, what: string): unknown {
  if (!result.issues) return result.value
  const issues = result.issues.map((issue) => ({ path: showPath(issue.path), message: issue.message }))
  const [first] = issues
  const location = first?.path ? ` at ${show(first.path).slice(1, -1)}` : ''
  const more = issues.length > 1 ? ` (and ${issues.length - 1} more)` : ''
  throw new TidingsError('BODY_INVALID', `${what} is invalid${location}: ${first?.message ?? 'refused'}${more}`, {
    details: { issues },
  })
}

function showPath(path: StandardSchemaV1.Issue['path']): string {
  return (path ?? []).map((part) => String(typeof part === 'object' ? part.key : part)).join('.')
}
