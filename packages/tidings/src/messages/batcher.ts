import { isTidingsError } from '../core/errors.ts'
import { atEndOfTick } from '../core/turns.ts'
import { fitting, type Limits } from '../port/limits.ts'

/** Why one item of several was not carried out. */
export class Failure {
  readonly error: unknown

  constructor(error: unknown) {
    this.error = error
  }
}

/**
 * Sends items together; where the storage refuses something in them, in halves, so that what it refuses fails alone.
 * @returns one result an item, in order
 */
export async function sendApart<Item, Result>(
  items: Item[],
  send: (items: Item[]) => Promise<(Result | Failure)[]>,
): Promise<(Result | Failure)[]> {
  try {
    return await send(items)
  } catch (error) {
    const refused = isTidingsError(error) && error.details.refused === true
    if (items.length === 1 || !refused) return items.map(() => new Failure(error))
    const half = items.length >> 1
    const first = await sendApart(items.slice(0, half), send)
    return [...first, ...(await sendApart(items.slice(half), send))]
  }
}

/**
 * Groups single calls into batches without making anybody wait: the first call goes out at the end of the current
 * tick, and what arrives while a batch is under way makes up the next one. So a batch is one message when there is
 * little to do and grows by itself under load. Batches are sent one after the other, which keeps the order.
 * The limits of the storage bound a batch; a single item may be larger.
 */
export class Batcher<Item, Result> {
  readonly #send: (items: Item[]) => Promise<(Result | Failure)[]>
  readonly #storage: { readonly limits: Limits }
  readonly #size: (item: Item) => number
  #waiting: Entry<Item, Result>[] = []
  #scheduled = false
  #sending = false
  #last: Promise<unknown> = Promise.resolve()

  /** @param send returns one result an item, in order; if it rejects, nothing was done, or nobody knows */
  constructor(
    send: (items: Item[]) => Promise<(Result | Failure)[]>,
    storage: { readonly limits: Limits },
    size: (item: Item) => number = () => 0,
  ) {
    this.#send = send
    this.#storage = storage
    this.#size = size
  }

  add(item: Item): Promise<Result> {
    const result = new Promise<Result>((resolve, reject) => {
      this.#waiting.push({ item, resolve, reject })
      this.#schedule()
    })
    this.#last = result
    return result
  }

  get isBusy(): boolean {
    return this.#sending || this.#waiting.length > 0
  }

  /** Waits for the results of what was added so far. */
  async idle(): Promise<void> {
    // They come in their order.
    await this.#last.catch(() => {})
  }

  #schedule(): void {
    if (this.#scheduled || this.#sending || this.#waiting.length === 0) return
    this.#scheduled = true
    atEndOfTick(() => {
      this.#scheduled = false
      void this.#sendBatch()
    })
  }

  async #sendBatch(): Promise<void> {
    const count = fitting(this.#waiting, this.#storage.limits, ({ item }) => this.#size(item))
    const batch = this.#waiting
    this.#waiting = batch.splice(count)
    this.#sending = true
    const results = await sendApart(
      batch.map(({ item }) => item),
      this.#send,
    )
    for (let index = 0; index < batch.length; index++) {
      const { resolve, reject } = batch[index]!
      const result = results[index] as Result | Failure
      if (result instanceof Failure) reject(result.error)
      else resolve(result)
    }
    this.#sending = false
    this.#schedule()
  }
}

interface Entry<Item, Result> {
  readonly item: Item
  readonly resolve: (result: Result) => void
  readonly reject: (error: unknown) => void
}
