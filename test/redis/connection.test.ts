import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import type { RedisEngine } from 'tidings/internal/engines/redis/redis'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { askRedis, startRedis, type TestRedis } from '../support/redis.ts'
import { sharedServer } from '../support/shared-servers.ts'
import { watchOn } from '../support/watch-on.ts'
import {
  claimAll,
  heldUp,
  isListening,
  killConnections,
  message,
  newName,
  openEngine,
  peekAll,
  until,
  whilePaused,
} from './support.ts'

const redis = new URL(await sharedServer('redis'))

describe('a connection that cannot be made says where and why', () => {
  const canary = 'S3cret-canary'
  const { port } = redis
  const cases = [
    ['a closed port', () => `redis://:${canary}@127.0.0.1:1`, /127\.0\.0\.1:1: .*ECONNREFUSED/],
    ['a wrong password', () => `redis://nobody:${canary}@127.0.0.1:${port}`, /127\.0\.0\.1:\d+: .*WRONGPASS/],
    ['an unknown host', () => `redis://:${canary}@host.invalid`, /host\.invalid:6379: .*(ENOTFOUND|EAI_AGAIN)/],
    ['a database that is not there', () => `redis://127.0.0.1:${port}/999`, /127\.0\.0\.1:\d+: .*out of range/],
    ['a socket that is not there', () => 'unix:///nowhere/redis.sock', /\/nowhere\/redis\.sock: .*ENOENT/],
    ['a single server instead of a Cluster', () => `redis+cluster://127.0.0.1:${port}`, /cluster support disabled/],
    ['TLS that the server does not speak', () => `rediss://127.0.0.1:${port}`, /127\.0\.0\.1:\d+: /],
  ] as const

  test.each(cases)('%s', async (_what, url, expected) => {
    const startedAt = Date.now()
    const error = await openEngine(url()).then(
      () => undefined,
      (reason: unknown) => reason,
    )
    expect(error).toMatchObject({ message: expect.stringMatching(expected), exitCode: 1 })
    expect(['CONNECTION_FAILED', 'STORAGE_FAILED']).toContain((error as { code: string }).code)
    // Within 4 s, where the machine is not held up.
    expect(Date.now() - startedAt).toBeLessThan(15_000)
    expect(JSON.stringify(error) + String(error)).not.toContain(canary)
  })

  test('a server that takes connections and never answers; another node of a Cluster is asked then', async () => {
    const silent = createServer((socket) => socket.on('error', () => {}).resume())
    await once(silent.listen(0, '127.0.0.1'), 'listening')
    const { port: silentPort } = silent.address() as AddressInfo
    const cluster = await sharedServer('redisCluster')
    const [alone, engine] = await Promise.all([
      openEngine(`redis://127.0.0.1:${silentPort}`).catch((reason: unknown) => reason),
      openEngine(cluster.replace('://', `://127.0.0.1:${silentPort},`)),
    ])
    expect(alone).toMatchObject({ code: 'CONNECTION_FAILED', message: expect.stringContaining('no answer within') })
    expect(await engine.describe(null)).toBeInstanceOf(Array)
    await engine.close()
    silent.close()
  })

  test.each([
    'redis://a:S3cret-canary@[bad',
    'redis://:S3cret-canary@host:port',
    'redis://:S3cret-canary@host:99999',
    'redis://:S3cret-canary%@host',
    'redis://:S3cret-canary@host/x',
    'redis://:S3cret-canary@host?family=5',
    'redis://:S3cret-canary@host?protocol=2',
    'redis+cluster://:S3cret-canary@host/1',
    'redis://:S3cret-canary@a,b/1',
    'unix://',
  ])('a URL that cannot be read: %s', async (url) => {
    const error = await openEngine(url).catch((reason: unknown) => reason)
    expect(error).toMatchObject({ code: 'URL_INVALID', exitCode: 2 })
    expect(JSON.stringify(error) + String(error)).not.toContain('S3cret-canary')
  })
})

test('family says which of the addresses of a name is taken', async () => {
  const url = new URL(await sharedServer('redis'))
  url.hostname = 'localhost'
  const four = await openEngine(`${url.href}?family=4`)
  await four.close()
  const six = await openEngine(`${url.href}?family=6`).catch((reason: unknown) => reason)
  expect(six).toMatchObject({ code: 'CONNECTION_FAILED', message: expect.not.stringContaining('127.0.0.1') })
})

