import type { Transaction } from '../port/engine.ts'

export type Rows = readonly Record<string, unknown>[]

/** Anything that was passed as `tx`; members are looked at before they are used. */
export type Candidate = Readonly<Record<PropertyKey, unknown>>

/** What an object turned out to be. */
export interface Recognised {
  /** For messages: 'Knex'. */
  readonly library: string
  /** False for a connection or a pool that is surely in no transaction. */
  readonly open: boolean
  readonly transaction: Transaction
}

/** @returns null for an object of another library */
export type Adapter = (candidate: Candidate) => Recognised | null

interface Spec<Tx> {
  readonly library: string
  /** Whether the object is of this library, be it a transaction or not. */
  fits(candidate: Candidate): boolean
  isOpen(tx: Tx): boolean
  query(tx: Tx, text: string, values: readonly unknown[]): Promise<Rows>
  /** The error of the driver inside the library's own, which has the SQLSTATE in `code`. */
  unwrap?(error: unknown): unknown
}

/** `Tx` is the library's transaction, cut down to what is used, so that no library has to be imported. */
export function adapter<Tx>({ library, fits, isOpen, query, unwrap = (error) => error }: Spec<Tx>): Adapter {
  return (candidate) => {
    if (!fits(candidate)) return null
    const tx = candidate as Tx
    return {
      library,
      open: isOpen(tx),
      transaction: {
        async query(text, values) {
          try {
            return { rows: await query(tx, text, values) }
          } catch (error) {
            throw unwrap(error)
          }
        },
      },
    }
  }
}

export const isFunction = (value: unknown): boolean => typeof value === 'function'

/** Drivers answer with the rows themselves or with an object that has them. */
export function rowsOf(result: unknown): Rows {
  if (Array.isArray(result)) return result as Rows
  return (result as { readonly rows: Rows }).rows
}
