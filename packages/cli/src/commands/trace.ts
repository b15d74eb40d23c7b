import { type TraceEvent, traceOptions } from 'tidings/internal/bus/trace'
import { command } from '../command.ts'
import { withContext } from '../context.ts'
import { Flags } from '../flags.ts'
import { inOneLine, table } from '../output.ts'

const flags = new Flags(traceOptions, {
  queues: { flag: 'queue', placeholder: 'name', repeated: true, read: (names) => names },
})

export const trace = () =>
  flags
    .addTo(
      command(
        'trace',
        'Shows what happened to a target, over all queues, archives and dead-letter queues.',
        'tidings trace --target person-7',
      ).requiredOption('--target <id>', 'The target: what messages have as targetId in their meta.'),
    )
    .action(
      withContext(async (context) => {
        const { flagValues, out } = context
        const options = flags.read(flagValues)
        const bus = await context.connect()
        const events = await bus.trace(String(flagValues.target), options)
        out.result(events, () =>
          events.length > 0 ? eventTable(events) : `nothing is known of target ${flagValues.target}`,
        )
      }),
    )

export function eventTable(events: readonly TraceEvent[]): string {
  return table(events, [
    ['TIME', ({ at }) => at.toISOString()],
    ['QUEUE', ({ queue }) => queue],
    ['ID', ({ id }) => id],
    ['EVENT', inWords],
    ['ERROR', ({ errorMessage }) => (errorMessage === null ? null : inOneLine(errorMessage))],
  ])
}

function inWords({ kind, at, attempts, actionType, from }: TraceEvent): string {
  const of = from ? ` ${from.queue} ${from.id}` : ''
  const isToCome = at.getTime() > Date.now()
  switch (kind) {
    case 'sent':
      return actionType === null ? 'sent' : `sent (${actionType})`
    case 'replayed':
      return `replayed from${of}`
    case 'read':
      return `read, attempt ${attempts}`
    case 'archived':
      return 'archived'
    case 'deadLettered':
      return `dead letter of${of} after attempt ${attempts}`
    case 'waiting':
      return isToCome ? 'will be ready' : 'ready since then'
    case 'leased':
      return 'in hand until then'
  }
}
