import { type Clock, sleep } from '../core/clock.ts'
import { TidingsError } from '../core/errors.ts'
import { errorMeta } from '../core/message-error.ts'
import type { QueueAccess } from '../messages/access.ts'
import { CallContext } from './context.ts'
import type { Delivery } from './delivery.ts'
import type { Journal } from './events.ts'
import type { Held } from './held.ts'
import type { Settler } from './settler.ts'

/** How long handlers may take after their signals were aborted. */
const graceMs = 100
/** How long the last releases may take. */
const lastReleaseMs = 1_000

interface Hands {
  readonly held: Held
  readonly settler: Settler
  readonly journal: Journal
}

/**
 * At the deadline of a stop: aborts handlers, and releases what they do not end, without a counted attempt. It was not
 * theirs to end here.
 * @param finished resolves when nothing is in hand any more
 */
export async function abandon(
  { name: queue, clock }: QueueAccess<unknown>,
  { held, settler, journal }: Hands,
  finished: Promise<unknown>,
  letGo: (delivery: Delivery) => void,
): Promise<void> {
  const error = new TidingsError('STOPPED', 'the worker was stopped, and its deadline is over')
  const release = async (delivery: Delivery) => {
    const { message, ended } = delivery
    delivery.lost = true
    const ending = { kind: 'release', delayMs: 0, meta: errorMeta(error), uncount: true } as const
    const end = ended ? 'ended' : await settler.settle(delivery, ending)
    letGo(delivery)
    if (end === 'settled') journal.tell({ type: 'failed', queue, message, durationMs: 0, error, retryMs: 0 })
  }
  for (const { context } of held) if (context) CallContext.abort(context, error)
  await within(clock, graceMs, finished)
  settler.stop()
  const released = [...held].filter(({ phase }) => phase === 'handling').map(release)
  await within(clock, lastReleaseMs, Promise.all([...released, finished]))
}

async function within(clock: Clock, milliseconds: number, done: Promise<unknown>): Promise<void> {
  const over = new AbortController()
  await Promise.race([done, sleep(clock, milliseconds, over.signal)])
  over.abort()
}
