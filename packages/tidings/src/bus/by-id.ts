import type { Clock } from '../core/clock.ts'
import { TidingsError } from '../core/errors.ts'
import { deadLetterEnding, deadLetterMeta } from '../messages/lease.ts'
import { StoredCopy } from '../messages/message.ts'
import type { Composed } from '../messages/prepare.ts'
import type { Ending, Engine, NewMessage, Place, StoredMessage } from '../port/engine.ts'
import { clearedMeta } from './dead-letters.ts'
import type { QueueRules } from './queue-rules.ts'
import { eventsOf, type TraceEvent } from './trace.ts'

const leaseMs = 30_000
const states: readonly Place[] = ['leased', 'delayed', 'ready']

/** A message, and where it is. */
export interface Placed {
  readonly message: StoredMessage
  readonly state: Place
}

/** What a copy has in place of what the message has. */
export type CopyChanges = Partial<
  Pick<NewMessage, 'data' | 'headers' | 'meta' | 'priority' | 'orderingKey' | 'group' | 'delayMs'>
>

/** One message of a queue in the hands of a person: to be looked at, moved, ended as dead or sent once more. */
export class ById {
  readonly #queue: string
  readonly #rules: Pick<QueueRules, 'ready' | 'deadLetterQueue'>
  readonly #engine: Engine
  readonly #clock: Clock

  constructor(
    queue: string,
    rules: Pick<QueueRules, 'ready' | 'deadLetterQueue'>,
    { engine, clock }: { engine: Engine; clock: Clock },
  ) {
    this.#queue = queue
    this.#rules = rules
    this.#engine = engine
    this.#clock = clock
  }

  /** Wherever it is, in the archive too. @throws MESSAGE_NOT_FOUND */
  async find(id: string): Promise<Placed> {
    const look = async (place: Place | null) =>
      (await this.#engine.peek(this.#queue, { place, limit: 1, afterId: null, ids: [id] }))[0]
    // It may go on to another state meanwhile.
    for (let attempt = 0; attempt < 2; attempt++) {
      if ((await look(null)) === undefined) break
      for (const state of states) {
        const message = await look(state)
        if (message !== undefined) return { message, state }
      }
    }
    const message = await look('archived')
    if (message !== undefined) return { message, state: 'archived' }
    throw this.#notFound(id, 'It was deleted, moved, or never was in this queue.')
  }

  /** What is known of its past, in the order of time, and what is to come. */
  timeline({ message, state }: Placed): TraceEvent[] {
    return eventsOf({ message: new StoredCopy(this.#queue, message, null), state })
  }

  /**
   * Moves a message that is ready, in one step.
   * @returns its id there; null where the storage tells it later
   * @throws MESSAGE_NOT_FOUND, LEASE_LOST
   */
  async move(id: string, { to, delayMs }: { readonly to: string; readonly delayMs: number }): Promise<string | null> {
    const meta = { moved_from_queue: this.#queue, moved_from_id: id, queue_name: to }
    return this.#end(id, () => ({ kind: 'move', to, delayMs, meta }))
  }

  /** Ends a message that is ready as if it had failed too often. @returns where it is now */
  async deadLetter(id: string, reason: string): Promise<{ readonly queue: string | null; readonly id: string | null }> {
    await this.#rules.ready()
    const { deadLetterQueue } = this.#rules
    const newId = await this.#end(id, (message) => {
      // Taking it was no attempt.
      const before = { ...message, readCount: message.readCount - 1 }
      return deadLetterEnding(deadLetterQueue, deadLetterMeta(this.#queue, before, reason, this.#clock.now()))
    })
    return { queue: deadLetterQueue, id: newId }
  }

  /**
   * Makes messages ready before their time. @returns the ids of those that are
   * @throws MESSAGE_NOT_FOUND for an id alone that is not ready
   */
  async makeReady(which: string | readonly string[]): Promise<string[]> {
    const ids = typeof which === 'string' ? [which] : which
    const made = ids.length === 0 ? [] : await this.#engine.makeReady(this.#queue, ids)
    const ready = ids.filter((_, index) => made[index])
    if (typeof which === 'string' && ready.length === 0)
      throw this.#notFound(which, 'It is in hand, has ended, or never was in this queue.')
    return ready
  }

  /** A message like it, with what is changed, to be sent. The one that it comes from stays, and stands in its meta. */
  async copy(id: string, to: string, changes: CopyChanges): Promise<Composed> {
    const { message } = await this.find(id)
    const { data, headers, meta, priority, orderingKey, group } = { ...message, ...changes }
    const kept = Object.entries(meta).filter(
      ([field]) => !Object.hasOwn(clearedMeta, field) && !field.startsWith('moved_from_'),
    )
    const from = { queue_name: to, replayed_from_queue: this.#queue, replayed_from_id: id }
    return {
      message: {
        data,
        headers,
        meta: { ...Object.fromEntries(kept), ...from },
        delayMs: changes.delayMs ?? 0,
        notBefore: null,
        priority,
        orderingKey,
        ...(group === null ? {} : { group }),
        dedup: null,
        uniqueTarget: null,
        bare: false,
      },
      isUntimed: false,
      names: {
        data: 'message',
        delay: 'delay_ms',
        at: 'not_before',
        orderingKey: 'ordering_key',
        priority: 'priority',
        ttl: 'ttl_ms',
      },
    }
  }

  async #end(id: string, endingOf: (message: StoredMessage) => Ending): Promise<string | null> {
    const { messages } = await this.#engine.claim(this.#queue, { limit: 1, leaseMs, ids: [id] })
    const [message] = messages
    if (message === undefined)
      throw this.#notFound(id, 'It is in hand, waits for its time or for another of its key, or its queue is paused.')
    const [result] = await this.#engine.settle(this.#queue, [
      { id, receipt: message.receipt ?? '', ...endingOf(message) },
    ])
    if (result?.settled) return result.newId
    throw new TidingsError(
      'LEASE_LOST',
      `message ${id} of queue '${this.#queue}' was taken by another reader meanwhile`,
      {
        details: { queue: this.#queue, id },
      },
    )
  }

  #notFound(id: string, hint: string): TidingsError {
    return new TidingsError('MESSAGE_NOT_FOUND', `queue '${this.#queue}' has no message ${id} that can be had`, {
      details: { queue: this.#queue, id },
      hint,
    })
  }
}
