import { TidingsError } from '../core/errors.ts'
import { defaultDeadLetterQueue } from '../core/names.ts'
import type { QueueSettings } from '../messages/settings.ts'

/** Where dead letters go if the application does not say it; null: into the archive. */
export function storedDeadLetterQueue(queue: string, { deadLetter }: Pick<QueueSettings, 'deadLetter'>): string | null {
  return deadLetter === undefined ? defaultDeadLetterQueue(queue) : deadLetter || null
}

/** Where dead letters go, by queue: where the application said so, else where the queue says so. */
export class DeadLetterPaths {
  readonly #told = new Map<string, string | null>()

  /** @param to null: nowhere */
  set(queue: string, to: string | null): void {
    this.#told.set(queue, to)
  }

  of(queue: string, settings: QueueSettings = {}): string | null {
    return this.#told.has(queue) ? (this.#told.get(queue) ?? null) : storedDeadLetterQueue(queue, settings)
  }

  /** @throws DEAD_LETTER_INVALID */
  check({ name, deadLetterQueue }: { readonly name: string; readonly deadLetterQueue: string | null }): void {
    const path = [name]
    for (let next = deadLetterQueue; next !== null; next = this.of(next)) follow(path, next)
  }
}

/** @param next where dead letters of a queue go @throws DEAD_LETTER_INVALID */
export async function refuseCircle(
  queue: string,
  to: string,
  next: (queue: string) => Promise<string | null>,
): Promise<void> {
  const path = [queue]
  for (let name: string | null = to; name !== null; name = await next(name)) follow(path, name)
}

/** What failed too often must come to rest somewhere. */
function follow(path: string[], next: string): void {
  const isCircle = path.includes(next)
  path.push(next)
  if (isCircle)
    throw new TidingsError('DEAD_LETTER_INVALID', `the dead-letter queues form a circle: ${path.join(' → ')}`, {
      details: { field: 'deadLetter', path },
    })
}
