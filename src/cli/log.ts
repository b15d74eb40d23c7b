import { pino } from 'pino'
import type { Logger } from '../queue-access.ts'
import { type Output, printable } from './output.ts'

/** What services have to say, on standard output: a line for people, or with `--json` a JSON object by pino. */
export function logger(out: Output): Logger {
  return out.json ? forPrograms(out) : forPeople(out)
}

function forPrograms(out: Output): Logger {
  return pino(
    {
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (level) => ({ level }) },
      errorKey: 'error',
      serializers: { error: pino.stdSerializers.err },
    },
    { write: (line) => out.line(line.trimEnd()) },
  )
}

function forPeople(out: Output): Logger {
  const say = (details: object, message: string) => {
    const { error } = details as { error?: unknown }
    const why = error instanceof Error ? ` (${error.message})` : ''
    out.line(`${new Date().toISOString()}  ${printable((message + why).replace(/\s+/g, ' '))}`)
  }
  return { debug: () => {}, info: say, warn: say, error: say }
}
