import { sleep, systemClock } from './clock.ts'

/**
 * Repeats a call until it succeeds or must not be repeated, with growing pauses.
 * @param mayTryAgain called after every failure, with the pause that would follow
 */
export async function retrying<T>(
  attempt: () => Promise<T>,
  pauses: { readonly firstMs: number; readonly longestMs: number },
  mayTryAgain: (error: unknown, pauseMs: number) => boolean | Promise<boolean>,
): Promise<T> {
  for (let pauseMs = pauses.firstMs; ; pauseMs = Math.min(pauseMs * 2, pauses.longestMs)) {
    try {
      return await attempt()
    } catch (error) {
      if (!(await mayTryAgain(error, pauseMs))) throw error
    }
    await sleep(systemClock, pauseMs)
  }
}
