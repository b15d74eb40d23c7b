import type { Clock } from '../core/clock.ts'
import { silentLogger } from '../core/logger.ts'
import { renamedMeta } from '../port/meta.ts'
import type { Subscriber } from '../port/wakeups.ts'
import { channelOf } from './channels.ts'
import type { QueueEvent } from './event.ts'
import { Events } from './events.ts'
import type { EventsOptions } from './options.ts'

/** Events that come from nowhere but `emit`. */
export class EmittedEvents {
  readonly events: Events
  #subscriber: Subscriber | undefined

  constructor(options: EventsOptions | undefined, clock: Clock) {
    const wakeups = {
      installed: true,
      prefix: null,
      hears: () => this.#subscriber !== undefined,
      subscribe: async (subscriber: Subscriber) => {
        this.#subscriber = subscriber
        return { close: () => (this.#subscriber = undefined) }
      },
    }
    this.events = new Events(options, { wakeups, clock, logger: silentLogger })
  }

  /** @returns false if nobody listens */
  emit(event: QueueEvent): boolean {
    this.#subscriber?.notified?.(channelOf.messageReady(null), toText(event))
    return this.#subscriber !== undefined
  }
}

/** As PostgreSQL would notify it. */
function toText(event: QueueEvent): string {
  const { type, queue, namespace, metadata } = event
  const common = { event_type: type, queue_name: queue, namespace, metadata }
  if (event.type === 'queue_created') return JSON.stringify({ ...common, created_at: event.createdAt })
  const ready = { ...common, ready_at: event.readyAt, delay_seconds: event.delaySeconds }
  switch (event.type) {
    case 'message_ready':
      return JSON.stringify({ ...ready, msg_id: event.id })
    case 'message_with_payload':
      return JSON.stringify({
        ...ready,
        msg_id: event.id,
        message: { data: event.data, meta: renamedMeta(event.meta) },
      })
    case 'batch_ready':
      return JSON.stringify({
        ...ready,
        message_count: event.count,
        ...(event.ids === null ? {} : { msg_ids: event.ids }),
        ...(event.truncated ? { truncated: true } : {}),
      })
  }
}
