import { randomUUID } from 'node:crypto'
import { isTidingsError, TidingsError } from '../core/errors.ts'
import { errorMeta } from '../core/message-error.ts'
import { maxQueueNameBytes } from '../core/names.ts'
import type { NewMessage } from '../port/engine.ts'
import type { Position, TopicMessage } from '../port/topic-store.ts'
import type { SubscriptionAccess } from './access.ts'
import type { Journal } from './events.ts'
import type { Item } from './feed.ts'
import { Retrying } from './retrying.ts'

/** For a dead letter that is sent again because its answer was lost. */
const dedupWindowMs = 3_600_000

/**
 * The dead-letter queue of a subscription: `<topic>_<subscription>_dlq`, unless the user names another queue. That of an
 * ephemeral subscription is `<topic>_dlq`.
 * @returns null if the consumer stops instead
 * @throws DEAD_LETTER_INVALID if that name would be too long
 */
export function deadLetterQueueOf(
  { topic, name }: { topic: string; name: string },
  { deadLetter, ephemeral }: { deadLetter: string | false | null; ephemeral: boolean },
): string | null {
  if (deadLetter !== null) return deadLetter || null
  const queue = ephemeral ? `${topic}_dlq` : `${topic}_${name}_dlq`
  const bytes = Buffer.byteLength(queue)
  if (bytes <= maxQueueNameBytes) return queue
  throw new TidingsError(
    'DEAD_LETTER_INVALID',
    `the dead-letter queue '${queue}' would have a name of ${bytes} bytes; at most ${maxQueueNameBytes}`,
    { details: { field: 'deadLetter' }, hint: 'Name another queue with the option `deadLetter`, or false for none.' },
  )
}

/** @returns null if the subscription stops instead */
export function deadLetterBox(
  access: SubscriptionAccess<unknown>,
  queue: string | null,
  options: { from: Position; pollInterval: number },
  journal: Journal,
): DeadLetterBox | null {
  return queue === null ? null : new DeadLetterBox(access, queue, new Retrying(access, options, journal), journal)
}

/**
 * The error of a message whose consumers died one after the other. One death proves nothing: that consumer may have had
 * another message of its batch in hand. Later consumers read one message at a time.
 * @returns null if the message may be tried
 */
export function vanishedError({ vanished }: Item, maxAttempts: number): TidingsError | null {
  if (vanished < Math.max(2, maxAttempts)) return null
  const text = `${vanished} consumers in a row went away without leaving when this message was the next: their processes died, or lost the subscription; at most ${maxAttempts} attempts`
  return new TidingsError('HANDLER_FAILED', text, { details: { vanished, maxAttempts } })
}

/** Sends failed messages to the dead-letter queue, and lets the subscription pass a message only after that. */
export class DeadLetterBox {
  readonly #access: SubscriptionAccess<unknown>
  readonly #queue: string
  readonly #retrying: Retrying
  readonly #journal: Journal

  constructor(access: SubscriptionAccess<unknown>, queue: string, retrying: Retrying, journal: Journal) {
    this.#access = access
    this.#queue = queue
    this.#retrying = retrying
    this.#journal = journal
  }

  /** The subscription does not pass the message if the tenure ends before the dead letter is stored. */
  async put({ stored, acker, tenure }: Item, error: unknown, attempts: number): Promise<void> {
    const letter = this.#letterOf(stored, error, attempts)
    const id = await this.#retrying.run(tenure.interrupted, () => this.#send(letter))
    if (id === null) return
    acker.done(stored.offset)
    this.#journal.tell({ type: 'deadLettered', message: stored, error, queue: this.#queue, id })
  }

  async #send(letter: NewMessage): Promise<string> {
    const { engine } = this.#access
    try {
      const [result] = await engine.send(this.#queue, [letter], null)
      return result!.id
    } catch (error) {
      if (!isTidingsError(error, 'QUEUE_NOT_FOUND')) throw error
      await engine.createQueue(this.#queue)
      return this.#send(letter)
    }
  }

  #letterOf({ data, headers, meta, offset }: TopicMessage, error: unknown, attempts: number): NewMessage {
    const { topic, name, clock } = this.#access
    return {
      data,
      headers,
      meta: {
        ...meta,
        ...errorMeta(error),
        queue_name: this.#queue,
        origin_topic: topic,
        origin_subscription: name,
        origin_offset: offset,
        attempts,
        dead_lettered_at: new Date(clock.now()).toISOString(),
      },
      delayMs: 0,
      notBefore: null,
      priority: 0,
      orderingKey: null,
      dedup: { id: randomUUID(), windowMs: dedupWindowMs },
      uniqueTarget: null,
      bare: false,
    }
  }
}
