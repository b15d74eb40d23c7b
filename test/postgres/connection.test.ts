import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { TLSSocket } from 'node:tls'
import type { PostgresEngine } from 'tidings/internal/engines/postgres/postgres'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { makeCertificates } from '../support/certificates.ts'
import { startPostgres, type TestPostgres } from '../support/postgres.ts'
import { sharedServer } from '../support/shared-servers.ts'
import { watchOn } from '../support/watch-on.ts'
import { claimAll, message, newName, openEngine, query, until } from './support.ts'

const postgres = await sharedServer('postgres18')

describe('a connection that cannot be made says where and why', () => {
  const at = (change: (url: URL) => void) => {
    const url = new URL(postgres)
    url.password = 'S3cret-canary'
    change(url)
    return url.href
  }
  const cases = [
    ['a closed port', at((url) => (url.port = '1')), /127\.0\.0\.1:1: .*ECONNREFUSED/],
    ['an unknown database', at((url) => (url.pathname = '/nowhere')), /127\.0\.0\.1:\d+: .*"nowhere" does not exist/],
    ['an unknown role', at((url) => (url.username = 'nobody')), /127\.0\.0\.1:\d+: .*"nobody" does not exist/],
    ['an unknown host', at((url) => (url.hostname = 'host.invalid')), /host\.invalid:\d+: .*(ENOTFOUND|EAI_AGAIN)/],
    ['TLS that the server refuses', at((url) => (url.search = '?sslmode=require')), /127\.0\.0\.1:\d+: .*SSL/],
  ] as const

  /** Whatever else the machine does only adds to the time, so the fastest of three counts. */
  async function failure(url: string): Promise<{ error: unknown; tookMs: number }> {
    for (let round = 1; ; round++) {
      const startedAt = performance.now()
      const error = await openEngine(url).catch((reason: unknown) => reason)
      const tookMs = performance.now() - startedAt
      if (tookMs < 10_000 || round === 3) return { error, tookMs }
    }
  }

  test('a server that says nothing', async () => {
    const silent = createServer().listen(0, '127.0.0.1')
    await once(silent, 'listening')
    const { port } = silent.address() as AddressInfo
    const { error, tookMs } = await failure(at((url) => (url.port = String(port))))
    silent.close()
    expect(error).toMatchObject({ code: 'CONNECTION_FAILED', message: expect.stringContaining(`127.0.0.1:${port}: `) })
    expect(tookMs).toBeLessThan(10_000)
  })

  test.each(cases)('%s', async (_what, url, expected) => {
    const { error, tookMs } = await failure(url)
    expect(error).toMatchObject({ code: 'CONNECTION_FAILED', message: expect.stringMatching(expected), exitCode: 1 })
    expect(tookMs).toBeLessThan(10_000)
    expect(JSON.stringify(error) + String(error)).not.toContain('S3cret-canary')
  })

  test('a URL that cannot be read', async () => {
    const error = await openEngine('postgres://tidings:S3cret-canary@[bad/x').catch((reason: unknown) => reason)
    expect(error).toMatchObject({ code: 'URL_INVALID' })
    expect(JSON.stringify(error) + String(error)).not.toContain('S3cret-canary')
  })
})

describe('TLS', () => {
  const failure = (search: string, at = '127.0.0.1:1') =>
    openEngine(`postgres://tidings:S3cret-canary@${at}/tidings${search}`).catch((reason: unknown) => reason)

  test.each([
    ['an unknown mode', '?sslmode=requires', undefined, /sslmode "requires"/],
    ['a file that is not there', '?sslrootcert=/no/file', undefined, /"\/no\/file" as sslrootcert.*ENOENT/],
    ['several hosts', '', '127.0.0.1:1,127.0.0.1:2', /names several hosts/],
  ])('%s', async (_what, search, at, words) => {
    const error = await failure(search, at)
    expect(error).toMatchObject({ code: 'URL_INVALID', message: expect.stringMatching(words) })
    expect(JSON.stringify(error) + String(error)).not.toContain('S3cret-canary')
  })

  test('a password with a comma is no list of hosts', async () => {
    const error = await openEngine('postgres://tidings:S3cret,canary@127.0.0.1:1/x').catch((reason: unknown) => reason)
    expect(error).toMatchObject({ code: 'CONNECTION_FAILED' })
  })

  test.each(['?sslmode=require', '?sslmode=verify-full', '?sslrootcert=system'])(
    'a certificate of an unknown authority with %s',
    async (search) => {
      const { server, remove } = await makeCertificates()
      const keys = { cert: readFileSync(server.cert), key: readFileSync(server.key) }
      const secure = createServer((socket) => {
        // The first request asks for TLS.
        socket.once('data', () => {
          socket.write('S')
          new TLSSocket(socket, { isServer: true, ...keys }).on('error', () => {})
        })
      }).listen(0, '127.0.0.1')
      await once(secure, 'listening')
      const error = await failure(search, `127.0.0.1:${(secure.address() as AddressInfo).port}`)
      secure.close()
      remove()
      expect(error).toMatchObject({ code: 'CONNECTION_FAILED', hint: expect.stringContaining('&sslrootcert=<file>') })
    },
  )
})

