import { TidingsError } from '../../core/errors.ts'

/**
 * The rows that a statement answers as JSON text in its one column, whatever the library of a transaction makes of columns.
 * @throws STORAGE_FAILED where it makes something of text, too
 */
export function fromAnswer<Row>(rows: readonly object[], parse: (text: string) => unknown = JSON.parse): Row[] {
  const [answer] = Object.values(rows[0] ?? {})
  try {
    return parse(answer as string) as Row[]
  } catch (cause) {
    throw new TidingsError('STORAGE_FAILED', 'the library of the transaction changed the answer of PostgreSQL', {
      cause,
      hint: 'Let it pass on columns of type text as they are. Roll the transaction back: what it did is not known.',
    })
  }
}
