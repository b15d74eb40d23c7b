import { isTidingsError } from '../../core/errors.ts'
import type { NewMessage, Transaction } from '../../port/engine.ts'
import { fromAnswer } from './answer.ts'
import type { Driver, Row } from './driver.ts'
import { statements } from './sql.gen.ts'

/** How the engine sends its statements. */
export class Calls {
  readonly #driver: Driver

  constructor(driver: Driver) {
    this.#driver = driver
  }

  /** For what may be done twice without harm, after `undo` where that is given. */
  read(text: string, values: readonly unknown[], undo?: () => Promise<void>): Promise<Row[]> {
    return this.#driver.query(text, values, { repeatable: true, ...(undo ? { undo } : {}) })
  }

  /** For what must not be done twice: if the answer is lost, the outcome is unknown. */
  write(text: string, values: readonly unknown[]): Promise<Row[]> {
    return this.#driver.query(text, values, { repeatable: false })
  }

  /**
   * The same within a transaction, if there is one, whose library may rename columns and convert values.
   * @param text a statement whose one column has the rows as JSON text
   */
  async writeWithin(transaction: Transaction | null, text: string, values: readonly unknown[]): Promise<Row[]> {
    const rows = transaction
      ? await this.#driver.queryWithin(transaction, text, values)
      : await this.write(text, values)
    return fromAnswer(rows)
  }

  /**
   * Prepares a queue for ordering keys, priorities and groups. On a connection of its own: building an index inside the
   * application's transaction would lock the table.
   */
  async enableSorting(queue: string, messages: readonly NewMessage[]): Promise<void> {
    const keys = messages.some((message) => message.orderingKey !== null)
    const priorities = messages.some((message) => message.priority !== 0)
    const groups = messages.some((message) => (message.group ?? null) !== null)
    await this.read(statements.enable, [queue, keys, priorities, groups])
  }

  /** Prepares a queue for holds; see above. */
  async enableHolds(queue: string): Promise<void> {
    await this.read(statements.enable, [queue, false, false, true])
  }

  /**
   * Repeats a statement until all queues are prepared that it finds. Rows with `at` 0 name those that are not, and that
   * nothing was stored.
   * @param store takes the queues that are prepared, as JSON
   */
  async whereEnabled(
    messages: readonly NewMessage[],
    store: (enabled: string) => Promise<readonly Row[]>,
  ): Promise<readonly Row[]> {
    const enabled: string[] = []
    // Every round but the last one finds a queue that was not enabled before.
    for (;;) {
      const rows = await store(JSON.stringify(enabled))
      const missing = rows.filter((row) => row.at === 0).map((row) => row.queue as string)
      if (missing.length === 0) return rows
      for (const queue of missing) await this.#enableIfThere(queue, messages)
      enabled.push(...missing)
    }
  }

  async #enableIfThere(queue: string, messages: readonly NewMessage[]): Promise<void> {
    try {
      await this.enableSorting(queue, messages)
    } catch (error) {
      if (!isTidingsError(error, 'QUEUE_NOT_FOUND')) throw error
    }
  }
}
