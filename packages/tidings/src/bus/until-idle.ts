import { nextTurn } from '../core/turns.ts'

interface Calls {
  readonly isBusy: boolean
  idle(): Promise<unknown>
}

/** What was sent before closing is still stored, with the calls that this takes. */
export async function untilIdle(all: () => readonly Calls[]): Promise<void> {
  for (let isBusy = true; isBusy; ) {
    await nextTurn()
    const calls = all().filter((one) => one.isBusy)
    isBusy = calls.length > 0
    await Promise.all(calls.map((one) => one.idle()))
  }
}
