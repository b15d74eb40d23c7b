import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import { afterEach, describe, inject, test } from 'vitest'
import { Bus } from '../../src/bus.ts'
import { PostgresEngine } from '../../src/engines/postgres/postgres.ts'
import { poll } from '../../src/local/processes.ts'
import type { Topic } from '../../src/topic.ts'
import type { ReceivedMessage } from '../../src/topic-message.ts'
import { startPostgres } from '../support/postgres.ts'
import { offsets, publishMany, Watcher } from './support.ts'

const script = fileURLToPath(new URL('subscriber-process.mjs', import.meta.url))
const serial = { timeout: 60_000 }

const buses: Bus[] = []
const processes: SubscriberProcess[] = []
afterEach(async () => {
  for (const one of processes.splice(0)) one.kill()
  await Promise.all(buses.splice(0).map((bus) => bus.close()))
})

/** A connection of its own, as another process would have it. */
async function connect(url = inject('postgres18')): Promise<Bus> {
  const engine = new PostgresEngine({ url })
  await engine.open()
  const bus = new Bus(engine)
  buses.push(bus)
  return bus
}

interface Line {
  readonly type: string
  readonly offset?: number
  readonly redelivered?: boolean
}

/** A subscriber in a process of its own. */
class SubscriberProcess {
  readonly lines: Line[] = []
  readonly ended: Promise<void>
  readonly #child: ChildProcess
  #seen: () => void = () => {}

  constructor(topic: string, subscription: string) {
    const url = inject('postgres18')
    this.#child = spawn(process.execPath, [script, url, topic, subscription], { stdio: ['ignore', 'pipe', 'inherit'] })
    createInterface(this.#child.stdout!).on('line', (line) => {
      this.lines.push(JSON.parse(line))
      this.#seen()
    })
    this.ended = new Promise((resolve) => this.#child.on('close', () => resolve()))
    processes.push(this)
  }

  get handled(): number[] {
    return this.lines.flatMap(({ type, offset }) => (type === 'handled' ? [offset!] : []))
  }

  /** Waits for a line that fits. */
  async until(fits: (line: Line) => boolean): Promise<void> {
    while (!this.lines.some(fits)) await new Promise<void>((resolve) => (this.#seen = resolve))
  }

  kill(signal: 'SIGKILL' | 'SIGTERM' = 'SIGKILL'): void {
    this.#child.kill(signal)
  }
}

describe('subscribers in processes', () => {
  test('when one is killed, another goes on within 5 s, with nothing lost and in order', serial, async () => {
    const news = (await connect()).topic('sub_killed')
    await publishMany(news, 30)
    await news.publish('hang')
    await publishMany(news, 30)
    const first = new SubscriberProcess('sub_killed', 'payroll')
    await first.until(({ type, offset }) => type === 'handled' && offset === 31)
    await first.until(({ type, offset }) => type === 'acked' && offset === 30)
    const watcher = new Watcher()
    const got: number[] = []
    news.subscribe('payroll', ({ offset }) => void got.push(offset), { observe: watcher.observe })
    await watcher.until('standingBy')
    first.kill()
    const killedAt = performance.now()
    await watcher.until('succeeded')
    const tookMs = performance.now() - killedAt
    assert(tookMs < 5_000, `${tookMs} ms`)
    await watcher.until('succeeded', 31)
    assert.deepEqual(
      got,
      Array.from({ length: 31 }, (_, index) => 31 + index),
    )
  })

  test('two on one subscription handle every message once while nothing fails', serial, async () => {
    const news = (await connect()).topic('sub_two')
    await news.create()
    const first = new SubscriberProcess('sub_two', 'payroll')
    await first.until(({ type }) => type === 'held')
    const second = new SubscriberProcess('sub_two', 'payroll')
    await second.until(({ type }) => type === 'standingBy')
    for (let batch = 0; batch < 10; batch++) await publishMany(news, 50)
    await first.until(({ type, offset }) => type === 'handled' && offset! >= 200)
    // One that is asked to stop lets the other in at once.
    first.kill('SIGTERM')
    await first.ended
    const endedAt = performance.now()
    await second.until(({ type }) => type === 'held')
    assert(performance.now() - endedAt < 1_500)
    for (let batch = 0; batch < 10; batch++) await publishMany(news, 50)
    await second.until(({ type, offset }) => type === 'handled' && offset === 1_000)
    assert.deepEqual(
      [...first.handled, ...second.handled],
      Array.from({ length: 1_000 }, (_, index) => index + 1),
    )
  })

  test('publishing and seeking in another process wake one that sleeps', serial, async () => {
    const [here, there] = await Promise.all([connect(), connect()])
    const watcher = new Watcher()
    const got: number[] = []
    const options = { pollInterval: '1h', lease: '1h', observe: watcher.observe } as const
    here.topic('sub_wakes').subscribe('payroll', ({ offset }) => void got.push(offset), options)
    await watcher.until('idle')
    const news = there.topic('sub_wakes')
    await news.publish('a')
    await watcher.until('acked', 1)
    await watcher.until('idle', 2)
    await news.seek('earliest')
    await watcher.until('moved')
    await watcher.until('succeeded', 2)
    assert.deepEqual(got, [1, 1])
  })
})

describe('transactions', () => {
  test('a message is there when its transaction commits, in the order of commits', serial, async () => {
    const bus = await connect()
    const news = bus.topic('sub_tx')
    const watcher = new Watcher()
    const got: unknown[] = []
    news.subscribe('payroll', ({ data }) => void got.push(data), { from: 'earliest', observe: watcher.observe })
    const client = new pg.Client({ connectionString: inject('postgres18') })
    await client.connect()
    try {
      await client.query('BEGIN')
      assert.deepEqual(await news.publish('late', { tx: client }), { offset: null, duplicate: false })
      await news.publish('early')
      await watcher.until('succeeded')
      await client.query('COMMIT')
      await client.query('BEGIN')
      await news.publishBatch([{ data: 'never' }], { tx: client })
      await client.query('ROLLBACK')
    } finally {
      await client.end()
    }
    await watcher.until('succeeded', 2)
    assert.deepEqual(got, ['early', 'late'])
    assert.deepEqual(offsets(await news.read()), [1, 2])
  })
})

describe('a server that is killed', () => {
  test('a subscriber goes on within 2 s after it is back, and misses nothing', serial, async () => {
    const server = await startPostgres(18)
    try {
      const news = (await connect(server.url)).topic<number>('news')
      await publishMany(news as Topic, 600)
      const watcher = new Watcher()
      const handled = new Set<number>()
      const handler = async ({ data }: ReceivedMessage<number>) => {
        await delay(2)
        handled.add(data)
      }
      news.subscribe('payroll', handler, { from: 'earliest', observe: watcher.observe })
      await watcher.until('succeeded', 150)
      await server.kill()
      await watcher.until('interrupted')
      await server.restart()
      const backAt = performance.now()
      await watcher.until('resumed')
      assert(performance.now() - backAt < 2_000)
      await news.publish(601)
      await poll(async () => (await news.subscription('payroll').state()).lag === 0, 20_000)
      assert.deepEqual(
        [...handled],
        Array.from({ length: 601 }, (_, index) => index + 1),
      )
    } finally {
      await Promise.all(buses.splice(0).map((bus) => bus.close()))
      await server.stop()
    }
  })
})
