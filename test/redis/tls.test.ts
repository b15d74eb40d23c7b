import { copyFileSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Cluster, Redis } from 'ioredis'
import { type Bus, type ConnectOptions, type ConnectSource, connect } from 'tidings'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { spawned } from '../cli/support.ts'
import { type Certificate, type Certificates, makeCertificates } from '../support/certificates.ts'
import { freePort } from '../support/directories.ts'
import { askRedis, type RedisSettings, startRedis, type TestRedis } from '../support/redis.ts'
import { killConnections, newName, until } from './support.ts'

interface TlsRedis extends TestRedis {
  /** 'host:port' where it speaks TLS. */
  readonly host: string
}

let certificates: Certificates
/** Lets everybody in, and one that demands a certificate of its clients. */
let server: TlsRedis
let strict: TlsRedis
let cluster: TlsRedis[]

const tlsSettings = async (): Promise<RedisSettings> => ({
  'tls-port': await freePort(),
  'tls-cert-file': certificates.server.cert,
  'tls-key-file': certificates.server.key,
  'tls-ca-cert-file': certificates.authority.cert,
  'tls-auth-clients': 'no',
})

async function start(more: RedisSettings = {}): Promise<TlsRedis> {
  const settings = { ...(await tlsSettings()), ...more }
  return { ...(await startRedis(settings)), host: `127.0.0.1:${settings['tls-port']}` }
}

/** Two nodes with half of the slots each, which speak TLS with each other, too. */
async function startCluster(): Promise<TlsRedis[]> {
  const startNode = async () =>
    start({ 'cluster-enabled': 'yes', 'cluster-port': await freePort(), 'tls-cluster': 'yes' })
  const nodes = await Promise.all([startNode(), startNode()])
  const [first, second] = nodes
  const ask = ({ port }: TlsRedis, ...args: (string | number)[]) =>
    askRedis(port, (redis) => redis.call('CLUSTER', ...args))
  await ask(first, 'ADDSLOTSRANGE', 0, 8191)
  await ask(second, 'ADDSLOTSRANGE', 8192, 16_383)
  const [, bus] = (await askRedis(second.port, (redis) => redis.config('GET', 'cluster-port'))) as string[]
  await ask(first, 'MEET', '127.0.0.1', second.host.split(':')[1]!, bus!)
  const isWhole = async (node: TlsRedis) => /state:ok[\s\S]*known_nodes:2/.test(String(await ask(node, 'INFO')))
  await until(async () => (await isWhole(first)) && (await isWhole(second)), 'the Cluster is whole')
  return nodes
}

beforeAll(async () => {
  certificates = await makeCertificates()
  ;[server, strict, cluster] = await Promise.all([
    start(),
    start({ 'tls-auth-clients': 'yes', bind: '127.0.0.1 127.0.0.2' }),
    startCluster(),
  ])
})
afterAll(async () => {
  await Promise.all([server?.stop(), strict?.stop(), ...(cluster ?? []).map((node) => node.stop())])
  certificates?.remove()
})

const ca = () => readFileSync(certificates.authority.cert)
const shown = ({ cert, key }: Certificate) => ({ cert: readFileSync(cert), key: readFileSync(key, 'utf8') })

async function open(source: string | ConnectSource, options?: ConnectOptions): Promise<Bus> {
  const bus = await connect(source, options)
  onTestFinished(() => bus.close())
  return bus
}

/** Sends, and reads after having waited for the send: over both connections. */
async function proves(bus: Bus): Promise<void> {
  const queue = bus.queue<{ n: number }>(newName('tls'))
  await queue.create()
  const reading = queue.read({ wait: '20s' })
  await queue.send({ n: 1 })
  const [message] = await reading
  expect(message?.data).toEqual({ n: 1 })
  await message?.delete()
}

