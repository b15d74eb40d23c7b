import { lookup } from 'node:dns'
import { Cluster, type ClusterOptions, Redis, type RedisOptions } from 'ioredis'
import { type Bus, type ConnectOptions, connect } from 'tidings'
import { describe, expect, onTestFinished, test } from 'vitest'
import { askRedis } from '../support/redis.ts'
import { sharedServer } from '../support/shared-servers.ts'
import { killConnections, newName, portOf } from './support.ts'

const port = portOf(await sharedServer('redis'))

function client(options: RedisOptions = {}): Redis {
  const redis = new Redis({ host: '127.0.0.1', port, lazyConnect: true, ...options })
  onTestFinished(() => redis.disconnect())
  return redis
}

async function open(redis: Redis | Cluster, options?: ConnectOptions): Promise<Bus> {
  const bus = await connect({ redis }, options)
  onTestFinished(() => bus.close())
  return bus
}

/** Sends, and reads after having waited for the send: over all kinds of connections. @returns the queue, which has a message */
async function proves(bus: Bus): Promise<string> {
  const queue = bus.queue<{ n: number }>(newName('own'))
  await queue.create()
  const reading = queue.read({ wait: '20s' })
  await queue.send({ n: 1 })
  const [message] = await reading
  expect(message?.data).toEqual({ n: 1 })
  await message?.release()
  expect(await queue.stats()).toMatchObject({ ready: 1 })
  return queue.name
}

const keysOf = (database: number, queue: string) =>
  askRedis(port, async (redis) => {
    await redis.select(database)
    return redis.keys(`*${queue}*`)
  })

describe('a Redis of the application', () => {
  test('says where to, and stays as it was', async () => {
    const redis = client({ db: 3 })
    await redis.connect()
    const bus = await open(redis)
    const queue = await proves(bus)
    expect([(await keysOf(3, queue)).length > 0, await keysOf(0, queue)]).toEqual([true, []])
    await bus.close()
    expect([redis.status, await redis.ping()]).toEqual(['ready', 'PONG'])
    expect(redis.listenerCount('error')).toBe(0)
  })

  test('is not needed, neither open nor any longer', async () => {
    const redis = client()
    const bus = await open(redis)
    expect(redis.status).toBe('wait')
    await redis.connect()
    await redis.quit()
    await proves(bus)
  })

  test('that listens is not disturbed', async () => {
    const redis = client()
    await redis.subscribe('news')
    await proves(await open(redis))
  })

  test('may have whatever options for its own use: Tidings has its own', async () => {
    const options: RedisOptions = {
      connectionName: 'shop',
      maxRetriesPerRequest: null,
      commandTimeout: 1,
      socketTimeout: 1,
      enableReadyCheck: true,
      enableAutoPipelining: true,
      readOnly: true,
      stringNumbers: true,
      replyMapping: 'resp3',
      retryStrategy: () => 1,
      reconnectOnError: () => 2,
      scripts: { evalsha: { lua: 'return 1', numberOfKeys: 0 } },
    }
    await proves(await open(client(options)))
  })

  test('has its password read anew for every connection', async () => {
    const [username, before, after] = [newName('user'), 'before', 'after']
    const setPassword = (password: string) =>
      askRedis(port, (redis) =>
        redis.call('ACL', 'SETUSER', username, 'on', 'resetpass', `>${password}`, '~{tidings*', '&{tidings*', '+@all'),
      )
    await setPassword(before)
    const redis = client({ username, password: before })
    const bus = await open(redis)
    await proves(bus)
    await setPassword(after)
    redis.options.password = after
    await killConnections(port, (line) => line.includes(` user=${username} `))
    await proves(bus)
  })

  test('of a node of a Cluster leads to the Cluster', async () => {
    const url = await sharedServer('redisCluster')
    const bus = await open(client({ port: portOf(url) }))
    for (let count = 0; count < 4; count++) await proves(bus)
    expect((await bus.diagnose()).map(({ message }) => message).join()).toContain('a Cluster with 3 nodes')
  })

  test('that cannot connect is one error', async () => {
    await expect(connect({ redis: client({ port: 1 }) })).rejects.toMatchObject({
      code: 'CONNECTION_FAILED',
      message: expect.stringMatching(/127\.0\.0\.1:1: .*ECONNREFUSED/),
    })
  })
})

