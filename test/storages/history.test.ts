import { type Bus, connect } from 'tidings'
import { minuteOf } from 'tidings/internal/port/history'
import { describe, type onTestFinished, test } from 'vitest'
import { allEnded, ConsumerProcess } from '../support/consumers.ts'
import { newName } from '../support/engine.ts'
import { startHttpServer } from '../support/http-server.ts'
import { sharedServer } from '../support/shared-servers.ts'
import { openBus, storages } from '../support/storages.ts'
import { works } from './support.ts'

const count = 300

/** What the history has of a queue that was made for this, all in all. */
async function totalsOf(bus: Bus, name: string, since: Date) {
  // Upkeep notes once a minute; this is not waited for.
  await bus.engine.history.writer!.note({ minute: minuteOf(Date.now()), before: minuteOf(Date.now()) - 60 }, [name])
  const { points, latency } = await bus.queue(name).history({ since, until: new Date(Date.now() + 120_000) })
  const sum = (figure: 'sent' | 'done' | 'failed' | 'dead') => points.reduce((all, point) => all + point[figure], 0)
  return {
    sent: sum('sent'),
    done: sum('done'),
    failed: sum('failed'),
    dead: sum('dead'),
    handed: latency.reduce((all, one) => all + one.count, 0),
  }
}

/** Every tenth message fails once. Of three processes that handle them one is killed, which has handled some. */
async function handleAll(url: string, queue: string, send: () => Promise<unknown>, atEnd: typeof onTestFinished) {
  const options = { concurrency: 4 } as const
  const processes = [1, 2, 3].map(() => new ConsumerProcess(url, { queue, options }, atEnd))
  await Promise.all(processes.map((one) => one.untilCount('running', 1)))
  await send()
  const killed = await Promise.race(processes.map((one) => one.untilCount('succeeded', 5).then(() => one)))
  await killed.kill()
  await allEnded(processes, count)
  const others = processes.filter((one) => one !== killed)
  for (const one of others) await one.kill('SIGTERM')
  return { told: (type: string) => others.flatMap((one) => one.of(type)).length }
}

const messages = () => works(count, 0, { takesMs: 5 }).map((one, index) => withFailures(one, index % 10 === 0 ? 1 : 0))
const withFailures = ({ data }: ReturnType<typeof works>[number], failures: number) => ({ data: { ...data, failures } })

describe('of three processes, one of which is killed', () => {
  test.concurrent.for(storages.filter(({ name }) => !name.startsWith('HTTP')))(
    'the history has all that the others did: $name',
    { timeout: 300_000 },
    async (storage, { expect, onTestFinished }) => {
      const since = new Date(Date.now() - 60_000)
      const url = await storage.url()
      const bus = await openBus(url, onTestFinished)
      const queue = newName('history')
      await bus.queue(queue).create()
      const { told } = await handleAll(url, queue, () => bus.queue(queue).sendBatch(messages()), onTestFinished)
      const { sent, done, failed, dead, handed } = await totalsOf(bus, queue, since)
      expect([sent, dead]).toEqual([count, 0])
      // What the killed one added before it was killed is there as well.
      expect(done).toBeGreaterThanOrEqual(told('succeeded'))
      expect(done).toBeLessThanOrEqual(count)
      expect(failed).toBeGreaterThanOrEqual(told('failed'))
      expect(failed).toBeLessThanOrEqual(count / 10)
      expect(handed).toBeGreaterThanOrEqual(1)
      expect(handed).toBeLessThanOrEqual(count)
    },
  )

  test('over HTTP the server counts, and loses nothing', { timeout: 300_000 }, async ({ expect, onTestFinished }) => {
    const since = new Date(Date.now() - 60_000)
    const storage = await sharedServer('postgres18')
    const server = await startHttpServer(storage)
    onTestFinished(() => server.stop('SIGKILL'))
    const client = await connect(server.url)
    const queue = newName('history')
    await client.queue(queue).create()
    await handleAll(server.url, queue, () => client.queue(queue).sendBatch(messages()), onTestFinished)
    expect((await client.queue(queue).history()).points.length).toBeGreaterThanOrEqual(60)
    expect((await client.history()).queue).toBe(null)
    await client.close()
    await server.stop()
    const bus = await openBus(storage, onTestFinished)
    const { sent, done, failed, dead, handed } = await totalsOf(bus, queue, since)
    expect([sent, done, dead]).toEqual([count, count, 0])
    // What the killed one had read ahead came to a reader twice, and counts as read once.
    expect(handed).toBeGreaterThanOrEqual(count)
    expect(failed).toBeLessThanOrEqual(count / 10)
  })
})
