import assert from 'node:assert/strict'
import { FakeClock } from 'tidings/internal/core/fake-clock'
import { type Attempt, Poller } from 'tidings/internal/messages/wait'
import type { Subscriber } from 'tidings/internal/port/wakeups'
import { describe, test } from 'vitest'

/** Something to wait for, and an engine that only watches. */
class Scene {
  readonly clock = new FakeClock(0)
  readonly controller = new AbortController()
  readonly attempts: number[] = []
  watches = 0
  closed = 0
  found: string | null = null
  nextDueMs: number | null = null
  wake: (dueMs: number) => void = () => {}
  interrupt = () => {}
  lookMs: number | null = null
  beforeWatch = () => {}

  full = false

  #poller: Poller | undefined

  /** The poller stays the same for all calls. */
  wait({ waitMs = 60_000, pollMs = 2_000 }: { waitMs?: number; pollMs?: number } = {}): Promise<string | null> {
    const wakeups = {
      lookMs: () => this.lookMs,
      subscribe: async ({ woken, interrupted }: Subscriber) => {
        this.beforeWatch()
        this.watches++
        this.wake = woken!
        this.interrupt = () => interrupted?.(null)
        return { close: () => void this.closed++ }
      },
    }
    const { clock } = this
    const { signal } = this.controller
    this.#poller ??= new Poller({ wakeups, clock, interest: 'queue:jobs', pollMs })
    return this.#poller.wait({ waitMs, signal }, async (): Promise<Attempt<string>> => {
      this.attempts.push(clock.now())
      return { found: this.found, full: this.full, nextDueMs: this.nextDueMs }
    })
  }

  close(): void {
    this.#poller?.close()
  }

  /** Everything that needs no time. */
  async settle(): Promise<void> {
    for (let turn = 0; turn < 5; turn++) await this.clock.advance(0)
  }
}

