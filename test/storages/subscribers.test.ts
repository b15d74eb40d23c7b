import { setTimeout as delay } from 'node:timers/promises'
import type { Topic } from 'tidings/internal/bus/topic'
import type { SubscribeOptions } from 'tidings/internal/subscription/options'
import type { ReceivedMessage } from 'tidings/internal/topics/message'
import { poll } from 'tidings-local/internal/processes'
import { describe, expect, test } from 'vitest'
import { newName } from '../support/engine.ts'
import { LineProcess } from '../support/line-process.ts'
import { openBus, ownServer, storages } from '../support/storages.ts'
import { publishMany, Watcher } from '../topic/support.ts'

interface Line {
  readonly type: string
  readonly offset?: number
  readonly attempt?: number
}

const numbers = (first: number, last: number) => Array.from({ length: last - first + 1 }, (_, index) => first + index)

const handledBy = ({ lines }: LineProcess<Line>) =>
  lines.flatMap(({ type, offset }) => (type === 'handled' ? [offset!] : []))

describe.each(storages)('subscribers on $name', (storage) => {
  async function newTopic(start: string): Promise<Topic> {
    return (await openBus(await storage.url())).topic(newName(start))
  }

  /** A subscriber named `payroll` in a process of its own. */
  async function subscriberProcess(topic: Topic, options: SubscribeOptions = {}): Promise<LineProcess<Line>> {
    const args = [await storage.url(), topic.name, 'payroll', JSON.stringify(options)]
    return new LineProcess<Line>('storages/subscriber-process.mjs', args)
  }

  test('when one is killed, another goes on, with nothing lost and in order', async () => {
    const news = await newTopic('killed')
    await publishMany(news, 30)
    await news.publish('hang')
    await publishMany(news, 30)
    const first = await subscriberProcess(news)
    await first.untilLine(({ type, offset }) => type === 'handled' && offset === 31)
    await first.untilLine(({ type, offset }) => type === 'acked' && offset === 30)
    const watcher = new Watcher()
    const got: number[] = []
    news.subscribe('payroll', ({ offset }) => void got.push(offset), { observe: watcher.observe })
    await watcher.until('standingBy')
    await first.kill()
    const killedAt = performance.now()
    await watcher.until('succeeded')
    // Within 5 s, where the machine is not held up.
    expect(performance.now() - killedAt).toBeLessThan(12_000)
    await watcher.until('succeeded', 31)
    expect(got).toEqual(numbers(31, 61))
  })

  test('a message that kills one process after the other becomes a dead letter, and no other does', async () => {
    const bus = await openBus(await storage.url())
    const news = bus.topic(newName('killing'))
    await publishMany(news, 30)
    await news.publish('kill')
    await publishMany(news, 30)
    const options = { lease: '3s', maxAttempts: 2 } as const
    // Three may have to go: what the first one had in hand with others may count for one of these.
    const processes = await Promise.all(Array.from({ length: 4 }, () => subscriberProcess(news, options)))
    await Promise.race(processes.map((one) => one.untilLine(({ type, offset }) => type === 'acked' && offset === 61)))
    // Then everything that they told is here.
    await Promise.all(processes.map((one) => one.kill()))
    const calls = processes.flatMap(({ lines }) => lines.filter(({ type }) => type === 'handled'))
    const killed = calls.filter(({ offset }) => offset === 31)
    expect([2, 3]).toContain(killed.length)
    expect(killed.map(({ attempt }) => attempt).sort()).toEqual([1, 1, 2].slice(-killed.length))
    const last = processes.find((one) => handledBy(one).includes(61))!
    expect(handledBy(last)).toEqual(numbers(32, 61))
    expect(new Set(calls.map(({ offset }) => offset))).toEqual(new Set(numbers(1, 61)))
    const letters = await bus.queue(`${news.name}_payroll_dlq`).peek()
    expect(letters.map(({ data, meta }) => [data, meta.originOffset, meta.attempts])).toEqual([['kill', 31, 2]])
    expect(letters[0]!.meta.errorMessage).toMatch(/^2 consumers in a row went away without leaving/)
  }, 120_000)

  test('two on one subscription handle every message once while nothing fails', async () => {
    const news = await newTopic('two')
    await news.create()
    const first = await subscriberProcess(news, { lease: '1h' })
    await first.untilLine(({ type }) => type === 'held')
    const second = await subscriberProcess(news, { lease: '1h' })
    await second.untilLine(({ type }) => type === 'standingBy')
    for (let batch = 0; batch < 10; batch++) await publishMany(news, 50)
    await first.untilLine(({ type, offset }) => type === 'handled' && offset! >= 200)
    // One that is asked to stop lets the other in, which would have to wait for the end of the lease otherwise.
    await first.kill('SIGTERM')
    await second.untilLine(({ type }) => type === 'held')
    for (let batch = 0; batch < 10; batch++) await publishMany(news, 50)
    await second.untilLine(({ type, offset }) => type === 'handled' && offset === 1_000)
    expect([...handledBy(first), ...handledBy(second)]).toEqual(numbers(1, 1_000))
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
    expect(performance.now() - backAt).toBeLessThan(8_000)
    await news.publish(601)
    await poll(async () => (await news.subscription('payroll').state()).lag === 0, 20_000)
    expect([...handled]).toEqual(numbers(1, 601))
  }, 120_000)
})
