import type { Clock } from '../../core/clock.ts'
import { TidingsError } from '../../core/errors.ts'
import type { Transaction } from '../../port/engine.ts'

/**
 * - refuse: there are none
 * - atOnce: what is done in a transaction of the application is done at once, as if it had committed
 * - byHand: it is done when `commit` is called for that transaction
 *
 * In both of the latter the engine has transactions of its own.
 */
export type TransactionMode = 'refuse' | 'atOnce' | 'byHand'

export interface MemoryOptions {
  readonly clock?: Clock
  /** Default: 'refuse'. */
  readonly transactions?: TransactionMode
}

/** What is done in it waits here until it commits. Ids, dedup ids and targets are given at once, and given back. */
export class MemoryTransaction implements Transaction {
  readonly #commits: (() => void)[] = []
  readonly #undos: (() => void)[] = []
  /** Receipts that were good for a settlement in it. */
  readonly used = new Set<string>()
  #isOver = false

  query(): Promise<never> {
    return Promise.reject(
      new TidingsError('UNSUPPORTED', 'a transaction in memory takes no statements', {
        hint: 'Test what writes to the database of the application with that database.',
      }),
    )
  }

  add(commit: () => void, undo?: () => void): void {
    this.#commits.push(commit)
    if (undo) this.#undos.unshift(undo)
  }

  commit(): void {
    this.#end()
    for (const commit of this.#commits) commit()
  }

  rollBack(): void {
    this.#end()
    for (const undo of this.#undos) undo()
  }

  #end(): void {
    this.checkOpen()
    this.#isOver = true
  }

  checkOpen(): void {
    if (this.#isOver) throw new TidingsError('CLOSED', 'the transaction has ended')
  }
}

export class Transactions {
  readonly mode: TransactionMode
  readonly #known = new WeakMap<Transaction, MemoryTransaction>()

  constructor(mode: TransactionMode) {
    this.mode = mode
  }

  /** @returns where it has to wait; null: nowhere. @throws UNSUPPORTED, CLOSED */
  within(transaction: Transaction | null): MemoryTransaction | null {
    if (transaction === null) return null
    if (this.mode === 'refuse') throw unsupported()
    const known = transaction instanceof MemoryTransaction ? transaction : this.#known.get(transaction)
    known?.checkOpen()
    if (known !== undefined || this.mode === 'atOnce') return known ?? null
    const own = new MemoryTransaction()
    this.#known.set(transaction, own)
    return own
  }

  async run<T>(work: (transaction: Transaction) => Promise<T>): Promise<T> {
    if (this.mode === 'refuse') throw unsupported()
    const transaction = new MemoryTransaction()
    try {
      const result = await work(transaction)
      transaction.commit()
      return result
    } catch (error) {
      transaction.rollBack()
      throw error
    }
  }
}

export function unsupported(): TidingsError {
  return new TidingsError('UNSUPPORTED', 'the memory engine has no transactions', {
    details: { feature: 'transactions' },
  })
}
