/** How long to wait for the first message. */
export interface Patience {
  readonly waitMs: number
  readonly signal: AbortSignal | null
  readonly pollMs?: number
}

/** What a look into the queue found. */
export interface Look<T> {
  readonly found: T[]
  readonly nextDueMs: number | null
  /** Whether more was ready than fits into one answer. */
  readonly more?: boolean
  /** As `Claim` says it. */
  readonly heldBack?: boolean
}
