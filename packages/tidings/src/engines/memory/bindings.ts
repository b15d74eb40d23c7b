import { matches } from '../../core/pattern.ts'
import type { Binding } from '../../port/engine.ts'

/** Which patterns lead into which queues. */
export class Bindings {
  /** For each queue its patterns, with the time since when they are bound. */
  readonly #queues = new Map<string, Map<string, number>>()

  add(pattern: string, queue: string, now: number): boolean {
    const patterns = this.#queues.get(queue) ?? new Map<string, number>()
    if (patterns.has(pattern)) return false
    this.#queues.set(queue, patterns.set(pattern, now))
    return true
  }

  remove(pattern: string, queue: string): boolean {
    return this.#queues.get(queue)?.delete(pattern) ?? false
  }

  removeAll(queue: string): void {
    this.#queues.delete(queue)
  }

  of(queue: string): Binding[] {
    const bound = [...(this.#queues.get(queue) ?? [])].map(([pattern, boundAt]) => ({ pattern, queue, boundAt }))
    return bound.sort((a, b) => (a.pattern < b.pattern ? -1 : 1))
  }

  queuesFor(routingKey: string): string[] {
    const bound = [...this.#queues].filter(([, patterns]) => matchesAny(patterns.keys(), routingKey))
    return bound.map(([queue]) => queue)
  }
}

export function matchesAny(patterns: Iterable<string>, routingKey: string): boolean {
  return [...patterns].some((pattern) => matches(pattern, routingKey))
}
