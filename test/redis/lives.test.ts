import { setTimeout as wait } from 'node:timers/promises'
import { systemClock } from 'tidings/internal/core/clock'
import { silentLogger } from 'tidings/internal/core/logger'
import { Driver } from 'tidings/internal/engines/redis/driver'
import { keysOf, newNonce } from 'tidings/internal/engines/redis/keys'
import type { RedisEngine } from 'tidings/internal/engines/redis/redis'
import type { StoredMessage } from 'tidings/internal/port/engine'
import { Wakeups } from 'tidings/internal/port/wakeups'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { startLine } from '../support/line.ts'
import { LineProcess } from '../support/line-process.ts'
import { askRedis, startRedis, type TestRedis } from '../support/redis.ts'
import { startCluster, type TestCluster } from '../support/redis-cluster.ts'
import { claimAll, message, newName, openEngine, peekAll, until } from './support.ts'

/** Of this file alone: its connections are killed, and it is restarted. */
let server: TestRedis
let cluster: TestCluster
beforeAll(async () => {
  ;[server, cluster] = await Promise.all([startRedis(), startCluster()])
})
afterAll(() => Promise.all([server?.stop(), cluster?.stop()]))

const leaseMs = 60_000
/** In this time who looks has looked, has waited for those who come back, and has looked again. */
const looksMs = 5_500

/** As a process would have it: what was lost is listened to again. */
interface Process {
  readonly engine: RedisEngine
  /** What it was woken for. */
  readonly heard: string[]
  hold(limit: number): Promise<StoredMessage[]>
  close(): Promise<void>
}

async function begin(url: string, queue: string): Promise<Process> {
  const engine = await openEngine(url)
  const wakeups = new Wakeups({ engine, clock: systemClock, logger: silentLogger })
  const heard: string[] = []
  const close = async () => {
    await wakeups.close()
    await engine.close()
  }
  onTestFinished(close)
  for (const interest of ['life', `queue:${queue}`] as const)
    await wakeups.subscribe({ interests: [interest], woken: () => heard.push(interest) })
  const hold = async (limit: number) =>
    (await engine.claim(queue, { limit, leaseMs, ids: null, held: true, ahead: 1 })).messages
  return { engine, heard, hold, close }
}

async function newQueue(url: string, count: number): Promise<string> {
  const queue = newName('lives')
  const engine = await openEngine(url)
  await engine.createQueue(queue)
  const messages = Array.from({ length: count }, (_, index) => message({ data: String(index) }))
  if (count > 0) await engine.send(queue, messages, null)
  await engine.close()
  return queue
}

const placeOf = (queue: string, place: 'ready' | 'leased', { engine }: Process) =>
  engine.peek(queue, { place, limit: 10_000, afterId: null, ids: null })

/** All that the process holds is still its own: nobody has it, and its receipts are good. */
async function expectHeld(queue: string, { engine }: Process, messages: readonly StoredMessage[]): Promise<void> {
  expect((await peekAll(engine, queue)).map(({ meta, readCount }) => [meta, readCount])).toEqual(
    messages.map(() => [{}, 1]),
  )
  const leases = messages.map(({ id, receipt }) => ({ id, receipt: receipt! }))
  expect(await engine.extend(queue, leases, leaseMs)).not.toContain(null)
}

/** The numbers of the connections that listen. */
async function listeners(port: number): Promise<string[]> {
  const list = await askRedis(port, (redis) => redis.call('CLIENT', 'LIST'))
  const lines = String(list).split('\n')
  return lines.filter((line) => / sub=[1-9]/.test(line)).map((line) => /^id=(\d+)/.exec(line)![1]!)
}

describe.each([
  ['one server', () => server.url],
  ['a Cluster', () => cluster.url],
] as const)('on %s', (_name, urlOf) => {
  test('what a killed process had in hand is ready again at once, in order, and what it had read ahead uncounted', async () => {
    const url = urlOf()
    const queue = await newQueue(url, 6)
    const you = await begin(url, queue)
    await wait(2_500)
    const holder = new LineProcess<{ held: number }>('redis/holder.mjs', [url, queue])
    await holder.untilLine(({ held }) => held === 4)
    you.heard.length = 0
    const killedAt = Date.now()
    await holder.kill()
    await until(() => you.heard.includes(`queue:${queue}`), 'it is announced')
    await until(async () => (await placeOf(queue, 'ready', you)).length === 6, 'all are ready')
    expect(Date.now() - killedAt).toBeLessThan(20_000)
    const back = await claimAll(you.engine, queue)
    expect(back.map(({ data, readCount, meta }) => [data, readCount, meta.read_ahead_lost])).toEqual([
      ['0', 2, undefined],
      ['1', 2, undefined],
      ['2', 1, true],
      ['3', 1, true],
      ['4', 1, undefined],
      ['5', 1, undefined],
    ])
    for (const { meta } of back.slice(0, 4))
      expect(Math.abs(Date.parse(String(meta.process_lost_at)) - killedAt)).toBeLessThan(20_000)
  })
})

