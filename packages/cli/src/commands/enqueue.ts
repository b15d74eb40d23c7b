import { TidingsError } from 'tidings/internal/core/errors'
import type { SendOptions } from 'tidings/internal/messages/options'
import { command, queueArgument } from '../command.ts'
import { type Context, withContext } from '../context.ts'
import { addMessageFlags, dataFrom, messageOptions } from '../sending.ts'
import { enqueueFile } from './enqueue-file.ts'

export const enqueue = () => {
  const made = command(
    'enqueue',
    'Sends messages to a queue, which is created if it is missing.',
    `tidings enqueue hires '{"name":"Ada"}'`,
    `tidings enqueue hires '{"name":"Ada"}' --delay 5m --correlation-id c-1 --dedup-id ada`,
    'tidings enqueue hires --file messages.jsonl',
    'cat hire.json | tidings enqueue hires',
  )
    .addArgument(queueArgument())
    .argument('[data]', 'JSON; - for standard input, which is also read if neither data nor a file is given')
    .option('--file <path>', 'Sends every line of a JSON Lines file (- for standard input) as a message.')
    .option('--skip-invalid', 'With --file: leaves out lines that cannot be sent, instead of stopping at the first.')
  return addMessageFlags(made).action(
    withContext(async (context, queue, data) => {
      const options = messageOptions(context.flagValues)
      const file = context.flagValues.file as string | undefined
      if (file === undefined) return enqueueOne(context, queue!, data, options)
      if (data !== undefined) throw new TidingsError('OPTION_CONFLICT', 'data and --file are both given')
      return enqueueFile(context, queue!, file, options)
    }),
  )
}

async function enqueueOne(context: Context, queue: string, argument: string | undefined, options: SendOptions) {
  const data = await dataFrom(argument)
  const bus = await context.connect()
  const id = await bus.queue(queue).send(data, options)
  context.out.result({ id, queue }, () => `enqueued message ${id} in ${queue}`)
}
