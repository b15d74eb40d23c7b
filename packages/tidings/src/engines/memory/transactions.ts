import { TidingsError } from '../../core/errors.ts'
import type { Transaction } from '../../port/engine.ts'

export function refuse(transaction: Transaction | null): void {
  if (transaction !== null) throw unsupported()
}

export function unsupported(): TidingsError {
  return new TidingsError('UNSUPPORTED', 'the memory engine has no transactions', {
    details: { feature: 'transactions' },
  })
}
