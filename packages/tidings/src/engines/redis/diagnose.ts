import { TidingsError } from '../../core/errors.ts'
import type { Finding } from '../../port/engine.ts'
import { type Command, parseInfo, toMap } from './calling.ts'
import { fileOf } from './disk.ts'
import type { Driver } from './driver.ts'
import { replyCode, toTidingsError } from './errors.ts'
import { flawless, flawsOf, type Product } from './flaws.ts'
import { checkRights } from './rights.ts'
import type { Server } from './server.ts'

const timeoutMs = 5_000
const oldestMajor = 7

const ok = (check: string, message: string): Finding => ({ level: 'ok', check, message, remedy: '' })
const warning = (check: string, message: string, remedy: string): Finding => ({
  level: 'warning',
  check,
  message,
  remedy,
})
const problem = (check: string, message: string, remedy: string): Finding => ({
  level: 'problem',
  check,
  message,
  remedy,
})

/** Checks versions, eviction, durability, replicas and memory of every server that has keys. */
export async function diagnose(driver: Driver): Promise<Finding[]> {
  const servers = driver.topology.servers()
  const findings = await Promise.all(servers.map(async (server) => diagnoseServer(server, servers.length > 1)))
  return [cluster(driver), ...findings.flat()]
}

/** @throws UNSUPPORTED, if it can be known */
export async function refuseOldServer(driver: Driver): Promise<void> {
  const [server] = driver.topology.servers()
  const info = server && (await ask(server, ['INFO', 'server']))
  if (typeof info !== 'string') return
  const { level, message, remedy } = checkVersion(...versionOf(parseInfo(info)))
  if (level !== 'ok') throw new TidingsError('UNSUPPORTED', message, { hint: remedy })
}

function cluster(driver: Driver): Finding {
  const count = driver.topology.servers().length
  return driver.isCluster
    ? ok('cluster', `a Cluster with ${count} nodes that have keys; copies in several queues come one after the other`)
    : ok('cluster', 'one server; copies in several queues come all at once')
}

async function diagnoseServer(server: Server, isOneOfMany: boolean): Promise<Finding[]> {
  const info = await ask(server, ['INFO'])
  const config = await askConfig(server)
  const told = typeof info === 'string' ? parseInfo(info) : undefined
  const findings = [
    await checkRights(server),
    ...(told ? fromInfo(told) : [forbidden('version', 'INFO', '+info')]),
    ...(config ? fromConfig(config, told) : [forbidden('durability', 'CONFIG GET', '+config|get')]),
  ]
  const name = isOneOfMany ? `${server.where}: ` : ''
  return findings.map((finding) => ({ ...finding, message: name + finding.message }))
}

const forbidden = (check: string, command: string, right: string) =>
  warning(check, `this user may not run ${command}, so it is not known`, `Allow it (${right}), or look for yourself.`)

/** The answer, or undefined if the user may not ask. */
async function ask(server: Server, command: Command): Promise<unknown> {
  try {
    return await server.call(command, { timeoutMs })
  } catch (error) {
    // Providers take commands away, too.
    if (replyCode(error) !== '') return undefined
    throw toTidingsError(error, server.where, 'CONNECTION_LOST')
  }
}

const settings = [
  'maxmemory',
  'maxmemory-policy',
  'appendonly',
  'appendfsync',
  'no-appendfsync-on-rewrite',
  'save',
  'min-replicas-to-write',
  'tcp-keepalive',
  'client-output-buffer-limit',
]

async function askConfig(server: Server): Promise<ReadonlyMap<string, string> | undefined> {
  const answer = (await ask(server, ['CONFIG', 'GET', ...settings])) as string[] | undefined
  return answer && toMap(answer)
}

function fromInfo(info: ReadonlyMap<string, string>): Finding[] {
  const [product, version] = versionOf(info)
  return [checkVersion(product, version), ...checkFlaws(product, version), ...checkMemory(info), ...checkWrites(info)]
}

function versionOf(info: ReadonlyMap<string, string>): [Product, string] {
  const product = info.has('valkey_version') ? 'valkey' : 'redis'
  return [product, info.get(`${product}_version`) ?? 'unknown']
}

const titles = { redis: 'Redis', valkey: 'Valkey' } as const

function checkVersion(product: Product, version: string): Finding {
  const what = `${titles[product]} ${version}`
  return Number.parseInt(version, 10) >= oldestMajor
    ? ok('version', what)
    : problem('version', `${what} is too old`, 'Upgrade to Redis 7.0 or Valkey 7.2, or newer.')
}

function checkFlaws(product: Product, version: string): Finding[] {
  const flaws = flawsOf(product, version)
  if (flaws.length === 0) return []
  return [
    warning(
      'security',
      `${titles[product]} ${version} may have ${flaws.join(', ')}, by which a user takes over the server or halts it`,
      `Upgrade to ${flawless(product).join(', ')} or newer, unless your distribution has mended this version.`,
    ),
  ]
}

