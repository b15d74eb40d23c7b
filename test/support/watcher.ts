import type { WorkerEvent } from 'tidings/internal/worker/worker'

/** Everything that a worker or a subscriber told, and promises for what it will tell. */
export class Watcher<E extends { readonly type: string } = WorkerEvent> {
  readonly events: E[] = []
  readonly #waiting = new Set<() => void>()

  readonly observe = (event: E): void => {
    this.events.push(event)
    for (const check of this.#waiting) check()
  }

  of<K extends E['type']>(type: K): Extract<E, { type: K }>[] {
    return this.events.filter((event): event is Extract<E, { type: K }> => event.type === type)
  }

  /** Resolves with the event once there are `count` of the type. */
  until<K extends E['type']>(type: K, count = 1): Promise<Extract<E, { type: K }>> {
    return new Promise((resolve) => {
      const check = () => {
        const found = this.of(type)
        if (found.length < count) return
        this.#waiting.delete(check)
        resolve(found[count - 1]!)
      }
      this.#waiting.add(check)
      check()
    })
  }
}
