// What the demo prints: lines with the time, and a table.
const colours = process.stdout.isTTY && !process.env.NO_COLOR
const paint = (code) => (text) => (colours ? `\u001b[${code}m${text}\u001b[0m` : text)
export const bold = paint(1)
export const dim = paint(2)
export const red = paint(31)
export const green = paint(32)

export const number = (n) => n.toLocaleString('en-US')

const startedAt = performance.now()
export function say(text) {
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1)
  console.log(`${dim(`${seconds.padStart(5)}s`)}  ${text}`)
}

/** @param titles key of the rows → title of the column */
export function printTable(rows, titles) {
  const cells = rows.map((row) =>
    Object.keys(titles).map((key) => (typeof row[key] === 'number' ? number(row[key]) : row[key])),
  )
  const all = [Object.values(titles), ...cells]
  const widths = all[0].map((_, column) => Math.max(...all.map((row) => row[column].length)))
  const lines = all.map((row) =>
    row.map((text, column) => (column === 0 ? text.padEnd(widths[0]) : text.padStart(widths[column]))).join('  '),
  )
  console.log(`\n${bold(lines[0])}\n${lines.slice(1).join('\n')}\n`)
}
