import type { Caller } from '../auth/caller.ts'
import { everybody, everything } from '../auth/caller.ts'
import type { Scope } from '../http/route.ts'
import type { Viewer } from './options.ts'

/** Whoever sits at this machine. */
export const onThisMachine: Caller = { ...everybody, name: 'this machine' }

/** Whom the application lets in; may do everything, or look at everything. */
export function asCaller({ who, readOnly = false }: Viewer): Caller {
  const caller: Caller = { ...everything, name: who, sees: () => true, called: `'${who}'` }
  return readOnly ? lookingOnly(caller) : caller
}

/** The same with the one right that changes nothing. */
export function lookingOnly(caller: Caller): Caller {
  const isLooking = (scope: Scope) => scope === 'read'
  return {
    name: caller.name,
    called: `the dashboard is read-only for '${caller.name}', who`,
    has: (scope) => isLooking(scope) && caller.has(scope),
    sees: (name) => caller.sees(name),
    allows: (scope, name) => isLooking(scope) && caller.allows(scope, name),
    seesAll: caller.seesAll,
    publishes: () => false,
    expires: caller.expires,
    withdrawn: caller.withdrawn,
  }
}

/** Whether there is nothing that the caller may change. */
export const changesNothing = (caller: Caller) =>
  !(['send', 'receive', 'admin'] as const).some((scope) => caller.has(scope))
