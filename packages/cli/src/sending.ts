import type { Command } from 'commander'
import { isTidingsError, TidingsError } from 'tidings/internal/core/errors'
import { decodeText } from 'tidings/internal/core/json'
import { dedupOptions, type SendOptions, sendOptions } from 'tidings/internal/messages/options'
import { metaFields } from 'tidings/internal/port/meta'
import type { FlagValues } from './command.ts'
import { asJson, asText, Flags, toKebabCase } from './flags.ts'
import { parseData } from './json-lines.ts'

/** The flags of a message and the source of its data, for `enqueue` and `publish`. */
const flags = new Flags(sendOptions, {
  at: asText('time', { doc: 'Becomes ready at this time, in ISO 8601.' }),
  headers: asJson,
  tell: { placeholder: 'milestones', repeated: true, read: (values) => values },
})

/** What the dedup id does, besides the short spelling. */
const dedupFlags = new Flags({
  dedupReplace: dedupOptions.replace,
  dedupExtend: dedupOptions.extend,
  dedupAtMost: dedupOptions.atMost,
  whileActive: dedupOptions.whileActive,
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

/** `--version` belongs to the program. */
const metaFlag = (field: string) => (field === 'version' ? 'messageVersion' : field)

export const addMessageFlags = (command: Command) => addMetaFlags(dedupFlags.addTo(flags.addTo(command)))

export function addMetaFlags(command: Command): Command {
  for (const field of metaFields) command.option(`--${toKebabCase(metaFlag(field))} <text>`, `meta: ${metaDocs[field]}`)
  return command
}

export function messageOptions(flagValues: FlagValues) {
  const meta = metaFields.flatMap((field) => {
    const value = flagValues[metaFlag(field)]
    return value === undefined ? [] : [[field, value]]
  })
  return { ...withDedup(flags.read(flagValues), flagValues), meta: Object.fromEntries(meta) }
}

/** @throws USAGE where there is no id that this could be about */
function withDedup({ dedupId, dedupWindow, ...options }: SendOptions, flagValues: FlagValues): SendOptions {
  const { dedupReplace: replace, dedupExtend: extend, dedupAtMost: atMost, whileActive } = dedupFlags.read(flagValues)
  const [given] = Object.entries({ replace, extend, atMost, whileActive }).filter(([, value]) => value !== undefined)
  if (given === undefined) return { ...options, dedupId, dedupWindow }
  if (dedupId === undefined)
    throw new TidingsError(
      'USAGE',
      `${given[0] === 'whileActive' ? '--while-active' : `--dedup-${toKebabCase(given[0])}`} needs --dedup-id`,
    )
  return { ...options, dedup: { id: dedupId, for: dedupWindow, replace, extend, atMost, whileActive } }
}

/** The data of the message: the argument, or standard input for '-' or none. */
export async function dataFrom(argument: string | undefined): Promise<unknown> {
  return argument === undefined || argument === '-'
    ? parseData(await readStandardInput(), 'the data')
    : parseArgument(argument)
}

async function readStandardInput(): Promise<string> {
  if (process.stdin.isTTY)
    throw new TidingsError('USAGE', 'there is no data to send', {
      hint: 'Give it as an argument, pipe it in, or name a file with --file.',
    })
  const chunks: Buffer[] = []
  for await (const chunk of process.stdin) chunks.push(chunk as Buffer)
  const text = decodeText(Buffer.concat(chunks), 'standard input')
  if (text.trim() === '') throw new TidingsError('USAGE', 'standard input is empty')
  return text
}

function parseArgument(text: string): unknown {
  try {
    return parseData(text, 'the data')
  } catch (error) {
    // Only an error about text that is no JSON has a position.
    if (!isTidingsError(error, 'BODY_NOT_JSON') || error.details.position === undefined) throw error
    const hint = `Quote it for the shell: '{"name":"Ada"}'; a text is JSON in double quotes: '"text"'.`
    throw new TidingsError(error.code, error.message, { details: error.details, hint })
  }
}