describe('a server of its own', () => {
  let server: TestRedis
  let engine: RedisEngine
  let queue: string

  beforeAll(async () => {
    server = await startRedis()
    engine = await openEngine(server.url)
    queue = newName('back')
    await engine.createQueue(queue)
  })
  afterAll(async () => {
    await engine?.close()
    await server?.stop()
  })

  test('a call waits for a restart; what was acknowledged is there', async () => {
    const sent = await engine.send(queue, [message(), message({ delayMs: 60_000 })], null)
    await server.kill()
    const restarted = server.restart()
    const read = await claimAll(engine, queue)
    await restarted
    expect(read.map(({ id }) => id)).toEqual([sent[0]!.id])
    expect(await peekAll(engine, queue)).toHaveLength(2)
    await engine.purgeQueue(queue)
  })

  test('a call to a server that stays away fails within the time that it may take', async () => {
    await server.kill()
    const startedAt = Date.now()
    await expect(engine.send(queue, [message()], null)).rejects.toMatchObject({
      code: 'CONNECTION_FAILED',
      retryable: true,
    })
    // Within 5 s, where the machine is not held up.
    expect(Date.now() - startedAt).toBeLessThan(15_000)
    await server.restart()
    await engine.purgeQueue(queue)
  })

  test('a watch survives a restart: everybody is woken, and woken again by the next send', async () => {
    const wakes: number[] = []
    const watch = await watchOn(engine, `queue:${queue}`, (dueMs) => wakes.push(dueMs))
    await server.kill()
    await server.restart()
    await until(() => wakes.length > 0, 'the watch was woken after the restart')
    wakes.length = 0
    await engine.send(queue, [message()], null)
    await until(() => wakes.length > 0, 'the watch was woken by a send')
    watch.close()
    await engine.purgeQueue(queue)
  })

  test('a watch survives the end of its connection', async () => {
    const wakes: number[] = []
    const watch = await watchOn(engine, `queue:${queue}`, (dueMs) => wakes.push(dueMs))
    await killConnections(server.port, isListening)
    await until(() => wakes.length > 0, 'the watch was woken after the interruption')
    wakes.length = 0
    await engine.send(queue, [message({ delayMs: 5_000 })], null)
    await until(() => wakes.some((dueMs) => dueMs > 4_000), 'the send was announced with its time')
    watch.close()
    await engine.purgeQueue(queue)
  })

  test('a send whose answer is lost has an unknown outcome, and is not sent again', async () => {
    await whilePaused(server.port, async () => {
      const sent = engine.send(queue, [message()], null)
      const outcome = expect(sent).rejects.toMatchObject({ code: 'OUTCOME_UNKNOWN', retryable: true })
      await until(async () => (await heldUp(server.port)) === 1, 'the send is held up')
      await killConnections(server.port)
      await outcome
    })
    expect(await peekAll(engine, queue)).toEqual([])
  })

  test('a server that has frozen is noticed by a single send, in the time that it may take', async () => {
    const own = newName('frozen')
    await engine.createQueue(own)
    const pid = await askRedis(server.port, async (redis) => Number(/process_id:(\d+)/.exec(await redis.info())?.[1]))
    const startedAt = Date.now()
    process.kill(pid, 'SIGSTOP')
    try {
      await expect(engine.send(own, [message()], null)).rejects.toMatchObject({ code: 'OUTCOME_UNKNOWN' })
      // After 5 s, where the machine is not held up.
      expect(Date.now() - startedAt).toBeLessThan(12_000)
    } finally {
      process.kill(pid, 'SIGCONT')
    }
    // The send may be carried out at this moment.
    await engine.dropQueue(own)
  })

  test('a claim whose answer is lost is made again', async () => {
    const [sent] = await engine.send(queue, [message()], null)
    let claimed: Promise<{ id: string }[]> | undefined
    await whilePaused(server.port, async () => {
      claimed = claimAll(engine, queue)
      await until(async () => (await heldUp(server.port)) === 1, 'the claim is held up')
      await killConnections(server.port)
      await until(async () => (await heldUp(server.port)) === 1, 'the claim is made again')
    })
    expect((await claimed!).map(({ id }) => id)).toEqual([sent!.id])
    await engine.purgeQueue(queue)
  })

  test('a receipt that is missing is stale, also for a message that was never read', async () => {
    const [sent, delayed] = await engine.send(queue, [message(), message({ delayMs: 60_000 })], null)
    for (const receipt of [undefined, null, 1] as unknown as string[])
      for (const { id } of [sent!, delayed!]) {
        expect(await engine.settle(queue, [{ id, receipt, kind: 'delete' }])).toEqual([{ settled: false, newId: null }])
        expect(await engine.extend(queue, [{ id, receipt }], 1_000)).toEqual([null])
      }
    expect(await engine.purgeQueue(queue)).toBe(2)
  })

  test('scripts that the server has forgotten are loaded again', async () => {
    await engine.send(queue, [message()], null)
    await askRedis(server.port, (redis) => redis.script('FLUSH'))
    await engine.send(queue, [message()], null)
    expect(await engine.pop(queue, 10)).toHaveLength(2)
  })

  test('a batch as large as they may be is one step', async () => {
    const batch = Array.from({ length: 10_000 }, (_, index) => message({ data: String(index), priority: index % 3 }))
    const results = await engine.send(queue, batch, null)
    expect(new Set(results.map(({ id }) => id)).size).toBe(10_000)
    const messages = await claimAll(engine, queue, 10_000)
    expect(messages).toHaveLength(10_000)
    const settlements = messages.map(({ id, receipt }) => ({ id, receipt: receipt!, kind: 'delete' }) as const)
    expect((await engine.settle(queue, settlements)).every(({ settled }) => settled)).toBe(true)
  })

  test('data, meta and headers come back as they were, byte for byte', async () => {
    const data = '{ "n": 12345678901234567890, "e": [], "o": {}, "f": 1.0, "s": "\\u0041\\n" }'
    const meta = { empty: [], none: {}, large: 9007199254740991, text: 'a/b "\\" \u2028 🚀', __proto__x: null }
    await engine.send(queue, [message({ data, meta, headers: meta })], null)
    const [first] = await claimAll(engine, queue)
    expect([first!.data, first!.meta, first!.headers]).toEqual([data, meta, meta])
    const change = { added: [], big: 1e21, empty: null }
    const lease = { id: first!.id, receipt: first!.receipt! }
    await engine.settle(queue, [{ ...lease, kind: 'release', delayMs: 0, uncount: false, meta: change }])
    const [again] = await engine.pop(queue, 1)
    const { empty, ...kept } = meta
    expect([again!.data, again!.meta]).toEqual([data, { ...kept, added: [], big: 1e21 }])
  })

  test('a full memory refuses sends, but not reading and settling', async () => {
    await engine.send(queue, [message()], null)
    await askRedis(server.port, (redis) => redis.config('SET', 'maxmemory', '1'))
    try {
      await expect(engine.send(queue, [message()], null)).rejects.toMatchObject({ code: 'STORAGE_FULL' })
      const [leased] = await claimAll(engine, queue)
      const ending = { id: leased!.id, receipt: leased!.receipt!, kind: 'delete' } as const
      expect(await engine.settle(queue, [ending])).toEqual([{ settled: true, newId: null }])
    } finally {
      await askRedis(server.port, (redis) => redis.config('SET', 'maxmemory', '0'))
    }
    await engine.send(queue, [message()], null)
    await engine.purgeQueue(queue)
  })

  test('a full memory does not keep a message from a dead-letter queue that is not there yet', async () => {
    const [letters, done] = [newName('letters'), newName('done')]
    const tracked = { correlationId: newName('c'), completionQueue: done }
    await engine.send(queue, [message(), message({ tracked })], null)
    await askRedis(server.port, (redis) => redis.config('SET', 'maxmemory', '1'))
    try {
      const leased = await claimAll(engine, queue)
      const ending = { kind: 'move', to: letters, delayMs: 0, meta: { dead_lettered_at: 1 } } as const
      const moves = leased.map(({ id, receipt }) => ({ ...ending, id, receipt: receipt! }))
      const moved = await engine.settle(queue, moves)
      expect(moved.map(({ newId }) => newId)).toEqual((await peekAll(engine, letters)).map(({ id }) => id))
      expect(moved).toHaveLength(2)
      expect(await peekAll(engine, done)).toHaveLength(1)
      expect((await engine.describe(null)).map((each) => each.queue)).toEqual(expect.arrayContaining([letters, done]))
      await expect(engine.send(letters, [message()], null)).rejects.toMatchObject({ code: 'STORAGE_FULL' })
    } finally {
      await askRedis(server.port, (redis) => redis.config('SET', 'maxmemory', '0'))
    }
    for (const name of [letters, done]) await engine.dropQueue(name)
  })

  test('more messages that come due together than one script moves are there by their ids', async () => {
    const batch = Array.from({ length: 2_500 }, () => message({ delayMs: 1 }))
    const last = (await engine.send(queue, batch, null)).at(-1)!
    await until(async () => (await engine.stats(queue)).ready === batch.length, 'all are due')
    const { messages } = await engine.claim(queue, { limit: 1, leaseMs: 30_000, ids: [last.id] })
    expect(messages.map(({ id }) => id)).toEqual([last.id])
    await engine.purgeQueue(queue)
  })

  test('a right that a script lacks is what a call fails for', async () => {
    const user = newName('user')
    const rights = ['on', 'nopass', '~{tidings*', '&{tidings*', '+@all', '-zadd']
    await askRedis(server.port, (redis) => redis.call('ACL', 'SETUSER', user, ...rights))
    const weak = await openEngine(`redis://${user}:any@127.0.0.1:${server.port}`)
    await expect(weak.send(queue, [message()], null)).rejects.toMatchObject({ code: 'PERMISSION_DENIED' })
    await weak.close()
  })

  test('a right that is missing is named', async () => {
    const findings = async (...rights: string[]) => {
      const user = newName('user')
      await askRedis(server.port, (redis) => redis.call('ACL', 'SETUSER', user, 'on', 'nopass', ...rights))
      const weak = await openEngine(`redis://${user}:any@127.0.0.1:${server.port}`)
      const found = await weak.diagnose()
      await weak.close()
      return found.filter(({ check, level }) => check === 'permissions' || level !== 'ok')
    }
    const all = ['~{tidings*', '&{tidings*', '+@all']
    expect(await findings(...all)).toMatchObject([{ level: 'ok' }, { check: 'security' }])
    const lacking = ['-zadd', '-hsetnx', '-xgroup|setid', '-cluster|slots', '-client|setname', '-pubsub|numsub']
    lacking.push('-pubsub|channels', '-unsubscribe', '-ssubscribe', '-subscribe', '-ping')
    const [rights, ...others] = await findings(...all, ...lacking, '-info', '-config')
    const named =
      'ZADD, HSETNX, XGROUP SETID, CLUSTER SLOTS, CLIENT SETNAME, PUBSUB NUMSUB, PUBSUB CHANNELS, SSUBSCRIBE, SUBSCRIBE, PING, UNSUBSCRIBE'
    expect(rights).toMatchObject({ level: 'problem', message: expect.stringContaining(`may not run ${named} on`) })
    expect(others.map(({ message }) => message)).toEqual([
      expect.stringContaining('may not run INFO'),
      expect.stringContaining('may not run CONFIG GET'),
    ])
    expect(await findings('~{tidings*', 'resetchannels', '+@all')).toMatchObject([
      { level: 'problem', message: expect.stringContaining('SPUBLISH') },
      { check: 'security' },
    ])
  })

  test('settings by which a process is taken for gone too soon or too late are reported', async () => {
    const lives = async () => (await engine.diagnose()).filter(({ check }) => check === 'lives')
    expect(await lives()).toMatchObject([{ level: 'ok', message: 'tcp-keepalive=300' }])
    await askRedis(server.port, async (redis) => {
      await redis.config('SET', 'tcp-keepalive', '0')
      await redis.config('SET', 'client-output-buffer-limit', 'pubsub 32mb 1mb 60')
    })
    expect(await lives()).toMatchObject([
      { level: 'warning', message: expect.stringContaining('tcp-keepalive=0') },
      { level: 'warning', message: expect.stringContaining('pubsub 33554432 1048576') },
    ])
    await askRedis(server.port, async (redis) => {
      await redis.config('SET', 'tcp-keepalive', '300')
      await redis.config('SET', 'client-output-buffer-limit', 'pubsub 32mb 8mb 60')
    })
  })

  test('an eviction policy that loses messages and a lax fsync are reported', async () => {
    const levels = async (check: string) =>
      (await engine.diagnose()).filter((finding) => finding.check === check).map(({ level }) => level)
    expect([await levels('eviction'), await levels('durability')]).toEqual([['ok'], ['ok']])
    await askRedis(server.port, (redis) => redis.config('SET', 'maxmemory-policy', 'allkeys-lru'))
    await askRedis(server.port, (redis) => redis.config('SET', 'appendfsync', 'everysec'))
    expect([await levels('eviction'), await levels('durability')]).toEqual([['problem'], ['warning']])
    await askRedis(server.port, (redis) => redis.config('SET', 'appendonly', 'no'))
    expect(await levels('durability')).toEqual(['problem'])
  })
})
