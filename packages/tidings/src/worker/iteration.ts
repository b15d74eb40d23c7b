import { newTurns } from '../core/in-turn.ts'

/** Reads messages one at a time. */
export interface Reader<M> {
  /** Whether the last message of `next` can still be settled by this reader. */
  readonly holdsCurrent: boolean
  /** Settles the current message as done, and waits for another. @returns null at the end */
  next(): Promise<M | null>
  /** Ends a waiting `next`. */
  interrupt(): void
  /** Releases the current message, and ends. */
  close(): Promise<void>
}

type Result<M> = IteratorResult<M, undefined>

/** Closes the readers of garbage-collected iterations. */
const abandoned = new FinalizationRegistry<Reader<unknown>>((reader) => void reader.close())
/** A message that is still referenced keeps its iteration alive. */
const iterationOf = new WeakMap<object, unknown>()

/**
 * Messages for `for await`. A message that the caller never took, because `next` lost a race, is neither settled nor lost:
 * the following `next` gives it again. An iteration that is dropped without `return` is closed when it is collected.
 */
export class Iteration<M extends object> implements AsyncIterableIterator<M>, AsyncDisposable {
  readonly #reader: Reader<M>
  /** Concurrent calls of `next` get their messages one after the other. */
  readonly #inTurn = newTurns()
  /** A pending `next` of an earlier tick. */
  #waiting: Promise<Result<M>> | null = null
  #last: LastMessage<M> | null = null

  constructor(reader: Reader<M>) {
    this.#reader = reader
    abandoned.register(this, reader, this)
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  next(): Promise<Result<M>> {
    if (this.#waiting !== null) return this.#waiting
    const before = this.#last
    let isOver = false
    const result = this.#inTurn(async () => {
      try {
        return await this.#next(before)
      } finally {
        isOver = true
        if (this.#waiting === result) this.#waiting = null
      }
    })
    // Calls of the same tick get a message each; a later call shares this pending one.
    queueMicrotask(() => {
      if (!isOver) this.#waiting = result
    })
    return result
  }

  async #next(before: LastMessage<M> | null): Promise<Result<M>> {
    const last = this.#last
    if (last !== null && last === before && !last.wasSeen && this.#reader.holdsCurrent) return last.result()
    try {
      const message = await this.#reader.next()
      if (message === null) return await this.#end()
      iterationOf.set(message, this)
      this.#last = new LastMessage(message)
      return this.#last.result()
    } catch (error) {
      await this.#end()
      throw error
    }
  }

  /** Ends the iteration, and releases the current message. */
  return(): Promise<Result<M>> {
    this.#reader.interrupt()
    return this.#inTurn(() => this.#end())
  }

  async throw(error: unknown): Promise<Result<M>> {
    await this.return()
    throw error
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return()
  }

  async #end(): Promise<Result<M>> {
    abandoned.unregister(this)
    this.#last = null
    await this.#reader.close()
    return { done: true, value: undefined }
  }
}

/** The last message, and whether the caller took it out of the result. */
class LastMessage<M> {
  wasSeen = false
  readonly #message: M

  constructor(message: M) {
    this.#message = message
  }

  result(): Result<M> {
    const see = () => {
      this.wasSeen = true
      return this.#message
    }
    return {
      done: false,
      get value() {
        return see()
      },
    }
  }
}
