import type { Transaction } from './engine.ts'

/** One statement after the other, also where they are not awaited: not every driver can wait by itself. */
export function inTurn(transaction: Transaction): Transaction {
  let last: Promise<unknown> = Promise.resolve()
  return {
    query(text, values) {
      const result = last.then(() => transaction.query(text, values))
      last = result.catch(() => {})
      return result
    },
  }
}
