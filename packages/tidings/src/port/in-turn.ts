import { newTurns } from '../core/in-turn.ts'
import type { Transaction } from './engine.ts'

/** One statement after the other, also where they are not awaited: not every driver can wait by itself. */
export function inTurn(transaction: Transaction): Transaction {
  const run = newTurns()
  return { query: (text, values) => run(() => transaction.query(text, values)) }
}
