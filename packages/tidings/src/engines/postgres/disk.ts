import { durabilityUnavailable } from '../../port/durability.ts'
import type { Transaction } from '../../port/engine.ts'
import type { Calls } from './calls.ts'
import { statements } from './sql.gen.ts'

/** Settings change without a word, and after a failover they are those of another server. */
const trustedMs = 1_000

/** Looks whether a commit is on disk when the server says so. */
export class Disk {
  readonly #calls: Calls
  #lookAgainAt = 0

  constructor(calls: Calls) {
    this.#calls = calls
  }

  /**
   * @param transaction the application's own, which may have a setting of its own
   * @throws DURABILITY_UNAVAILABLE
   */
  async confirm(transaction: Transaction | null): Promise<void> {
    const now = performance.now()
    if (transaction === null && now < this.#lookAgainAt) return
    const [row] = transaction
      ? await this.#calls.writeWithin(transaction, statements.disk, [])
      : await this.#calls.read(statements.disk, [])
    if (row?.fsync !== 'on') throw durabilityUnavailable(`fsync=${row?.fsync}`, 'Turn fsync on for the server.')
    if (row.synchronous_commit === 'off')
      throw durabilityUnavailable(
        'synchronous_commit=off',
        'Set synchronous_commit to on, for the database, the role or the transaction.',
      )
    if (transaction === null) this.#lookAgainAt = now + trustedMs
  }
}
