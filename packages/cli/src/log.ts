import { TidingsError } from 'tidings/internal/core/errors'
import type { Logger } from 'tidings/internal/core/logger'
import { type Output, printable } from './output.ts'

/** The log of services, on standard output: a line for people, or with `--json` a JSON object by pino. */
export async function logger(out: Output): Promise<Logger> {
  return out.json ? forPrograms(out) : forPeople(out)
}

async function forPrograms(out: Output): Promise<Logger> {
  // Loaded here, so that other commands start faster.
  const { pino } = await import('pino')
  const made: Logger = pino(
    {
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (level) => ({ level }) },
    },
    { write: (line) => out.line(line.trimEnd()) },
  )
  return made
}

function forPeople(out: Output): Logger {
  const say = (details: object, message: string) => {
    const { err } = details as { err?: unknown }
    const why = err instanceof Error ? ` (${err.message})` : ''
    out.line(`${new Date().toISOString()}  ${printable((message + why).replace(/\s+/g, ' '))}`)
  }
  return { debug: () => {}, info: say, warn: say, error: say }
}

const levels = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']

/** The log of servers, on standard error: a JSON object a line. @throws CONFIG_INVALID for another LOG_LEVEL */
export async function serverLog(): Promise<Logger> {
  const { pino } = await import('pino')
  const level = process.env.LOG_LEVEL || 'info'
  if (!levels.includes(level))
    throw new TidingsError('CONFIG_INVALID', `LOG_LEVEL is '${level}'; it must be ${levels.join(', ')}`, { hint: '' })
  const made: Logger = pino({ level, base: null }, pino.destination({ fd: 2, sync: true }))
  return made
}
