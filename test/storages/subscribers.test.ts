import { setTimeout as delay } from 'node:timers/promises'
import type { Topic } from 'tidings/internal/bus/topic'
import type { SubscribeOptions } from 'tidings/internal/subscription/options'
import type { ReceivedMessage } from 'tidings/internal/topics/message'
import { poll } from 'tidings-local/internal/processes'
import { describe, expect, onTestFinished, test } from 'vitest'
import { attemptsOf, ConsumerProcess, numbersOf } from '../support/consumers.ts'
import { newName } from '../support/engine.ts'
import { openBus, ownServer, storages } from '../support/storages.ts'
import { publishMany, Watcher } from '../topic/support.ts'
import { works } from './support.ts'

const numbers = (first: number, last: number) => Array.from({ length: last - first + 1 }, (_, index) => first + index)

const handledBy = (process: ConsumerProcess) => process.of('begun').map(({ id }) => id as number)

describe.each(storages)('subscribers on $name', (storage) => {
  async function newTopic(start: string): Promise<Topic> {
    return (await openBus(await storage.url())).topic(newName(start))
  }

  /** A subscriber in a process of its own. */
  const subscriberProcess = async (topic: Topic, options: SubscribeOptions = {}) =>
    new ConsumerProcess(await storage.url(), { topic: topic.name, options }, onTestFinished)

  test('a message that kills one process after the other becomes a dead letter, and no other does', async () => {
    const bus = await openBus(await storage.url())
    const news = bus.topic(newName('killing'))
    await news.publishBatch(works(61, 1).map(({ data }) => ({ data: { ...data, kills: data.number === 31 } })))
    const options = { maxAttempts: 2 } as const
    // Three may have to go: what the first one had in hand with others may count for one of these.
    const processes = await Promise.all(Array.from({ length: 4 }, () => subscriberProcess(news, options)))
    await Promise.race(processes.map((one) => one.untilLine(({ type, offset }) => type === 'acked' && offset === 61)))
    // Then everything that they told is here.
    await Promise.all(processes.map((one) => one.kill()))
    const attempts = attemptsOf(processes, 'topic')
    const killed = attempts.get(31)!
    expect([2, 3]).toContain(killed.length)
    expect(killed.toSorted()).toEqual([1, 1, 2].slice(-killed.length))
    const last = processes.find((one) => handledBy(one).includes(61))!
    expect(handledBy(last)).toEqual(numbers(32, 61))
    expect([...attempts.keys()].toSorted((a, b) => a - b)).toEqual(numbers(1, 61))
    const letters = await bus.queue(`${news.name}_all_dlq`).peek()
    expect(letters.map(({ meta }) => [meta.originOffset, meta.attempts])).toEqual([[31, 2]])
    expect(letters[0]!.meta.errorMessage).toMatch(/^2 consumers in a row went away without leaving/)
  }, 300_000)

  test('two on one subscription handle every message once while nothing fails', async () => {
    const news = await newTopic('two')
    await news.create()
    const first = await subscriberProcess(news, { lease: '1h' })
    await first.untilLine(({ type }) => type === 'held')
    const second = await subscriberProcess(news, { lease: '1h' })
    await second.untilLine(({ type }) => type === 'standingBy')
    const publish = async (first: number) => {
      for (let batch = 0; batch < 10; batch++) await news.publishBatch(works(50, first + 50 * batch))
    }
    await publish(1)
    await first.untilLine(({ type, number }) => type === 'begun' && number! >= 200)
    // One that is asked to stop lets the other in, which would have to wait for the end of the lease otherwise.
    await first.kill('SIGTERM')
    await second.untilLine(({ type }) => type === 'held')
    await publish(501)
    await second.untilLine(({ type, number }) => type === 'begun' && number === 1_000)
    expect(numbersOf([first, second], 'topic')).toEqual(numbers(1, 1_000))
  })

  test('publishing and seeking in another process wake one that sleeps', async () => {
    const [here, there] = await Promise.all([storage.url().then(openBus), storage.url().then(openBus)])
    const name = newName('wakes')
    const watcher = new Watcher()
    const got: number[] = []
    const options = { pollInterval: '1h', lease: '1h', observe: watcher.observe } as const
    here.topic(name).subscribe('payroll', ({ offset }) => void got.push(offset), options)
    await watcher.until('idle')
    const news = there.topic(name)
    await news.publish('a')
    await watcher.until('acked', 1)
    await watcher.until('idle', 2)
    await news.seek('earliest')
    await watcher.until('moved')
    await watcher.until('succeeded', 2)
    expect(got).toEqual([1, 1])
  })

  test('a server that is killed: a subscriber goes on soon after it is back, and misses nothing', async () => {
    const server = await ownServer(storage)
    const news = (await openBus(server.url)).topic<number>(newName('restart'))
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
    // Within 2 s, where the machine is not held up.
    expect(performance.now() - backAt).toBeLessThan(20_000)
    await news.publish(601)
    const isDone = async () => (await news.subscription('payroll').state()).lag === 0
    expect(await poll(isDone, 90_000)).toBe(true)
    expect([...handled]).toEqual(numbers(1, 601))
  }, 300_000)
})
