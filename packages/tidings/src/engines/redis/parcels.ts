import type { TaskEvent } from './correlations.ts'
import type { Options, Sheet } from './messages.ts'
import type { Destination, QueueDestination } from './routes.ts'

/** What has to reach another slot. A script writes it into the outbox of its queue in the step that it follows from. */
export type Parcel =
  | { readonly kind: 'event'; readonly correlation: string; readonly event: TaskEvent }
  | {
      readonly kind: 'move'
      readonly to: string
      readonly body: string
      readonly options: Options
      readonly event?: TaskEvent
    }
  | Copies
  /** What was purged or dropped, and put aside for the ends of its tasks. */
  | { readonly kind: 'gone'; readonly grave: string }
  /** Tasks that were to be sent and never will be. */
  | { readonly kind: 'intent'; readonly tasks: readonly (readonly [correlation: string, task: string])[] }

/** Published messages that have to reach other slots. */
export interface Copies {
  readonly kind: 'copies'
  readonly topics: readonly Destination[]
  readonly queues: readonly QueueDestination[]
  readonly messages: readonly Sheet[]
  /** Of the first topic or, if there is none, the first queue, which has its copies. */
  readonly results: readonly string[]
}
