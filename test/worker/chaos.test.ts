import { Bus } from 'tidings/internal/bus/bus'
import type { Message } from 'tidings/internal/messages/message'
import { retry, snooze } from 'tidings/internal/worker/outcome'
import type { HandlerContext, Worker, WorkerEvent, WorkOptions } from 'tidings/internal/worker/worker'
import { FakeClock } from 'tidings/testing'
import { describe, expect, test } from 'vitest'
import { lostConnection, Server, settleDown } from './support.ts'

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

const count = 120
const maxAttempts = 4

/**
 * Workers in processes that are cut off from the storage, stopped and killed, with handlers that do all they may do.
 * A process that was killed is one that is cut off for good.
 */
class Chaos {
  readonly clock = new FakeClock()
  readonly random: () => number
  readonly ends = new Map<number, string[]>()
  readonly starts: { data: number; attempt: number; unended: number[] }[] = []
  readonly #options: WorkOptions
  readonly #first: Server
  readonly #killed = new Set<Server>()
  #server: Server
  #worker: Worker | undefined

  constructor(seed: number, options: WorkOptions) {
    this.random = random(seed)
    this.#options = options
    this.#first = new Server(this.clock)
    this.#server = this.#first
    for (let data = 0; data < count; data++) this.ends.set(data, [])
  }

  get queue() {
    return new Bus(this.#first.memory, { clock: this.clock }).queue<number>('chaos')
  }

  get deadLetters() {
    return new Bus(this.#first.memory, { clock: this.clock }).queue<number>('chaos_dlq')
  }

  startWorker(): void {
    const server = new Server(this.clock, this.#first.memory)
    const observe = (event: WorkerEvent) => this.#note(event, server)
    const queue = new Bus(server.engine, { clock: this.clock }).queue<number>('chaos')
    this.#server = server
    // A dead process calls no handlers.
    const handler = (message: Message<number>, context: HandlerContext) =>
      this.#killed.has(server) ? new Promise(() => {}) : this.#handle(message, context)
    this.#worker = queue.work(handler, {
      ...this.#options,
      maxAttempts,
      observe,
    })
  }

  async run(): Promise<void> {
    await this.queue.sendBatch(Array.from({ length: count }, (_, data) => ({ data })))
    await this.deadLetters.create()
    this.startWorker()
    for (let steps = 0; [...this.ends.values()].some((ends) => ends.length === 0); steps++) {
      if (steps > 20_000) throw new Error(`not done: ${JSON.stringify(await this.queue.stats())}`)
      await settleDown(this.clock, 2)
      await this.clock.advance(50)
      const dice = this.random()
      if (dice < 0.02) this.#server.down = lostConnection()
      else if (dice < 0.06) this.#server.down = null
      else if (dice < 0.07 && this.#server.down === null) await this.#restart()
      else if (dice < 0.08) this.#kill()
    }
    this.#server.down = null
    await this.#stop()
  }

  async #restart(): Promise<void> {
    await this.#stop()
    this.startWorker()
  }

  #kill(): void {
    this.#server.down = lostConnection()
    this.#killed.add(this.#server)
    void this.#worker?.stop({ deadline: 0 })
    this.startWorker()
  }

  async #stop(): Promise<void> {
    let stopped = false
    const stopping = this.#worker?.stop({ deadline: '3s' }).then(() => {
      stopped = true
    })
    while (!stopped) {
      await settleDown(this.clock, 2)
      await this.clock.advance(50)
    }
    await stopping
  }

  async #handle(message: Message<number>, { attempt, signal }: HandlerContext): Promise<unknown> {
    const { data } = message
    const unended = [...this.ends].filter(([, ends]) => ends.length === 0).map(([other]) => other)
    this.starts.push({ data, attempt, unended })
    const dice = this.random()
    if (dice < 0.1) await this.#pause(this.random() * 8_000, signal)
    if (dice > 0.8) throw new Error('fails')
    if (dice > 0.75) return retry({ delay: 500 })
    if (dice > 0.7) return snooze(300)
    return undefined
  }

  #pause(milliseconds: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      this.clock.after(milliseconds, resolve)
      signal.addEventListener('abort', () => resolve(), { once: true })
    })
  }

  #note(event: WorkerEvent, server: Server): void {
    if (event.type !== 'succeeded' && event.type !== 'deadLettered') return
    const end = server.down === null ? event.type : `${event.type} while the storage was away`
    this.ends.get(event.message.data as number)!.push(end)
  }
}

const seeds = Array.from({ length: Number(process.env.TIDINGS_CHAOS ?? 8) }, (_, seed) => seed + 1)

describe.each(seeds)('chaos %i', (seed) => {
  test.each([{ concurrency: 4 }, { concurrency: 1 }])(
    'with kills, $concurrency at a time: every message ends once, and none is tried too often',
    async ({ concurrency }) => {
      const chaos = new Chaos(seed, { concurrency, backoff: 400 })
      await chaos.run()
      expect([...chaos.ends.values()].filter((ends) => ends.length !== 1)).toEqual([])
      expect(Math.max(...chaos.starts.map(({ attempt }) => attempt))).toBeLessThanOrEqual(maxAttempts)
      expect(await chaos.queue.stats()).toMatchObject({ ready: 0, delayed: 0, leased: 0 })
      const dead = await chaos.deadLetters.peek({ limit: 1_000 })
      const expected = [...chaos.ends].filter(([, ends]) => ends[0] === 'deadLettered').map(([data]) => data)
      expect(dead.map((message) => message.data).toSorted((a, b) => Number(a) - Number(b))).toEqual(expected)
    },
  )

  test('strict order holds through outages, restarts and kills', async () => {
    const chaos = new Chaos(seed, { concurrency: 1, backoff: 400 })
    await chaos.run()
    const early = chaos.starts
      .filter(({ data, unended }) => unended[0] !== data)
      .map(({ data, unended }) => `${data} before the end of ${unended[0]}`)
    expect(early).toEqual([])
  })
})
