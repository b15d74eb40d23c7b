import assert from 'node:assert/strict'
import { TidingsError } from 'tidings/internal/core/errors'
import { FakeClock } from 'tidings/internal/core/fake-clock'
import { silentLogger } from 'tidings/internal/core/logger'
import type { Engine } from 'tidings/internal/port/engine'
import type { Interest, Listener } from 'tidings/internal/port/listening'
import { Wakeups } from 'tidings/internal/port/wakeups'
import { describe, test } from 'vitest'

const lostConnection = () => new TidingsError('CONNECTION_LOST', 'the server is away')

/** A storage that only tells. */
class Scene {
  readonly clock = new FakeClock(0)
  readonly heard = new Set<Interest>()
  readonly asked: (readonly Interest[])[] = []
  connections = 0
  listener: Listener = undefined!
  /** What it answers; undefined: it listens. */
  refuse: (interest: Interest) => unknown = () => undefined
  /** Called before it answers. */
  before: () => void | Promise<void> = () => {}
  readonly wakeups: Wakeups

  constructor() {
    const engine: Partial<Engine> = {
      listen: async (listener) => {
        this.connections++
        this.listener = listener
        return {
          listen: async (interests) => {
            this.asked.push(interests)
            await this.before()
            const refused = interests
              .map((one) => [one, this.refuse(one)] as const)
              .filter(([, why]) => why !== undefined)
            for (const one of interests) if (!refused.some(([other]) => other === one)) this.heard.add(one)
            return new Map(refused)
          },
          unlisten: (interests) => {
            for (const one of interests) this.heard.delete(one)
          },
          close: async () => this.heard.clear(),
        }
      },
    }
    this.wakeups = new Wakeups({ engine: engine as Engine, clock: this.clock, logger: silentLogger })
  }

  /** Everything is lost. */
  break(): void {
    const lost = [...this.heard]
    this.heard.clear()
    this.listener.lost(lost, lostConnection())
  }
}

describe('the wake-ups of a bus', () => {
  test('share one connection, and what is asked for in one tick goes together', async () => {
    const { wakeups, listener: _, ...scene } = new Scene()
    const woken: string[] = []
    const watches = await Promise.all(
      (['queue:a', 'queue:a', 'topic:a'] as const).map((one, index) =>
        wakeups.watch(one, (dueMs) => woken.push(`${index} ${dueMs}`)),
      ),
    )
    assert.deepEqual(scene.asked, [['queue:a', 'topic:a']])
    assert.equal(watches.length, 3)
  })

  test('reach everybody who watches, and nobody else', async () => {
    const scene = new Scene()
    const woken: string[] = []
    const watch = (name: string, interest: Interest) =>
      scene.wakeups.watch(interest, (dueMs) => woken.push(`${name} ${dueMs}`))
    const first = await watch('first', 'queue:a')
    await watch('second', 'queue:a')
    await watch('third', 'queue:b')
    scene.listener.woken('queue:a', 7)
    first.close()
    first.close()
    scene.listener.woken('queue:a', 0)
    assert.deepEqual(woken, ['first 7', 'second 7', 'second 0'])
  })

  test('listen to nothing that nobody wants', async () => {
    const scene = new Scene()
    const [first, second] = [
      await scene.wakeups.watch('queue:a', () => {}),
      await scene.wakeups.watch('queue:a', () => {}),
    ]
    first.close()
    await scene.clock.advance(0)
    assert.deepEqual([...scene.heard], ['queue:a'])
    second.close()
    await scene.clock.advance(0)
    assert.deepEqual([...scene.heard], [])
  })

  test('give back what is not wanted any more when the answer comes', async () => {
    const scene = new Scene()
    let goOn = () => {}
    scene.before = () =>
      new Promise<void>((resolve) => {
        goOn = resolve
      })
    const subscriber = { interests: ['queue:a'] as const }
    const watching = scene.wakeups.subscribe(subscriber)
    await scene.clock.advance(0)
    const closing = scene.wakeups.close()
    goOn()
    await assert.rejects(watching, { code: 'CLOSED' })
    await closing
    assert.deepEqual([...scene.heard], [])
  })

  test('come back after an interruption: it is told, and everybody is woken', async () => {
    const scene = new Scene()
    const told: string[] = []
    await scene.wakeups.subscribe({
      interests: ['queue:a', 'queue:b'],
      woken: (dueMs) => told.push(`woken ${dueMs}`),
      interrupted: (error) => told.push((error as TidingsError).code),
    })
    scene.refuse = (interest) => (interest === 'queue:b' ? lostConnection() : undefined)
    scene.break()
    assert.deepEqual(told.splice(0), ['CONNECTION_LOST'])
    await scene.clock.advance(99)
    assert.deepEqual(told, [])
    await scene.clock.advance(1)
    assert.deepEqual(told.splice(0), ['woken 0', 'CONNECTION_LOST'], 'one of them is out of reach')
    scene.refuse = () => undefined
    await scene.clock.advance(200)
    assert.deepEqual(told, ['woken 0'])
    assert.deepEqual(scene.asked.slice(1), [['queue:a', 'queue:b'], ['queue:b']])
  })

  test('are asked for again more and more slowly, up to a second', async () => {
    const scene = new Scene()
    scene.refuse = lostConnection
    await scene.wakeups.watch('queue:a', () => {})
    const times: number[] = []
    scene.before = () => void times.push(scene.clock.now())
    await scene.clock.advance(4_000)
    assert.deepEqual(times, [100, 300, 700, 1_500, 2_500, 3_500])
  })

  test('that are lost before the answer has come are asked for again', async () => {
    const scene = new Scene()
    scene.before = () => {
      if (scene.asked.length === 1) scene.listener.lost(['queue:a'], lostConnection())
    }
    const woken: number[] = []
    await scene.wakeups.watch('queue:a', (dueMs) => woken.push(dueMs))
    await scene.clock.advance(100)
    assert.deepEqual([scene.asked.length, woken], [2, [0]])
  })

  test.each(['QUEUE_NOT_FOUND', 'UNSUPPORTED', 'FORBIDDEN'] as const)(
    'that can never be are refused: %s',
    async (code) => {
      const scene = new Scene()
      await scene.wakeups.watch('queue:a', () => {})
      scene.refuse = () => new TidingsError(code, 'no')
      await assert.rejects(
        scene.wakeups.watch('queue:b', () => {}),
        { code },
      )
      await assert.rejects(
        scene.wakeups.watch('queue:a', () => {}),
        { code },
        'what is watched already may be gone',
      )
      await scene.clock.advance(10_000)
      assert.equal(scene.asked.length, 3)
    },
  )

  test('that a closed engine refuses are not asked for again', async () => {
    const scene = new Scene()
    await scene.wakeups.watch('queue:a', () => {})
    scene.refuse = () => new TidingsError('CLOSED', 'it is closed')
    scene.break()
    await scene.clock.advance(10_000)
    assert.equal(scene.asked.length, 2)
  })

  test('end with the bus, which stops who can be stopped', async () => {
    const scene = new Scene()
    let stopped = 0
    await scene.wakeups.subscribe({ interests: ['channel:c'], stop: async () => void stopped++ })
    await scene.wakeups.close()
    assert.deepEqual([stopped, scene.heard.size], [1, 0])
    await assert.rejects(
      scene.wakeups.watch('queue:a', () => {}),
      { code: 'CLOSED' },
    )
  })
})
