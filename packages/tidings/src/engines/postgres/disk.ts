import type { Transaction } from '../../port/engine.ts'
import { durabilityUnavailable } from '../../port/refusals.ts'
import type { Calls } from './calls.ts'
import { statements } from './sql.gen.ts'

/** Settings change without a word, and after a failover they are those of another server. */
const trustedMs = 1_000

/** Looks whether a commit is on disk when the server says so. */
export class Disk {
  readonly #calls: Calls
  /** Until when what was found of a queue is believed. */
  readonly #trusted = new Map<string, number>()

  constructor(calls: Calls) {
    this.#calls = calls
  }

  /**
   * @param transaction the application's own, which may have a setting of its own
   * @throws DURABILITY_UNAVAILABLE
   */
  async confirm(queue: string, transaction: Transaction | null): Promise<void> {
    const now = performance.now()
    if (transaction === null && now < (this.#trusted.get(queue) ?? 0)) return
    const [row] = await this.#calls.writeWithin(transaction, statements.disk, [queue])
    if (row?.fsync !== 'on') throw durabilityUnavailable(`fsync=${row?.fsync}`, 'Turn fsync on for the server.')
    if (row.synchronous_commit === 'off')
      throw durabilityUnavailable(
        'synchronous_commit=off',
        'Set synchronous_commit to on, for the database, the role or the transaction.',
      )
    if (row.unlogged === true)
      throw durabilityUnavailable(
        `queue '${queue}' is unlogged: a crash of the server empties it`,
        `ALTER TABLE pgmq."q_${queue}" SET LOGGED.`,
      )
    if (transaction !== null) return
    for (const [other, until] of this.#trusted) if (until <= now) this.#trusted.delete(other)
    this.#trusted.set(queue, now + trustedMs)
  }
}
