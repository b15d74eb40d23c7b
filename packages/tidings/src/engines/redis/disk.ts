import { durabilityUnavailable } from '../../port/refusals.ts'
import { type Command, callOn, parseInfo, toMap } from './calling.ts'
import type { RedisClient } from './client.ts'
import { Lost, replyCode, Unsent } from './errors.ts'

const askMs = 5_000
/** The server does not tell when settings change. */
const trustedMs = 1_000

const needed = { appendonly: 'yes', appendfsync: 'always', 'no-appendfsync-on-rewrite': 'no' } as const

/**
 * The state of the append-only file, by INFO. After appendonly was switched on at run time, the server writes into a
 * temporary file until the first rewrite is done: that is `rewritten`. Every later rewrite looks the same, but then the
 * former file is still good.
 */
export function fileOf(info: ReadonlyMap<string, string>): 'there' | 'rewritten' | 'missing' {
  const isOn = (field: string) => info.get(field) === '1'
  if (!isOn('aof_enabled') || isOn('async_loading') || info.get('aof_last_write_status') !== 'ok') return 'missing'
  return isOn('aof_rewrite_in_progress') || isOn('aof_rewrite_scheduled') ? 'rewritten' : 'there'
}

/** Differs if the settings may have been changed: how often that was asked for since the server started. */
const changesIn = (info: ReadonlyMap<string, string>) =>
  ['set', 'resetstat'].map((name) => /^calls=\d+/.exec(info.get(`cmdstat_config|${name}`) ?? '')?.[0] ?? '').join()
const unchanged = changesIn(new Map())

/**
 * Checks whether an answered write is on the disk of the server. WAITAOF is not used: with everysec, Redis 7.4 and Valkey 8.0 answer
 * before they have written.
 */
export class Disk {
  readonly #where: string
  #trusted: { readonly client: RedisClient; readonly until: number; readonly changes: string } | undefined

  constructor(where: string) {
    this.#where = where
  }

  /**
   * Checks again for every new connection, which may lead to another server, and after a second.
   * @throws DURABILITY_UNAVAILABLE
   */
  async confirm(client: RedisClient): Promise<void> {
    const now = performance.now()
    const before = this.#trusted?.client === client ? this.#trusted : undefined
    if (before && now < before.until) return
    // The state comes first: settings that are changed in between are read afterwards.
    const info = parseInfo((await this.#ask(client, ['INFO', 'persistence', 'commandstats'], '+info')) as string)
    const config = toMap(
      (await this.#ask(client, ['CONFIG', 'GET', ...Object.keys(needed)], '+config|get')) as string[],
    )
    const wrong = Object.entries(needed).filter(([name, value]) => config.get(name) !== value)
    if (wrong.length > 0) {
      const later = config.get('appendonly') === 'yes' ? '' : ' It takes effect after the first rewrite of the file.'
      throw durabilityUnavailable(
        `Redis at ${this.#where} has ${wrong.map(([name]) => `${name}=${config.get(name)}`).join(', ')}`,
        `CONFIG SET ${wrong.flat().join(' ')}, and in its configuration file.${later}`,
      )
    }
    const changes = changesIn(info)
    this.#checkFile(info, changes === (before?.changes ?? unchanged))
    this.#trusted = { client, until: now + trustedMs, changes }
  }

  /** @param wasThere whether the file was there at the start or at the last check, and no setting changed since */
  #checkFile(info: ReadonlyMap<string, string>, wasThere: boolean): void {
    const file = fileOf(info)
    if (file === 'missing')
      throw durabilityUnavailable(
        `Redis at ${this.#where} does not write to its append-only file`,
        'Look at its log, and at INFO persistence.',
      )
    if (file === 'rewritten' && !wasThere)
      throw durabilityUnavailable(
        `Redis at ${this.#where} rewrites its append-only file, which may be the first after appendonly was switched on`,
        'Try again when aof_rewrite_in_progress is 0.',
      )
  }

  async #ask(client: RedisClient, command: Command, right: string): Promise<unknown> {
    try {
      return await callOn(client, command, askMs)
    } catch (error) {
      // The command that waits for this was not sent.
      if (error instanceof Lost) throw new Unsent(error.message, { cause: error.cause })
      // Providers take commands away, too.
      if (!['NOPERM', 'ERR'].includes(replyCode(error))) throw error
      const name = command[0] === 'CONFIG' ? 'CONFIG GET' : command[0]
      throw durabilityUnavailable(
        `this user may not run ${name} on Redis at ${this.#where}, so it is not known what is on disk`,
        `Allow it (${right}).`,
      )
    }
  }
}