describe('a Cluster of the application', () => {
  const nodes = async () => {
    const url = await sharedServer('redisCluster')
    return [...url.matchAll(/127\.0\.0\.1:(\d+)/g)].map(([, node]) => Number(node))
  }
  const cluster = (start: ConstructorParameters<typeof Cluster>[0], options: ClusterOptions = {}) => {
    const made = new Cluster(start, { lazyConnect: true, ...options })
    onTestFinished(() => made.disconnect())
    return made
  }

  test('says where to, and stays as it was', async () => {
    const made = cluster((await nodes()).map((node) => ({ host: '127.0.0.1', port: node })))
    await made.connect()
    const bus = await open(made)
    for (let count = 0; count < 4; count++) await proves(bus)
    await bus.close()
    expect([made.status, await made.get('{tidings')]).toEqual(['ready', null])
  })

  test('may name its nodes by ports and texts; those that are down do not matter', async () => {
    const [first, second] = await nodes()
    await proves(await open(cluster([1, first!])))
    await proves(await open(cluster(['redis://127.0.0.1:1', `127.0.0.1:${second}`])))
  })

  test('may have names and addresses of its own for the nodes', async () => {
    const [first] = await nodes()
    const natMap = (address: string) => ({ host: 'localhost', port: Number(address.split(':')[1]) })
    const names: string[] = []
    const dnsLookup: ClusterOptions['dnsLookup'] = (name, found) => {
      names.push(name)
      found(null, '127.0.0.1')
    }
    const bus = await open(cluster([{ host: 'nodes.invalid', port: first! }], { natMap, dnsLookup }))
    await proves(bus)
    expect(new Set(names)).toEqual(new Set(['nodes.invalid']))
    const places = (await bus.diagnose()).flatMap(({ check, message }) => (check === 'version' ? [message] : []))
    expect(places).toEqual(Array.from({ length: 3 }, () => expect.stringMatching(/^localhost:\d+: /)))
    await proves(await open(cluster([{ host: 'localhost', port: first! }], { dnsLookup: lookup as never })))
  })

  test('has the password of its nodes in redisOptions', async () => {
    const start = (await nodes()).map((node) => ({ port: node }))
    const redisOptions = { username: 'nobody', password: 'S3cret-canary' }
    const error = await connect({ redis: cluster(start, { redisOptions }) }).catch((reason: unknown) => reason)
    expect(error).toMatchObject({ code: 'CONNECTION_FAILED', message: expect.stringContaining('WRONGPASS') })
    expect(JSON.stringify(error) + String(error)).not.toContain('S3cret-canary')
  })

  test('must be one', async () => {
    await expect(connect({ redis: cluster([port]) })).rejects.toMatchObject({
      message: expect.stringContaining('cluster support disabled'),
    })
  })
})

describe('what is handed in wrongly is refused at once', () => {
  /** As far as it is looked at, a client of node-redis. */
  const nodeRedis = { options: {}, isOpen: true, isReady: true, duplicate: () => {}, connect: () => {} }
  const old = { options: {}, status: 'ready', duplicate: () => {}, call: () => {} }
  const ended = () => {
    const redis = client()
    redis.disconnect()
    return redis
  }
  const lazy = { lazyConnect: true } as const
  const sentinels = [{ host: '127.0.0.1', port: 1 }]
  const cases: [string, () => unknown, string, RegExp, RegExp][] = [
    ['null', () => null, 'TYPE', /redis is null; it must be a Redis or Cluster of ioredis 5\.4/, /./],
    ['a URL', () => 'redis://h', 'TYPE', /redis is "redis:\/\/h"/, /connect\(url\)/],
    ['options', () => ({ host: 'h' }), 'TYPE', /redis is an object/, /new Redis/],
    ['a promise', () => Promise.resolve(), 'TYPE', /an instance of Promise/, /./],
    ['a pipeline', () => client().pipeline(), 'TYPE', /an instance of Pipeline/, /./],
    ['a client of node-redis', () => nodeRedis, 'TYPE', /redis is an object/, /URL/],
    ['an old ioredis', () => old, 'UNSUPPORTED', /too old; it must be 5\.4 or newer/, /npm install/],
    ['one that is closed', ended, 'CLOSED', /closed/, /open/],
    ['a prefix', () => client({ keyPrefix: 'shop:' }), 'OPTION_CONFLICT', /keyPrefix "shop:"/, /duplicate/],
    [
      'a prefix of a Cluster',
      () => new Cluster([1], { ...lazy, redisOptions: { keyPrefix: 'shop:' } }),
      'OPTION_CONFLICT',
      /keyPrefix "shop:"/,
      /without it/,
    ],
    ['a replica', () => client({ sentinels, name: 'a', role: 'slave' }), 'UNSUPPORTED', /role is 'slave'/, /without/],
    ['SRV records', () => new Cluster(['h'], { ...lazy, useSRVRecords: true }), 'UNSUPPORTED', /SRV records/, /host/],
    ['no nodes', () => new Cluster([], lazy), 'TYPE', /at least one node/, /./],
  ]

  test.each(cases)('%s', async (_what, make, code, message, hint) => {
    await expect(connect({ redis: make() as Redis })).rejects.toMatchObject({
      code,
      message: expect.stringMatching(message),
      hint: expect.stringMatching(hint),
    })
  })

  test('the way out of a prefix is one', async () => {
    const redis = client({ keyPrefix: 'shop:' }).duplicate({ keyPrefix: '', lazyConnect: true })
    await proves(await open(redis))
  })

  test('what is no source', async () => {
    for (const source of [client(), { logger: console }, {}, { redis: client(), token: 'a' }, [client()]])
      await expect(connect(source as never)).rejects.toMatchObject({
        code: 'TYPE',
        message: expect.stringMatching(/url is an? .*; it must be a string, or \{ redis: client \}/),
      })
  })

  test('options for URLs', async () => {
    await expect(connect({ redis: client() }, { tls: {} })).rejects.toMatchObject({ code: 'OPTION_CONFLICT' })
    await expect(connect({ redis: client() }, { token: 'a' })).rejects.toMatchObject({ code: 'OPTION_CONFLICT' })
  })
})
