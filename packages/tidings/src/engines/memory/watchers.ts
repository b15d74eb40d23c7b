import type { Watch } from '../../port/engine.ts'

/** Who is to be woken for one queue or topic. */
export class Watchers {
  readonly #watchers = new Set<{ wake(dueMs: number): void }>()

  add(wake: (dueMs: number) => void): Watch {
    const watcher = { wake }
    this.#watchers.add(watcher)
    return { close: () => void this.#watchers.delete(watcher) }
  }

  clear(): void {
    this.#watchers.clear()
  }

  /** Calls them after the operation at hand, so that they find it done. */
  wake(dueMs: number): void {
    for (const watcher of this.#watchers)
      queueMicrotask(() => {
        if (this.#watchers.has(watcher)) watcher.wake(dueMs)
      })
  }
}
