import type { Engine } from 'tidings/internal/port/engine'
import type { Listening } from 'tidings/internal/port/listening'
import type { Runner } from 'tidings-testkit'
import { afterAll, describe, test } from 'vitest'

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

/**
 * Engines that several cases use, one after the other: a session of PostgreSQL costs a tenth of a second until it knows
 * the schema. One that a case has closed is used no more; what a case listens to ends with the case.
 */
export function reusedEngines<E extends Engine>(open: () => Promise<E>) {
  const idle: Engine[] = []
  const closed = new WeakSet<Engine>()
  afterAll(() => Promise.all(idle.map((engine) => engine.close())))
  const listenings = new WeakMap<Engine, Listening[]>()
  const openNew = async () => {
    const engine: Engine = await open()
    const [close, listen] = [engine.close.bind(engine), engine.listen.bind(engine)]
    engine.close = () => {
      closed.add(engine)
      return close()
    }
    engine.listen = async (listener) => {
      const listening = await listen(listener)
      listenings.set(engine, [...(listenings.get(engine) ?? []), listening])
      return listening
    }
    return engine
  }
  const createEngine = async () => idle.pop() ?? (await openNew())
  return {
    createEngine,
    secondEngine: createEngine,
    async releaseEngine(engine: Engine): Promise<void> {
      await Promise.all((listenings.get(engine) ?? []).map((listening) => listening.close()))
      listenings.delete(engine)
      if (!closed.has(engine)) idle.push(engine)
    },
  }
}
