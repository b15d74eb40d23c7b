import { checkQueueName } from '../core/names.ts'
import { checkNamespace } from './channels.ts'
import { defaultQueuePattern, namespaceOf as namespaceBy, parseQueuePattern } from './namespace.ts'

/**
 * The namespace of a queue, as its events say it.
 * @param pattern that of the migration
 * @throws QUEUE_NAME_INVALID, CONFIG_INVALID for a pattern that cannot be read
 * @example import { namespaceOf } from 'tidings'
 *
 * namespaceOf('worker_orders_queue') // 'orders'
 */
export const namespaceOf = (queue: string, pattern: string = defaultQueuePattern): string =>
  namespaceBy(checkQueueName(queue), parseQueuePattern(pattern, 'pattern'))

/**
 * The queue of the workers of a namespace, by the pattern that holds without another one.
 * @throws CONFIG_INVALID, QUEUE_NAME_INVALID
 * @example import { queueOfNamespace } from 'tidings'
 *
 * const queue = bus.queue(queueOfNamespace('orders')) // 'worker_orders_queue'
 */
export function queueOfNamespace(namespace: string): string {
  checkNamespace(namespace, 'namespace')
  return checkQueueName(`worker_${namespace}_queue`)
}
