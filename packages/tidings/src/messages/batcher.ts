import { fitting, type Limits } from '../port/limits.ts'

/**
 * Groups single calls into batches without making anybody wait: the first call goes out at the end of the current
 * tick, and what arrives while a batch is under way makes up the next one. So a batch is one message when there is
 * little to do and grows by itself under load. Batches are sent one after the other, which keeps the order.
 * The limits of the storage bound a batch; a single item may be larger.
 */
export class Batcher<Item, Result> {
  readonly #send: (items: Item[]) => Promise<Result[]>
  readonly #storage: { readonly limits: Limits }
  readonly #size: (item: Item) => number
  #waiting: Entry<Item, Result>[] = []
  #scheduled = false
  #sending = false
  #last: Promise<unknown> = Promise.resolve()

  /** @param send returns one result an item, in order; if it rejects, every item of the batch does */
  constructor(
    send: (items: Item[]) => Promise<Result[]>,
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
    setImmediate(() => {
      this.#scheduled = false
      void this.#sendBatch()
    })
  }

  async #sendBatch(): Promise<void> {
    const batch = this.#waiting.splice(
      0,
      fitting(this.#waiting, this.#storage.limits, ({ item }) => this.#size(item)),
    )
    this.#sending = true
    try {
      const results = await this.#send(batch.map((entry) => entry.item))
      for (const [index, entry] of batch.entries()) entry.resolve(results[index] as Result)
    } catch (error) {
      for (const entry of batch) entry.reject(error)
    } finally {
      this.#sending = false
      this.#schedule()
    }
  }
}

interface Entry<Item, Result> {
  readonly item: Item
  readonly resolve: (result: Result) => void
  readonly reject: (error: unknown) => void
}
