import { randomUUID } from 'node:crypto'
import { TidingsError } from 'tidings/internal/core/errors'
import { checkSubscriptionName } from 'tidings/internal/core/names'
import { topicConsumeOptions } from 'tidings/internal/subscription/options'
import type { ConsumedMessage } from 'tidings/internal/topics/message'
import { command, topicArgument } from '../command.ts'
import { withContext } from '../context.ts'
import { Flags } from '../flags.ts'
import { count, printable, red, toText, whenOutputCloses } from '../output.ts'
import { readPosition } from './topic.ts'

const { from, untilEmpty, wait, lease } = topicConsumeOptions
const flags = new Flags(
  {
    from: {
      ...from,
      defaultText: 'earliest',
      doc: "Where a new subscription begins: offset of the next message, 'earliest', 'latest' or a time in ISO 8601.",
    },
    untilEmpty: { ...untilEmpty, defaultText: '1', doc: 'Ends after so many reads in a row that found nothing.' },
    wait,
    lease,
  },
  { from: { placeholder: 'position', read: (text) => readPosition(text as string) } },
)

export const subscribe = () =>
  flags
    .addTo(
      command(
        'subscribe',
        'Shows the messages of a topic to come for a subscription, which then has read them.',
        'tidings subscribe news',
        'tidings subscribe news --follow --from latest',
        'tidings subscribe news --name payroll --until-empty 3 --wait 1s',
      ),
    )
    .addArgument(topicArgument())
    .option('--name <text>', 'The subscription; it stays. (default: one of its own, which is removed at the end)')
    .option('--follow', 'Goes on until Ctrl-C.')
    .action(
      withContext(async ({ flagValues, out, connect }, topic) => {
        const { follow } = flagValues
        const options = flags.read(flagValues)
        if (follow && options.untilEmpty !== undefined)
          throw new TidingsError('OPTION_CONFLICT', '--follow and --until-empty are both given')
        const name = flagValues.name === undefined ? null : checkSubscriptionName(flagValues.name, '--name')
        const stop = new AbortController()
        const source = (await connect()).topic(topic!, { create: false })
        // Without this check the loop would wait for the topic to appear.
        await source.info()
        const messages = source.consume(name ?? `cli-${randomUUID().slice(0, 8)}`, {
          from: 'earliest',
          ...options,
          ...(follow ? {} : { untilEmpty: options.untilEmpty ?? 1 }),
          ephemeral: name === null,
          deadLetter: false,
          signal: stop.signal,
          observe: (event) => {
            if (event.type === 'standingBy') out.note('another consumer has the subscription; waiting for it')
            if (event.type === 'missed')
              out.note(`${count(event.count, 'message')} removed unread before offset ${event.before}`)
            if (event.type === 'interrupted')
              out.note(`${red('interrupted:')} ${printable((event.error as Error).message)}; trying again`)
          },
        })
        const end = () => stop.abort()
        process.on('SIGINT', end)
        process.on('SIGTERM', end)
        whenOutputCloses(end)
        let processed = 0
        for await (const message of messages) {
          processed++
          out.line(out.json ? toText(message) : describe(message))
        }
        out.note(count(processed, 'message'))
      }),
    )

function describe({ offset, data, redelivered }: ConsumedMessage<unknown>): string {
  return printable(`${redelivered ? 'Re-Processed' : 'Processed'} offset ${offset}: ${toText(data)}`)
}
