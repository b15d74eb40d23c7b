import { RedisEngine } from 'tidings/internal/engines/redis/redis'
import type { Engine, Settlement, StoredMessage } from 'tidings/internal/port/engine'
import { poll } from 'tidings-local/internal/processes'
import { describe, expect, test } from 'vitest'
import { claimAll, message, newName, peekAll } from '../support/engine.ts'
import { LineProcess } from '../support/line-process.ts'
import { openBus, ownServer, storages } from '../support/storages.ts'

const remove = ({ id, receipt }: StoredMessage): Settlement => ({ kind: 'delete', id, receipt: receipt ?? '' })

/** In Redis a task whose sender was killed before its message was stored is taken back a minute later; by this one soon. */
async function hastyEngine(url: string, atEnd: (work: () => Promise<void>) => void): Promise<Engine> {
  const engine = new RedisEngine(url, { intentMs: 5_000 })
  await engine.open()
  atEnd(() => engine.close())
  return engine
}

// One after the other: each keeps four processes and its server busy.
test.for(storages)(
  'trees of tasks in four queues end once each, while processes are killed: $name',
  { timeout: 300_000 },
  async (storage, { expect, onTestFinished }) => {
    const { url } = await ownServer(storage, onTestFinished)
    const bus = await openBus(url, onTestFinished)
    const [trees, key] = [newName('trees'), newName('hired')]
    const queues = Array.from({ length: 4 }, () => newName('tasks'))
    for (const queue of queues) {
      await bus.queue(queue).create()
      await bus.bind(key, queue)
    }
    const startProcess = async () => {
      const process = new LineProcess<string>('storages/fan-out-worker.mjs', [url, ...queues], onTestFinished)
      await process.untilLine((line) => line === 'started')
      return process
    }
    const ids = Array.from({ length: 9 }, (_, index) => newName(`hired${index}`))
    const processes = await Promise.all([startProcess(), startProcess(), startProcess()])
    for (const [index, correlationId] of ids.entries()) {
      await bus.publish(key, { depth: 3 }, { meta: { correlationId, correlationQueue: trees }, track: true })
      if (index % 3 !== 2) continue
      // In the middle of what was published just now.
      await processes.shift()!.kill()
      processes.push(await startProcess())
    }
    const isOver = async (id: string) => (await bus.correlation(id))?.completedAt instanceof Date
    const upkeep = url.startsWith('redis') ? await hastyEngine(url, onTestFinished) : bus.engine
    const areOver = async () => {
      // A server that is busy with all that may seem to be silent; upkeep comes again.
      await upkeep.maintain({ kind: 'due' }).catch((error) => expect(error).toMatchObject({ retryable: true }))
      return (await Promise.all(ids.map(isOver))).every(Boolean)
    }
    expect(await poll(areOver, 200_000, 100)).toBe(true)

    const told = (await peekAll(bus.engine, trees)).map(({ data }) => JSON.parse(data))
    expect(told.map(({ correlationId }) => correlationId).sort()).toEqual([...ids].sort())
    // In each of four trees: 1 + 2 + 4 + 8 tasks, without the two below one that fails; another fails further down.
    for (const { done, dead, cancelled } of told) expect([done, dead, cancelled]).toEqual([4 * 11, 4 * 2, 0])
    for (const id of ids) expect(await bus.correlation(id)).toMatchObject({ pending: 0, running: 0, total: 4 * 13 })
  },
)

describe.each(storages)('correlations on $name', (storage) => {
  /** Two connections, as two processes would have them, two queues, and one that is told of completions. */
  async function prepare() {
    const url = await storage.url()
    const engines = [(await openBus(url)).engine, (await openBus(url)).engine] as const
    const queues = [newName('tasks'), newName('tasks')] as const
    for (const queue of queues) await engines[0].createQueue(queue)
    const told = newName('told')
    const task = (correlationId: string) => message({ tracked: { correlationId, completionQueue: told } })
    return { engines, queues, told, task }
  }

  /** What is told of each correlation. */
  async function completionsIn(engine: Engine, queue: string, ids: readonly string[]): Promise<unknown[][]> {
    const completions = (await peekAll(engine, queue)).map(({ data }) => JSON.parse(data))
    return ids.map((id) => completions.filter(({ correlationId }) => correlationId === id))
  }

  test('of two processes that end the last tasks at the same time one tells', async () => {
    const { engines, queues, told, task } = await prepare()
    const ids = Array.from({ length: 20 }, () => newName('last'))
    for (const id of ids) {
      for (const queue of queues) await engines[0].send(queue, [task(id), task(id)], null)
      const leased = [await claimAll(engines[0], queues[0]), await claimAll(engines[0], queues[1])] as const
      await Promise.all([
        ...leased[0].map((one) => engines[1].settle(queues[0], [remove(one)])),
        ...leased[1].map((one) => engines[0].settle(queues[1], [remove(one)])),
      ])
    }
    expect(await completionsIn(engines[0], told, ids)).toMatchObject(ids.map(() => [{ done: 4 }]))
  })

  test('batches that end tasks of the same correlations in other orders do not block each other', async () => {
    const { engines, queues, told, task } = await prepare()
    const [queue] = queues
    for (let round = 0; round < 5; round++) {
      const ids = Array.from({ length: 10 }, () => newName('batch'))
      await engines[0].send(queue, [...ids.map(task), ...ids.toReversed().map(task)], null)
      const leased = await claimAll(engines[0], queue)
      await Promise.all([
        engines[0].settle(queue, leased.slice(0, 10).map(remove)),
        engines[1].settle(queue, leased.slice(10).map(remove)),
      ])
      expect(await completionsIn(engines[0], told, ids)).toMatchObject(ids.map(() => [{ done: 2 }]))
    }
  })
})
