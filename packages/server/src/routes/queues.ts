import { queueListOptions } from 'tidings/internal/bus/queue-list'
import { TidingsError } from 'tidings/internal/core/errors'
import * as option from 'tidings/internal/core/options'
import { limitOptions } from 'tidings/internal/messages/queue-limits'
import { type QueueSettingsChange, queueSettings } from 'tidings/internal/messages/settings'
import { noQueue } from 'tidings/internal/port/refusals'
import { toWireQueue, toWireStats } from 'tidings/internal/protocol/messages'
import { named, shape } from '../http/fields.ts'
import { type Route, route } from '../http/route.ts'

const tag = 'Queues'

const queueFields = {
  queue_name: shape.text('The name of the queue.'),
  is_partitioned: shape.flag('Whether another client of PGMQ made it as a partitioned queue.'),
  is_unlogged: shape.flag('Whether another client of PGMQ made it as one that a crash of its server empties.'),
  created_at: shape.time('When it was created.'),
  settings: shape.optional(shape.anyMembers('What is kept for the queue, where there is something.')),
  unusable: shape.optional(shape.text('In a list: why Tidings does not take its name, which another client gave it.')),
} as const

export const statsFields = {
  queue_name: shape.text('The name of the queue.'),
  is_estimate: shape.optional(
    shape.flag('Whether only a part of the messages was looked at; left out where all were.'),
  ),
  queue_length: shape.number('Messages that are not archived.'),
  queue_visible_length: shape.number('The same as `ready`.'),
  newest_msg_age_sec: shape.nullable(shape.number('Age of the newest message, in seconds.')),
  oldest_msg_age_sec: shape.nullable(shape.number('Age of the oldest message, in seconds.')),
  total_messages: shape.number('Messages ever sent to the queue.'),
  scrape_time: shape.time('When this was looked up.'),
  ready: shape.number('Messages whose time has come.'),
  held_back: shape.number('Of the ready ones, those of which limits and holds let nothing be read now.'),
  delayed: shape.number('Messages that wait for their time.'),
  leased: shape.number('Messages in the hands of a reader.'),
  archived: shape.number("Archived messages; exact up to 100,000, and up to `up_to`, then the storage's estimate."),
  oldest_ready_ms: shape.nullable(shape.number('For how long the oldest message has been ready.')),
  next_due_ms: shape.nullable(
    shape.number('In how long the next message becomes ready, by its time or the end of its lease.'),
  ),
  newest_ms: shape.nullable(shape.number('Age of the newest message.')),
  oldest_ms: shape.nullable(shape.number('Age of the oldest message.')),
  created_at: shape.time('When the queue was created.'),
  pause: shape.nullable(shape.anyMembers('Since when it is paused, until when, why and by whom; null: it is not.')),
} as const

const settingsChange: option.Option<QueueSettingsChange, QueueSettingsChange | null> = named('QueueSettings', {
  ...(option.object('The change.', {
    ...queueSettings,
    pause: named('Pause', queueSettings.pause),
    retention: named('QueueRetention', queueSettings.retention),
    limits: option.list(queueSettings.limits.doc, named('QueueLimit', option.object('A limit.', limitOptions)), {
      default: null,
      min: 1,
      max: 16,
    }),
  }) as unknown as option.Option<QueueSettingsChange, QueueSettingsChange | null>),
  defaultValue: null,
  // Nulls are left to the bus, which takes such settings away.
  parse: (value: unknown) => value as QueueSettingsChange,
})

