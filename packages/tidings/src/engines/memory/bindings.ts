import { PatternIndex } from '../../core/pattern-index.ts'
import type { Binding } from '../../port/engine.ts'

/** Which patterns lead into which queues. */
export class Bindings {
  /** For each queue its patterns, with the time since when they are bound. */
  readonly #queues = new Map<string, Map<string, number>>()
  /** Made anew by the next publish after a change. */
  #index: PatternIndex<string> | null = null

  add(pattern: string, queue: string, now: number): boolean {
    this.#index = null
    const patterns = this.#queues.get(queue) ?? new Map<string, number>()
    if (patterns.has(pattern)) return false
    this.#queues.set(queue, patterns.set(pattern, now))
    return true
  }

  remove(pattern: string, queue: string): boolean {
    this.#index = null
    return this.#queues.get(queue)?.delete(pattern) ?? false
  }

  removeAll(queue: string): void {
    this.#index = null
    this.#queues.delete(queue)
  }

  of(queue: string): Binding[] {
    const bound = [...(this.#queues.get(queue) ?? [])].map(([pattern, boundAt]) => ({ pattern, queue, boundAt }))
    return bound.sort((a, b) => (a.pattern < b.pattern ? -1 : 1))
  }

  queuesFor(routingKey: string): string[] {
    this.#index ??= new PatternIndex(
      [...this.#queues].flatMap(([queue, patterns]) =>
        [...patterns.keys()].map((pattern) => [pattern, queue] as const),
      ),
    )
    return [...this.#index.find(routingKey)]
  }
}
