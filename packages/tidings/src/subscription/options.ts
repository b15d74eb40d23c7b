import { checkQueueName } from '../core/names.ts'
import * as option from '../core/options.ts'
import { attemptsOption, signalOption } from '../messages/options.ts'
import { fromOption } from '../topics/options.ts'
import { backoff, lease, workOptions } from '../worker/options.ts'
import type { SubscriptionEvent } from './events.ts'

const shared = {
  from: fromOption,
  lease: {
    ...lease,
    doc: 'For how long a process that does not go on keeps the subscription; renewed well before.',
  },
  readAhead: option.integer('The most messages that are read at a time; fewer of large ones.', {
    default: 100,
    min: 1,
    max: 1_000,
  }),
  deadLetter: option.value<string | false, string | false | null>(
    'The queue for messages that failed too often or that the schema refuses; false stops at such a message.',
    {
      default: null,
      defaultText: '<topic>_<subscription>_dlq; <topic>_dlq if ephemeral',
      typeText: 'queue name or false',
      parse: (value, path) => (value === false ? false : checkQueueName(value, path)),
    },
  ),
  ephemeral: option.boolean('Removes the subscription at the end.', { default: false }),
  pollInterval: workOptions.pollInterval,
} as const

export const subscribeOptions = {
  ...shared,
  maxAttempts: attemptsOption,
  backoff,
  strictResults: workOptions.strictResults,
  signal: { ...signalOption, doc: 'Stops the subscriber.' },
  observe: option.value<(event: SubscriptionEvent) => void, ((event: SubscriptionEvent) => void) | null>(
    'Is told of everything that happens.',
    { default: null, defaultText: 'none', typeText: 'function', parse: option.parseFunction },
  ),
} as const
export type SubscribeOptions = option.OptionsInput<typeof subscribeOptions>

export const topicConsumeOptions = {
  ...shared,
  untilEmpty: option.integer('Ends the loop after so many reads in a row that found nothing.', {
    default: null,
    defaultText: 'never',
    min: 1,
    max: 1_000_000,
  }),
  wait: option.duration('How long such a read waits for a message.', { default: 1_000, min: 0, max: 3_600_000 }),
  manualAck: option.boolean(
    'Moves the subscription by `message.ack()` alone, and not when the loop asks for the next message.',
    { default: false },
  ),
  signal: { ...signalOption, doc: 'Ends the loop.' },
  observe: subscribeOptions.observe,
} as const
export type TopicConsumeOptions = option.OptionsInput<typeof topicConsumeOptions>
