import type { Bus } from 'tidings/internal/bus/bus'
import { isTidingsError, TidingsError } from 'tidings/internal/core/errors'
import type { QueueEvent } from 'tidings/internal/events/event'
import { selectionOptions } from 'tidings/internal/events/options'
import type { Finding } from 'tidings/internal/port/engine'
import { command } from '../command.ts'
import { withContext } from '../context.ts'
import { Flags } from '../flags.ts'
import { count, dim, inOneLine, printable, red, toText, whenOutputCloses } from '../output.ts'

const flags = new Flags(selectionOptions)

export const events = () =>
  flags
    .addTo(
      command(
        'events',
        'Shows what queues announce, as it happens, until Ctrl-C. (First apply what `generate-migration` writes.)',
        'tidings events',
        'tidings events --namespace orders --json',
      ),
    )
    .action(
      withContext(async ({ flagValues, out, connect, config }) => {
        const { events: { channelPrefix: prefix } = {} } = (await config()).config
        const options = { prefix, ...flags.read(flagValues) }
        const bus = await connect()
        const events = bus.events({
          ...options,
          onParseError: (error, { channel }) =>
            out.note(`${red('unreadable:')} ${printable(`${channel}: ${error.message}`)}`),
          onConnectionError: (error) => out.note(`${red('interrupted:')} ${printable((error as Error).message)}`),
        })
        const stop = () => void events.stop()
        process.on('SIGINT', stop)
        process.on('SIGTERM', stop)
        whenOutputCloses(stop)
        await events.start()
        const { channels, installed, prefix: actual } = events.stats()
        if (actual !== null && !channels.every((channel) => channel.startsWith(`${actual}pgmq_`)))
          throw wrongPrefix(actual)
        if (installed === false)
          out.note('nothing here announces messages yet: apply what `tidings generate-migration` writes')
        for (const { message, remedy } of await silentQueues(bus)) out.note(`${message}\n  ${remedy}`)
        out.note(`listening to ${channels.join(', ')}`)
        for await (const event of events) out.line(out.json ? toText(event) : describe(event))
        const { received, dropped } = events.stats()
        out.note(`${count(received, 'event')}${dropped > 0 ? `, ${dropped} dropped` : ''}`)
      }),
    )

/** What announces nothing although the migration was applied. Who may not ask is told nothing. */
async function silentQueues(bus: Bus): Promise<Finding[]> {
  try {
    return (await bus.diagnose()).filter(({ check }) => check === 'events')
  } catch (error) {
    if (isTidingsError(error)) return []
    throw error
  }
}

/** No event would ever come. */
function wrongPrefix(actual: string): TidingsError {
  const remedy = actual === '' ? 'Leave out --prefix' : `Use --prefix ${actual.slice(0, -1)}`
  return new TidingsError('CONFIG_INVALID', 'no queue announces anything with this prefix', {
    hint: `${remedy}, as it was given to \`tidings generate-migration\`.`,
  })
}

function describe(event: QueueEvent): string {
  const at = event.type === 'queue_created' ? event.createdAt : event.readyAt
  return printable(`${dim(at.toISOString())}  ${event.type.padEnd(20)}  ${event.queue}  ${whatOf(event)}`.trimEnd())
}

function whatOf(event: QueueEvent): string {
  switch (event.type) {
    case 'queue_created':
      return ''
    case 'message_ready':
      return `message ${event.id}`
    case 'message_with_payload':
      return `message ${event.id}: ${inOneLine(toText(event.data))}`
    case 'batch_ready':
      return `${count(event.count, 'message')}${event.ids === null ? '' : `: ${inOneLine(event.ids.join(', '))}`}`
  }
}
