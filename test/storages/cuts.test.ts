import { setTimeout as delay } from 'node:timers/promises'
import { test } from 'vitest'
import { allEnded, ConsumerProcess, summaryOf } from '../support/consumers.ts'
import { newName } from '../support/engine.ts'
import { openBus, ownServer, storages } from '../support/storages.ts'
import { works } from './support.ts'

/** In which others would have taken what is not theirs. */
const enoughMs = 6_000

test.concurrent.for(storages)(
  'processes whose connections are cut, and whose server is killed and comes back, keep what they have: $name',
  { timeout: 300_000 },
  async (storage, { expect, onTestFinished }) => {
    const server = await ownServer(storage, onTestFinished)
    const bus = await openBus(server.url, onTestFinished)
    const [queue, topic] = [newName('cut'), newName('cut')]
    await bus.queue(queue).sendBatch(works(300))
    await bus.topic(topic).publishBatch(works(300))
    const consumers = [{ queue, options: { concurrency: 4 } }, { topic }] as const
    const first = new ConsumerProcess(server.url, consumers, onTestFinished, 200)
    await first.untilHanging(5)
    const second = new ConsumerProcess(server.url, consumers, onTestFinished)
    await second.untilCount('standingBy', 1)
    for (let cut = 0; cut < 4; cut++) {
      await server.cutListening()
      await delay(enoughMs / 4)
    }
    // Claims are on disk by now, too.
    await delay(enoughMs / 2)
    await server.kill()
    await server.restart()
    await delay(enoughMs)
    first.signal('SIGUSR2')
    const both = [first, second]
    await Promise.all([allEnded(both, 300, 'queue'), allEnded(both, 300, 'topic')])
    await Promise.all(both.map((process) => process.kill('SIGTERM')))
    expect(summaryOf(both, 'queue')).toEqual({ handled: 300, others: [] })
    expect(summaryOf(both, 'topic')).toEqual({ handled: 300, others: [] })
    expect(both.flatMap((process) => [...process.of('leaseLost'), ...process.of('holdLost')])).toEqual([])
    expect(await bus.queue(queue).stats()).toMatchObject({ ready: 0, leased: 0, delayed: 0 })
  },
)
