import { peekOptions } from 'tidings/internal/messages/options'
import { command, queueArgument } from '../command.ts'
import { withContext } from '../context.ts'
import { asJson, asText, Flags } from '../flags.ts'
import { printMessages } from '../messages.ts'

const flags = new Flags(peekOptions, { place: asText('ready|delayed|leased|archived'), meta: asJson })

export const peek = () =>
  flags
    .addTo(
      command(
        'peek',
        'Shows messages without changing anything.',
        'tidings peek hires',
        'tidings peek hires --place archived --after 120 --limit 50',
      ),
    )
    .addArgument(queueArgument())
    .action(
      withContext(async (context, queue) => {
        const options = flags.read(context.flagValues)
        const bus = await context.connect()
        printMessages(context.out, await bus.queue(queue!).peek(options), 'no messages')
      }),
    )
