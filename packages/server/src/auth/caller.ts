import type { Access, Scope } from '../http/route.ts'

/** What makes a request, by its token. */
export interface Caller extends Access {
  readonly name: string
  /** How refusals speak of it. Left out: as of a token. */
  readonly called?: string
  /** Whether this scope holds for anything. */
  has(scope: Scope): boolean
  /** Whether the queue or topic of this name exists for the caller. */
  sees(name: string): boolean
}

/** What is good for everything, for ever. */
export const everything: Access = {
  name: null,
  has: () => true,
  allows: () => true,
  seesAll: true,
  publishes: () => true,
  expires: Number.POSITIVE_INFINITY,
  withdrawn: null,
}

/** For a server without tokens, which only this machine can reach, and for what needs none. */
export const everybody: Caller = { ...everything, name: 'everybody', sees: () => true }
