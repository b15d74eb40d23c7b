import { Bus } from 'tidings/internal/bus/bus'
import { TidingsError } from 'tidings/internal/core/errors'
import type { Logger } from 'tidings/internal/core/logger'
import { MemoryEngine } from 'tidings/internal/engines/memory/memory'
import type { Engine } from 'tidings/internal/port/engine'
import type { Listening } from 'tidings/internal/port/listening'
import { FakeClock } from 'tidings/testing'
import { Watcher } from '../support/watcher.ts'

export { Watcher }

/** A promise that is resolved from outside. */
export class Signal<T = void> {
  resolve!: (value: T) => void
  readonly promise: Promise<T> = new Promise((resolve) => {
    this.resolve = resolve
  })
}

export class Lines implements Logger {
  readonly lines: { level: string; text: string; details: object }[] = []
  debug = (details: object, text: string) => this.#add('debug', details, text)
  info = (details: object, text: string) => this.#add('info', details, text)
  warn = (details: object, text: string) => this.#add('warn', details, text)
  error = (details: object, text: string) => this.#add('error', details, text)

  #add(level: string, details: object, text: string): void {
    this.lines.push({ level, text, details })
  }
}

/** A memory engine whose server can be away, and what it was asked. */
export class Server {
  readonly engine: Engine
  /** The same storage, as others reach it. */
  readonly memory: Engine
  /** What every call fails with; null: the server is up. */
  down: TidingsError | null = null
  /** Fails a call of this member only, if it returns an error. */
  trouble: (member: string, args: readonly unknown[]) => TidingsError | null = () => null
  readonly calls: { member: string; args: readonly unknown[]; at: number }[] = []

  readonly #listenings: Listening[] = []

  constructor(clock: FakeClock, memory: Engine = new MemoryEngine({ clock })) {
    this.memory = memory
    this.engine = this.#watched<Engine>(clock, this.memory)
  }

  /** Members of `topics` are called by their own names. */
  #watched<T extends object>(clock: FakeClock, watched: T): T {
    const topics = 'topics' in watched ? this.#watched(clock, watched.topics as object) : undefined
    return new Proxy<T>(watched, {
      get: (target, member) => {
        if (member === 'topics') return topics
        const value: unknown = Reflect.get(target, member, target)
        if (typeof value !== 'function' || typeof member !== 'string') return value
        return async (...args: unknown[]) => {
          this.calls.push({ member, args, at: clock.now() })
          const error = this.down ?? this.trouble(member, args)
          if (error) throw error
          const answer = await (value as (...args: unknown[]) => unknown).apply(target, args)
          if (member === 'listen') this.#listenings.push(answer as Listening)
          return answer
        }
      },
    })
  }

  /** The process on this side is gone, as the storage sees it. */
  async kill(): Promise<void> {
    this.down = lostConnection()
    for (const listening of this.#listenings.splice(0)) await listening.close()
  }

  countOf(member: string): number {
    return this.calls.filter((call) => call.member === member).length
  }
}

export const lostConnection = () => new TidingsError('CONNECTION_LOST', 'the server is away')

export interface Scene {
  readonly clock: FakeClock
  readonly server: Server
  readonly engine: Engine
  readonly bus: Bus
  readonly watcher: Watcher
  readonly observe: Watcher['observe']
  readonly log: Lines
}

/** A bus on a memory engine with a clock that stands still. */
export function scene(): Scene {
  const clock = new FakeClock()
  const server = new Server(clock)
  const log = new Lines()
  const bus = new Bus(server.engine, { clock, logger: log })
  const watcher = new Watcher()
  return { clock, server, engine: server.engine, bus, watcher, observe: watcher.observe, log }
}

/** Lets the time run until the promise is settled; fails rather than running on for ever. */
export async function runUntil<T>(clock: FakeClock, promise: Promise<T>, stepMs = 50): Promise<T> {
  let settled = false
  const done = () => {
    settled = true
  }
  promise.then(done, done)
  for (let steps = 0; !settled; steps++) {
    if (steps > 20_000) throw new Error(`nothing happened within ${20_000 * stepMs} ms of the fake clock`)
    // What needs no time gets its turns first, or it would seem to take some.
    await settleDown(clock, 5)
    if (!settled) await clock.advance(stepMs)
  }
  return promise
}

/** Lets everything happen that needs no time. */
export async function settleDown(clock: FakeClock, turns = 20): Promise<void> {
  for (let turn = 0; turn < turns; turn++) await clock.advance(0)
}

export const datas = (events: readonly { message: { data: unknown } }[]) => events.map(({ message }) => message.data)