export const queueRoutes: readonly Route[] = [
  route({
    name: 'listQueues',
    method: 'GET',
    path: '/v1/queues',
    tag,
    summary: 'Lists the queues',
    scope: 'read',
    query: queueListOptions,
    answers: {
      200: {
        description: 'By name.',
        fields: { queues: shape.several('', named('Queue', option.object('', queueFields))) },
      },
    },
    async handle({ bus, access, query }) {
      const visible = (await bus.stored.queues(query)).filter(({ queue }) => access.allows('read', queue))
      return { status: 200, body: { queues: visible.map(toWireQueue) } }
    },
  }),

  route({
    name: 'createQueue',
    method: 'PUT',
    path: '/v1/queues/{queue}',
    tag,
    summary: 'Creates a queue',
    description: 'One that is there stays as it is.',
    scope: 'admin',
    query: {
      unlogged: option.boolean('Must be false: every queue is durable where its storage is.', { default: false }),
    },
    answers: {
      201: {
        description: 'It is there now.',
        fields: { ...queueNameAnd('unlogged', 'Always false.'), created: shape.flag('Whether it was created now.') },
      },
    },
    async handle({ bus, params, query }) {
      if (query.unlogged)
        throw new TidingsError('UNSUPPORTED', 'unlogged is true; a crash would lose what such a queue acknowledged', {
          hint: 'Leave it out.',
        })
      const created = await bus.stored.queue(params.queue).create()
      return { status: 201, body: { queue_name: params.queue, unlogged: false, created } }
    },
  }),

  route({
    name: 'getQueue',
    method: 'GET',
    path: '/v1/queues/{queue}',
    tag,
    summary: 'Whether there is a queue',
    scope: 'read',
    answers: { 200: { description: 'As of now.', fields: queueFields }, 404: { description: 'There is none.' } },
    async handle({ bus, params: { queue } }) {
      return { status: 200, body: toWireQueue(await bus.stored.queue(queue).info()) }
    },
  }),

  route({
    name: 'configureQueue',
    method: 'POST',
    path: '/v1/queues/{queue}/configure',
    tag,
    summary: 'Changes settings that hold for whoever uses the queue',
    description: 'Those that are named; null takes one away. They are gone with the queue.',
    scope: 'admin',
    body: { settings: option.required(settingsChange) },
    example: { settings: { pause: { reason: 'the printer is out of paper' } } },
    answers: { 200: { description: 'Done.', fields: { settings: shape.anyMembers('All that there are now.') } } },
    async handle({ bus, params, body }) {
      return { status: 200, body: { settings: await bus.stored.queue(params.queue).configure(body.settings) } }
    },
  }),

  route({
    name: 'dropQueue',
    method: 'DELETE',
    path: '/v1/queues/{queue}',
    tag,
    summary: 'Removes a queue with its messages and its archive',
    scope: 'admin',
    answers: { 204: { description: 'It is gone.' }, 404: { description: 'There was none.' } },
    async handle({ bus, params: { queue } }) {
      if (await bus.stored.queue(queue).drop()) return { status: 204 }
      throw noQueue(queue)
    },
  }),

  route({
    name: 'purgeQueue',
    method: 'POST',
    path: '/v1/queues/{queue}/purge',
    tag,
    summary: 'Removes all messages that are not archived',
    description: 'Messages in the hands of readers too.',
    scope: 'admin',
    answers: { 200: { description: 'Done.', fields: { purged: shape.number('How many were removed.') } } },
    async handle({ bus, params }) {
      return { status: 200, body: { purged: await bus.stored.queue(params.queue).purge() } }
    },
  }),

  route({
    name: 'pruneArchive',
    method: 'POST',
    path: '/v1/queues/{queue}/prune',
    tag,
    summary: 'Removes archived messages for good',
    description: 'Those first that were archived first. Each of the two reasons is enough.',
    scope: 'admin',
    body: {
      archived_for_ms: option.integer('Those that were archived longer ago than this.', {
        default: null,
        min: 0,
        max: Number.MAX_SAFE_INTEGER,
      }),
      keep: option.integer('Those beyond this number.', { default: null, min: 0, max: Number.MAX_SAFE_INTEGER }),
      limit: option.integer('At most so many in one call.', { default: 1_000, min: 1, max: 100_000 }),
    },
    example: { archived_for_ms: 2_592_000_000, keep: 10_000 },
    answers: { 200: { description: 'Done.', fields: { pruned: shape.number('How many were removed.') } } },
    async handle({ bus, params, body: { archived_for_ms: archivedForMs, keep, limit } }) {
      const pruned = await bus.stored.queue(params.queue).prune({ archivedForMs, keep, limit })
      return { status: 200, body: { pruned } }
    },
  }),

  route({
    name: 'listQueueMetrics',
    method: 'GET',
    path: '/v1/metrics',
    tag,
    summary: 'The figures of all queues',
    scope: 'read',
    query: queueListOptions,
    answers: {
      200: {
        description: 'By name.',
        fields: { queues: shape.several('', named('QueueMetrics', option.object('', statsFields))) },
      },
    },
    async handle({ bus, access, query }) {
      const all = await bus.stored.stats((queue) => access.allows('read', queue), query)
      return { status: 200, body: { queues: all.map((one) => toWireStats(one, Date.now())) } }
    },
  }),

  route({
    name: 'getQueueMetrics',
    method: 'GET',
    path: '/v1/queues/{queue}/metrics',
    tag,
    summary: 'The figures of a queue',
    scope: 'read',
    query: {
      up_to: option.integer(
        'Where counting is dear, looks at so many messages, from the front, and estimates the rest, which counts as ready.',
        { default: null, defaultText: 'all', min: 1, max: 1_000_000, rangeCode: 'LIMIT_RANGE' },
      ),
    },
    answers: { 200: { description: 'As of now.', fields: statsFields } },
    async handle({ bus, params, query: { up_to: upTo } }) {
      const figures = await bus.stored.queue(params.queue).stats(upTo === null ? {} : { upTo })
      return { status: 200, body: toWireStats(figures, Date.now()) }
    },
  }),
]

function queueNameAnd(name: string, doc: string) {
  return { queue_name: shape.text('The name of the queue.'), [name]: shape.flag(doc) }
}
