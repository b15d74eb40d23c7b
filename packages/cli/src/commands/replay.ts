import type { Bus } from 'tidings/internal/bus/bus'
import { replayOptions } from 'tidings/internal/bus/replay'
import { fromJson } from 'tidings/internal/core/json'
import { checkQueueName } from 'tidings/internal/core/names'
import { StoredCopy } from 'tidings/internal/messages/message'
import { command, queueArgument } from '../command.ts'
import { confirm, declined, yesFlag } from '../confirm.ts'
import { withContext } from '../context.ts'
import { asJson, asText, Flags } from '../flags.ts'
import { count, inOneLine, table, toText } from '../output.ts'

const previewed = 20
const time = asText('time')

const flags = new Flags(replayOptions, {
  since: time,
  until: time,
  where: { ...asJson, doc: 'Only messages that have these parts of meta, headers and data.' },
  to: { placeholder: 'queue', read: (name, flag) => checkQueueName(name, flag) },
})

export const replay = () =>
  flags
    .addTo(
      command(
        'replay',
        'Sends archived messages again; shows them and asks first.',
        'tidings replay orders --since 2026-11-01T10:00:00Z --until 2026-11-01T12:00:00Z',
        `tidings replay orders --where '{"meta":{"targetId":"p-7"}}' --dry-run`,
        'tidings replay orders --since 2026-11-01 --to orders_again --yes',
      ),
    )
    .addArgument(queueArgument())
    .option(...yesFlag)
    .action(
      withContext(async (context, queue) => {
        const { flagValues, out } = context
        const { dryRun, ...options } = flags.read(flagValues)
        const bus = await context.connect()
        const from = bus.queue(queue!)
        const found = await from.replay({ ...options, dryRun: true })
        const what = `${count(found.length, 'archived message')} of queue ${queue}`
        const where = options.to === undefined ? 'again' : `to queue ${options.to}`
        const ids = found.slice(0, previewed).map(({ archivedId }) => archivedId)
        if (!flagValues.yes && found.length > 0 && !out.json) out.note(await preview(bus, queue!, ids))
        if (dryRun) return out.result(found, () => `would send ${what} ${where}`)
        if (found.length > 0 && !(await confirm(flagValues, `Send ${what} ${where}?`))) return declined(out)
        // Only the messages shown: others may have been archived meanwhile.
        const replayed = found.length > 0 ? await from.replay({ ...options, limit: found.length }) : []
        const sent = replayed.filter(({ duplicate }) => !duplicate).length
        const before = replayed.length - sent
        const rest = before > 0 ? `; ${before.toLocaleString('en-US')} had been replayed before` : ''
        out.result(replayed, () => `sent ${count(sent, 'archived message')} of queue ${queue} ${where}${rest}`)
      }),
    )

async function preview(bus: Bus, queue: string, ids: readonly string[]): Promise<string> {
  const stored = await bus.engine.peek(queue, { place: 'archived', limit: previewed, afterId: null, ids })
  const messages = stored.map((one) => new StoredCopy(queue, one, fromJson(one.data)))
  return table(messages, [
    ['ID', ({ id }) => id],
    ['SENT', ({ sentAt }) => sentAt.toISOString()],
    ['ARCHIVED', ({ archivedAt }) => archivedAt?.toISOString() ?? null],
    ['TARGET', ({ meta }) => meta.targetId ?? null],
    ['DATA', ({ data }) => inOneLine(toText(data))],
  ])
}
