import { TidingsError } from 'tidings/internal/core/errors'
import { checkQueueName } from 'tidings/internal/core/names'
import { command } from './command.ts'
import { loadEnvironment, localByDefault, targetOf } from './environment.ts'
import { reportError } from './errors.ts'
import { parseData } from './json-lines.ts'
import { run } from './run.ts'
import { addMetaFlags, messageOptions } from './sending.ts'

/** The commands of msg_bus: their flags and messages, over ours. Each is a program of its own, `msg-bus-enqueue`. */
export async function runMsgBus(name: keyof typeof commands, args: readonly string[]): Promise<number> {
  const made = commands[name]().option('--dsn <url>', 'Where the messages are. (default: PGMQ_DSN, or that of .env)')
  try {
    await made.parseAsync(args, { from: 'user' })
    return Number(process.exitCode ?? 0)
  } catch (error) {
    if ((error as { exitCode?: unknown }).exitCode === 0) return 0
    return reportError(error, false)
  }
}

const queueName = ['--queue-name <name>', 'The queue.', (name: string) => checkQueueName(name)] as const
const actions: Readonly<Record<string, readonly string[]>> = {
  create: ['create'],
  status: ['status'],
  destroy: ['drop', '--yes'],
  purge: ['purge', '--yes'],
}

const commands = {
  enqueue: () =>
    addMetaFlags(
      command(
        'msg-bus-enqueue',
        'Sends a message to a queue, which is created if it is missing.',
        `msg-bus-enqueue --queue-name hires --message '{"name":"Ada"}'`,
      )
        .requiredOption(...queueName)
        .requiredOption('--message <json>', 'The message.')
        .option('--version <text>', 'meta: The version of the format of the message.'),
    ).action(enqueue),

  status: () =>
    command('msg-bus-status', 'Shows the figures of a queue.', 'msg-bus-status --queue-name hires')
      .requiredOption(...queueName)
      .action((flags: Flags) => asTidings(flags, ['queue', 'status', flags.queueName])),

  queue: () =>
    command('msg-bus-queue', 'Does something with a queue.', 'msg-bus-queue --queue-name hires --action status')
      .requiredOption(...queueName)
      .requiredOption('--action <action>', 'create, status, purge or destroy')
      .action((flags: Flags) => {
        const action = String(flags.action)
        if (!Object.hasOwn(actions, action))
          throw usage(`Invalid action: ${action}. Valid actions are: create, status, destroy, purge`)
        const [verb, ...rest] = actions[action]!
        return asTidings(flags, ['queue', verb!, flags.queueName, ...rest])
      }),

  process: () =>
    command(
      'msg-bus-process',
      'Handles the messages of queues until there are no more, by modules named like the queues.',
      'msg-bus-process --queue-names hires --handlers-path handlers',
    )
      .requiredOption('--queue-names <names...>', 'The queues.')
      .requiredOption('--handlers-path <folders...>', 'Folders with the handler modules.')
      .option('--max-messages <n>', 'At most so many of each queue.', '100')
      .option('--max-runtime <seconds>', 'Ends after so long.', '600')
      .option('--visibility-timeout <seconds>', 'How long a message stays hidden when its process hangs.', '300')
      .option('--error-visibility-timeout <seconds>', 'When a message that failed comes back.', '601')
      .option('--delete-messages', 'Deletes messages that were handled, instead of archiving them.')
      .option('--validate-only', 'Only validates the messages.')
      .action((flags: Flags) =>
        asTidings(flags, [
          'process',
          '--once',
          ...(flags.queueNames as string[]).flatMap((name) => ['--queue', name]),
          ...(flags.handlersPath as string[]).flatMap((folder) => ['--handlers', folder]),
          ...['--max-messages', String(flags.maxMessages), '--max-runtime', seconds(flags.maxRuntime)],
          ...['--lease', seconds(flags.visibilityTimeout), '--backoff', seconds(flags.errorVisibilityTimeout)],
          ...(flags.deleteMessages ? ['--delete'] : []),
          ...(flags.validateOnly ? ['--validate-only'] : []),
        ]),
      ),
} as const

interface Flags extends Readonly<Record<string, unknown>> {
  readonly queueName: string
  readonly dsn?: string
}

async function enqueue(flags: Flags): Promise<void> {
  const data = parseMessage(String(flags.message))
  const url = urlOf(flags)
  const { connect } = await import('tidings/internal/connect')
  await using bus = await connect(url)
  const options = messageOptions({ ...flags, messageVersion: flags.version ?? flags.messageVersion })
  const id = await bus.queue(flags.queueName).send(data, options)
  process.stdout.write(`Message enqueued with ID: ${id}\n`)
}

function parseMessage(text: string): unknown {
  try {
    return parseData(text, 'the message')
  } catch (error) {
    throw usage(`Invalid JSON: ${(error as Error).message}`)
  }
}

/** Ours takes a private database where no other is named; this never did. */
async function asTidings(flags: Flags, args: readonly string[]): Promise<void> {
  process.exitCode = await run([...args, '--url', urlOf(flags)])
}

function urlOf({ dsn }: Flags): string {
  loadEnvironment()
  const { url, source } = targetOf(dsn, process.env)
  if (source === localByDefault.source) throw usage('No DSN provided and .env file not found')
  return url
}

const seconds = (value: unknown) => {
  if (/^\d{1,9}$/.test(String(value))) return `${value}s`
  throw usage(`${JSON.stringify(value)} is no number of seconds`)
}

const usage = (message: string) => new TidingsError('USAGE', message, { hint: '' })
