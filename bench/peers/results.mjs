// From runs to figures: median and spread.
import { median, percentile, printTable } from '../measure.mjs'

/** The figures of a contender's runs. Void runs are counted, and say why. */
export function summary(runs) {
  const valid = runs.filter((run) => !run.void)
  const voided = runs.filter((run) => run.void).map((run) => run.void)
  const of = (name) => valid.map((run) => run[name]).filter((value) => typeof value === 'number')
  const figures = {}
  for (const name of [
    'rate',
    'client',
    'server',
    'statements',
    'clientMs',
    'serverMs',
    'walBytes',
    'deadRows',
    'bytesLeft',
  ])
    if (of(name).length > 0) figures[name] = spread(of(name))
  const latencies = valid.flatMap((run) => (run.latencies ? [...run.latencies] : []))
  if (latencies.length > 0)
    for (const [name, share] of [
      ['p50', 0.5],
      ['p99', 0.99],
      ['p999', 0.999],
    ])
      figures[name] = { median: percentile(latencies, share), samples: latencies.length }
  return { figures, runs: valid.length, ...(voided.length > 0 ? { voided } : {}) }
}

const spread = (values) => ({ median: median(values), min: Math.min(...values), max: Math.max(...values) })

/** What a figure is called, and how it is written. */
export const columns = {
  rate: { title: 'a second', digits: 0 },
  client: { title: 'client µs', digits: 1 },
  server: { title: 'server µs', digits: 1 },
  p50: { title: 'p50 ms', digits: 2 },
  p99: { title: 'p99 ms', digits: 1 },
  p999: { title: 'p99.9 ms', digits: 1 },
  statements: { title: 'statements/s', digits: 2 },
  clientMs: { title: 'client ms/s', digits: 2 },
  serverMs: { title: 'server ms/s', digits: 2 },
  walBytes: { title: 'WAL bytes', digits: 0 },
  deadRows: { title: 'dead rows', digits: 2 },
  bytesLeft: { title: 'bytes left', digits: 0 },
}

export const show = (value, digits) =>
  value === undefined
    ? ''
    : value >= 100 || digits === 0
      ? value >= 10 || digits > 0
        ? Math.round(value).toLocaleString('en')
        : value.toFixed(1)
      : value.toFixed(digits)

/** Rows of text: the head, then a row for each contender. */
export function tableOf({ contenders }) {
  const shown = Object.keys(columns).filter((name) => contenders.some(({ figures }) => figures[name]))
  const head = [
    '',
    ...shown.flatMap((name) => (name === 'rate' ? [columns.rate.title, 'spread'] : [columns[name].title])),
  ]
  const rows = contenders.map(({ title, figures, voided }) => [
    voided ? `${title} (void)` : title,
    ...shown.flatMap((name) => {
      const { digits } = columns[name]
      const figure = figures[name]
      const text = show(figure?.median, digits)
      return name === 'rate' ? [text, figure ? `${show(figure.min, 0)} to ${show(figure.max, 0)}` : ''] : [text]
    }),
  ])
  return [head, ...rows]
}

/** Why runs of it are void. */
export const notesOf = ({ contenders }) =>
  contenders
    .filter(({ voided }) => voided)
    .map(({ title, runs, voided }) => `void, ${voided.length} of ${runs + voided.length}: ${title}: ${voided[0]}`)

export function printResults(result) {
  console.log(`\n${result.workload} (${result.seconds.toFixed(0)} s)`)
  printTable(tableOf(result))
  for (const note of notesOf(result)) console.log(note)
}
