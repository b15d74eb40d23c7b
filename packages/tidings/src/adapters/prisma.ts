import { adapter, isFunction, type Rows } from './adapter.ts'

/** The `tx` that Prisma passes to `prisma.$transaction(async (tx) => …)`. */
export interface PrismaTransaction {
  $queryRawUnsafe(text: string, ...values: never[]): PromiseLike<unknown>
}

interface PrismaClient {
  $queryRawUnsafe(text: string, ...values: readonly unknown[]): PromiseLike<Rows>
  readonly $connect?: unknown
}

export const prisma = adapter<PrismaClient>({
  library: 'Prisma',
  fits: (candidate) => isFunction(candidate.$queryRawUnsafe),
  // Prisma takes this method away from the client of a transaction.
  isOpen: (tx) => tx.$connect === undefined,
  query: async (tx, text, values) => tx.$queryRawUnsafe(text, ...values),
  unwrap: (error) => driverError(error) ?? error,
})

interface PrismaError {
  readonly meta?: {
    /** Up to version 6. */
    readonly code?: string
    readonly message?: string
    readonly driverAdapterError?: {
      readonly cause?: { readonly originalCode?: string; readonly originalMessage?: string }
    }
  }
}

function driverError(error: unknown): Error | undefined {
  const meta = (error as PrismaError | null)?.meta
  const { originalCode, originalMessage } = meta?.driverAdapterError?.cause ?? {}
  const code = originalCode ?? meta?.code
  if (code === undefined) return undefined
  const message = originalMessage ?? meta?.message ?? String(error)
  return Object.assign(new Error(message, { cause: error }), { code })
}
