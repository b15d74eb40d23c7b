import { connect } from 'tidings/internal/connect'
import type { RedisEngine } from 'tidings/internal/engines/redis/redis'
import type { StoredMessage } from 'tidings/internal/port/engine'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { tidings } from '../cli/support.ts'
import { LineProcess } from '../support/line-process.ts'
import { askRedis, startRedis, startValkey, type TestRedis } from '../support/redis.ts'
import { killConnections, message, newName, openEngine, peekAll, until } from './support.ts'

interface Step {
  readonly step: 'sending' | 'sent' | 'settling' | 'settled'
  readonly kind?: 'delete' | 'archive' | 'move' | 'release'
  readonly keys: readonly string[]
}

describe.each([
  ['Redis', startRedis],
  ['Valkey', startValkey],
] as const)('a %s that is killed under load', (_name, start) => {
  test('has all that it acknowledged, nothing else, and nothing twice', async () => {
    const server = await start()
    const [queue, other] = [newName('load'), newName('other')]
    let engine = await openEngine(server.url)
    await engine.createQueue(queue)
    await engine.createQueue(other)
    const processes = ['a', 'b', 'c'].map(
      (name) => new LineProcess<Step>('redis/load.mjs', [server.url, name, queue, other]),
    )
    for (const each of processes)
      await each.until((lines) => lines.filter(({ step }) => step === 'settled').length >= 100)
    await server.kill()
    for (const each of processes) await each.kill()
    await engine.close()
    await server.restart()
    engine = await openEngine(server.url)

    const live = await peekAll(engine, queue)
    const archived = await engine.peek(queue, { place: 'archived', limit: 100_000, afterId: null, ids: null })
    const moved = await peekAll(engine, other)
    const { ready, delayed, leased } = await engine.stats(queue)
    expect(ready + delayed + leased).toBe(live.length)
    await engine.close()
    await server.stop()

    const steps = processes.flatMap(({ lines }) => lines)
    const attempted = keysOf(steps, ({ step }) => step === 'sending')
    const found = [live, archived, moved].map((messages) => messages.map(keyOf))
    const everywhere = found.flat()
    expect(new Set(everywhere).size, 'messages in two places').toBe(everywhere.length)
    expect(
      everywhere.filter((key) => !attempted.has(key)),
      'messages that nobody sent',
    ).toEqual([])

    const here = new Set(everywhere)
    const deleting = keysOf(steps, ({ step, kind }) => step === 'settling' && kind === 'delete')
    const sent = keysOf(steps, ({ step }) => step === 'sent')
    expect(
      [...sent].filter((key) => !here.has(key) && !deleting.has(key)),
      'acknowledged messages that are gone',
    ).toEqual([])
    const ended = (wanted: Step['kind']) => keysOf(steps, ({ step, kind }) => step === 'settled' && kind === wanted)
    expect(
      [...ended('delete')].filter((key) => here.has(key)),
      'deleted messages that are back',
    ).toEqual([])
    const [, archive, others] = found.map((keys) => new Set(keys))
    expect([...ended('archive')].filter((key) => !archive!.has(key))).toEqual([])
    expect([...ended('move')].filter((key) => !others!.has(key))).toEqual([])
  })
})

const keyOf = ({ data }: StoredMessage) => JSON.parse(data) as string
const keysOf = (steps: readonly Step[], isMeant: (step: Step) => boolean) =>
  new Set(steps.filter(isMeant).flatMap(({ keys }) => keys))

const onDisk = { durability: 'fsync' } as const
const unavailable = (found: string | RegExp) => ({
  code: 'DURABILITY_UNAVAILABLE',
  exitCode: 1,
  message: expect.stringMatching(found),
})

/** Until no rewrite of the append-only file is under way. */
const isWritten = (port: number) =>
  until(async () => {
    const info = await askRedis(port, (redis) => redis.info('persistence'))
    return info.includes('aof_rewrite_in_progress:0') && info.includes('aof_rewrite_scheduled:0')
  }, 'the file is rewritten')

/** A child that rewrites is held up by this for a second a key. */
const slowly = (port: number, delay: number) =>
  askRedis(port, (redis) => redis.config('SET', 'rdb-key-save-delay', delay))

