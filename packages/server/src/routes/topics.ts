import { TidingsError } from 'tidings/internal/core/errors'
import * as option from 'tidings/internal/core/options'
import type { Page } from 'tidings/internal/messages/pages'
import { noQueue, noTopic } from 'tidings/internal/port/refusals'
import type { TopicMessage } from 'tidings/internal/port/topic-store'
import { fromWireSettings, topicMessageText, toWireTopic } from 'tidings/internal/protocol/topics'
import { descriptionOption } from 'tidings/internal/topics/options'
import { checkBinding } from '../auth/keys.ts'
import { dataFields, named, shape } from '../http/fields.ts'
import { moreField } from '../http/pages.ts'
import { type Access, type Call, type Route, route } from '../http/route.ts'
import { compose, entryFields } from './entry.ts'
import { entriesOption } from './sending.ts'

const tag = 'Topics'

const retentionFields = {
  max_age_ms: option.integer('Messages that are older.', { default: null, min: 1, max: Number.MAX_SAFE_INTEGER }),
  max_bytes: option.integer('As many as lie above this size.', { default: null, min: 1, max: Number.MAX_SAFE_INTEGER }),
  when_read: option.boolean('What every subscription has read.', { default: false }),
} as const
const retention = named(
  'NewRetention',
  option.object('What upkeep removes, oldest first, if any of these asks for it.', retentionFields),
)

const topicFields = {
  topic: shape.text('The name of the topic.'),
  description: shape.text('For people.'),
  retention: named(
    'Retention',
    option.object(retention.doc, {
      ...retentionFields,
      max_age_ms: shape.nullable(retentionFields.max_age_ms),
      max_bytes: shape.nullable(retentionFields.max_bytes),
    }),
  ),
  created_at: shape.time('When it was created.'),
  first_offset: shape.number('The oldest message that is still there; one above `last_offset` if there is none.'),
  last_offset: shape.number('The newest message, be it still there or not; 0 if there never was one.'),
  bytes: shape.number('The size of what is there, as the storage counts it.'),
  subscriptions: shape.number('How many there are.'),
  patterns: shape.several('Patterns whose messages the topic takes.', shape.text('')),
  queues: shape.several('Queues that get what the topic takes.', shape.text('')),
} as const

export const topicMessageFields = {
  offset: shape.number('The place of the message in the topic.'),
  published_at: shape.time('When the topic took it.'),
  ...dataFields,
  meta: shape.anyMembers('What the bus knows about it.'),
  headers: shape.anyMembers("The application's own headers."),
} as const

const appended = {
  offset: shape.number('Its offset, or that of the first if this is a duplicate.'),
  duplicate: shape.flag('Whether it was stored before, and not now.'),
} as const

const afterOption = option.integer('Only messages after this offset.', {
  default: 0,
  min: 0,
  max: Number.MAX_SAFE_INTEGER,
})
export const topicMessageList = {
  messages: shape.several('The messages.', named('TopicMessage', option.object('', topicMessageFields))),
  ...moreField,
} as const
export const topicMessagesText = (
  { messages, more }: Page<TopicMessage>,
  { params, redacted, exact }: Pick<Call<'{topic}'>, 'params' | 'redacted' | 'exact'>,
) =>
  `{"messages":[${messages.map((one) => topicMessageText(redacted(params.topic, one), exact)).join()}],"more":${more}}`

export const topicLimit = option.integer('The largest number of messages.', {
  default: 10,
  min: 1,
  max: 100_000,
  rangeCode: 'LIMIT_RANGE',
})

/** What a topic makes nothing of. */
export const ofQueues =
  'In a topic a message is there at once, in the order of offsets: `delay_ms`, `not_before`, `ttl_ms`, `priority`, `ordering_key`, `group`, `unique_target`, `bare` and `tracked` count for its copies in queues only.'

