import assert from 'node:assert/strict'
import { Bus } from 'tidings/internal/bus/bus'
import { sleep } from 'tidings/internal/core/clock'
import type { SubscriptionEvent } from 'tidings/internal/subscription/events'
import type { Subscriber } from 'tidings/internal/subscription/subscriber'
import type { ReceivedMessage } from 'tidings/internal/topics/message'
import { FakeClock } from 'tidings/testing'
import { describe, test } from 'vitest'
import { lostConnection, runUntil, Server } from '../worker/support.ts'

/** Numbers that look random and are the same in every run. */
function random(seed: number): () => number {
  let state = seed + 0x9e3779b9
  return () => {
    state = Math.imul(state ^ (state >>> 15), 0x2c1b3c6d)
    state = Math.imul(state ^ (state >>> 12), 0x297a2d39)
    state ^= state >>> 15
    return (state >>> 0) / 2 ** 32
  }
}

const count = 150

/** Subscribers of one subscription in processes that are cut off from the storage, stopped and killed. */
class Chaos {
  readonly clock = new FakeClock()
  readonly random: () => number
  /** Offsets, as handlers got through with them. */
  readonly done = new Set<number>()
  readonly acked: number[] = []
  readonly problems: string[] = []
  readonly #memory: Server
  readonly #processes: { server: Server; subscriber: Subscriber }[] = []
  #dead = new Set<Server>()

  constructor(seed: number) {
    this.random = random(seed)
    this.#memory = new Server(this.clock)
  }

  get topic() {
    return new Bus(this.#memory.memory, { clock: this.clock }).topic<number>('chaos')
  }

  start(): void {
    const server = new Server(this.clock, this.#memory.memory)
    const bus = new Bus(server.engine, { clock: this.clock })
    let last = 0
    const handler = async ({ offset, redelivered }: ReceivedMessage<unknown>) => {
      if (offset < last && !redelivered) this.problems.push(`${offset} after ${last}`)
      last = offset
      if (this.random() < 0.5) await sleep(this.clock, this.random() * 300)
      if (this.random() < 0.1) throw new Error('now and then')
      if (!this.#dead.has(server)) this.done.add(offset)
    }
    const observe = (event: SubscriptionEvent) => {
      // What the storage was told of, a handler got through with: nothing is passed over.
      if (event.type !== 'acked') return
      for (let offset = (this.acked.at(-1) ?? 0) + 1; offset <= event.offset; offset++)
        if (!this.done.has(offset)) this.problems.push(`${offset} was passed over`)
      this.acked.push(event.offset)
    }
    const options = { from: 'earliest', backoff: 50, maxAttempts: 1_000, readAhead: 7, observe } as const
    this.#processes.push({ server, subscriber: bus.topic('chaos').subscribe('s', handler, options) })
  }

  /** Something happens to one of the processes. */
  async disturb(): Promise<void> {
    const index = Math.floor(this.random() * this.#processes.length)
    const { server, subscriber } = this.#processes[index]!
    const what = this.random()
    if (what < 0.4) {
      server.down = lostConnection()
      await this.clock.advance(this.random() * 8_000)
      server.down = null
    } else if (what < 0.7) {
      this.#dead.add(server)
      server.down = lostConnection()
      this.#processes.splice(index, 1)
      this.start()
    } else {
      this.#processes.splice(index, 1)
      this.start()
      await runUntil(this.clock, subscriber.stop())
    }
  }

  async end(): Promise<void> {
    for (const { subscriber } of this.#processes) await runUntil(this.clock, subscriber.stop())
  }
}

describe('subscribers that are cut off, stopped and killed', () => {
  test.each([1, 2, 3, 4, 5, 6])('pass over nothing (seed %i)', async (seed) => {
    const chaos = new Chaos(seed)
    await chaos.topic.publishBatch(Array.from({ length: count }, (_, data) => ({ data })))
    for (let process = 0; process < 3; process++) chaos.start()
    for (let round = 0; round < 12; round++) {
      await chaos.clock.advance(chaos.random() * 4_000)
      await chaos.disturb()
    }
    const subscription = chaos.topic.subscription('s')
    for (let second = 0; (await subscription.state()).lag > 0; second++) {
      assert(second < 1_000, 'it comes to an end')
      await chaos.clock.advance(1_000)
    }
    await chaos.end()
    assert.deepEqual(chaos.problems, [])
    assert.equal(chaos.done.size, count)
  })
})
