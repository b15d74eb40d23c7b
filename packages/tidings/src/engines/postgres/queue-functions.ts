import { isTidingsError } from '../../core/errors.ts'
import { Recent } from '../../core/recent.ts'
import type { Calls } from './calls.ts'
import { statements } from './sql.gen.ts'

type Name = 'sendPlain' | 'claim' | 'claimFreed' | 'settlePlain'

interface Known {
  readonly texts: Readonly<Record<Name, string>>
  /** Whether the functions were there the last time. */
  isReady: boolean
  preparing: Promise<unknown> | null
}

/** The statements that call functions of a single queue, which are made when it is first used: sql/functions/of_queue.sql. */
export class QueueFunctions {
  readonly #calls: Calls
  readonly #queues = new Recent<Known>((queue) => {
    const of = (name: Name) => statements[name].replaceAll('{queue}', queue.replaceAll('"', '""'))
    const texts = {
      sendPlain: of('sendPlain'),
      claim: of('claim'),
      claimFreed: of('claimFreed'),
      settlePlain: of('settlePlain'),
    }
    return { texts, isReady: false, preparing: null }
  })

  constructor(calls: Calls) {
    this.#calls = calls
  }

  /** @param send sends a statement; again if the functions were not there, which did nothing */
  async call<T>(queue: string, name: Name, send: (text: string) => Promise<T>): Promise<T> {
    const known = this.#queues.get(queue)
    if (known.isReady) {
      try {
        return await send(known.texts[name])
      } catch (error) {
        if (!isOther(error)) throw error
        known.isReady = false
      }
    }
    await this.#prepare(queue, known)
    return send(known.texts[name])
  }

  /**
   * Before a transaction of an application uses the queue: if it made the functions itself, everybody would wait for it. A
   * queue that is not there may be one that the transaction created.
   */
  async prepare(queue: string): Promise<void> {
    const known = this.#queues.get(queue)
    if (known.isReady) return
    await this.#prepare(queue, known).catch((error) => {
      if (!isTidingsError(error, 'QUEUE_NOT_FOUND')) throw error
    })
  }

  async #prepare(queue: string, known: Known): Promise<void> {
    known.preparing ??= this.#calls.read(statements.prepareQueue, [queue]).finally(() => {
      known.preparing = null
    })
    await known.preparing
    known.isReady = true
  }
}

/** The queue was dropped and made again, or roles or rights have changed: then other functions are needed. */
const isOther = (error: unknown) =>
  isTidingsError(error) && (error.details.sqlState === '42883' || error.code === 'PERMISSION_DENIED')