function checkMemory(info: ReadonlyMap<string, string>): Finding[] {
  const [used, most] = [Number(info.get('used_memory')), Number(info.get('maxmemory'))]
  const megabytes = (bytes: number) => `${Math.round(bytes / 1e6)} MB`
  if (!most) return [ok('memory', `${megabytes(used)} are used, without a limit`)]
  const what = `${megabytes(used)} of ${megabytes(most)} are used`
  return used < most * 0.8
    ? [ok('memory', what)]
    : [warning('memory', what, 'Raise maxmemory or let workers empty the queues: when it is full, sends are refused.')]
}

function checkWrites(info: ReadonlyMap<string, string>): Finding[] {
  if (info.get('aof_last_write_status') !== 'err' && info.get('rdb_last_bgsave_status') !== 'err') return []
  return [problem('disk', 'the server could not write its data to disk', 'Free space, and look at its log.')]
}

function fromConfig(config: ReadonlyMap<string, string>, info?: ReadonlyMap<string, string>): Finding[] {
  return [checkEviction(config), checkDurability(config, info), ...checkReplicas(config), ...checkLives(config)]
}

function checkEviction(config: ReadonlyMap<string, string>): Finding {
  const policy = config.get('maxmemory-policy')
  if (policy === 'noeviction') return ok('eviction', 'maxmemory-policy=noeviction')
  return problem(
    'eviction',
    `maxmemory-policy=${policy}: when memory is full, the server throws messages away`,
    'CONFIG SET maxmemory-policy noeviction, and in its configuration file.',
  )
}

function checkDurability(config: ReadonlyMap<string, string>, info?: ReadonlyMap<string, string>): Finding {
  const [appendonly, appendfsync, save] = ['appendonly', 'appendfsync', 'save'].map((name) => config.get(name))
  const what = `appendonly=${appendonly}, appendfsync=${appendfsync}`
  if (appendonly !== 'yes')
    return problem(
      'durability',
      `${what}: a crash of the server loses ${save ? 'all since the last snapshot' : 'everything'}`,
      'CONFIG SET appendonly yes, and in its configuration file.',
    )
  if (info && fileOf(info) === 'rewritten')
    return warning(
      'durability',
      `${what}: the file is being rewritten; if appendonly was switched on just now, a crash loses everything until that is done`,
      'Look again when aof_rewrite_in_progress is 0.',
    )
  if (appendfsync === 'always' && config.get('no-appendfsync-on-rewrite') === 'yes')
    return warning(
      'durability',
      `${what}, no-appendfsync-on-rewrite=yes: while the file is rewritten, a power cut loses what was acknowledged`,
      'CONFIG SET no-appendfsync-on-rewrite no, and in its configuration file.',
    )
  if (appendfsync === 'always') return ok('durability', what)
  const loss =
    appendfsync === 'no'
      ? 'half a minute that was acknowledged, and may leave a file that has to be repaired'
      : 'two seconds that were acknowledged'
  return warning(
    'durability',
    `${what}: a power cut loses up to ${loss}`,
    'For messages that must survive it: CONFIG SET appendfsync always.',
  )
}

function checkReplicas(config: ReadonlyMap<string, string>): Finding[] {
  const count = Number(config.get('min-replicas-to-write') ?? 0)
  return count > 0 ? [ok('replicas', `writes need ${count} replicas that keep up`)] : []
}

/** Below what is set by default, in bytes: a process that is blocked for a while is cut off from what it listens to. */
const leastUnread = { hard: 32 * 1024 * 1024, soft: 8 * 1024 * 1024 }

/** What decides when a server takes a process for gone. `timeout` does not: it spares connections that listen. */
function checkLives(config: ReadonlyMap<string, string>): Finding[] {
  const keepAlive = config.get('tcp-keepalive')
  const [, hard, soft] = /pubsub (\d+) (\d+)/.exec(config.get('client-output-buffer-limit') ?? '') ?? []
  const isBelow = (limit: string | undefined, least: number) => Number(limit) > 0 && Number(limit) < least
  const findings: Finding[] = []
  if (keepAlive === '0')
    findings.push(
      warning(
        'lives',
        'tcp-keepalive=0: what a host had in hand that died comes back when its leases end, and its connections stay',
        'CONFIG SET tcp-keepalive 60, and in its configuration file.',
      ),
    )
  if (isBelow(hard, leastUnread.hard) || isBelow(soft, leastUnread.soft))
    findings.push(
      warning(
        'lives',
        `client-output-buffer-limit pubsub ${hard} ${soft}: a busy process that reads no announcements for a while is taken for gone, and others get what it has in hand`,
        "CONFIG SET client-output-buffer-limit 'pubsub 32mb 8mb 60', and in its configuration file.",
      ),
    )
  return findings.length > 0 ? findings : [ok('lives', `tcp-keepalive=${keepAlive}`)]
}
