import * as option from '../core/options.ts'
import { checkPrefix } from './channels.ts'
import { defaultQueuePattern, parseQueuePattern } from './namespace.ts'

/** The parameters of the SQL that lets queues announce their messages. */
export const eventsMigrationOptions = {
  queuePattern: option.text('Names of queues, with a group (?<namespace>…) for their namespace.', {
    default: defaultQueuePattern,
    check: (pattern, path) => void parseQueuePattern(pattern, path),
  }),
  channelPrefix: option.text('What the names of the channels start with.', { default: null, check: checkPrefix }),
  withData: option.boolean('Events carry the data: every role that can connect to the database can listen to it.', {
    default: true,
  }),
  withMetadata: option.boolean('Events of new queues tell whether these are partitioned or unlogged.', {
    default: true,
  }),
  maxPayloadSize: option.integer('Bytes of an event at most; what is larger comes without its data.', {
    min: 512,
    // PostgreSQL's own limit for a notification.
    max: 7_999,
    default: 7_800,
  }),
} as const
export type EventsMigrationOptions = option.OptionsInput<typeof eventsMigrationOptions>
