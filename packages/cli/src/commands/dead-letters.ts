import type { Command } from 'commander'
import { type DeadLetters, listOptions, redriveOptions } from 'tidings/internal/bus/dead-letters'
import type { StoredCopy } from 'tidings/internal/messages/message'
import { queueOptions } from 'tidings/internal/messages/options'
import { command, group, queueArgument } from '../command.ts'
import { confirm, declined, yesFlag } from '../confirm.ts'
import { type Context, withContext } from '../context.ts'
import { asText, Flags } from '../flags.ts'
import { count, inOneLine, roughly, table, toText } from '../output.ts'

const previewed = 20

const whereFlags = new Flags(
  { deadLetter: queueOptions.deadLetter },
  { deadLetter: asText('queue', { doc: 'Where they are.' }) },
)
const ids = { flag: 'id', placeholder: 'id', repeated: true, read: (value: unknown) => value }
const listFlags = new Flags(listOptions, { ids })
const redriveFlags = new Flags(redriveOptions, { ids })

export const deadLetters = () =>
  group('dead-letters', 'Shows messages that failed too often, and sends them again.')
    .addCommand(list())
    .addCommand(redrive())

const list = () =>
  withFlags(listFlags, command('list', 'Shows the dead letters of a queue.', 'tidings dead-letters list hires')).action(
    withContext(async (context, queue) => {
      const options = listFlags.read(context.flagValues)
      const letters = await deadLettersOf(context, queue!)
      const found = await letters.list(options)
      context.out.result(found, () => (found.length > 0 ? describe(found) : `queue ${queue} has no dead letters`))
    }),
  )

const redrive = () =>
  withFlags(
    redriveFlags,
    command(
      'redrive',
      'Sends dead letters again; shows them and asks first.',
      'tidings dead-letters redrive hires --dry-run',
      'tidings dead-letters redrive hires --id 7 --id 9 --yes',
    ),
  )
    .option(...yesFlag)
    .action(
      withContext(async (context, queue) => {
        const { flagValues, out } = context
        const { dryRun, ...options } = redriveFlags.read(flagValues)
        const letters = await deadLettersOf(context, queue!)
        const found = await letters.redrive({ ...options, dryRun: true })
        const what = `${count(found.length, 'dead letter')} of queue ${queue}`
        if (!flagValues.yes && found.length > 0 && !out.json)
          out.note(describe(await letters.list({ ids: options.ids, limit: Math.min(previewed, found.length) })))
        if (dryRun) return out.result(found, () => `would send ${what} again`)
        if (found.length > 0 && !(await confirm(flagValues, `Send ${what} again?`))) return declined(out)
        // Only the messages shown: others may have come meanwhile.
        const redriven = found.length > 0 ? await letters.redrive({ ...options, limit: found.length }) : []
        out.result(redriven, () => `sent ${count(redriven.length, 'dead letter')} of queue ${queue} again`)
      }),
    )

function withFlags(flags: { addTo(command: Command): Command }, made: Command): Command {
  return whereFlags.addTo(flags.addTo(made)).addArgument(queueArgument())
}

async function deadLettersOf(context: Context, queue: string): Promise<DeadLetters> {
  const where = whereFlags.read(context.flagValues)
  const bus = await context.connect()
  return bus.queue(queue, where).deadLetters
}

function describe(letters: readonly StoredCopy<unknown>[]): string {
  const now = Date.now()
  return table(letters, [
    ['ID', ({ id }) => id],
    ['FAILED', ({ meta }) => (meta.deadLetteredAt ? `${roughly(now - Date.parse(meta.deadLetteredAt))} ago` : null)],
    ['ATTEMPTS', ({ meta }) => meta.attempts ?? null],
    ['ERROR', ({ meta }) => (meta.errorMessage ? inOneLine(meta.errorMessage) : null)],
    ['DATA', ({ data }) => inOneLine(toText(data))],
  ])
}