describe('a server with TLS', () => {
  test('by an authority that is handed in', async () => {
    await proves(await open(`rediss://${server.host}`, { tls: { ca: ca() } }))
    await proves(
      await open(`rediss://${server.host}`, { tls: { ca: [readFileSync(certificates.stranger.cert), ca()] } }),
    )
  })

  test('by the file of an authority that the URL names', async () => {
    await proves(await open(`rediss://${server.host}/1?cacert=${certificates.authority.cert}`))
  })

  test('by NODE_EXTRA_CA_CERTS', async () => {
    const args = ['queue', 'create', newName('tls'), '--url', `rediss://${server.host}`]
    const { code, stderr } = await spawned(args, { env: { NODE_EXTRA_CA_CERTS: certificates.authority.cert } })
    expect([code, stderr]).toEqual([0, expect.not.stringContaining('certificate')])
    expect(await spawned(args)).toMatchObject({ code: 1, stderr: expect.stringContaining('NODE_EXTRA_CA_CERTS') })
  })

  test('with user and password', async () => {
    const user = newName('user')
    await askRedis(server.port, (redis) =>
      redis.call('ACL', 'SETUSER', user, 'on', '>s3cr3t:/@', '~{tidings*', '&{tidings*', '+@all'),
    )
    const url = (password: string) => `rediss://${user}:${encodeURIComponent(password)}@${server.host}`
    await proves(await open(url('s3cr3t:/@'), { tls: { ca: ca() } }))
    await expect(connect(url('wrong'), { tls: { ca: ca() } })).rejects.toMatchObject({
      code: 'CONNECTION_FAILED',
      message: expect.stringContaining('WRONGPASS'),
    })
  })

  test('with a certificate of the client', async () => {
    await proves(await open(`rediss://${strict.host}`, { tls: { ca: ca(), ...shown(certificates.client) } }))
    const { cert, key } = certificates.client
    await proves(await open(`rediss://${strict.host}?cacert=${certificates.authority.cert}&cert=${cert}&key=${key}`))
  })

  test('by another name than that of its certificate, if that is said', async () => {
    const host = strict.host.replace('127.0.0.1', '127.0.0.2')
    await proves(
      await open(`rediss://${host}`, { tls: { ca: ca(), servername: 'localhost', ...shown(certificates.client) } }),
    )
  })

  test('without a check, if that is asked for', async () => {
    await proves(await open(`rediss://${server.host}`, { tls: { rejectUnauthorized: false } }))
  })

  test('by a client of the application', async () => {
    const [host, port] = strict.host.split(':') as [string, string]
    const tls = { ca: ca(), ...shown(certificates.client) }
    const redis = new Redis({ host, port: Number(port), tls, lazyConnect: true })
    await proves(await open({ redis }))
    const careless = new Redis({ host, port: Number(port), tls: {}, lazyConnect: true })
    await expect(connect({ redis: careless })).rejects.toMatchObject({
      code: 'CONNECTION_FAILED',
      hint: expect.stringContaining('tls: { ca }'),
    })
  })

  test('goes on with certificates that are renewed while it runs', async () => {
    const own = await start()
    onTestFinished(() => own.stop())
    const file = join(certificates.folder, 'renewed.pem')
    copyFileSync(certificates.authority.cert, file)
    const bus = await open(`rediss://${own.host}?cacert=${file}`)
    await proves(bus)
    const { cert, key } = certificates.stranger
    copyFileSync(cert, file)
    await askRedis(own.port, (redis) =>
      redis.config('SET', 'tls-cert-file', cert, 'tls-key-file' as never, key as never),
    )
    await killConnections(own.port)
    await proves(bus)
  })
})

describe('a Cluster with TLS', () => {
  const url = () => `rediss+cluster://${cluster[0]!.host}`

  test('is reached with TLS on all its nodes', async () => {
    const bus = await open(url(), { tls: { ca: ca() } })
    const queues = Array.from({ length: 6 }, () => newName('tls'))
    for (const name of queues) {
      await bus.queue(name).create()
      await bus.bind('Tls.Sent', name)
    }
    await bus.publish('Tls.Sent', { n: 1 })
    for (const name of queues) expect(await bus.queue(name).pop()).toHaveLength(1)
    await proves(bus)
    for (const { port, host } of cluster) {
      const clients = (await askRedis(port, (redis) => redis.call('CLIENT', 'LIST'))) as string
      const ours = clients.split('\n').filter((line) => line.includes(' name=tidings '))
      expect(ours.map((line) => / laddr=(\S+)/.exec(line)?.[1])).toContain(host)
    }
  })

  test('is reached by a client of the application', async () => {
    const [host, port] = cluster[1]!.host.split(':') as [string, string]
    const redisOptions = { tls: { ca: ca() } }
    const redis = new Cluster([{ host, port: Number(port) }], { redisOptions, lazyConnect: true })
    const bus = await open({ redis })
    for (let count = 0; count < 3; count++) await proves(bus)
  })

  test('of an unknown authority is refused', async () => {
    await expect(connect(url())).rejects.toMatchObject({
      code: 'CONNECTION_FAILED',
      hint: expect.stringContaining('tls: { ca }'),
    })
  })
})

