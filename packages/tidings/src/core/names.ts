import { type ErrorCode, show, TidingsError } from './errors.ts'
import { typeError } from './options.ts'

/** PGMQ's limit of 47 characters, in bytes because PostgreSQL counts identifiers in bytes. */
export const maxQueueNameBytes = 47

/**
 * The one rule for names of queues, used for tables, keys, channels, files and URLs alike. Lower case only, since
 * PGMQ folds the names of its tables: `Orders` and `orders` would share one.
 * @returns the name
 * @throws TYPE, QUEUE_NAME_INVALID
 */
export function checkQueueName(name: unknown, field = 'queue name'): string {
  return checkName(name, field, 'QUEUE_NAME_INVALID')
}

/** The queue with the one message whose lease makes a sentinel active. */
export const leaderQueue = 'tidings_sentinel'

/** Whether Tidings made the queue for itself. Lists leave it out unless they are asked for it. */
export const isInternalQueue = (name: string) => name === leaderQueue

/** The topic in which the server numbers subscribers of the routes of `--legacy-topics`. */
export const legacySubscribersTopic = 'tidings_legacy_subscribers'

/** What is wrong with a name that another client gave a queue; undefined: nothing. */
export function whyUnusable(name: string): string | undefined {
  const reason = whyInvalid(name)
  return reason && `its name ${reason}`
}

/** The same rule. @throws TYPE, TOPIC_NAME_INVALID */
export function checkTopicName(name: unknown, field = 'topic name'): string {
  return checkName(name, field, 'TOPIC_NAME_INVALID')
}

/** The same rule. @throws TYPE, SUBSCRIPTION_NAME_INVALID */
export function checkSubscriptionName(name: unknown, field = 'subscription name'): string {
  return checkName(name, field, 'SUBSCRIPTION_NAME_INVALID')
}

/** The same rule. @throws TYPE, SCHEDULE_NAME_INVALID */
export function checkScheduleName(name: unknown, field = 'schedule name'): string {
  return checkName(name, field, 'SCHEDULE_NAME_INVALID')
}

function checkName(name: unknown, field: string, code: ErrorCode): string {
  if (typeof name !== 'string') throw typeError(field, name, 'a string')
  const reason = whyInvalid(name)
  if (reason) throw new TidingsError(code, `${field} ${reason}`, { details: { field } })
  return name
}

function whyInvalid(name: string): string | undefined {
  if (name === '') return 'is empty'
  const bytes = Buffer.byteLength(name)
  if (bytes > maxQueueNameBytes) return `${show(name)} is ${bytes} bytes; at most ${maxQueueNameBytes}`
  if (/[A-Z]/.test(name)) return `${show(name)} has upper-case letters; write ${show(name.toLowerCase())}`
  const bad = /[^a-z0-9_.-]/u.exec(name)
  if (bad) return `${show(name)} contains ${show(bad[0])}`
  if (!/^[a-z0-9_]/.test(name)) return `${show(name)} starts with ${show(name[0])}`
  if (name.includes('--')) return `${show(name)} contains '--'`
  return undefined
}

/**
 * The default dead-letter queue: `<queue>_dlq`. A dead-letter queue has none of its own.
 * @returns null for a dead-letter queue, or if the name would be too long
 */
export function defaultDeadLetterQueue(queue: string): string | null {
  if (queue.endsWith('_dlq')) return null
  const name = `${queue}_dlq`
  return Buffer.byteLength(name) <= maxQueueNameBytes ? name : null
}