export const topicRoutes: readonly Route[] = [
  route({
    name: 'listTopics',
    method: 'GET',
    path: '/v1/topics',
    tag,
    summary: 'Lists the topics',
    scope: 'read',
    answers: {
      200: {
        description: 'By name.',
        fields: { topics: shape.several('', named('Topic', option.object('', topicFields))) },
      },
    },
    async handle({ bus, access }) {
      const topics = await bus.stored.topics()
      return {
        status: 200,
        body: { topics: topics.filter((one) => access.allows('read', one.topic)).map(toWireTopic) },
      }
    },
  }),

  route({
    name: 'createTopic',
    method: 'PUT',
    path: '/v1/topics/{topic}',
    tag,
    summary: 'Creates a topic',
    description: 'Settings that are given replace those of a topic that is there; the retention as a whole.',
    scope: 'admin',
    body: { description: descriptionOption, retention },
    example: { description: 'What happens in the company', retention: { max_age_ms: 604_800_000 } },
    answers: {
      201: {
        description: 'It is there now.',
        fields: { topic: shape.text('Its name.'), created: shape.flag('Whether it was created now.') },
      },
    },
    async handle({ bus, params: { topic }, body }) {
      const created = await bus.stored.topic(topic).create(fromWireSettings(body))
      return { status: 201, body: { topic, created } }
    },
  }),

  route({
    name: 'getTopic',
    method: 'GET',
    path: '/v1/topics/{topic}',
    tag,
    summary: 'A topic',
    scope: 'read',
    answers: { 200: { description: 'As it is now.', fields: topicFields } },
    async handle({ bus, params: { topic } }) {
      return { status: 200, body: toWireTopic(await bus.stored.topic(topic).info()) }
    },
  }),

  route({
    name: 'dropTopic',
    method: 'DELETE',
    path: '/v1/topics/{topic}',
    tag,
    summary: 'Removes a topic with its messages and subscriptions',
    scope: 'admin',
    answers: { 204: { description: 'It is gone.' }, 404: { description: 'There was none.' } },
    async handle({ bus, params: { topic } }) {
      if (await bus.topic(topic).drop()) return { status: 204 }
      throw noTopic(topic)
    },
  }),

  route({
    name: 'listTopicMessages',
    method: 'GET',
    path: '/v1/topics/{topic}/messages',
    tag,
    summary: 'Messages by offset',
    description: 'Changes nothing: a reader remembers by itself how far it is, or uses a subscription.',
    scope: 'receive',
    query: { after: afterOption, limit: topicLimit },
    answers: {
      200: {
        description: 'Ascending.',
        fields: topicMessageList,
      },
    },
    async handle({ query, ...call }) {
      const page = await call.bus.stored.topic(call.params.topic).readPage(query.after, query.limit)
      return { status: 200, body: topicMessagesText(page, call) }
    },
  }),

  route({
    name: 'publishToTopic',
    method: 'POST',
    path: '/v1/topics/{topic}/messages',
    tag,
    summary: 'Publishes messages to a topic',
    description: `One, or several as \`entries\`: all or none, in their order. ${ofQueues}`,
    scope: 'send',
    body: { ...entryFields, entries: entriesOption },
    example: { message: { headline: 'Ada was hired' } },
    answers: {
      201: {
        description: 'They are stored for good.',
        fields: {
          offset: shape.optional(appended.offset),
          duplicate: shape.optional(appended.duplicate),
          results: shape.optional(
            shape.several('For `entries`: the same of each.', named('AppendResult', option.object('', appended))),
          ),
        },
      },
    },
    async handle({ bus, params: { topic }, body: { entries, ...entry }, access, exact, maxMessageBytes }) {
      if (entries !== null && (entry.message !== undefined || entry.data !== null))
        throw new TidingsError('OPTION_CONFLICT', "'entries' is given beside a message of the body itself")
      const composed = (entries ?? [entry]).map((one, index) =>
        compose(one, {
          access,
          queue: null,
          routingKey: null,
          exact,
          maxMessageBytes,
          path: entries === null ? '' : `entries[${index}]`,
        }),
      )
      const results = await bus.stored.topic(topic, { maxMessageBytes }).append(composed)
      return { status: 201, body: entries === null ? results[0] : { results } }
    },
  }),

  route({
    name: 'bindTopic',
    method: 'PUT',
    path: '/v1/topics/{topic}/patterns/{pattern}',
    tag,
    summary: 'Lets a topic take what is published under matching keys',
    scope: 'admin',
    answers: { 201: { description: 'It does.', fields: { bound: shape.flag('Whether it was bound now.') } } },
    async handle({ bus, params: { topic, pattern }, access }) {
      checkBinding(access, pattern)
      return { status: 201, body: { bound: await bus.stored.topic(topic).bind({ pattern }) } }
    },
  }),

  route({
    name: 'unbindTopic',
    method: 'DELETE',
    path: '/v1/topics/{topic}/patterns/{pattern}',
    tag,
    summary: 'Takes such a rule away',
    scope: 'admin',
    answers: { 200: { description: 'It is gone.', fields: { unbound: shape.flag('False if there was none.') } } },
    async handle({ bus, params: { topic, pattern } }) {
      return { status: 200, body: { unbound: await bus.stored.topic(topic).unbind({ pattern }) } }
    },
  }),

  route({
    name: 'linkQueue',
    method: 'PUT',
    path: '/v1/topics/{topic}/queues/{queue}',
    tag,
    summary: 'Lets a queue get what a topic takes',
    description: 'From then on, as messages of that queue.',
    scope: 'admin',
    answers: { 201: { description: 'It does.', fields: { bound: shape.flag('Whether it was bound now.') } } },
    async handle({ bus, params: { topic, queue }, access }) {
      checkQueue(access, queue)
      return { status: 201, body: { bound: await bus.stored.topic(topic).bind({ queue }) } }
    },
  }),

  route({
    name: 'unlinkQueue',
    method: 'DELETE',
    path: '/v1/topics/{topic}/queues/{queue}',
    tag,
    summary: 'Takes such a link away',
    scope: 'admin',
    answers: { 200: { description: 'It is gone.', fields: { unbound: shape.flag('False if there was none.') } } },
    async handle({ bus, params: { topic, queue }, access }) {
      checkQueue(access, queue)
      return { status: 200, body: { unbound: await bus.stored.topic(topic).unbind({ queue }) } }
    },
  }),
]

/** What is not allowed is as if it were missing. */
function checkQueue(access: Access, queue: string): void {
  if (access.allows('admin', queue)) return
  throw noQueue(queue)
}
