import { TidingsError } from '../core/errors.ts'
import { defaultDeadLetterQueue } from '../core/names.ts'

/** Where dead letters go, by queue: where the application said so, else by the name of the queue. */
export class DeadLetterPaths {
  readonly #told = new Map<string, string | null>()

  /** @param to null: nowhere */
  set(queue: string, to: string | null): void {
    this.#told.set(queue, to)
  }

  of(queue: string): string | null {
    return this.#told.has(queue) ? (this.#told.get(queue) ?? null) : defaultDeadLetterQueue(queue)
  }

  /** What failed too often must come to rest somewhere. @throws DEAD_LETTER_INVALID */
  check({ name, deadLetterQueue }: { readonly name: string; readonly deadLetterQueue: string | null }): void {
    const path = [name]
    let next = deadLetterQueue
    while (next !== null) {
      const isCircle = path.includes(next)
      path.push(next)
      if (isCircle)
        throw new TidingsError('DEAD_LETTER_INVALID', `the dead-letter queues form a circle: ${path.join(' → ')}`, {
          details: { field: 'deadLetter', path },
        })
      next = this.of(next)
    }
  }
}
