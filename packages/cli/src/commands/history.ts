import { Argument } from 'commander'
import { type History, type HistoryPoint, historyOptions } from 'tidings/internal/bus/history'
import { checkQueueName } from 'tidings/internal/core/names'
import { command } from '../command.ts'
import { withContext } from '../context.ts'
import { asText, Flags } from '../flags.ts'
import { count, roughly, table } from '../output.ts'

const time = asText('time')
const flags = new Flags(historyOptions, { since: time, until: time })

export const history = () =>
  flags
    .addTo(
      command(
        'history',
        'Shows what a queue looked like in the last hour or days, and what was done in it.',
        'tidings queue history orders',
        'tidings queue history orders --since 2026-11-01T10:00:00Z --step 5',
      ),
    )
    .addArgument(
      new Argument('[queue]', 'name of the queue; all together if it is left out').argParser((name) =>
        checkQueueName(name),
      ),
    )
    .action(
      withContext(async ({ flagValues, out, connect }, name) => {
        const bus = await connect()
        const options = flags.read(flagValues)
        const found = await (name === undefined ? bus.history(options) : bus.queue(name).history(options))
        out.result(found, () => describe(found))
      }),
    )

/** Whether it is what there was at a moment; the others are counted in each step. */
const figures = {
  ready: true,
  leased: true,
  delayed: true,
  oldestReadyMs: true,
  sent: false,
  done: false,
  failed: false,
  dead: false,
} as const satisfies Record<Exclude<keyof HistoryPoint, 'at'>, boolean>
type Figure = keyof typeof figures

function describe({ queue, since, until, stepMinutes, points, latency }: History): string {
  const moment = (date: Date) => `${date.toISOString().slice(0, 16)}Z`
  const handed = latency.reduce((sum, one) => sum + one.count, 0)
  const span = `${moment(since)} to ${moment(until)}, ${count(stepMinutes, 'minute')} a step`
  const latencies = [50, 95, 99].map((percent) => `p${percent} ${quantile(latency, (handed * percent) / 100)}`)
  return [
    `${queue ?? 'all queues'}: ${span}`,
    table(Object.keys(figures) as Figure[], [
      ['FIGURE', (figure) => (figure === 'oldestReadyMs' ? 'oldest ready' : figure)],
      ['LAST', (figure) => shown(figure, valuesOf(points, figure).at(-1) ?? null)],
      ['MOST', (figure) => shown(figure, greatest(valuesOf(points, figure)))],
      ['ALL', (figure) => (figures[figure] ? null : sum(valuesOf(points, figure)))],
      ['', (figure) => graph(valuesOf(points, figure))],
    ]),
    ...(handed > 0 ? [`from being sent to a reader: ${latencies.join(', ')}`] : []),
  ].join('\n')
}

const valuesOf = (points: readonly HistoryPoint[], figure: Figure) => points.map((point) => point[figure])

const shown = (figure: Figure, value: number | null) =>
  figure === 'oldestReadyMs' && value !== null ? roughly(value) : value

const known = (values: readonly (number | null)[]) => values.filter((value) => value !== null)
const sum = (values: readonly (number | null)[]) => known(values).reduce((all, one) => all + one, 0)
const greatest = (values: readonly (number | null)[]) =>
  known(values).reduce<number | null>((most, one) => Math.max(most ?? one, one), null)

const bars = '▁▂▃▄▅▆▇█'
const widest = 60

/** The greatest value of each part; a gap where none is known. */
function graph(values: readonly (number | null)[]): string {
  const each = Math.max(1, Math.ceil(values.length / widest))
  const parts = Array.from({ length: Math.ceil(values.length / each) }, (_, index) =>
    greatest(values.slice(index * each, (index + 1) * each)),
  )
  const most = greatest(parts) ?? 0
  const bar = (value: number) => bars[most === 0 ? 0 : Math.ceil((value / most) * (bars.length - 1))]
  return parts.map((part) => (part === null ? ' ' : bar(part))).join('')
}

/** The class of latency in which so many messages were as fast. */
function quantile(latency: History['latency'], messages: number): string {
  let faster = 0
  for (const { upToMs, count } of latency) {
    faster += count
    if (faster >= messages) return upToMs === null ? 'over 1h' : `≤ ${upToMs < 1_000 ? `${upToMs}ms` : roughly(upToMs)}`
  }
  return 'over 1h'
}
