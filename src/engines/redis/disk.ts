import { durabilityUnavailable } from '../../durability.ts'
import { TidingsError } from '../../errors.ts'
import { type Command, callOn, toMap } from './calling.ts'
import type { RedisClient } from './client.ts'
import { replyCode } from './errors.ts'

const askMs = 5_000
/** With `everysec` the disk is written to once a second, and later when it is slow. */
const flushMs = 10_000

/**
 * Commands of one server that are on its disk when they are answered. On a connection of their own: while it waits for
 * the disk, a server answers nothing else on it, and it waits for what came on this connection.
 */
export class Disk {
  readonly #where: string
  readonly #connect: () => Promise<RedisClient>
  #link: Promise<Link> | undefined

  constructor(where: string, connect: () => Promise<RedisClient>) {
    this.#where = where
    this.#connect = connect
  }

  /** @throws DURABILITY_UNAVAILABLE before the command is sent; OUTCOME_UNKNOWN if the disk was not written to in time */
  async call(command: Command, timeoutMs: number, asking = false): Promise<unknown> {
    const link = await this.#linked()
    const answer = await callOn(link.client, command, timeoutMs, asking)
    await link.flushed()
    return answer
  }

  close(): void {
    this.#link?.then(
      ({ client }) => client.disconnect(),
      () => {},
    )
    this.#link = undefined
  }

  /** The settings are looked at with every new connection: it may lead to another server. */
  #linked(): Promise<Link> {
    if (this.#link !== undefined) return this.#link
    const link = this.#open(() => {
      if (this.#link === link) this.#link = undefined
    })
    this.#link = link
    return link
  }

  async #open(onEnd: () => void): Promise<Link> {
    try {
      const client = await this.#connect()
      client.on('end', onEnd)
      try {
        return new Link(client, this.#where, await mustWait(client, this.#where))
      } catch (error) {
        client.disconnect()
        throw error
      }
    } catch (error) {
      onEnd()
      throw error
    }
  }
}

/** A connection to a server whose disk can be relied on. */
class Link {
  readonly client: RedisClient
  readonly #where: string
  readonly #waits: boolean
  #underWay: Promise<unknown> = Promise.resolve()
  #next: Promise<void> | undefined

  /** @param waits whether the server answers before the disk is written to */
  constructor(client: RedisClient, where: string, waits: boolean) {
    this.client = client
    this.#where = where
    this.#waits = waits
  }

  /** Resolves when all that was answered here is on disk. What is answered during one flush shares the next. */
  flushed(): Promise<void> {
    if (!this.#waits) return Promise.resolve()
    this.#next ??= this.#underWay.then(() => {
      this.#next = undefined
      return this.#flush()
    })
    this.#underWay = this.#next.catch(() => {})
    return this.#next
  }

  /** Whatever becomes of it, the command before it was carried out. */
  async #flush(): Promise<void> {
    const command: Command = ['WAITAOF', 1, 0, flushMs]
    const disks = await callOn(this.client, command, 2 * flushMs).catch((cause: unknown) => {
      throw unflushed(this.#where, `it is not known whether it is on disk: ${(cause as Error).message}`, cause)
    })
    if ((disks as number[])[0]! < 1)
      throw unflushed(this.#where, `it was not written to disk within ${flushMs / 1_000} s`)
  }
}

const unflushed = (where: string, why: string, cause?: unknown) =>
  new TidingsError('OUTCOME_UNKNOWN', `Redis at ${where} has stored it, but ${why}`, { cause })

const settings = ['appendonly', 'appendfsync', 'no-appendfsync-on-rewrite'] as const

/**
 * Looks whether a command can be known to be on disk.
 * @returns whether that has to be waited for
 * @throws DURABILITY_UNAVAILABLE
 */
async function mustWait(client: RedisClient, where: string): Promise<boolean> {
  const refuse = (found: string, remedy: string) => durabilityUnavailable(`Redis at ${where} has ${found}`, remedy)
  const answer = await ask(client, ['CONFIG', 'GET', ...settings])
  if (answer === undefined)
    throw durabilityUnavailable(
      `this user may not run CONFIG GET on Redis at ${where}, so nobody knows what it writes to disk`,
      'Allow it (+config|get).',
    )
  const config = toMap(answer as string[])
  const [appendonly, appendfsync, isPutOff] = settings.map((name) => config.get(name))
  if (appendonly !== 'yes') throw refuse(`appendonly=${appendonly}`, 'Set appendonly to yes and appendfsync to always.')
  const canWait = (await ask(client, ['WAITAOF', 0, 0, 1])) !== undefined
  if (canWait && appendfsync !== 'no') return true
  if (appendfsync !== 'always')
    throw refuse(
      `appendfsync=${appendfsync}${canWait ? '' : ' and no WAITAOF'}`,
      `Set appendfsync to always${canWait ? ' or everysec' : '; with Redis 7.2 or Valkey, and the right to WAITAOF, everysec is enough'}.`,
    )
  if (isPutOff === 'yes')
    throw refuse('no-appendfsync-on-rewrite=yes and no WAITAOF', 'Set no-appendfsync-on-rewrite to no.')
  return false
}

/** The answer, or undefined if the server does not know the command or this user may not run it. */
async function ask(client: RedisClient, command: Command): Promise<unknown> {
  try {
    return await callOn(client, command, askMs)
  } catch (error) {
    if (['NOPERM', 'ERR'].includes(replyCode(error))) return undefined
    throw error
  }
}
