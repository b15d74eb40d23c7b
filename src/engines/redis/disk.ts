import { durabilityUnavailable } from '../../durability.ts'
import { type Command, callOn, toMap } from './calling.ts'
import type { RedisClient } from './client.ts'
import { Lost, replyCode, Unsent } from './errors.ts'

const askMs = 5_000
/** Settings change without a word. */
const trustedMs = 1_000

const needed = { appendonly: 'yes', appendfsync: 'always', 'no-appendfsync-on-rewrite': 'no' } as const

/**
 * Looks whether what a server answers is on its disk. WAITAOF is not asked: with everysec, Redis 7.4 and Valkey 8.0 answer
 * before they have written.
 */
export class Disk {
  readonly #where: string
  #trusted: { readonly client: RedisClient; readonly until: number } | undefined

  constructor(where: string) {
    this.#where = where
  }

  /**
   * Looks anew with every connection, since it may lead to another server, and after a second.
   * @throws DURABILITY_UNAVAILABLE
   */
  async confirm(client: RedisClient): Promise<void> {
    const now = performance.now()
    if (this.#trusted?.client === client && now < this.#trusted.until) return
    const config = await this.#settings(client)
    const wrong = Object.entries(needed).filter(([name, value]) => config.get(name) !== value)
    if (wrong.length > 0)
      throw durabilityUnavailable(
        `Redis at ${this.#where} has ${wrong.map(([name]) => `${name}=${config.get(name)}`).join(', ')}`,
        `CONFIG SET ${wrong.flat().join(' ')}, and in its configuration file.`,
      )
    this.#trusted = { client, until: now + trustedMs }
  }

  async #settings(client: RedisClient): Promise<ReadonlyMap<string, string>> {
    const command: Command = ['CONFIG', 'GET', ...Object.keys(needed)]
    try {
      return toMap((await callOn(client, command, askMs)) as string[])
    } catch (error) {
      // Providers take the command away, too.
      // The command that waits for this was not sent.
      if (error instanceof Lost) throw new Unsent(error.message, { cause: error.cause })
      if (!['NOPERM', 'ERR'].includes(replyCode(error))) throw error
      throw durabilityUnavailable(
        `this user may not run CONFIG GET on Redis at ${this.#where}, so it is not known what is on disk`,
        'Allow it (+config|get).',
      )
    }
  }
}