describe.each([
  ['Redis', startRedis],
  ['Valkey', startValkey],
] as const)('durability fsync on a %s whose file is rewritten', (_name, start) => {
  let server: TestRedis
  let queue: string
  const rewriting = async () =>
    (await askRedis(server.port, (redis) => redis.info('persistence'))).includes('aof_rewrite_in_progress:1')
  const keys = Array.from({ length: 60 }, (_, at) => [`key${at}`, 'value']).flat()
  const open = async (settings: Record<string, string>) => {
    server = await start(settings)
    const engine = await openEngine(server.url)
    queue = newName('rewritten')
    await engine.createQueue(queue)
    await askRedis(server.port, (redis) => redis.mset(...keys))
    return engine
  }
  afterEach(() => server?.stop())

  test('refuses until appendonly that was switched on is in force, and then does it', async () => {
    let engine = await open({ appendonly: 'no' })
    await expect(engine.send(queue, [message()], null, onDisk)).rejects.toMatchObject({
      ...unavailable('appendonly=no'),
      hint: expect.stringContaining('after the first rewrite'),
    })
    for (let time = 0; time < 2; time++) {
      await slowly(server.port, 1_000_000)
      await askRedis(server.port, (redis) => redis.config('SET', 'appendonly', 'yes'))
      expect(await rewriting()).toBe(true)
      await expect(engine.send(queue, [message()], null, onDisk)).rejects.toMatchObject(
        unavailable('rewrites its append-only file'),
      )
      expect(await engine.diagnose()).toContainEqual(
        expect.objectContaining({
          check: 'durability',
          level: 'warning',
          message: expect.stringContaining('rewritten'),
        }),
      )
      await slowly(server.port, 0)
      // That one is given up.
      await askRedis(server.port, (redis) => redis.config('SET', 'appendonly', 'no'))
      await askRedis(server.port, (redis) => redis.config('SET', 'appendonly', 'yes'))
      await isWritten(server.port)
      await engine.send(queue, [message()], null, onDisk)
      // On, off and on again, with a base from before.
      await askRedis(server.port, (redis) => redis.config('SET', 'appendonly', 'no'))
      await engine.close()
      engine = await openEngine(server.url)
    }
    await engine.close()
  })

  test('goes on while a file that is in force is rewritten', async () => {
    const engine = await open({ 'rdb-key-save-delay': '1000000' })
    await askRedis(server.port, (redis) => redis.call('BGREWRITEAOF'))
    expect(await rewriting()).toBe(true)
    await engine.send(queue, [message()], null, onDisk)
    await server.kill()
    await server.restart()
    expect(await peekAll(engine, queue)).toHaveLength(1)
    await askRedis(server.port, (redis) => redis.config('SET', 'appendfsync', 'always'))
    await engine.send(queue, [message()], null, onDisk)
    await askRedis(server.port, (redis) => redis.call('BGREWRITEAOF'))
    // It looks again after a second.
    await new Promise((resolve) => setTimeout(resolve, 1_100))
    expect(await rewriting()).toBe(true)
    await engine.send(queue, [message()], null, onDisk)
    await engine.close()
  })
})

