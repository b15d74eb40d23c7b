import { TidingsError } from 'tidings/internal/core/errors'
import { toJson } from 'tidings/internal/core/json'
import * as option from 'tidings/internal/core/options'
import { channelOf, channelsOf, checkChannel } from 'tidings/internal/events/channels'
import { parseEvent, type QueueEvent } from 'tidings/internal/events/event'
import { selectionOptions } from 'tidings/internal/events/options'
import { fromWireMeta, type MessageMeta, renamedMeta } from 'tidings/internal/port/meta'
import { maxChannels, toNumericId, wireError } from 'tidings/internal/protocol/messages'
import { redact } from '../http/error-redaction.ts'
import { shape } from '../http/fields.ts'
import { type Redacted, unredacted } from '../http/redaction.ts'
import { type Access, type Route, route } from '../http/route.ts'
import { streamChannels } from '../streams/channel-streams.ts'

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

const channelNames = option.list(
  'Channels that events come through.',
  option.text('Its name.', { default: '', check: checkChannel }),
  { default: null, min: 1, max: maxChannels },
)

const listening = {
  description: 'From now on it listens. Comes first.',
  fields: {
    installed: shape.flag('Whether what `tidings generate-migration` writes was applied.'),
    prefix: shape.nullable(shape.text('What the names of the channels start with there.')),
  },
} as const
const tooMany = { description: 'The server has as many of these streams as it may.' }
const none = { description: 'The storage has no events.' }

export const eventRoutes: readonly Route[] = [
  route({
    name: 'streamEvents',
    method: 'GET',
    path: '/v1/events',
    tag: 'Events',
    summary: 'What the queues tell of themselves',
    description:
      'Where the storage has events, once the SQL of `tidings generate-migration` was applied; 501 elsewhere. Events are signals that can be missed; messages cannot. What makes the client miss some ends the stream with the event `error`: the connection to the storage broke, or more than 1,000 wait for it.',
    scope: 'read',
    query: selectionOptions,
    answers: {
      200: {
        description: 'Server-sent events.',
        events: {
          listening,
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
      429: tooMany,
      501: none,
    },
    handle({ bus, query: { namespace, queue, prefix }, access, redacted, signal, streamLimit }) {
      const channels = [...channelsOf(prefix, namespace === null ? null : [namespace]), channelOf.due(prefix)]
      return streamChannels({ bus, streamLimit, channels, signal }, async (notice, events) => {
        const event = 'text' in notice ? readable(notice.text) : null
        if (event === null || !access.allows('read', event.queue)) return
        if ((namespace !== null && event.namespace !== namespace) || (queue !== null && event.queue !== queue)) return
        await events.send(...toWireEvent(shown(event, redacted)))
      })
    },
  }),

  route({
    name: 'streamChannels',
    method: 'GET',
    path: '/v1/channels',
    tag: 'Events',
    summary: 'What comes through channels, as it came',
    description:
      'The same events for clients that read them as the storage writes them, like `connect` with the URL of a server. The server announces what is due.',
    scope: 'read',
    query: { names: option.required(channelNames) },
    answers: {
      200: {
        description: 'Server-sent events.',
        events: {
          listening,
          notified: {
            description: 'An event.',
            fields: { channel: shape.text('Its channel.'), text: shape.text('The event; its JSON, if it is whole.') },
          },
          failed: {
            description: 'What is due could not be announced; it is tried again.',
            fields: { code: shape.text(''), message: shape.text(''), hint: shape.text('') },
          },
        },
      },
      429: tooMany,
      501: none,
    },
    handle({ bus, query: { names }, access, redacted, signal, streamLimit }) {
      if (redacted !== unredacted)
        throw new TidingsError('UNSUPPORTED', 'the events are told as they came, which shows what is to be redacted', {
          hint: 'Use /v1/events.',
        })
      return streamChannels({ bus, streamLimit, channels: names, signal }, async (notice, events) => {
        if ('trouble' in notice) return events.send('failed', wireError(redact(notice.trouble)))
        const { channel, text } = notice
        if (access.seesAll || mayHear(access, text)) await events.send('notified', { channel, text })
      })
    },
  }),
]

/** What cannot be read belongs to no queue. */
function mayHear(access: Access, text: string): boolean {
  const event = readable(text)
  return event !== null && access.allows('read', event.queue)
}

function readable(text: string): QueueEvent | null {
  try {
    return parseEvent(text)
  } catch {
    return null
  }
}

function shown(event: QueueEvent, redacted: Redacted): QueueEvent {
  // As it is, it keeps every digit.
  if (event.type !== 'message_with_payload' || redacted === unredacted) return event
  const stored = { data: toJson(event.data, 'event'), meta: renamedMeta(event.meta), headers: {} }
  const { data, meta } = redacted(event.queue, stored)
  return { ...event, data: JSON.parse(data), meta: fromWireMeta(meta) }
}

/** @returns its name and its data as JSON text */
function toWireEvent(event: QueueEvent): [name: string, data: string] {
  const common = { queue_name: event.queue, namespace: event.namespace, metadata: event.metadata }
  if (event.type === 'queue_created') return written(event.type, { ...common, created_at: event.createdAt })
  const told = { ...common, ready_at: event.readyAt, delay_seconds: event.delaySeconds }
  switch (event.type) {
    case 'message_ready':
      return written(event.type, { ...told, msg_id: toNumericId(event.id) })
    case 'message_with_payload':
      return withPayload(event, { ...told, msg_id: toNumericId(event.id) })
    case 'batch_ready': {
      const { count, ids, truncated } = event
      return written(event.type, { ...told, count, msg_ids: ids?.map(toNumericId) ?? null, truncated })
    }
  }
}

function withPayload({ data, meta }: { data: unknown; meta: MessageMeta }, told: object): [string, string] {
  try {
    return written('message_with_payload', { ...told, message: data, meta: renamedMeta(meta) })
  } catch {
    // Another client has sent what nests deeper than our own may.
    return written('message_ready', told)
  }
}

const written = (name: string, fields: object): [string, string] => [name, toJson(fields, 'event')]
