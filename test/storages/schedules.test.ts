import { setTimeout as wait } from 'node:timers/promises'
import pg from 'pg'
import { describe, type onTestFinished, test } from 'vitest'
import { newName } from '../support/engine.ts'
import { LineProcess } from '../support/line-process.ts'
import { occurrencesIn, stepsBetween } from '../support/schedules.ts'
import { openBus, ownServer, storages } from '../support/storages.ts'

/** For so long processes are killed… */
const campaignMs = 20_000
/** …which start slowly on a busy machine. */
const fewest = 10
const hourMs = 3_600_000
/** Kills come within this time after a full second. */
const spreadMs = 30

/** Three at a time, whose clocks are wrong by an hour, each another way. */
class Schedulers {
  readonly #start: () => Promise<LineProcess<object>>
  #processes: LineProcess<object>[] = []
  #count = 0
  kills = 0

  constructor(url: string, atEnd: typeof onTestFinished) {
    const queue = newName('idle')
    this.#start = async () => {
      const wrong = [-hourMs, 0, hourMs][this.#count++ % 3]!
      const started = new LineProcess<object>('storages/scheduler-process.mjs', [url, queue, `${wrong}`], atEnd)
      await started.until((lines) => lines.length > 0)
      return started
    }
  }

  async start(): Promise<void> {
    this.#processes = await Promise.all([this.#start(), this.#start(), this.#start()])
  }

  /** Kills one of them at random, in the moment in which it may be sending, and starts another. */
  async killOne(): Promise<void> {
    await wait(1_000 - (Date.now() % 1_000) + Math.random() * spreadMs)
    const [killed] = this.#processes.splice(Math.floor(Math.random() * 3), 1)
    await killed!.kill()
    this.kills++
    this.#processes.push(await this.#start())
  }

  async stop(): Promise<void> {
    await Promise.all(this.#processes.map((one) => one.kill()))
  }
}

/** Puts of schedules take so long that kills come between a put and its send, which lie within a millisecond otherwise. */
async function slowPuts(url: string): Promise<void> {
  const client = new pg.Client(url)
  await client.connect()
  await client.query(`
    CREATE FUNCTION slow_put() RETURNS trigger LANGUAGE plpgsql
      AS $$ BEGIN PERFORM pg_sleep(${spreadMs / 1_000}); RETURN NEW; END $$;
    CREATE TRIGGER slow_put BEFORE UPDATE ON tidings.schedule FOR EACH ROW EXECUTE FUNCTION slow_put()`)
  await client.end()
}

describe('schedules of a second, sent by processes that are killed', () => {
  test.concurrent.for(storages.filter(({ name }) => !name.startsWith('HTTP')))(
    'every occurrence once, in a queue, a topic and under a routing key: $name',
    { timeout: 300_000 },
    async (storage, { expect, onTestFinished }) => {
      // They are seen by every process on a storage.
      const { url } = await ownServer(storage, onTestFinished)
      const bus = await openBus(url, onTestFinished)
      for (const queue of ['plain', 'routed', 'interval']) await bus.queue(queue).create()
      await bus.topic('news').create()
      await bus.bind('Tick.*', 'routed')
      if (storage.name === 'PostgreSQL') await slowPuts(url)
      const schedulers = new Schedulers(url, onTestFinished)
      await schedulers.start()
      const secondly = { cron: '* * * * * *' }
      await bus.schedule('to-queue', { ...secondly, queue: 'plain' })
      await bus.schedule('to-topic', { ...secondly, topic: 'news' })
      await bus.schedule('to-key', { ...secondly, routingKey: 'Tick.Tock' })
      await bus.schedule('interval', { every: '1s', queue: 'interval' })
      const endAt = performance.now() + campaignMs
      while (performance.now() < endAt) await schedulers.killOne()
      expect(schedulers.kills).toBeGreaterThan(1)
      await wait(2_500)
      const names = ['to-queue', 'to-topic', 'to-key', 'interval']
      for (const name of names) await bus.schedules.disable(name)
      // What was put before a crash is sent within a second.
      await wait(2_500)
      const runs = new Map((await bus.schedules.list()).map(({ name, runs }) => [name, runs]))
      await schedulers.stop()
      const inTopic = (await bus.topic('news').read({ limit: 1_000 })).map(({ meta }) => meta.scheduledFor!)
      const all = [
        await occurrencesIn(bus, 'plain'),
        inTopic,
        await occurrencesIn(bus, 'routed'),
        await occurrencesIn(bus, 'interval'),
      ]
      for (const [index, occurrences] of all.entries()) {
        const steps = stepsBetween(occurrences.toSorted())
        expect(steps.length, names[index]).toBeGreaterThanOrEqual(fewest)
        expect(
          steps.filter((step) => step !== 1),
          names[index],
        ).toEqual([])
        expect(occurrences.length, names[index]).toBe(runs.get(names[index]!))
      }
    },
  )
})

describe('a schedule', () => {
  test.concurrent.for(storages)(
    'is the same for every process, and each of its times is sent once: $name',
    async (storage, { expect, onTestFinished }) => {
      const url = await storage.url()
      const [bus, other] = [await openBus(url, onTestFinished), await openBus(url, onTestFinished)]
      const [name, queue] = [newName('tick'), newName('ticks')]
      await bus.queue(queue).create()
      const terms = { limit: 2, queue, data: { n: 9007199254740993n }, owner: name }
      // None of its times comes while it is looked at.
      const declared = await bus.schedule(name, { every: '1h', ...terms })
      expect(await other.schedules.get(name)).toEqual(declared)
      expect(await other.schedule(name, { every: '1h', ...terms })).toEqual(declared)
      expect(await other.schedules.next(name, 3)).toHaveLength(2)
      expect(await other.schedules.disable(name)).toBe(true)
      expect((await bus.schedules.get(name)).nextRunAt).toBeNull()
      expect(await bus.schedules.enable(name)).toBe(true)
      expect(await bus.schedules.runNow(name)).toBe(true)
      await other.schedule(name, { every: '1s', ...terms })
      const times: (string | undefined)[] = []
      const done = new Promise<void>((resolve) => {
        const handler = ({ meta }: { meta: { scheduledFor?: string } }) => {
          if (times.push(meta.scheduledFor) === 3) resolve()
        }
        for (const one of [bus, other]) one.queue(queue).work(handler)
      })
      await done
      expect(new Set(times).size).toBe(3)
      await expect.poll(async () => (await bus.schedules.get(name)).nextRunAt).toBeNull()
      expect((await bus.schedules.get(name)).runs).toBe(2)
      await bus.schedules.declare(name, {})
      await expect(bus.schedules.get(name)).rejects.toMatchObject({ code: 'SCHEDULE_NOT_FOUND' })
      await expect(bus.schedule(name, { every: '1s', queue: newName('none') })).rejects.toMatchObject({
        code: 'QUEUE_NOT_FOUND',
      })
    },
  )
})