describe('durability fsync', () => {
  let server: TestRedis
  let engine: RedisEngine
  let queue: string
  const set = (name: string, value: string) => askRedis(server.port, (redis) => redis.config('SET', name, value))

  beforeAll(async () => {
    server = await startRedis()
    engine = await openEngine(server.url)
    queue = newName('disk')
    await engine.createQueue(queue)
  })
  afterAll(async () => {
    await engine?.close()
    await server?.stop()
  })

  test.each([
    ['appendfsync', 'everysec', 'always'],
    ['appendfsync', 'no', 'always'],
    ['no-appendfsync-on-rewrite', 'yes', 'no'],
    ['appendonly', 'no', 'yes'],
  ])('refuses with %s %s, and does it when that is mended', async (name, value, mended) => {
    await set(name, value)
    const fresh = await openEngine(server.url)
    await expect(fresh.send(queue, [message(), message()], null, onDisk)).rejects.toMatchObject(
      unavailable(`${name}=${value}`),
    )
    expect(await peekAll(fresh, queue)).toEqual([])
    await fresh.send(queue, [message()], null)
    await set(name, mended)
    await isWritten(server.port)
    await fresh.send(queue, [message()], null, onDisk)
    expect(await fresh.purgeQueue(queue)).toBe(2)
    await fresh.close()
  })

  test('looks again after a while', async () => {
    await engine.send(queue, [message()], null, onDisk)
    await set('appendfsync', 'everysec')
    await expect(
      until(async () => !(await engine.send(queue, [message()], null, onDisk)), 'it is refused'),
    ).rejects.toMatchObject(unavailable('everysec'))
    await set('appendfsync', 'always')
    await engine.purgeQueue(queue)
  })

  test('looks again after a lost connection', async () => {
    await engine.send(queue, [message()], null, onDisk)
    await set('appendfsync', 'everysec')
    await killConnections(server.port)
    // The first may be what finds out.
    await engine.stats(queue)
    try {
      await expect(engine.send(queue, [message()], null, onDisk)).rejects.toMatchObject(unavailable('everysec'))
    } finally {
      await set('appendfsync', 'always')
    }
    await engine.purgeQueue(queue)
  })

  test('counts no task that it refuses', async () => {
    await set('appendfsync', 'everysec')
    const fresh = await openEngine(server.url)
    const tracked = { correlationId: newName('c'), completionQueue: null }
    await expect(fresh.send(queue, [message({ tracked })], null, onDisk)).rejects.toMatchObject(unavailable('everysec'))
    expect(await fresh.correlation(tracked.correlationId)).toBeNull()
    await set('appendfsync', 'always')
    await fresh.send(queue, [message({ tracked })], null, onDisk)
    expect(await fresh.correlation(tracked.correlationId)).toMatchObject({ queues: [{ pending: 1 }] })
    await fresh.purgeQueue(queue)
    await fresh.close()
  })

  test('refuses what it may not look at', async () => {
    const user = newName('user')
    const rights = ['on', 'nopass', '~{tidings*', '&{tidings*', '+@all', '-config']
    await askRedis(server.port, (redis) => redis.call('ACL', 'SETUSER', user, ...rights))
    const weak = await openEngine(`redis://${user}:any@127.0.0.1:${server.port}`)
    await expect(weak.send(queue, [message()], null, onDisk)).rejects.toMatchObject({
      ...unavailable('may not run CONFIG GET'),
      hint: expect.stringContaining('+config|get'),
    })
    await askRedis(server.port, (redis) => redis.call('ACL', 'SETUSER', user, '+config', '-info'))
    await expect(weak.send(queue, [message()], null, onDisk)).rejects.toMatchObject({
      ...unavailable('may not run INFO'),
      hint: expect.stringContaining('+info'),
    })
    await weak.close()
  })

  test('a queue asks for it; others with its name are not held to it', async () => {
    await set('appendfsync', 'everysec')
    const told: unknown[][] = []
    const note = (...line: unknown[]) => void told.push(line)
    const logger = { debug() {}, info() {}, warn: note, error: note }
    const name = newName('asks')
    const bus = await connect(server.url, { logger, queues: { [name]: { durability: 'fsync' } } })
    const [strict, lax] = [bus.queue(name), bus.queue(name, { durability: 'default' })]
    const [refused, sent] = await Promise.allSettled([strict.send(1), lax.send(2)])
    expect(refused).toMatchObject({ reason: unavailable('appendfsync=everysec') })
    expect(sent).toMatchObject({ status: 'fulfilled' })
    await expect(strict.sendBatch([{ data: 3 }])).rejects.toMatchObject(unavailable('appendfsync=everysec'))
    expect((await lax.peek()).map(({ data }) => data)).toEqual([2])
    expect(told).toContainEqual([{ check: 'durability' }, expect.stringMatching(/everysec: a power cut.*always/)])
    await set('appendfsync', 'always')
    await strict.send(4)
    await bus.close()
  })
})

test('a Valkey with appendfsync everysec refuses, although it has WAITAOF', async () => {
  const server = await startValkey({ appendfsync: 'everysec' })
  const engine = await openEngine(server.url)
  const queue = newName('everysec')
  await engine.createQueue(queue)
  await expect(engine.send(queue, [message()], null, onDisk)).rejects.toMatchObject(unavailable('appendfsync=everysec'))
  expect(await peekAll(engine, queue)).toEqual([])
  await engine.close()
  await server.stop()
})

test('what a crash or a full memory would take away is reported at connecting and by `tidings doctor`', async () => {
  const server = await startRedis({ appendfsync: 'everysec', 'maxmemory-policy': 'allkeys-lru' })
  const told = { warn: [] as unknown[], error: [] as unknown[] }
  const logger = {
    debug() {},
    info() {},
    warn: (line: unknown) => told.warn.push(line),
    error: (line: unknown) => told.error.push(line),
  }
  await (await connect(server.url, { logger })).close()
  expect(told.warn).toContainEqual({ check: 'durability' })
  expect(told.error).toContainEqual({ check: 'eviction' })

  const everysec = await tidings(['doctor', '--url', server.url])
  expect(everysec.code).toBe(1)
  expect(everysec.stdout).toMatch(/maxmemory-policy=allkeys-lru/)
  expect(everysec.stdout).toMatch(/appendonly=yes, appendfsync=everysec: a power cut loses/)
  await askRedis(server.port, (redis) => redis.config('SET', 'appendonly', 'no'))
  expect((await tidings(['doctor', '--url', server.url])).stdout).toMatch(
    /appendonly=no, .*: a crash .*loses everything/,
  )
  await askRedis(server.port, (redis) => redis.config('SET', 'maxmemory-policy', 'noeviction'))
  await askRedis(server.port, (redis) => redis.config('SET', 'appendonly', 'yes'))
  await askRedis(server.port, (redis) => redis.config('SET', 'appendfsync', 'always'))
  await isWritten(server.port)
  const always = await tidings(['doctor', '--url', server.url])
  expect(always).toMatchObject({ code: 0, stdout: expect.stringContaining('appendfsync=always') })
  await server.stop()
})
