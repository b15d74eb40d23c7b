import { styleText } from 'node:util'

/** Prints results: for people, or with `--json` one JSON document (JSON Lines from long-running commands). */
export class Output {
  readonly json: boolean

  constructor(json: boolean) {
    this.json = json
  }

  /** The result of a command, in one of its two forms. */
  result(value: unknown, human: () => string): void {
    this.line(this.json ? toText(value) : human())
  }

  line(text: string): void {
    process.stdout.write(`${text}\n`)
  }

  /** A note to people beside the result, on standard error. */
  note(text: string): void {
    process.stderr.write(`${text}\n`)
  }
}

let onClosed: () => void = () => process.exit(0)

/** A closed output (`| head -1`) is no error. */
export function guardOutput(): void {
  for (const stream of [process.stdout, process.stderr])
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE') throw error
      onClosed()
    })
}

/** Replaces the immediate exit on a closed output. */
export function whenOutputCloses(stop: () => void): void {
  onClosed = stop
}

const bigintMark = '\u0000bigint:'

/** JSON text; integers beyond 2^53 keep their digits. NUL characters are in no message, so the mark is safe. */
export function toText(value: unknown): string {
  const text = JSON.stringify(value, (_, one: unknown) => (typeof one === 'bigint' ? bigintMark + one : one))
  return text.replace(/"\\u0000bigint:(-?\d+)"/g, '$1')
}

/** Text from a message, without anything that a terminal would obey. */
export function printable(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the pattern looks for them
  return text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, (one) => {
    return `\\u${one.charCodeAt(0).toString(16).padStart(4, '0')}`
  })
}

/** For a cell of a table. */
export function inOneLine(text: string): string {
  const line = text.replace(/\s+/g, ' ')
  return line.length > 60 ? `${line.slice(0, 57)}...` : line
}

export type Column<T> = readonly [title: string, cell: (row: T) => string | number | Date | null]

/** Rows under their titles; numbers to the right, times as ISO 8601, `null` as a dash. */
export function table<T>(rows: readonly T[], columns: readonly Column<T>[]): string {
  const cells = rows.map((row) => columns.map(([, cell]) => cell(row)))
  const texts = cells.map((row) => row.map((cell) => printable(cellText(cell))))
  const rightAligned = columns.map((_, index) => cells.some((row) => typeof row[index] === 'number'))
  const widths = columns.map(([title], index) => Math.max(title.length, ...texts.map((row) => row[index]!.length)))
  const line = (row: readonly string[]) =>
    row
      .map((text, index) => (rightAligned[index] ? text.padStart(widths[index]!) : text.padEnd(widths[index]!)))
      .join('  ')
      .trimEnd()
  return [bold(line(columns.map(([title]) => title))), ...texts.map(line)].join('\n')
}

function cellText(cell: string | number | Date | null): string {
  if (cell === null) return '-'
  return cell instanceof Date ? cell.toISOString() : String(cell)
}

export const bold = (text: string) => styleText('bold', text)
export const dim = (text: string) => styleText('dim', text)
export const red = (text: string) => styleText('red', text, { stream: process.stderr })

/** A time span as people say it, in its largest unit: 61,234 ms → '1m'. */
export function roughly(milliseconds: number): string {
  const seconds = Math.round(Math.max(0, milliseconds) / 1000)
  if (seconds < 60) return `${seconds}s`
  if (seconds < 3600) return `${Math.round(seconds / 60)}m`
  if (seconds < 86_400) return `${Math.round(seconds / 3600)}h`
  return `${Math.round(seconds / 86_400)}d`
}

/** `1 message`, `2 messages`. */
export const count = (n: number, noun: string, plural = `${noun}s`) =>
  `${n.toLocaleString('en-US')} ${n === 1 ? noun : plural}`
