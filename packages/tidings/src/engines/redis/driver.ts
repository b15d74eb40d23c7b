import { retrying } from '../../core/retry.ts'
import type { TlsSettings } from '../../core/tls.ts'
import { OpenCalls } from '../../port/open-calls.ts'
import { type Command, timeoutOf } from './calling.ts'
import { loadClient, newClient, type RedisClient } from './client.ts'
import { Cluster, SingleServer, type Topology } from './cluster.ts'
import { comesBack, isTransient, Lost, replyCode, toTidingsError, Unsent } from './errors.ts'
import { chunksOf } from './groups.ts'
import { targetOfClient } from './handed-in.ts'
import { type ScriptName, scriptOf } from './scripts.ts'
import { Server } from './server.ts'
import { type Address, describeAddress, type LocalRedis, localTarget, parseTarget, type RedisTarget } from './target.ts'
import { Wakefulness } from './wakefulness.ts'

/** A URL, a client of the application, or a server of this machine. */
export type RedisSource =
  | string
  | { readonly url: string; readonly tls: TlsSettings | null }
  | { readonly client: unknown }
  | LocalRedis

/** Arguments of a script; for a repetition by how many answers were lost before, where that matters. */
export type ScriptArgs = readonly (string | number)[] | ((lost: number) => readonly (string | number)[])

export interface CallOptions {
  /** Whether repeating the command after a lost answer does no harm. */
  readonly repeatable: boolean
  /** Gives up on a connection that does not answer for so long, in milliseconds. Default: `timeoutOf` the command. */
  readonly timeoutMs?: number
  /** Whether the write has to be on disk when the call is answered. Default: false. */
  readonly onDisk?: boolean
}

/** How long a call waits for the server to come back before it fails. */
const patienceMs = 5_000
const mostAttempts = 3

/** Commands and scripts on one server or a Cluster. */
export class Driver {
  readonly #target: RedisTarget
  #topology: Topology | undefined
  readonly #calls = new OpenCalls()
  readonly wakefulness: Wakefulness

  /** @param sleeps whether nothing is asked of an idle server @throws URL_INVALID; as `targetOfClient` */
  constructor(source: RedisSource, sleeps = false) {
    this.wakefulness = new Wakefulness(sleeps)
    this.#target = toTarget(source)
  }

  /** 'host:port', for messages. */
  get where(): string {
    return this.#target.where
  }

  get topology(): Topology {
    this.#calls.check()
    return this.#topology as Topology
  }

  async open(): Promise<void> {
    this.#calls.check()
    const Client = await loadClient()
    const { addresses, where, translate, mayBeReplica } = this.#target
    const clientAt = (address: Address) => async (): Promise<RedisClient> =>
      newClient(Client, await this.#target.optionsFor(address))
    const newServer = (address: Address) => new Server(describeAddress(address), clientAt(address))
    const cluster = new Cluster(addresses, newServer, translate)
    try {
      if (await this.#isCluster(cluster)) {
        this.#topology = cluster
        return
      }
      cluster.close()
      this.#topology = new SingleServer(new Server(where, clientAt(addresses[0]), mayBeReplica))
    } catch (error) {
      cluster.close()
      throw toTidingsError(error, where, 'CONNECTION_FAILED')
    }
  }

  async #isCluster(cluster: Cluster): Promise<boolean> {
    if (this.#target.cluster === 'no') return false
    try {
      await cluster.refresh()
      return true
    } catch (error) {
      const mayBeSingle = replyCode(error) !== '' && !['NOAUTH', 'WRONGPASS'].includes(replyCode(error))
      if (!mayBeSingle || isTransient(error) || this.#target.cluster === 'yes') throw error
      return false
    }
  }

  /** Waits for the calls that are under way. */
  close(): Promise<void> {
    return this.#calls.close(async () => {
      this.#topology?.close()
      await this.#target.release?.()
    })
  }

  get isCluster(): boolean {
    return this.topology.isCluster
  }

  /** Queues, or topics, in parts that one call can be about: on a Cluster each is in a slot of its own. */
  partsOf<T>(places: readonly T[], most: number): T[][] {
    return chunksOf(places, this.isCluster ? 1 : most)
  }

  /** Runs a member of the port, which may take several calls: `close` waits for its end. @throws CLOSED */
  whileOpen<T>(work: () => Promise<T>): Promise<T> {
    this.wakefulness.use()
    return this.#calls.run(work)
  }

  /** Runs a script on the server of the first key. */
  run(
    script: ScriptName,
    keys: readonly [string, ...string[]],
    args: ScriptArgs,
    options: CallOptions,
  ): Promise<unknown> {
    return this.#persistently(keys[0], options, (attempt, lost) =>
      evaluate(script, keys, typeof args === 'function' ? args(lost) : args, attempt),
    )
  }

  /**
   * Runs a script on this server and no other, once.
   * @throws Unsent, Lost, or the error that the server replied, for example that it does not have the keys
   */
  runAt(server: Server, script: ScriptName, keys: readonly string[], args: readonly (string | number)[]) {
    return evaluate(script, keys, args, (command) => server.call(command, { timeoutMs: timeoutOf(command) }))
  }

  /** Sends a command to the server of the key. */
  call(key: string, command: Command, options: CallOptions = { repeatable: true }): Promise<unknown> {
    return this.#persistently(key, options, (attempt) => attempt(command))
  }

  /** @throws DURABILITY_UNAVAILABLE if writes to the key may not be on disk when they are answered */
  async confirmDisk(key: string): Promise<void> {
    await this.call(key, ['EXISTS', key], { repeatable: true, onDisk: true })
  }

  async #persistently(
    key: string,
    { repeatable, timeoutMs, onDisk = false }: CallOptions,
    work: (attempt: Attempt, lost: number) => Promise<unknown>,
  ): Promise<unknown> {
    const topology = this.#topology as Topology
    const giveUpAt = Date.now() + patienceMs
    let lost = 0
    const attempt = () =>
      work((command) => topology.call(key, command, { timeoutMs: timeoutMs ?? timeoutOf(command), onDisk }), lost)
    try {
      return await retrying(attempt, { firstMs: 20, longestMs: 250 }, async (error, pauseMs) => {
        if (error instanceof Unsent) await topology.refresh().catch(() => {})
        if (error instanceof Lost) return repeatable && ++lost < mostAttempts
        return (error instanceof Unsent || isTransient(error)) && comesBack(error) && Date.now() + pauseMs < giveUpAt
      })
    } catch (error) {
      throw toTidingsError(error, this.where, repeatable ? 'CONNECTION_LOST' : 'OUTCOME_UNKNOWN')
    }
  }
}

type Attempt = (command: Command) => Promise<unknown>

async function evaluate(
  script: ScriptName,
  keys: readonly string[],
  args: readonly (string | number)[],
  attempt: Attempt,
): Promise<unknown> {
  const { text, hash } = scriptOf(script)
  // Joined, not spread: there may be many.
  const command = (name: 'EVALSHA' | 'EVAL', script: string) =>
    [name, script, keys.length].concat(keys as string[], args as string[]) as unknown as Command
  try {
    return await attempt(command('EVALSHA', hash))
  } catch (error) {
    if (replyCode(error) !== 'NOSCRIPT') throw error
    return attempt(command('EVAL', text))
  }
}

function toTarget(source: RedisSource): RedisTarget {
  if (typeof source === 'string') return parseTarget(source)
  if ('url' in source) return parseTarget(source.url, source.tls)
  return 'client' in source ? targetOfClient(source.client) : localTarget(source)
}
