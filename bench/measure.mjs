// Small helpers for benchmarks: rounds, median and spread, a table.

/** Runs every scenario once a round, in turn, so that a slow moment of the machine hits all of them alike. */
export async function measure(scenarios, rounds, log) {
  const figures = new Map(scenarios.map(({ name }) => [name, []]))
  for (let round = 1; round <= rounds; round++)
    for (const { name, run } of scenarios) {
      log(`round ${round} of ${rounds}: ${name}`)
      figures.get(name).push(await run())
    }
  return scenarios.map(({ name, unit }) => ({ name, unit, ...summary(figures.get(name)) }))
}

const summary = (values) => ({
  median: median(values),
  min: Math.min(...values),
  max: Math.max(...values),
  rounds: values.length,
})

export function median(values) {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length / 2
  return sorted.length % 2 ? sorted[Math.floor(middle)] : (sorted[middle - 1] + sorted[middle]) / 2
}

export function percentile(values, share) {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]
}

/** Runs `count` tasks with `width` of them in flight; resolves to tasks a second. */
export async function throughput(count, width, task) {
  let next = 0
  const startedAt = performance.now()
  await Promise.all(
    Array.from({ length: width }, async () => {
      while (next < count) await task(next++)
    }),
  )
  return (count / (performance.now() - startedAt)) * 1000
}

const number = (value) => (value >= 100 ? Math.round(value).toLocaleString('en') : value.toFixed(2))

export const printMedians = (results) =>
  printTable([
    ['what', 'median', 'spread'],
    ...results.map(({ name, unit, median, min, max }) => [
      name,
      `${number(median)} ${unit}`,
      `${number(min)} to ${number(max)}`,
    ]),
  ])

/** Rows of text, the first of which is the head. */
export function printTable(rows) {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)))
  for (const row of rows)
    console.log(
      row
        .map((cell, column) => (column ? cell.padStart(widths[column]) : cell.padEnd(widths[column])))
        .join('  ')
        .trimEnd(),
    )
}
