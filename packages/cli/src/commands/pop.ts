import { popOptions } from 'tidings/internal/messages/options'
import { command, queueArgument } from '../command.ts'
import { withContext } from '../context.ts'
import { Flags } from '../flags.ts'
import { printMessages } from '../messages.ts'

const flags = new Flags(popOptions)

export const pop = () =>
  flags
    .addTo(command('pop', 'Takes messages for good and shows them.', 'tidings pop hires --wait 10s'))
    .addArgument(queueArgument())
    .action(
      withContext(async (context, queue) => {
        const options = flags.read(context.flagValues)
        const bus = await context.connect()
        printMessages(context.out, await bus.queue(queue!).pop(options), 'no message is ready')
      }),
    )