describe('waiting', () => {
  test('asks nobody to watch if there is something at once', async () => {
    const scene = new Scene()
    scene.found = 'it'
    assert.equal(await scene.wait(), 'it')
    assert.deepEqual([scene.attempts, scene.watches], [[0], 0])
  })

  test('of no time is one look', async () => {
    const scene = new Scene()
    assert.equal(await scene.wait({ waitMs: 0 }), null)
    assert.deepEqual([scene.attempts, scene.watches], [[0], 0])
  })

  test('looks again once the watch is in force, so that nothing slips in between', async () => {
    const scene = new Scene()
    scene.beforeWatch = () => {
      scene.found = 'it'
    }
    assert.equal(await scene.wait(), 'it')
    scene.close()
    assert.deepEqual([scene.attempts, scene.closed], [[0, 0], 1])
  })

  test('looks when it is woken', async () => {
    const scene = new Scene()
    const waiting = scene.wait()
    await scene.settle()
    scene.found = 'it'
    scene.wake(0)
    assert.equal(await waiting, 'it')
    scene.close()
    assert.deepEqual([scene.clock.now(), scene.clock.pending, scene.closed], [0, 0, 1])
  })

  test('looks when what was announced is due', async () => {
    const scene = new Scene()
    const waiting = scene.wait()
    await scene.settle()
    scene.wake(500)
    scene.wake(900)
    await scene.clock.advance(499)
    assert.equal(scene.attempts.length, 2)
    scene.found = 'it'
    await scene.clock.advance(1)
    assert.equal(await waiting, 'it')
  })

  test('forgets what was announced once it has looked', async () => {
    const scene = new Scene()
    const waiting = scene.wait()
    await scene.settle()
    scene.wake(500)
    await scene.clock.advance(2_499)
    assert.deepEqual(scene.attempts, [0, 0, 500])
    scene.found = 'it'
    await scene.clock.advance(1)
    assert.equal(await waiting, 'it')
  })

  test('looks when the next message that is known is due', async () => {
    const scene = new Scene()
    scene.nextDueMs = 700
    const waiting = scene.wait()
    await scene.settle()
    scene.found = 'it'
    await scene.clock.advance(699)
    assert.equal(scene.attempts.length, 2)
    await scene.clock.advance(1)
    assert.equal(await waiting, 'it')
  })

  test('polls slowly underneath', async () => {
    const scene = new Scene()
    const waiting = scene.wait({ pollMs: 1_000 })
    await scene.settle()
    await scene.clock.advance(2_500)
    assert.deepEqual(scene.attempts, [0, 0, 1_000, 2_000])
    scene.found = 'it'
    await scene.clock.advance(500)
    assert.equal(await waiting, 'it')
  })

  test('seldom polls where the storage itself looks as often', async () => {
    const scene = new Scene()
    scene.lookMs = 1_400
    const waiting = scene.wait({ waitMs: 6_000_000 })
    await scene.settle()
    await scene.clock.advance(3_600_000)
    assert.deepEqual(scene.attempts, [0, 0, 3_600_000])
    scene.lookMs = null
    scene.interrupt()
    await scene.clock.advance(4_000)
    assert.deepEqual(scene.attempts.slice(3), [3_602_000, 3_604_000])
    scene.found = 'it'
    await scene.clock.advance(2_000)
    assert.equal(await waiting, 'it')
  })

  test('does not poll where nobody is to look without a cause', async () => {
    const scene = new Scene()
    scene.lookMs = Number.POSITIVE_INFINITY
    const waiting = scene.wait({ waitMs: Number.POSITIVE_INFINITY })
    await scene.settle()
    await scene.clock.advance(86_400_000)
    assert.deepEqual(scene.attempts, [0, 0])
    scene.found = 'it'
    scene.wake(0)
    assert.equal(await waiting, 'it')
  })

  test('polls as often as it is told to where the storage looks less often', async () => {
    const scene = new Scene()
    scene.lookMs = 1_400
    const waiting = scene.wait({ pollMs: 500 })
    await scene.settle()
    await scene.clock.advance(1_000)
    assert.deepEqual(scene.attempts, [0, 0, 500, 1_000])
    scene.found = 'it'
    await scene.clock.advance(500)
    assert.equal(await waiting, 'it')
  })

  test('a wake-up between look and sleep is not lost', async () => {
    const scene = new Scene()
    let looks = 0
    const { clock } = scene
    let wake: (dueMs: number) => void = () => {}
    const wakeups = {
      lookMs: () => null,
      subscribe: async ({ woken }: Subscriber) => {
        wake = woken!
        return { close: () => {} }
      },
    }
    const poller = new Poller({ wakeups, clock, interest: 'queue:jobs', pollMs: 2_000 })
    const found = await poller.wait({ waitMs: 60_000 }, async () => {
      looks++
      // A message arrives after this look has missed it.
      if (looks === 2) wake(0)
      return { found: looks === 3 ? 'it' : null, full: false, nextDueMs: null }
    })
    assert.deepEqual([found, looks, clock.now()], ['it', 3, 0])
  })

  test('ends when the time is over, with a last look', async () => {
    const scene = new Scene()
    const waiting = scene.wait({ waitMs: 2_500 })
    await scene.settle()
    await scene.clock.advance(2_500)
    assert.equal(await waiting, null)
    assert.deepEqual(scene.attempts, [0, 0, 2_000, 2_500])
    scene.close()
    assert.deepEqual([scene.clock.pending, scene.closed], [0, 1])
  })

  test('ends when the signal is aborted', async () => {
    const scene = new Scene()
    const waiting = scene.wait()
    await scene.settle()
    scene.controller.abort()
    assert.equal(await waiting, null)
    scene.close()
    assert.deepEqual([scene.clock.pending, scene.closed], [0, 1])
  })

  test('with a signal that is aborted already is one look', async () => {
    const scene = new Scene()
    scene.controller.abort()
    assert.equal(await scene.wait(), null)
    assert.deepEqual([scene.attempts, scene.watches], [[0], 0])
  })

  test('leaves no listener on the signal', async () => {
    const scene = new Scene()
    const { signal } = scene.controller
    let listeners = 0
    const add = signal.addEventListener.bind(signal)
    const remove = signal.removeEventListener.bind(signal)
    signal.addEventListener = (...args: Parameters<typeof add>) => {
      listeners++
      add(...args)
    }
    signal.removeEventListener = (...args: Parameters<typeof remove>) => {
      listeners--
      remove(...args)
    }
    const waiting = scene.wait({ waitMs: 10_000 })
    await scene.settle()
    await scene.clock.advance(10_000)
    await waiting
    assert.equal(listeners, 0)
  })

  test('passes on the failure of a look and ends the watch', async () => {
    const scene = new Scene()
    const waiting = scene.wait()
    await scene.settle()
    Object.defineProperty(scene, 'nextDueMs', {
      get() {
        throw new Error('boom')
      },
    })
    const failed = assert.rejects(waiting, /boom/)
    await scene.clock.advance(2_000)
    await failed
    assert.equal(scene.closed, 1)
  })

  test('keeps its watch while there is little to do: then a message costs one look', async () => {
    const scene = new Scene()
    const first = scene.wait()
    await scene.settle()
    scene.found = 'one'
    scene.wake(0)
    assert.equal(await first, 'one')
    assert.deepEqual([scene.attempts.length, scene.watches, scene.closed], [3, 1, 0])

    // Nothing more was there, and nobody rang since.
    const second = scene.wait()
    await scene.settle()
    assert.equal(scene.attempts.length, 3)
    scene.found = 'two'
    scene.wake(0)
    assert.equal(await second, 'two')
    assert.deepEqual([scene.attempts.length, scene.watches, scene.closed], [4, 1, 0])
  })

  test('remembers what rang between two calls', async () => {
    const scene = new Scene()
    const first = scene.wait()
    await scene.settle()
    scene.found = 'one'
    scene.wake(0)
    await first
    scene.wake(0)
    assert.equal(await scene.wait(), 'one')
    assert.equal(scene.clock.now(), 0)
  })

  test('ends its watch when there is much to do, and when it is closed', async () => {
    const scene = new Scene()
    const first = scene.wait()
    await scene.settle()
    scene.found = 'many'
    scene.full = true
    scene.wake(0)
    await first
    assert.deepEqual([scene.watches, scene.closed], [1, 1])
    assert.equal(await scene.wait(), 'many')
    assert.deepEqual([scene.watches, scene.closed], [1, 1])

    scene.found = null
    scene.full = false
    const last = scene.wait()
    await scene.settle()
    assert.equal(scene.watches, 2)
    scene.controller.abort()
    await last
    scene.close()
    assert.equal(scene.closed, 2)
  })
})
