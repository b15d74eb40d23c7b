import { styleText } from 'node:util'
import { CommanderError } from 'commander'
import { isTidingsError, TidingsError } from 'tidings/internal/core/errors'
import { printable, red } from './output.ts'

/** Prints an error in one or two lines, or as JSON. @returns the exit code */
export function reportError(error: unknown, json: boolean): 1 | 2 {
  const known = error instanceof CommanderError ? fromCommander(error) : error
  process.stderr.write(`${json ? JSON.stringify(forPrograms(known)) : forPeople(known)}\n`)
  if (process.env.TIDINGS_DEBUG) console.error(error)
  return isTidingsError(known) ? known.exitCode : 1
}

function forPrograms(error: unknown): object {
  return isTidingsError(error) ? error.toJSON() : { code: 'UNEXPECTED', message: messageOf(error), hint: debugHint }
}

function forPeople(error: unknown): string {
  const [first, ...others] = printable(messageOf(error) + causeOf(error)).split('\n')
  const hint = isTidingsError(error) ? error.hint : debugHint
  return [
    `${red('error:')} ${first}`,
    ...others.map((line) => `       ${line}`),
    ...(hint ? [styleText('dim', `hint: ${printable(hint)}`, { stream: process.stderr })] : []),
  ].join('\n')
}

const debugHint = 'Set TIDINGS_DEBUG=1 to see where it happened.'

const messageOf = (error: unknown) => (error instanceof Error ? error.message || error.name : String(error))

/** The cause, if the message does not contain it already. */
function causeOf(error: unknown): string {
  const { cause, message } = error instanceof Error ? error : {}
  return cause instanceof Error && cause.message && !message?.includes(cause.message) ? ` (${cause.message})` : ''
}

/** Commander's message is `error: <text>`, with an optional suggestion on a second line. */
function fromCommander({ message, code }: CommanderError): TidingsError {
  // Help was printed, because no command was named.
  if (code === 'commander.help') return new TidingsError('USAGE', 'a command is missing')
  const [what, suggestion] = message.replace(/^error: /, '').split('\n')
  const hint = suggestion?.replace(/^\((.*)\)$/, '$1')
  return new TidingsError('USAGE', what ?? message, hint ? { hint } : {})
}
