import { type Clock, systemClock } from 'tidings/internal/core/clock'
import { TidingsError } from 'tidings/internal/core/errors'
import { type Caller, everybody } from './caller.ts'
import { digestOf, type Token } from './token.ts'

/** Knows the callers by their tokens. Several may be good at once, so that one can follow another. */
export class Tokens {
  readonly areNeeded: boolean
  readonly #clock: Clock
  #tokens: readonly Token[]
  /** What is left to each token with a rate, by its name. */
  readonly #budgets = new Map<string, Budget>()

  /** @param areNeeded false: everybody may do everything. An emptied file lets nobody in. */
  constructor(tokens: readonly Token[], areNeeded: boolean, clock: Clock = systemClock) {
    this.#tokens = tokens
    this.areNeeded = areNeeded
    this.#clock = clock
  }

  get size(): number {
    return this.#tokens.length
  }

  /** From now on these are good, and no others. What still uses one that has gone or has changed is ended. */
  replace(tokens: readonly Token[]): void {
    const known = new Map(this.#tokens.map((token) => [token.definition, token]))
    const next = tokens.map((token) => known.get(token.definition) ?? token)
    const kept = new Set(next)
    for (const token of this.#tokens) if (!kept.has(token)) token.withdraw()
    this.#tokens = next
  }

  /** @throws UNAUTHORIZED, RATE_LIMITED with `retryAfterS` in its details */
  callerOf(request: Request): Caller {
    if (!this.areNeeded) return everybody
    const token = this.#find(presentedBy(request))
    this.#spend(token)
    return token
  }

  #find(presented: string | null): Token {
    if (presented === null) throw new TidingsError('UNAUTHORIZED', 'the request has no token')
    const digest = digestOf(presented)
    const now = this.#clock.now()
    // Looks at all of them, so that the time tells nothing.
    const [token] = this.#tokens.filter((one) => one.is(digest, now))
    if (!token) throw new TidingsError('UNAUTHORIZED', 'the token is unknown or has expired')
    return token
  }

  #spend({ name, rate }: Token): void {
    if (rate === null) return
    const now = this.#clock.now()
    const budget = this.#budgets.get(name) ?? { left: rate, at: now }
    const left = Math.min(rate, budget.left + (Math.max(0, now - budget.at) * rate) / 1000)
    this.#budgets.set(name, { left: left < 1 ? left : left - 1, at: now })
    if (left >= 1) return
    throw new TidingsError('RATE_LIMITED', `the token '${name}' has made its ${rate} requests of this second`, {
      details: { rate, retryAfterS: Math.ceil((1 - left) / rate) },
    })
  }
}

interface Budget {
  readonly left: number
  readonly at: number
}

/** Clients of PGMQ's server send it in either of the two. */
function presentedBy({ headers }: Request): string | null {
  const bearer = /^Bearer +(\S+) *$/i.exec(headers.get('authorization') ?? '')?.[1]
  return bearer ?? headers.get('x-api-key')
}
