import type { Runner } from 'tidings-testkit'
import { describe, test } from 'vitest'

/** Runs cases beside one another: each has names of its own, and most of them wait. */
export const runner: Runner = {
  describe: describe.concurrent,
  test: test.concurrent,
  skip: (name, reason) => test.skip(`${name} (${reason})`, () => {}),
}
