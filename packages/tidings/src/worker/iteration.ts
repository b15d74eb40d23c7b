import { newTurns } from '../core/in-turn.ts'

/** What messages are read through, one at a time. */
export interface Reader<M> {
  /** Whether the message that `next` gave last is still this reader's to settle. */
  readonly holdsCurrent: boolean
  /** Settles the message at hand as done, and waits for another. @returns null at the end */
  next(): Promise<M | null>
  /** Lets a `next` that waits end. */
  interrupt(): void
  /** Gives the message at hand back, and ends. */
  close(): Promise<void>
}

type Result<M> = IteratorResult<M, undefined>

/** What readers leave behind whose iteration nobody can get at any more. */
const abandoned = new FinalizationRegistry<Reader<unknown>>((reader) => void reader.close())
/** A message that somebody still holds keeps its iteration. */
const iterationOf = new WeakMap<object, unknown>()

/**
 * Messages for `for await`. A message that nobody looked at, since `next` lost a race, is neither settled nor lost: the
 * following `next` gives it. What is dropped without an end is ended when it is collected.
 */
export class Iteration<M extends object> implements AsyncIterableIterator<M>, AsyncDisposable {
  readonly #reader: Reader<M>
  /** Callers of `next` that do not wait get their messages one after the other. */
  readonly #inTurn = newTurns()
  /** A `next` that still waits, and was not called just now together with others. */
  #waiting: Promise<Result<M>> | null = null
  #given: Given<M> | null = null

  constructor(reader: Reader<M>) {
    this.#reader = reader
    abandoned.register(this, reader, this)
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  next(): Promise<Result<M>> {
    if (this.#waiting !== null) return this.#waiting
    const before = this.#given
    let isOver = false
    const result = this.#inTurn(async () => {
      try {
        return await this.#next(before)
      } finally {
        isOver = true
        if (this.#waiting === result) this.#waiting = null
      }
    })
    // Calls of one tick each want a message of their own; a later one comes in place of this one.
    queueMicrotask(() => {
      if (!isOver) this.#waiting = result
    })
    return result
  }

  async #next(before: Given<M> | null): Promise<Result<M>> {
    const given = this.#given
    if (given !== null && given === before && !given.wasSeen && this.#reader.holdsCurrent) return given.result()
    try {
      const message = await this.#reader.next()
      if (message === null) return await this.#end()
      iterationOf.set(message, this)
      this.#given = new Given(message)
      return this.#given.result()
    } catch (error) {
      await this.#end()
      throw error
    }
  }

  /** Ends the iteration, and gives the message at hand back. */
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
    this.#given = null
    await this.#reader.close()
    return { done: true, value: undefined }
  }
}

/** A message, and whether somebody took it out of its result. */
class Given<M> {
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
