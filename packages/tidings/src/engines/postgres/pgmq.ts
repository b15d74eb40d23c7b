import { TidingsError } from '../../core/errors.ts'
import type { Row } from './driver.ts'
import { statements } from './sql.gen.ts'

/** The version of extension pgmq as Tidings packages it: that of PGMQ whose functions it has. */
export const extensionVersion = '1.13.1+tidings'

/** What the schema `pgmq` of a database is. */
export interface PgmqSchema {
  /** `none`: Tidings makes it; `ours`: Tidings made it; `attached`: it is PGMQ's own. */
  readonly mode: 'none' | 'ours' | 'attached'
  /** The version of the extension, where it is one. */
  readonly extension: string | null
  /** Told by what is there; null before 1.5. */
  readonly version: string | null
  /** The version of the extension that the server offers, if any. */
  readonly available: string | null
}

export async function readPgmq(query: (text: string) => Promise<readonly Row[]>): Promise<PgmqSchema> {
  const [row] = (await query(statements.pgmq)) as [Row]
  return {
    mode: row.there !== true ? 'none' : row.ours === true ? 'ours' : 'attached',
    extension: row.extension as string | null,
    version: row.version as string | null,
    available: row.available as string | null,
  }
}

/** One line for people. */
export function describePgmq({ mode, extension, version }: PgmqSchema): string {
  if (mode !== 'attached')
    return `the schema pgmq is of Tidings${extension === null ? '' : `, as extension pgmq ${extension}`}`
  return extension === null
    ? `attached to PGMQ ${version}, an SQL install (told by what is there)`
    : `attached to PGMQ ${extension}, an extension`
}

/** @throws UNSUPPORTED for a PGMQ that is too old to share queues with */
export function refuseOldPgmq({ mode, extension, version }: PgmqSchema): void {
  if (mode !== 'attached' || version !== null) return
  const found = extension === null ? 'an SQL install of PGMQ before 1.5' : `PGMQ ${extension}`
  throw new TidingsError('UNSUPPORTED', `the schema pgmq is ${found}, and Tidings takes 1.5 or newer`, {
    hint:
      extension === null
        ? 'Upgrade it with the SQL files of PGMQ, or use another database.'
        : 'Run `ALTER EXTENSION pgmq UPDATE` with newer files of PGMQ, or use another database.',
  })
}
