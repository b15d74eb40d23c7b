import assert from 'node:assert/strict'
import { Bus } from 'tidings/internal/bus/bus'
import { type ErrorCode, isTidingsError, type TidingsError } from 'tidings/internal/core/errors'
import { MemoryEngine } from 'tidings/internal/engines/memory/memory'
import type { Engine, StoredMessage } from 'tidings/internal/port/engine'
import { FakeClock } from 'tidings/testing'

type Member = { [K in keyof Engine]: Engine[K] extends (...args: never[]) => unknown ? K : never }[keyof Engine]

/** A memory engine that notes what it is asked, and can be told to fail or to take its time. */
class Spy {
  readonly memory: MemoryEngine
  readonly engine: Engine
  readonly calls: { member: Member; args: unknown[] }[] = []
  /** Called before every call; what it throws is the answer. */
  before: (member: Member, args: unknown[]) => void | Promise<void> = () => {}

  constructor(clock: FakeClock) {
    this.memory = new MemoryEngine({ clock })
    this.engine = new Proxy<Engine>(this.memory, {
      get: (target, member) => {
        const value: unknown = Reflect.get(target, member, target)
        if (typeof value !== 'function') return value
        return async (...args: unknown[]) => {
          this.calls.push({ member: member as Member, args })
          await this.before(member as Member, args)
          return (value as (...args: unknown[]) => unknown).apply(target, args)
        }
      },
    })
  }

  /** The arguments of all calls of a member. */
  of(member: Member): unknown[][] {
    return this.calls.filter((call) => call.member === member).map(({ args }) => args)
  }
}

export interface Scene {
  readonly clock: FakeClock
  readonly spy: Spy
  /** The storage itself, past the spy. */
  readonly memory: MemoryEngine
  readonly bus: Bus
}

/** A bus on a memory engine with a clock that stands still. */
export function scene(): Scene {
  const clock = new FakeClock()
  const spy = new Spy(clock)
  return { clock, spy, memory: spy.memory, bus: new Bus(spy.engine, { clock }) }
}

/** Everything that is stored, by queue. */
export async function stored(engine: Engine): Promise<Record<string, StoredMessage[]>> {
  const queues = (await engine.describe(null)).map(({ queue }) => queue)
  const all = { limit: 100_000, afterId: null, ids: null }
  const entries = queues.map(async (queue): Promise<[string, StoredMessage[]]> => {
    const live = await engine.peek(queue, { ...all, place: null })
    return [queue, [...live, ...(await engine.peek(queue, { ...all, place: 'archived' }))]]
  })
  return Object.fromEntries(await Promise.all(entries))
}

/** The error that the call must fail with; one that is not typed or has no hint fails the test. */
export async function refusal(call: () => unknown, code?: ErrorCode): Promise<TidingsError> {
  let result: unknown
  try {
    result = await call()
  } catch (error) {
    assert(isTidingsError(error), `untyped: ${error instanceof Error ? error.stack : String(error)}`)
    if (code) assert.equal(error.code, code, error.message)
    assert.notEqual(error.hint, '')
    return error
  }
  assert.fail(`was not refused, but gave ${JSON.stringify(result)}`)
}

export const datas = (messages: readonly { readonly data: unknown }[]) => messages.map(({ data }) => data)

/** Lets everything happen that needs no time. */
export async function settle(clock: FakeClock): Promise<void> {
  for (let turn = 0; turn < 10; turn++) await clock.advance(0)
}
