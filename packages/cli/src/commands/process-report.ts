import { describeError } from 'tidings/internal/core/message-error'
import type { WorkerEvent } from 'tidings/internal/worker/events'
import type { WorkerStats } from 'tidings/internal/worker/worker'
import { type Output, printable, table, toText } from '../output.ts'

/** Reports the handling of messages, and sums it up at the end. */
export class Report {
  readonly #out: Output

  constructor(out: Output) {
    this.#out = out
  }

  tell(event: WorkerEvent): void {
    const line = this.#out.json ? forPrograms(event) : forPeople(event)
    if (line !== undefined) this.#out.line(line)
  }

  /** A note beside the results. */
  note(text: string): void {
    if (!this.#out.json) this.#out.note(text)
  }

  sumUp(stats: readonly ({ readonly queue: string } & WorkerStats)[]): void {
    const rows = stats.map(({ queue, succeeded, failed, deadLettered, expired, leaseLost }) => {
      return { queue, succeeded, failed, deadLettered, expired, leaseLost }
    })
    this.#out.result({ event: 'summary', queues: rows }, () =>
      table(rows, [
        ['QUEUE', (row) => row.queue],
        ['HANDLED', (row) => row.succeeded],
        ['FAILED ATTEMPTS', (row) => row.failed],
        ['DEAD-LETTERED', (row) => row.deadLettered],
        ['EXPIRED', (row) => row.expired],
        ['LEASES LOST', (row) => row.leaseLost],
      ]),
    )
  }
}

const forPrograms = (event: WorkerEvent): string | undefined => {
  switch (event.type) {
    case 'succeeded':
    case 'failed':
    case 'deadLettered':
    case 'expired':
    case 'snoozed':
    case 'leaseLost':
    case 'settleFailed': {
      const { type, queue, message, ...rest } = event
      const error = 'error' in rest ? { error: describeError(rest.error).message } : {}
      return toText({ event: type, queue, id: message.id, attempt: message.readCount, ...rest, ...error })
    }
    case 'fetchFailed':
      return toText({ event: event.type, queue: event.queue, error: describeError(event.error).message })
    case 'fetchResumed':
    case 'stopped':
      return toText({ event: event.type, queue: event.queue })
    default:
      return undefined
  }
}

/** Only failures. */
function forPeople(event: WorkerEvent): string | undefined {
  const { queue } = event
  const error = 'error' in event ? inOneLine(event.error) : ''
  switch (event.type) {
    case 'failed': {
      const { message, retryMs } = event
      const next = retryMs === null ? 'the last' : `again in ${(retryMs / 1000).toFixed(1)}s`
      return `${queue} ${message.id} failed (attempt ${message.readCount}, ${next}): ${error}`
    }
    case 'deadLettered':
      return `${queue} ${event.message.id} became a dead letter: ${error}`
    case 'expired':
      return event.policy === 'drop' ? `${queue} ${event.message.id} expired and was dropped` : undefined
    case 'leaseLost':
      return `${queue} ${event.message.id} lost its lease; another worker may have it now`
    case 'settleFailed': {
      const next = event.final ? 'it will be delivered again' : 'trying again'
      return `${queue} ${event.message.id} could not be settled, ${next}: ${error}`
    }
    case 'fetchFailed':
      return `${queue} cannot be read, trying again: ${error}`
    case 'fetchResumed':
      return `${queue} can be read again`
    default:
      return undefined
  }
}

const inOneLine = (error: unknown) => printable(describeError(error).message.replace(/\s+/g, ' ')).slice(0, 300)
