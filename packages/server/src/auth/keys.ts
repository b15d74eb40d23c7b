import { TidingsError } from 'tidings/internal/core/errors'
import type { Access } from '../http/route.ts'

/** @throws FORBIDDEN */
export function checkPublishing(access: Access, key: string): void {
  if (access.publishes(key)) return
  throw new TidingsError('FORBIDDEN', `the token is not good for publishing under '${key}'`)
}

/** What others publish under a key that matches comes in by a binding. @throws FORBIDDEN */
export function checkBinding(access: Access, pattern: string): void {
  if (access.publishes(pattern)) return
  throw new TidingsError('FORBIDDEN', `the token is not good for all routing keys that match '${pattern}'`, {
    hint: 'Bind to less, or use a token with a pattern in `keys` that covers it.',
  })
}
