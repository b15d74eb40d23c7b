import type { Attributes, Context } from '@opentelemetry/api'
import { describeError } from '../core/message-error.ts'
import { errorType, type Operation } from './telemetry.ts'

/** Logs an exception as the event that the conventions name. */
export type ExceptionLog = (operation: Operation, error: unknown, context: Context, attributes: Attributes) => void

const silent: ExceptionLog = () => {}
/** Of OpenTelemetry's numbers. */
const severities = { warn: 13, error: 17 } as const

/** Says nothing where `@opentelemetry/api-logs` is not installed. */
export async function exceptionLog(version: string): Promise<ExceptionLog> {
  let api: typeof import('@opentelemetry/api-logs')
  try {
    // Bundlers take an import for optional where it stands in a try.
    api = await import('@opentelemetry/api-logs')
  } catch {
    return silent
  }
  const logger = api.logs.getLogger('tidings', version)
  return ({ type }, error, context, attributes) => {
    const { message, stack } = describeError(error)
    logger.emit({
      eventName: `messaging.${type}.exception`,
      severityNumber: type === 'process' ? severities.error : severities.warn,
      context,
      attributes: {
        ...attributes,
        'exception.type': errorType(error),
        'exception.message': message,
        ...(stack === null ? {} : { 'exception.stacktrace': stack }),
      },
    })
  }
}
