import { readOptions } from 'tidings/internal/messages/options'
import { command, queueArgument } from '../command.ts'
import { withContext } from '../context.ts'
import { Flags } from '../flags.ts'
import { printMessages } from '../messages.ts'

const flags = new Flags(readOptions)

export const read = () =>
  flags
    .addTo(command('read', 'Takes messages out of sight and shows them.', 'tidings read hires --limit 5 --lease 10m'))
    .addArgument(queueArgument())
    .addHelpText('after', '\nThe messages come back when their lease ends.')
    .action(
      withContext(async (context, queue) => {
        const options = flags.read(context.flagValues)
        const bus = await context.connect()
        printMessages(context.out, await bus.queue(queue!).read(options), 'no message is ready')
      }),
    )
