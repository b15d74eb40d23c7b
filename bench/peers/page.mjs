// docs/benchmarks.md and the charts beside it, from one run.
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { cpus, totalmem } from 'node:os'
import { fileURLToPath } from 'node:url'
import { barChart } from './chart.mjs'
import { columns, notesOf, show, tableOf } from './results.mjs'
import { judge } from './targets.mjs'

const docs = fileURLToPath(new URL('../../docs/', import.meta.url))

/** By workload: which figure makes the chart. */
const charted = {
  'send, 1 in flight': 'rate',
  'send, 50 in flight': 'rate',
  'send in bulk of 100, 4 in flight': 'rate',
  'process, defaults': 'rate',
  'process, best settings': 'rate',
  'process in strict order': 'rate',
  'send and process at once, two processes': 'rate',
  'latency, 50 messages a second': 'p99',
  'traces of a message on PostgreSQL': 'walBytes',
}

export function writePage(report) {
  const folder = `${docs}benchmarks`
  mkdirSync(folder, { recursive: true })
  for (const name of readdirSync(folder)) rmSync(`${folder}/${name}`)
  const sections = report.results.map((result) => {
    const chart = chartOf(result)
    const file = `${result.workload.replaceAll(/\W+/g, '-')}.svg`
    if (chart) writeFileSync(`${folder}/${file}`, chart)
    return [
      `### ${result.workload}`,
      ...(chart ? [`![${result.workload}](benchmarks/${file})`] : []),
      markdown(tableOf(result)),
      ...notesOf(result).map((note) => `_${note}_`),
    ].join('\n\n')
  })
  const targets = judge(report.results)
  const reached = targets.filter((target) => target.reached)
  const measured = targets.filter((target) => target.reached !== null)
  const page = [
    '# Benchmarks',
    intro(report),
    '## How to read it',
    legend,
    '## Targets',
    `What Tidings aims at, as ratios within one run: ${reached.length} of ${measured.length} are reached. "bare" is the same
ratio of the plain statements or commands of the storage. What was tried for the others, and where the limit is, stands
in [decision 131](decisions/0131-which-targets-of-speed-are-not-reached.md).`,
    markdown([
      ['target', 'measured', 'reached', 'bare'],
      ...targets.map(({ target, measured, reached, bare = '' }) => [
        target,
        measured,
        { true: 'yes', false: '**no**', null: '' }[reached],
        bare,
      ]),
    ]),
    '## Figures',
    ...sections,
    '',
  ]
  writeFileSync(`${docs}benchmarks.md`, page.join('\n\n').trimEnd() + '\n')
}

function intro({ note, rounds, minutes, servers }) {
  const { dependencies } = JSON.parse(readFileSync(new URL('package.json', import.meta.url), 'utf8'))
  const versions = Object.entries(dependencies).map(([name, version]) => `${name} ${version}`)
  const machine = `${cpus().length} × ${cpus()[0].model.trim()}, ${Math.round(totalmem() / 2 ** 30)} GB`
  return [
    'Made by `npm run bench:peers -- --write`; by hand nothing is changed here.',
    '',
    `- **When**: ${new Date().toISOString().slice(0, 10)}, ${rounds} ${rounds === 1 ? 'round' : 'rounds'}, ${minutes.toFixed(0)} minutes`,
    `- **Machine**: ${machine}, Node ${process.version.slice(1)}; client and server share it`,
    `- **Servers**: ${servers.join('; ')}. All wait for the disk as they do by default: fsync and synchronous_commit on`,
    `- **Peers**: ${versions.join(', ')}`,
    ...(note ? [`- **Note**: ${note}`] : []),
  ].join('\n')
}

const legend = `- A row is a contender: a peer, the server it works on, and "best" for its best settings, which its module in
  [bench/peers/peers](../bench/peers/peers) names together with the page they come from. Without "best" it is as it comes.
- "raw SQL" and "raw Redis" are the statements and commands themselves, with a driver and no queue around them.
- pgmq-js runs on the functions of PGMQ that Tidings installs; the extension is not in the included PostgreSQL.
- **a second** is the median of the rounds, and the spread from the slowest to the fastest. The contenders ran one after the
  other in each round, on connections that had been used before.
- **client µs** and **server µs** are CPU time for each message, of all processes of the client and of the server. They
  change little when a machine is busy, which rates and latencies do.
- A message has 100 bytes where nothing else is said. After each run what was sent, what handlers got and what is left in
  the storage are compared by ids. A run that loses or doubles one, or breaks an order that the peer promises, is void: it
  counts for nothing, and its row says so.
- graphile-worker leaves the last job that it handled locked when it is stopped; one for each process is not held against it.
- A rate of 0 is one of less than a message in the measured time: pg-boss looks every two seconds by default.`

/** As the formatter wants it. */
function markdown(rows) {
  const widths = rows[0].map((_, at) => Math.max(3, ...rows.map((row) => row[at].length)))
  const line = (cells) => `| ${cells.join(' | ')} |`
  const [head, ...body] = rows.map((row) =>
    line(row.map((cell, at) => (at ? cell.padStart(widths[at]) : cell.padEnd(widths[at])))),
  )
  const rule = line(widths.map((width, at) => (at ? `${'-'.repeat(width - 1)}:` : '-'.repeat(width))))
  return [head, rule, ...body].join('\n')
}

function chartOf({ workload, contenders }) {
  const name = charted[workload]
  const bars = contenders.filter(({ figures }) => figures[name])
  if (!name || bars.length === 0) return undefined
  return barChart(
    `${workload}: ${columns[name].title}`,
    bars.map(({ title, key, figures }) => ({
      title,
      isOurs: key === 'tidings',
      value: figures[name].median,
      text: show(figures[name].median, columns[name].digits),
    })),
  )
}
