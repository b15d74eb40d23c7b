import type { QueueEvent } from '../../events/event.ts'
import { selectionOptions } from '../../events/options.ts'
import { toJsonExactly } from '../../json.ts'
import * as option from '../../options.ts'
import { toNumericId } from '../../wire.ts'
import { shape } from '../fields.ts'
import { type Route, route } from '../route.ts'

const ofQueue = {
  queue_name: shape.text('The queue that tells it.'),
  namespace: shape.text('Its namespace.'),
  metadata: shape.anyMembers('Facts beside it.'),
} as const
const ready = {
  ...ofQueue,
  ready_at: shape.time('Since when it can be read.'),
  delay_seconds: shape.number('Whole seconds from sending until then.'),
} as const

export const eventRoutes: readonly Route[] = [
  route({
    method: 'GET',
    path: '/v1/events',
    tag: 'Events',
    summary: 'What the queues tell of themselves',
    description:
      'Where the storage has events, once the SQL of `tidings generate-migration` was applied; 501 elsewhere. Events are signals that can be missed; messages cannot.',
    scope: 'read',
    query: selectionOptions,
    answers: {
      200: {
        description: 'Server-sent events.',
        events: {
          queue_created: { description: 'A queue.', fields: { ...ofQueue, created_at: shape.time('When.') } },
          message_ready: {
            description: 'A message that is too large to be told.',
            fields: { ...ready, msg_id: shape.numericId },
          },
          message_with_payload: {
            description: 'A message. Having it is no lease: read it before you work.',
            fields: {
              ...ready,
              msg_id: shape.numericId,
              message: option.json('The data.'),
              meta: shape.anyMembers(''),
            },
          },
          batch_ready: {
            description: 'Messages that were sent together.',
            fields: {
              ...ready,
              count: shape.number('How many.'),
              msg_ids: shape.nullable(shape.several('Null where they did not fit.', shape.numericId)),
              truncated: shape.flag('Whether they did not fit.'),
            },
          },
        },
      },
      501: { description: 'The storage has no events.' },
    },
    async handle({ bus, query: { namespace, queue, prefix }, access, signal }) {
      const events = bus.events({
        ...(namespace === null ? {} : { namespace }),
        ...(queue === null ? {} : { queue }),
        ...(prefix === null ? {} : { prefix }),
      })
      return {
        async run(sink) {
          const stop = () => void events.stop()
          signal.addEventListener('abort', stop, { once: true })
          try {
            if (signal.aborted) return
            for await (const event of events)
              if (access.allows('read', event.queue))
                await sink.send(event.type, toJsonExactly(toWireEvent(event), 'event'))
          } finally {
            signal.removeEventListener('abort', stop)
          }
        },
      }
    },
  }),
]

function toWireEvent(event: QueueEvent): object {
  const common = { queue_name: event.queue, namespace: event.namespace, metadata: event.metadata }
  if (event.type === 'queue_created') return { ...common, created_at: event.createdAt }
  const told = { ...common, ready_at: event.readyAt, delay_seconds: event.delaySeconds }
  switch (event.type) {
    case 'message_ready':
      return { ...told, msg_id: toNumericId(event.id) }
    case 'message_with_payload':
      return { ...told, msg_id: toNumericId(event.id), message: event.data, meta: event.meta }
    case 'batch_ready': {
      const { count, ids, truncated } = event
      return { ...told, count, msg_ids: ids?.map(toNumericId) ?? null, truncated }
    }
  }
}