test('a process whose event loop is blocked again and again keeps its connections and what it has', async () => {
  const queue = await newQueue(server.url, 4)
  const you = await begin(server.url, queue)
  await wait(2_500)
  const before = await listeners(server.port)
  const holder = new LineProcess<{ held?: number; blocked?: number }>('redis/holder.mjs', [server.url, queue, '4'])
  await holder.untilLine(({ held }) => held === 4)
  const its = (await listeners(server.port)).filter((id) => !before.includes(id))
  await holder.untilLine(({ blocked }) => blocked === 4)
  await wait(1_000)
  expect((await listeners(server.port)).filter((id) => !before.includes(id))).toEqual(its)
  expect((await peekAll(you.engine, queue)).map(({ meta }) => meta)).toEqual([{}, {}, {}, {}])
})

test('many messages come back, part by part, and then nobody looks for the process any more', async () => {
  const queue = await newQueue(server.url, 1_700)
  const me = await begin(server.url, queue)
  const you = await begin(server.url, queue)
  expect(await me.hold(1_600)).toHaveLength(1_600)
  const mine = await you.hold(100)
  const fields = () => askRedis(server.port, (redis) => redis.hkeys(keysOf(queue)[0]))
  expect((await fields()).filter((field) => field.startsWith('~'))).toHaveLength(2)
  await me.close()
  await until(async () => (await placeOf(queue, 'ready', you)).length === 1_600, 'all are ready')
  await until(async () => (await fields()).filter((field) => field.startsWith('~')).length === 1, 'it is forgotten')
  expect((await placeOf(queue, 'leased', you)).map(({ id }) => id)).toEqual(mine.map(({ id }) => id))
})

test('a process that loses only the connection by which it listens keeps what it has', async () => {
  const queue = await newQueue(server.url, 2)
  await begin(server.url, queue)
  await wait(2_500)
  const before = await listeners(server.port)
  const me = await begin(server.url, queue)
  const messages = await me.hold(2)
  for (let round = 0; round < 8; round++) {
    me.heard.length = 0
    const mine = (await listeners(server.port)).filter((id) => !before.includes(id))
    for (const id of mine) await askRedis(server.port, (redis) => redis.call('CLIENT', 'KILL', 'ID', id))
    expect(mine).toHaveLength(1)
    await until(() => me.heard.includes('life'), 'it is told that it was in doubt')
    await wait(250)
  }
  await expectHeld(queue, me, messages)
})

test.each(['SIGTERM', 'SIGKILL'] as const)(
  'a restart of the server by %s takes nothing from those who live',
  async (signal) => {
    const queue = await newQueue(server.url, 4)
    const processes = [await begin(server.url, queue), await begin(server.url, queue)] as const
    const held = [await processes[0].hold(2), await processes[1].hold(2)]
    for (const { heard } of processes) heard.length = 0
    await server.kill(signal)
    await wait(1_500)
    await server.restart()
    for (const { heard } of processes) await until(() => heard.includes('life'), 'it is told that it was in doubt')
    await wait(looksMs)
    expect((await peekAll(processes[0].engine, queue)).map(({ meta }) => meta)).toEqual([{}, {}, {}, {}])
    for (const [index, { engine }] of processes.entries()) {
      const leases = held[index]!.map(({ id, receipt }) => ({ id, receipt: receipt! }))
      expect(await engine.extend(queue, leases, leaseMs)).not.toContain(null)
    }
  },
)

test('who comes back later than others after a restart keeps what it has', async () => {
  const queue = await newQueue(server.url, 2)
  const line = await startLine(server.url)
  onTestFinished(() => line.close())
  const [me, you] = [await begin(line.url, queue), await begin(server.url, queue)]
  const messages = await me.hold(2)
  await wait(2_500)
  you.heard.length = 0
  line.freeze('frozen')
  line.cut()
  await server.restart()
  await until(() => you.heard.includes('life'), 'the other is back')
  await wait(1_700)
  me.heard.length = 0
  line.thaw()
  line.cut()
  await until(() => me.heard.includes('life'), 'it is back')
  await wait(looksMs)
  await expectHeld(queue, me, messages)
})