describe('a server that goes and comes back', () => {
  let server: TestPostgres
  let engine: PostgresEngine
  let queue: string

  beforeAll(async () => {
    server = await startPostgres(18)
    engine = await openEngine(server.url)
    queue = newName('back')
    await engine.createQueue(queue)
  })
  afterAll(async () => {
    await engine?.close()
    await server?.stop()
  })

  test('a call waits for a restart; what was acknowledged is there', async () => {
    const sent = await engine.send(queue, [message()], null)
    await server.kill()
    const restarted = server.restart()
    const calledAt = performance.now()
    const claim = claimAll(engine, queue).catch(async (error: unknown) => {
      // It waits for five seconds, which a slow machine may need for more than a restart.
      if (performance.now() - calledAt < 4_000) throw error
      await restarted
      return claimAll(engine, queue)
    })
    const [read] = await Promise.all([claim, restarted])
    expect(read.map(({ id }) => id)).toEqual(sent.map(({ id }) => id))
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

  test('a send whose answer is lost has an unknown outcome; a claim is simply made again', async () => {
    const table = `pgmq.q_${queue}`
    const blocked = (word: string) =>
      query(server.url, "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE $1", [
        `%tidings."${word}:%`,
      ])
    const { default: pg } = await import('pg')
    const locker = new pg.Client({ connectionString: server.url })
    await locker.connect()
    try {
      await locker.query(`BEGIN; LOCK TABLE ${table}`)
      const send = engine.send(queue, [message()], null)
      const outcome = expect(send).rejects.toMatchObject({ code: 'OUTCOME_UNKNOWN', retryable: true })
      await until(async () => (await blocked('send')).length > 0, 'the send waits for the lock')
      await query(server.url, 'SELECT pg_terminate_backend($1)', [(await blocked('send'))[0]?.pid])
      await outcome

      const claim = claimAll(engine, queue)
      await until(async () => (await blocked('claim')).length > 0, 'the claim waits for the lock')
      const [first] = await blocked('claim')
      await query(server.url, 'SELECT pg_terminate_backend($1)', [first?.pid])
      await until(async () => (await blocked('claim')).some(({ pid }) => pid !== first?.pid), 'the claim is made again')
      await locker.query('COMMIT')
      expect(await claim).toEqual([])
    } finally {
      await locker.end()
    }
  })
})

test('a send announces itself only when somebody waits', async () => {
  const url = await sharedServer('postgres18')
  const engine = await openEngine(url)
  const queue = newName('quiet')
  await engine.createQueue(queue)
  const { default: pg } = await import('pg')
  const listener = new pg.Client({ connectionString: url })
  await listener.connect()
  const heard: (string | undefined)[] = []
  listener.on('notification', ({ payload }) => heard.push(payload))
  await listener.query(`LISTEN "tidings.${queue}"`)
  try {
    await engine.send(queue, [message()], null)
    // A round trip later a notification would have come.
    await listener.query('SELECT 1')
    expect(heard).toEqual([])

    const watch = await watchOn(engine, `queue:${queue}`, () => {})
    await engine.send(queue, [message()], null)
    await engine.send(queue, [message({ delayMs: 50_000 })], null)
    await until(() => heard.length === 2, 'both sends were announced')
    expect(heard[0]).toBe('0')
    expect(Number(heard[1])).toBeGreaterThan(20_000)

    watch.close()
    await until(async () => {
      heard.length = 0
      await engine.send(queue, [message()], null)
      await listener.query('SELECT 1')
      return heard.length === 0
    }, 'sends are quiet again')
  } finally {
    await listener.end()
    await engine.dropQueue(queue)
    await engine.close()
  }
})
