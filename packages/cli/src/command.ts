import { Argument, Command, CommanderError } from 'commander'
import { TidingsError } from 'tidings/internal/core/errors'
import { checkQueueName, checkTopicName } from 'tidings/internal/core/names'
import { meant } from 'tidings/internal/core/other-names'

/** The values of the user's flags, by the names of the flags in camelCase. Every command has the three below. */
export type FlagValues = Readonly<Record<string, unknown>> & {
  readonly url?: string
  readonly config?: string
  readonly json?: boolean
}

export function command(name: string, summary: string, ...examples: [string, ...string[]]): Command {
  return group(name, summary).addHelpText('after', exampleText(examples))
}

/** A command that only has subcommands. */
export function group(name: string, summary: string): Command {
  const command = new Command(name)
    .description(summary)
    .helpOption('-h, --help', 'Shows this.')
    .helpCommand(false)
    .configureOutput({ outputError() {} })
  return command.exitOverride((error) => {
    throw error.code === 'commander.unknownOption' ? withMeantFlag(error, command) : error
  })
}

/** Knows the names of other systems, which commander's own suggestion does not. */
function withMeantFlag({ message, exitCode, code }: CommanderError, command: Command): CommanderError {
  const flags = command.options.flatMap(({ hidden, long }) => (hidden ? [] : (long ?? [])))
  // What stands behind `=` may be a password.
  const text = message.replace(/\n.*/s, '').replace(/=.*/s, "'")
  const flag = meant(/'(--[^']+)'/.exec(text)?.[1] ?? '', [
    ...flags,
    ...command.registeredArguments.map((one) => `<${one.name()}>`),
  ])
  return new CommanderError(exitCode, code, flag ? `${text}\n(Did you mean ${flag}?)` : text)
}

export function exampleText(examples: readonly string[]): string {
  const lines = examples.map((line) => `  $ ${line}`)
  return `\n${lines.length > 1 ? 'Examples' : 'Example'}:\n${lines.join('\n')}`
}

/** Adds the common flags to a command and its subcommands, after their own. */
export function addGlobalFlags(command: Command, seen = new Set<string>()): Command {
  command
    .option('--url <url>', 'Where the messages are: postgres://…, redis://…, https://… (See `tidings --help`.)')
    .option('--config <file>', 'The configuration file. (default: tidings.config.* in the working directory)')
    .option('--json', 'Prints JSON, for programs.')
  refuseTwice(command, seen)
  for (const below of command.commands) addGlobalFlags(below, seen)
  return command
}

/** Refuses a repeated flag: the last one would win silently. Flags before and behind a command's name count together. */
function refuseTwice(command: Command, seen: Set<string>): void {
  for (const flag of command.options)
    if (!flag.variadic)
      command.on(`option:${flag.name()}`, () => {
        const name = `--${flag.name()}`
        if (seen.has(name)) throw new TidingsError('USAGE', `${name} is given twice`, { hint: 'Give it once.' })
        seen.add(name)
      })
}

/** The argument that names a queue, checked before the bus connects. */
export function queueArgument(): Argument {
  return new Argument('<queue>', 'name of the queue').argParser((name) => checkQueueName(name))
}

/** The argument that names a topic, checked likewise. */
export function topicArgument(): Argument {
  return new Argument('<topic>', 'name of the topic').argParser((name) => checkTopicName(name))
}

/** An argument that names any number of queues. */
export function queuesArgument(doc: string): Argument {
  return new Argument('[queues...]', doc).argParser((name, before: string[] | undefined) => [
    ...(before ?? []),
    checkQueueName(name),
  ])
}
