import type { Engine } from 'tidings/internal/port/engine'
import type { Runner } from 'tidings-testkit'
import { describe, test } from 'vitest'

/** Runs cases beside one another: each has names of its own, and most of them wait. */
export const runner: Runner = {
  describe: describe.concurrent,
  test: test.concurrent,
  skip: (name, reason) => test.skip(`${name} (${reason})`, () => {}),
}

/** The upkeep that runs at this moment, and whose it is. */
let current: { readonly engine: Engine; readonly over: Promise<unknown> } | undefined

/**
 * Upkeep leaves to another what that does at this moment, and a case waits for its own. So engines of different cases take
 * turns; several calls of one engine run at once, as the case wants it.
 */
export function withUpkeepInTurn<E extends Engine>(engine: E): E {
  const maintain = engine.maintain.bind(engine)
  engine.maintain = async (...args) => {
    while (current && current.engine !== engine) await current.over
    const done = maintain(...args)
    const over = Promise.allSettled([current?.over, done])
    const turn = { engine, over }
    current = turn
    void over.then(() => {
      if (current === turn) current = undefined
    })
    return done
  }
  return engine
}
