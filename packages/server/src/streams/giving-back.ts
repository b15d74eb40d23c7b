import type { Engine, Lease } from 'tidings/internal/port/engine'
import type { LeaseBook } from '../http/lease-book.ts'

/** Ends leases of messages that nobody has seen, as if they had not been read. */
export async function giveBack(
  engine: Engine,
  queue: string,
  given: readonly Lease[],
  leases: LeaseBook,
): Promise<void> {
  if (given.length === 0) return
  leases.ended(queue, given)
  const ending = { kind: 'release', delayMs: 0, meta: {}, uncount: true } as const
  await engine.settle(
    queue,
    given.map(({ id, receipt }) => ({ id, receipt, ...ending })),
  )
}
