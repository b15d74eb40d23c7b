import { Redis } from 'ioredis'
import { connect } from 'tidings/internal/connect'
import { noteHistory } from 'tidings/internal/sentinel/history-notes'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { LineProcess } from '../support/line-process.ts'
import { startRedis, type TestRedis } from '../support/redis.ts'
import { newName, until } from './support.ts'

/** Longer than any pause between two looks. */
const quietMs = 4_000

/** Of this file alone: what clients send to it is counted. */
let server: TestRedis
const monitors: Redis[] = []
/** What clients have sent, without what scripts do. */
const sent: string[] = []
let sentAt = 0

beforeAll(async () => {
  server = await startRedis()
  const redis = new Redis(server.port)
  const monitor = await redis.monitor()
  monitors.push(redis, monitor)
  monitor.on('monitor', (_time: string, [command]: string[], source: string) => {
    if (source === 'lua') return
    sent.push(command!.toLowerCase())
    sentAt = performance.now()
  })
})
afterAll(async () => {
  for (const redis of monitors) redis.disconnect()
  await server?.stop()
})

async function open(options: Parameters<typeof connect>[1] = {}) {
  const bus = await connect(server.url, options)
  onTestFinished(() => bus.close())
  return bus
}
const wait = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))
async function quiet(): Promise<void> {
  for (let leftMs = quietMs; leftMs > 0; leftMs = sentAt + quietMs - performance.now()) await wait(leftMs)
}

/** What is sent is told a moment later. */
async function sentIn(work: () => Promise<unknown>): Promise<string[]> {
  await wait(200)
  const before = sent.length
  await work()
  await wait(200)
  return sent.slice(before)
}

test('a process with 100 queues sends less than a command a second', async () => {
  const bus = await open()
  const queues = Array.from({ length: 100 }, () => bus.queue(newName('idle')))
  await Promise.all(queues.map((queue) => queue.create()))
  for (const queue of queues) queue.work(() => {})
  const ms = 9_000
  // Not before all of them wait, and the first round of upkeep is over.
  await wait(8_000)
  const commands = await sentIn(() => wait(ms))
  const looks = commands.filter((command) => command === 'evalsha')
  // Seldom there is a look for schedules or a round of upkeep among them.
  expect(looks.length).toBeGreaterThanOrEqual(4)
  expect(looks.length).toBeLessThanOrEqual(Math.ceil(ms / 1_450) + 1 + 2 + 5)
  expect(commands.filter((command) => command !== 'evalsha').length).toBeLessThanOrEqual(2)
})

test('a round of upkeep and a minute of the history take the same few calls for many queues as for one', async () => {
  const bus = await open()
  await Promise.all(Array.from({ length: 50 }, () => bus.queue(newName('kept')).create()))
  await bus.engine.maintain({ kind: 'due' })
  // Once for the names, and once for each hundred queues, of which other tests have left some.
  expect((await sentIn(() => bus.engine.maintain({ kind: 'due' }))).length).toBeLessThanOrEqual(4)
  expect((await sentIn(() => noteHistory(bus.engine))).length).toBeLessThanOrEqual(10)
})

test("with idle: 'sleep' nothing is sent while no message is due, and a message wakes its worker", async () => {
  const bus = await open({ idle: 'sleep' })
  const queues = [newName('one'), newName('other')] as const
  const handled: unknown[] = []
  for (const queue of queues) bus.queue(queue).work(({ data }) => void handled.push(data))
  await quiet()
  // Upkeep comes at intervals: once after there was something to do, and not again.
  await bus.engine.maintain({ kind: 'due' })
  await quiet()
  const asked = await sentIn(async () => {
    await bus.engine.maintain({ kind: 'due' })
    expect(await bus.engine.history.writer!.begin()).toBeNull()
  })
  expect(asked).toEqual([])

  const again = await connect(server.url, { idle: 'sleep' })
  await again.queue(queues[0]).send('sent')
  await until(() => handled.includes('sent'), 'the message is handled')
  await quiet()
  await again.queue(queues[1]).send('later', { delay: '15s' })
  await quiet()
  expect(handled).not.toContain('later')
  await until(() => handled.includes('later'), 'the delayed message is handled')
  await again.close()
  await quiet()
})

test('who sleeps finds what a killed process had in hand once something wakes it', async () => {
  const name = newName('lost')
  const other = newName('other')
  const sender = await open({ idle: 'sleep' })
  await sender.queue(name).sendBatch([0, 1, 2, 3].map((data) => ({ data })))
  const holder = new LineProcess<{ held: number }>('redis/holder.mjs', [server.url, name])
  await holder.untilLine(({ held }) => held === 4)
  const handled: unknown[] = []
  for (const queue of [name, other]) sender.queue(queue).work(({ data }) => void handled.push(data))
  await wait(quietMs)
  await holder.kill()
  // Its own upkeep may have woken it, too, which comes once after a call.
  await sender.queue(other).send('own')
  await until(() => handled.length === 5, 'what was in hand is handled')
})
