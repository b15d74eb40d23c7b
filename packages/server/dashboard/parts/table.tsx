import type { ComponentChildren } from 'preact'
import type { Held } from '../live.ts'
import { count, counted } from './format.ts'

export interface Column<T> {
  readonly name: string
  readonly label: ComponentChildren
  /** Numbers stand to the right. */
  readonly isNumber?: boolean
  /** Left out on narrow screens, from the least important on: 1 goes first. */
  readonly goes?: 1 | 2 | 3
  readonly grows?: boolean
  readonly sort?: () => void
  readonly sorted?: 'ascending' | 'descending' | undefined
  readonly cell: (row: T) => ComponentChildren
}

interface Props<T> {
  readonly label: string
  readonly columns: readonly Column<T>[]
  /** Held: what comes while somebody reads is counted above the table. */
  readonly rows: readonly T[] | Held<T>
  readonly keyOf: (row: T) => string
  readonly classOf?: (row: T) => string
}

/** Rows are gone through with the arrow keys: the first link or button of each takes the focus. */
export function Table<T>({ label, columns, rows: given, keyOf, classOf }: Props<T>) {
  const held: Partial<Held<T>> = 'rows' in given ? given : { rows: given }
  return (
    <div class="table-frame" data-held>
      <div class="fresh" role="status">
        {held.fresh ? (
          <button type="button" onClick={held.show}>
            {count(held.fresh)} new: show
          </button>
        ) : null}
      </div>
      <div class="table">
        <table onKeyDown={walk}>
          <caption class="unseen">{label}</caption>
          <thead>
            <tr>
              {columns.map((column) => (
                <th key={column.name} scope="col" class={classes(column)} aria-sort={column.sorted}>
                  {column.sort ? (
                    <button type="button" class="sort" onClick={column.sort}>
                      {column.label}
                      <span aria-hidden="true" class="arrow">
                        {column.sorted === 'ascending' ? '↑' : column.sorted === 'descending' ? '↓' : ''}
                      </span>
                    </button>
                  ) : (
                    column.label
                  )}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {held.rows?.map((row) => (
              <tr key={keyOf(row)} class={[held.isGone?.(row) && 'gone', classOf?.(row)].filter(Boolean).join(' ')}>
                {columns.map((column) => (
                  <td key={column.name} class={classes(column)}>
                    {column.cell(row)}
                  </td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </div>
  )
}

const classes = ({ name, isNumber, goes, grows }: Column<never>) =>
  [`c-${name}`, isNumber && 'number', goes && `goes-${goes}`, grows && 'grows'].filter(Boolean).join(' ')

const steps: Readonly<Record<string, number>> = {
  ArrowDown: 1,
  ArrowUp: -1,
  PageDown: 10,
  PageUp: -10,
  Home: Number.NEGATIVE_INFINITY,
  End: Number.POSITIVE_INFINITY,
}

function walk(event: KeyboardEvent): void {
  const { target, key } = event
  const step = steps[key]
  if (step === undefined || !(target instanceof HTMLElement) || target.matches('input, select, textarea')) return
  const row = target.closest('tr')
  const rows = [...(row?.parentElement?.children ?? [])]
  if (row === null || row.closest('tbody') === null) return
  const to = rows[Math.max(0, Math.min(rows.length - 1, rows.indexOf(row) + step))]
  const next = to?.querySelector<HTMLElement>('a, button')
  if (!next) return
  event.preventDefault()
  next.focus()
}

interface PagingProps {
  readonly first: (() => void) | null
  readonly next: (() => void) | null
  readonly shown: number
  readonly noun: string
  readonly beside?: string | undefined
}

/** A cursor knows forward; back is what the browser does. */
export const Paging = ({ first, next, shown, noun, beside }: PagingProps) => (
  <nav class="paging" aria-label={`Further ${noun}s`}>
    <span class="muted">{[`${counted(shown, noun)} shown`, beside].filter(Boolean).join(', ')}</span>
    <button type="button" disabled={first === null} onClick={() => first?.()}>
      To the start
    </button>
    <button type="button" disabled={next === null} onClick={() => next?.()}>
      Next
    </button>
  </nav>
)

/** A column of check boxes; that of the head chooses all rows that are shown. */
export function Chooser<T extends { readonly id: string }>(
  rows: readonly T[],
  chosen: ReadonlySet<string>,
  onChange: (chosen: ReadonlySet<string>) => void,
): Column<T> {
  const isAll = rows.length > 0 && rows.every(({ id }) => chosen.has(id))
  return {
    name: 'choose',
    label: (
      <input
        type="checkbox"
        aria-label="Choose all that are shown"
        checked={isAll}
        onChange={() => onChange(isAll ? new Set() : new Set([...chosen, ...rows.map(({ id }) => id)]))}
      />
    ),
    cell: ({ id }) => (
      <input
        type="checkbox"
        aria-label={`Choose message ${id}`}
        checked={chosen.has(id)}
        onChange={(event) => {
          const next = new Set(chosen)
          if (event.currentTarget.checked) next.add(id)
          else next.delete(id)
          onChange(next)
        }}
      />
    ),
  }
}
