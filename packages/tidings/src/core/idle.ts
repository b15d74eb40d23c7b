import * as option from './options.ts'

/** What a bus asks of its storage while there is nothing to do. */
export const idleOption = option.choice(
  "What an idle bus asks of PostgreSQL or Redis. 'look': about once a second whether the server is there, what nobody announced, and whose process is gone. 'sleep': nothing while no message is due, so that a database that is paused when nobody uses it can be, and one that is paid by the call costs nothing: such things are then seen only when something wakes this process, which is a notification, a due time or a call of its own.",
  ['look', 'sleep'],
  { default: null, defaultText: 'look' },
)
export type Idle = option.OptionsOutput<{ idle: typeof idleOption }>['idle']
