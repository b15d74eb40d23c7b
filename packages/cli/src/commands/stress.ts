import { TidingsError } from 'tidings/internal/core/errors'
import * as option from 'tidings/internal/core/options'
import { requiredShare } from 'tidings-testkit/internal/stress/checker/load'
import type { Spread } from 'tidings-testkit/internal/stress/figures'
import { stressOptions } from 'tidings-testkit/internal/stress/options'
import type { StressReport } from 'tidings-testkit/internal/stress/stress'
import { command } from '../command.ts'
import { withContext } from '../context.ts'
import { redact } from '../environment.ts'
import { asText, Flags } from '../flags.ts'
import { count, printable, table, toText } from '../output.ts'

const flags = new Flags(stressOptions, { history: asText('folder') })

export const stress = () =>
  flags
    .addTo(
      command(
        'stress',
        'Sends, handles, kills and seeks in several processes, and proves that nothing went wrong.',
        'tidings stress --seconds 60 --seed 7',
      ),
    )
    .addHelpText('after', what)
    .action(
      withContext(async ({ flagValues, out, connect, target }) => {
        const options = option.parseOptions(stressOptions, flags.read(flagValues), 'stress')
        const { url } = await target()
        if (url.startsWith('memory:'))
          throw new TidingsError('UNSUPPORTED', 'memory: belongs to one process, and stress needs several', {
            hint: 'Pass another --url; local:.tidings is the PostgreSQL that comes with Tidings.',
          })
        const { stress: run } = await import('tidings-testkit/internal/stress/stress')
        const report = await run(await connect(), url, options, (text) => out.note(text))
        out.result({ storage: redact(url), ...report }, () => describe(report))
        if (!report.valid) process.exitCode = 1
      }),
    )

const what = `
It creates queues and topics of its own, and removes them if all went well. Every process writes a history: what it was
about to do, and what the storage answered. A checker compares the histories with what there is at the end. It looks for
messages that were lost, that nobody sent, that were stored twice, are in two states, came again after their end, came
more often than allowed or out of order; in topics for gaps, for messages that a subscription passed over, and for two
consumers at a time. A run that came to less than a quarter of its planned load (messages sent, handled and read, kills,
seeks) proves nothing, and is not valid. Exits with 1 if it finds any of this, and then leaves everything in place.`

function describe({ valid, engine, seed, seconds, figures, load, violations, history }: StressReport): string {
  const rows: (readonly [string, string])[] = [
    ['sent', `${count(figures.sent, 'copy', 'copies')} in ${seconds} s, on ${engine}`],
    ['handled', `${count(figures.handled, 'message')}, ${figures.handledPerSecond}/s`],
    ['read from topics', `${count(figures.read, 'message')}, ${figures.readPerSecond}/s`],
    ['send to handler', spread(figures.latency)],
    ['kills', `${figures.kills}; in a handler again after ${spread(figures.recovery)}`],
    ['seeks', String(figures.seeks)],
    ['redeliveries', `${figures.redeliveries}; leases lost: ${figures.leasesLost}`],
    ['sent again', count(figures.duplicates, 'duplicate')],
    ['dead-lettered', `${figures.deadLettered}, on purpose`],
    ['troubles', `${figures.troubles} errors were met and overcome`],
    ...load.map(
      ({ what, planned, required, done }) =>
        [what, `${done} of ${planned} planned; at least ${required} (${requiredShare * 100}%)`] as const,
    ),
  ]
  const verdict = valid
    ? `Valid (seed ${seed}).`
    : [
        `NOT VALID (seed ${seed}): ${count(violations.length, 'violation')}. The first:`,
        ...evidence(violations[0]!),
        `histories: ${history}`,
      ]
        .flat()
        .join('\n')
  return `${table(rows, [
    ['FIGURE', ([name]) => name],
    ['VALUE', ([, value]) => value],
  ])}\n\n${verdict}`
}

const evidence = ({ kind, text, evidence: entries }: StressReport['violations'][number]) => [
  `  ${kind}: ${printable(text)}`,
  ...entries.slice(-20).map((entry) => `    ${printable(toText(entry))}`),
]

const spread = (values: Spread | null) =>
  values === null ? 'none' : `p50 ${values.median} ms, p95 ${values.p95} ms, p99 ${values.p99} ms, max ${values.max} ms`