describe('when keys go to another node of a Cluster', () => {
  test('a failover takes nothing from those who live, and who is killed afterwards is found', async () => {
    const queue = await newQueue(cluster.url, 2)
    const [me, you] = [await begin(cluster.url, queue), await begin(cluster.url, queue)]
    const messages = await me.hold(2)
    const key = keysOf(queue)[0]
    await askRedis((await cluster.primaryOf(key)).port, (redis) => redis.call('WAIT', 1, 5_000))
    for (const { heard } of [me, you]) heard.length = 0
    const node = await cluster.killPrimaryOf(key)
    await cluster.ready()
    for (const { heard } of [me, you]) await until(() => heard.includes('life'), 'it is told that it was in doubt')
    await wait(looksMs)
    await expectHeld(queue, me, messages)
    await me.close()
    await until(async () => (await placeOf(queue, 'ready', you)).length === 2, 'both are ready')
    await node.restart()
    await cluster.ready()
  })

  test('so does the move of a slot, also where a process does not listen to the queue', async () => {
    const queue = await newQueue(cluster.url, 2)
    const node = await cluster.primaryOf(keysOf(queue)[0])
    // So that it is not known on the other nodes before.
    let other = await newQueue(cluster.url, 0)
    while ((await cluster.primaryOf(keysOf(other)[0])) !== node) other = await newQueue(cluster.url, 0)
    const me = await begin(cluster.url, other)
    const you = await begin(cluster.url, queue)
    const { messages } = await me.engine.claim(queue, { limit: 2, leaseMs, ids: null, held: true })
    await wait(2_500)
    await cluster.migrateSlotOf(keysOf(queue)[0])
    await wait(looksMs)
    await expectHeld(queue, me, messages)
    await me.close()
    await until(async () => (await placeOf(queue, 'ready', you)).length === 2, 'both are ready')
  })
})

test('what nobody announced is found', async () => {
  const queue = await newQueue(server.url, 0)
  const me = await begin(server.url, queue)
  await me.engine.send(queue, [message({ delayMs: 600_000 })], null)
  me.heard.length = 0
  await askRedis(server.port, async (redis) => {
    const delayed = `{tidings:q:${queue}}:delayed`
    await redis.call('ZADD', delayed, 'XX', '1', (await redis.zrange(delayed, '0', '0'))[0]!)
  })
  await until(() => me.heard.includes(`queue:${queue}`), 'it is found')
})

test('a user without the rights for it has ordinary leases, and all the rest', async () => {
  const queue = await newQueue(server.url, 2)
  const rights = '+@all -subscribe -pubsub -zscan -hrandfield'
  await askRedis(server.port, (redis) =>
    redis.call('ACL', 'SETUSER', 'old', 'on', '>secret', '~{tidings*', '&{tidings*', ...rights.split(' ')),
  )
  const url = server.url.replace('//', '//old:secret@')
  const [me, you] = [await begin(url, queue), await begin(url, queue)]
  const [held] = await me.hold(1)
  expect(held!.receipt).toHaveLength(16)
  you.heard.length = 0
  await until(() => you.heard.includes(`queue:${queue}`), 'the other message is found')
  await me.close()
  await wait(looksMs)
  expect((await placeOf(queue, 'leased', you)).map(({ id }) => id)).toEqual([held!.id])
})

describe('a claim whose answer never came', () => {
  test('is given back as soon as the server can be reached, and counts no attempt', async () => {
    const queue = await newQueue(server.url, 3)
    const other = await openEngine(server.url)
    // The script is known.
    await claimAll(other, await newQueue(server.url, 0))
    const line = await startLine(server.url)
    const engine = await openEngine(line.url)
    const asked = line.loseAnswers()
    const claim = engine.claim(queue, { limit: 2, leaseMs, ids: null })
    await asked
    await until(async () => (await placeOf(queue, 'leased', { engine: other } as Process)).length === 2, 'it is done')
    line.freeze('frozen')
    line.cut()
    await expect(claim).rejects.toMatchObject({ retryable: true })
    expect((await peekAll(other, queue)).map(({ readCount }) => readCount)).toEqual([1, 1, 0])
    line.thaw()
    await until(
      async () => (await placeOf(queue, 'leased', { engine: other } as Process)).length === 0,
      'it is given back',
    )
    expect((await peekAll(other, queue)).map(({ readCount, meta }) => [readCount, meta])).toEqual([
      [0, {}],
      [0, {}],
      [0, {}],
    ])
    await Promise.all([engine.close(), other.close()])
    line.close()
  })

  test('leases nothing when it comes late, after its repetition or after it was given back', async () => {
    const queue = await newQueue(server.url, 3)
    const driver = new Driver(server.url)
    await driver.open()
    const run = (nonce: string, lost: number) =>
      driver.run('claim', keysOf(queue), [nonce, 1, leaseMs, '', 0, '', lost], { repeatable: true }) as Promise<
        [string[][], unknown]
      >
    const [nonce, other] = [newNonce(), newNonce()]
    const [first] = await run(nonce, 1)
    expect(first).toHaveLength(1)
    expect((await run(nonce, 0))[0]).toEqual([])
    expect((await run(nonce, 1))[0].map(([id]) => id)).toEqual(first.map(([id]) => id))
    await driver.run('unclaim', keysOf(queue), [other, leaseMs, 1_000], { repeatable: true })
    for (const lost of [0, 1, 2]) expect((await run(other, lost))[0]).toEqual([])
    await driver.close()
  })
})