describe('a connection that is not made says why, and what to do', () => {
  const cases: [string, () => [string, ConnectOptions?], RegExp, RegExp][] = [
    ['an unknown authority', () => [`rediss://${server.host}`], /self-signed certificate/, /tls: \{ ca \}.*NODE_EXTRA/],
    [
      'another authority',
      () => [`rediss://${server.host}`, { tls: { ca: readFileSync(certificates.stranger.cert) } }],
      /self-signed certificate/,
      /tls: \{ ca \}/,
    ],
    [
      'another host name',
      () => [
        `rediss://${strict.host.replace('127.0.0.1', '127.0.0.2')}`,
        { tls: { ca: ca(), ...shown(certificates.client) } },
      ],
      /IP: 127\.0\.0\.2 is not in the cert's list/,
      /servername/,
    ],
    [
      'no certificate of the client',
      () => [`rediss://${strict.host}`, { tls: { ca: ca() } }],
      /certificate required|ECONNRESET|EPIPE/,
      /certificate of its clients/,
    ],
    [
      'a certificate of the client that the server does not accept',
      () => [`rediss://${strict.host}`, { tls: { ca: ca(), ...shown(certificates.stranger) } }],
      /unknown ca|ECONNRESET|EPIPE/,
      /authority that signed your certificate|certificate of its clients/,
    ],
    ['no TLS where it is spoken', () => [`redis://${server.host}`], /ECONNRESET|closed/, /rediss:\/\//],
  ]

  test.each(cases)('%s', async (_what, args, message, hint) => {
    const startedAt = Date.now()
    await expect(connect(...args())).rejects.toMatchObject({
      code: 'CONNECTION_FAILED',
      message: expect.stringMatching(message),
      hint: expect.stringMatching(hint),
      exitCode: 1,
    })
    expect(Date.now() - startedAt).toBeLessThan(20_000)
  })

  test('a running bus whose server has another authority now', async () => {
    const own = await start()
    onTestFinished(() => own.stop())
    const bus = await open(`rediss://${own.host}`, { tls: { ca: ca() } })
    await proves(bus)
    const { cert, key } = certificates.stranger
    await askRedis(own.port, (redis) =>
      redis.config('SET', 'tls-cert-file', cert, 'tls-key-file' as never, key as never),
    )
    await killConnections(own.port)
    await expect(bus.queues()).rejects.toMatchObject({ code: 'CONNECTION_FAILED', hint: expect.stringMatching(/ca/) })
  })
})

describe('what is given wrongly is refused before anything is connected to', () => {
  const canary = 'S3cret-canary'
  const cases: [string, () => [string, ConnectOptions?], string, RegExp][] = [
    ['the name of a file', () => ['rediss://h', { tls: { ca: 'ca.pem' } }], 'TYPE', /tls\.ca is no PEM/],
    ['one of several', () => ['rediss://h', { tls: { ca: [ca(), canary] } }], 'TYPE', /tls\.ca\[1\] is no PEM/],
    ['a number', () => ['rediss://h', { tls: { key: 5 as never } }], 'TYPE', /tls\.key is no PEM/],
    ['true', () => ['rediss://h', { tls: true as never }], 'TYPE', /tls is true/],
    ['a slip', () => ['rediss://h', { tls: { serverName: 'a' } as never }], 'OPTION_UNKNOWN', /no option "serverName"/],
    ['a cert alone', () => ['rediss://h', { tls: { cert: ca() } }], 'OPTION_CONFLICT', /a cert without its key/],
    [
      "another one's key",
      () => ['rediss://h', { tls: { cert: ca(), key: shown(certificates.client).key } }],
      'TYPE',
      /key values mismatch/,
    ],
    ['no TLS', () => ['redis://h', { tls: { ca: ca() } }], 'OPTION_CONFLICT', /begins with redis:/],
    ['a socket', () => ['unix:///s', { tls: { ca: ca() } }], 'OPTION_CONFLICT', /begins with unix:/],
    ['another storage', () => ['memory:', { tls: { ca: ca() } }], 'OPTION_CONFLICT', /one of memory/],
    ['both', () => ['rediss://h?cacert=a', { tls: { ca: ca() } }], 'OPTION_CONFLICT', /names a file as cacert/],
    ['a file without TLS', () => ['redis://h?cacert=a'], 'URL_INVALID', /rediss:\/\/ only/],
    ['no such file', () => ['rediss://h?cacert=/no/file'], 'URL_INVALID', /"\/no\/file" as cacert: ENOENT/],
    ['a file that is none', () => ['rediss://h?cacert=/etc/hostname'], 'URL_INVALID', /cacert is no PEM/],
  ]

  test.each(cases)('%s', async (_what, args, code, message) => {
    const error = await connect(...args()).catch((reason: unknown) => reason)
    expect(error).toMatchObject({ code, message: expect.stringMatching(message), exitCode: 2 })
    expect(JSON.stringify(error) + String(error)).not.toMatch(/S3cret-canary|PRIVATE KEY/)
  })
})
