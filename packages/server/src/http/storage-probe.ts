import type { Bus } from 'tidings/internal/bus/bus'
import { type Clock, systemClock } from 'tidings/internal/core/clock'
import { isTidingsError, TidingsError } from 'tidings/internal/core/errors'

/** How long the storage may take to answer a probe. */
const patienceMs = 2_000
/** Probes need no token, so that they must not be a way to load the storage. */
const freshMs = 500

/**
 * Whether the storage answers; probes at the same time share one look at it.
 * @returns what throws if it does not: an error with the HTTP status 503, and nothing of what the storage said
 */
export function storageProbe(bus: Bus, clock: Clock = systemClock): () => Promise<void> {
  let last: { readonly at: number; readonly answer: Promise<unknown> } | undefined
  return async () => {
    if (last === undefined || clock.now() - last.at >= freshMs) {
      const answer = inTime(bus.queues(), clock)
      answer.catch(() => {})
      last = { at: clock.now(), answer }
    }
    try {
      await last.answer
    } catch (error) {
      if (isTidingsError(error) && error.httpStatus === 503) throw error
      const code = isTidingsError(error) ? error.code : 'an unexpected error'
      throw new TidingsError('CONNECTION_LOST', `the storage does not answer as it should: ${code}`)
    }
  }
}

function inTime<T>(answer: Promise<T>, clock: Clock): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = clock.after(patienceMs, () =>
      reject(new TidingsError('CONNECTION_LOST', `the storage did not answer within ${patienceMs} ms`)),
    )
    answer.then(resolve, reject).finally(() => timer.cancel())
  })
}
