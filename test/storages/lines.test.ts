import { setTimeout as delay } from 'node:timers/promises'
import type { Bus } from 'tidings'
import { describe, type onTestFinished, test } from 'vitest'
import { allEnded, ConsumerProcess, leasesLost, lostNumbers, summaryOf } from '../support/consumers.ts'
import { newName } from '../support/engine.ts'
import { type Line, startLine } from '../support/line.ts'
import { openBus, type Storage, storages } from '../support/storages.ts'
import { works } from './support.ts'

// The nodes of a Cluster tell clients their own addresses, so that these would not stay on the line.
const onALine = storages.filter(({ name }) => name !== 'a Redis Cluster')

/** A line to the storage, for processes of the test, and a bus that is not on it. */
async function withLine(storage: Storage, atEnd: typeof onTestFinished): Promise<{ line: Line; bus: Bus }> {
  const url = await storage.url()
  const line = await startLine(url)
  atEnd(() => line.close())
  return { line, bus: await openBus(url, atEnd) }
}

const isEmpty = { ready: 0, leased: 0, delayed: 0 }

describe('on a line that loses answers', () => {
  test.concurrent.for(onALine)(
    'all is handled once, and nothing is told as lost that was done: $name',
    { timeout: 300_000 },
    async (storage, { expect, onTestFinished }) => {
      const { line, bus } = await withLine(storage, onTestFinished)
      const [queue, topic] = [newName('answers'), newName('answers')]
      await bus.queue(queue).sendBatch(works(500, 0, { takesMs: 5 }))
      await bus.topic(topic).publishBatch(works(300, 0, { takesMs: 5 }))
      const consumers = [{ queue, options: { concurrency: 2 } }, { topic }] as const
      const process = new ConsumerProcess(line.url, consumers, onTestFinished)
      for (let cut = 1; cut <= 10; cut++) {
        // In the middle of its work, not while it connects.
        await process.untilCount('ended', cut * 30)
        await line.loseAnswers()
        // The server does what it was asked for.
        await delay(30)
        line.cut(cut % 2 ? 'RST' : 'FIN')
      }
      await Promise.all([allEnded([process], 500, 'queue'), allEnded([process], 300, 'topic')])
      await process.kill('SIGTERM')
      // Whoever is away for longer than a second may be taken for gone, as on a machine that is held up: that is told, and
      // counts. An answer that was lost costs nothing.
      const lost = lostNumbers([process])
      const { handled, others } = summaryOf([process], 'queue')
      expect([handled, others.filter(([number]) => !lost.has(number))]).toEqual([500, []])
      expect(summaryOf([process], 'topic')).toEqual({ handled: 300, others: [] })
      expect([...leasesLost(process), ...process.of('deadLettered')]).toEqual([])
      expect(await bus.queue(queue).stats()).toMatchObject(isEmpty)
      // The connection by which others see that this process lives was cut, too: where somebody else could have had the
      // message meanwhile, it is told as unknown.
      const [ofQueue, ofTopic] = process.of('stats')
      expect(Number(ofQueue!.succeeded) + Number(ofQueue!.outcomeUnknown)).toBe(500)
      expect(ofTopic).toMatchObject({ succeeded: 300, holdLost: 0 })
    },
  )
})

describe('on a slow line', () => {
  test.concurrent.for(
    onALine.flatMap(({ name, ...storage }) => [
      { ...storage, name, count: 30, size: 1_000_000, bytesPerSecond: 2_000_000, what: '30 × 1 MB over 2 MB/s' },
      { ...storage, name, count: 10, size: 100_000, bytesPerSecond: 150_000, what: '10 × 100 kB over 1.2 Mbit/s' },
      { ...storage, name, count: 400, size: 100_000, bytesPerSecond: 8_000_000, what: '400 × 100 kB over 64 Mbit/s' },
    ]),
  )(
    '$what are each handled once: $name',
    { timeout: 300_000 },
    async ({ count, size, bytesPerSecond, ...storage }, { expect, onTestFinished }) => {
      const { line, bus } = await withLine(storage, onTestFinished)
      const queue = newName('slow')
      const pad = 'x'.repeat(size)
      for (const one of works(count, 0, { pad })) await bus.queue(queue).send(one.data)
      line.slow(bytesPerSecond, 20)
      const process = new ConsumerProcess(line.url, { queue, options: { concurrency: 20 } }, onTestFinished)
      await allEnded([process], count)
      await process.kill('SIGTERM')
      expect(summaryOf([process])).toEqual({ handled: count, others: [] })
      expect([...process.of('leaseLost'), ...process.of('deadLettered')]).toEqual([])
      expect(await bus.queue(queue).stats()).toMatchObject(isEmpty)
      await bus.queue(queue).drop()
    },
  )
})
