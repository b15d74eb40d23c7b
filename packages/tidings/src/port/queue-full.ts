import { TidingsError } from '../core/errors.ts'

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
