import { TidingsError } from '../core/errors.ts'

/** What every engine refuses in the same words. */

export const noQueue = (queue: string) =>
  new TidingsError('QUEUE_NOT_FOUND', `queue '${queue}' does not exist`, { details: { queue } })

export const noTopic = (topic: string) =>
  new TidingsError('TOPIC_NOT_FOUND', `topic '${topic}' does not exist`, { details: { topic } })

export const noEvents = (engine: string) => new TidingsError('UNSUPPORTED', `the ${engine} engine has no events`)

export const keepsAll = (topic: string) =>
  new TidingsError('OPTION_CONFLICT', `topic '${topic}' keeps what it took, so no message can replace another there`, {
    details: { topic },
    hint: 'Leave out replace and whileActive, or send to a queue that nothing reaches through a topic.',
  })

export const noLimits = (engine: string, what: string) =>
  new TidingsError('UNSUPPORTED', `the ${engine} engine has no limits and no groups, so not ${what}`, {
    hint: 'Use another storage for this queue.',
    details: { feature: 'limits' },
  })

/**
 * @param length how many messages the queue has; a storage need not count on beyond the limit
 * @param count how many were to be stored
 */
export function queueFull(queue: string, length: number, maxLength: number, count: number): TidingsError {
  const more = count === 1 ? 'one more' : `${count} more`
  return new TidingsError(
    'QUEUE_FULL',
    `queue '${queue}' has ${length} messages of at most ${maxLength}, so not ${more}`,
    {
      details: { queue, length, maxLength },
    },
  )
}

/** @param found why it cannot be promised; @param remedy what to do about that */
export function durabilityUnavailable(found: string, remedy: string): TidingsError {
  return new TidingsError('DURABILITY_UNAVAILABLE', `durability 'fsync' cannot be promised: ${found}`, {
    hint: `${remedy} Nothing was stored.`,
    details: { field: 'durability' },
  })
}
