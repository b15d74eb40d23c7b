import { TidingsError } from '../errors.ts'
import { metaFields } from '../message.ts'
import { type SendOptions, sendOptions } from '../queue-options.ts'
import { command, type Given, queueArgument } from './command.ts'
import { type Context, withContext } from './context.ts'
import { enqueueFile } from './enqueue-file.ts'
import { asJson, asText, Flags, toKebabCase } from './flags.ts'
import { parseData } from './json-lines.ts'

const flags = new Flags(sendOptions, {
  at: asText('time', { doc: 'Becomes ready at this time, in ISO 8601.' }),
  headers: asJson,
})

const metaDocs = {
  correlationId: 'The event that this message is one of the consequences of.',
  correlationQueue: 'The queue that wants to know when all consequences are done.',
  targetId: 'The object that is acted on.',
  version: "The version of the message's format.",
  sourceSystem: 'The system that the message comes from.',
  actionType: 'add, update, remove, lock or another verb.',
  businessReason: 'Why it happens.',
  associatedPeriod: 'The period that it belongs to.',
  eventKey: 'The key of the event.',
} as const satisfies Record<(typeof metaFields)[number], string>

/** `--version` is the program's own. */
const metaFlag = (field: string) => (field === 'version' ? 'messageVersion' : field)

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
  flags.addTo(made)
  for (const field of metaFields) made.option(`--${toKebabCase(metaFlag(field))} <text>`, `meta: ${metaDocs[field]}`)
  return made.action(
    withContext(async (context, queue, data) => {
      const options = optionsFrom(context.given)
      const file = context.given.file as string | undefined
      if (file === undefined) return enqueueOne(context, queue!, data, options)
      if (data !== undefined) throw new TidingsError('OPTION_CONFLICT', 'data and --file are both given')
      return enqueueFile(context, queue!, file, options)
    }),
  )
}

async function enqueueOne(context: Context, queue: string, given: string | undefined, options: SendOptions) {
  const data = parse(given === undefined || given === '-' ? await readStandardInput() : given)
  const bus = await context.connect()
  const id = await bus.queue(queue).send(data, options)
  context.out.result({ id, queue }, () => `enqueued message ${id} in ${queue}`)
}

function optionsFrom(given: Given): SendOptions {
  const meta = metaFields.flatMap((field) => {
    const value = given[metaFlag(field)]
    return value === undefined ? [] : [[field, value]]
  })
  return { ...flags.read(given), meta: Object.fromEntries(meta) }
}

async function readStandardInput(): Promise<string> {
  if (process.stdin.isTTY)
    throw new TidingsError('USAGE', 'there is no data to send', {
      hint: 'Give it as an argument, pipe it in, or name a file with --file.',
    })
  const chunks: Buffer[] = []
  for await (const chunk of process.stdin) chunks.push(chunk as Buffer)
  const text = Buffer.concat(chunks).toString('utf8')
  if (text.trim() === '') throw new TidingsError('USAGE', 'standard input is empty')
  return text
}

function parse(text: string): unknown {
  try {
    return parseData(text, 'the data')
  } catch (error) {
    if (!(error instanceof TidingsError) || !/is not JSON/.test(error.message)) throw error
    const hint = `Quote it for the shell: '{"name":"Ada"}'; a text is JSON in double quotes: '"text"'.`
    throw new TidingsError(error.code, error.message, { hint })
  }
}
