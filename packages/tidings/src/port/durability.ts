import { TidingsError } from '../core/errors.ts'

/** @param found why it cannot be promised; @param remedy what to do about that */
export function durabilityUnavailable(found: string, remedy: string): TidingsError {
  return new TidingsError('DURABILITY_UNAVAILABLE', `durability 'fsync' cannot be promised: ${found}`, {
    hint: `${remedy} Nothing was stored.`,
    details: { field: 'durability' },
  })
}
