import { TidingsError } from 'tidings/internal/core/errors'
import * as option from 'tidings/internal/core/options'
import { checkRoutingKey } from 'tidings/internal/core/pattern'
import type { Binding, PublishedCopy } from 'tidings/internal/port/engine'
import { toWireBinding } from 'tidings/internal/protocol/messages'
import { checkBinding, checkPublishing } from '../auth/keys.ts'
import { named, shape } from '../http/fields.ts'
import { type Access, type Route, route } from '../http/route.ts'
import { compose, entryFields, replaced } from './entry.ts'
import { ofQueues } from './topics.ts'

const tag = 'Routing'

const bindingFields = {
  pattern: shape.text('What matches it…'),
  queue: shape.text('…goes into this queue.'),
  bound_at: shape.time('Since when.'),
} as const
const bindingList = {
  bindings: shape.several('By queue and pattern.', named('Binding', option.object('', bindingFields))),
} as const

const routingKey = option.text('Segments with single dots between them: `Orders.Paid`.', {
  default: null,
  check: (key, path) => void checkRoutingKey(key, path),
})
const routedFields = { routing_key: routingKey, ...entryFields } as const
const entries = option.list(
  'Several messages, all or none, instead of one.',
  option.required(
    named('NewPublication', option.object('', { ...routedFields, routing_key: option.required(routingKey) })),
  ),
  { default: null, min: 1, max: 10_000, rangeCode: 'BATCH_SIZE' },
)

const copies = shape.several(
  'Its copies, by queue, then those in topics.',
  named(
    'PublishedCopy',
    option.object('', {
      queue: shape.optional(shape.text('A queue that has a copy…')),
      topic: shape.optional(shape.text('…or a topic.')),
      id: shape.optional(shape.text('The id in the queue.')),
      offset: shape.optional(shape.number('The offset in the topic.')),
      duplicate: shape.flag('Whether it was stored before, and not now.'),
      replaced,
    }),
  ),
)

export const routingRoutes: readonly Route[] = [
  route({
    name: 'bindQueue',
    method: 'PUT',
    path: '/v1/queues/{queue}/bindings/{pattern}',
    tag,
    summary: 'Binds a queue to a pattern',
    description: 'From then on, what is published under a key that matches it goes into the queue.',
    scope: 'admin',
    answers: { 201: { description: 'It is bound.', fields: { bound: shape.flag('Whether it was bound now.') } } },
    async handle({ bus, params, access }) {
      checkBinding(access, params.pattern)
      return { status: 201, body: { bound: await bus.stored.queue(params.queue).bind(params.pattern) } }
    },
  }),

  route({
    name: 'unbindQueue',
    method: 'DELETE',
    path: '/v1/queues/{queue}/bindings/{pattern}',
    tag,
    summary: 'Takes a binding away',
    scope: 'admin',
    answers: { 200: { description: 'It is gone.', fields: { unbound: shape.flag('False if there was none.') } } },
    async handle({ bus, params }) {
      return { status: 200, body: { unbound: await bus.stored.queue(params.queue).unbind(params.pattern) } }
    },
  }),

  route({
    name: 'listBindings',
    method: 'GET',
    path: '/v1/bindings',
    tag,
    summary: 'The bindings of all queues',
    scope: 'read',
    answers: { 200: { description: 'As they are now.', fields: bindingList } },
    async handle({ bus, access }) {
      const all = await bus.stored.bindings()
      return { status: 200, body: toBody(all.filter(({ queue }) => access.allows('read', queue))) }
    },
  }),

  route({
    name: 'listQueueBindings',
    method: 'GET',
    path: '/v1/queues/{queue}/bindings',
    tag,
    summary: 'The bindings of a queue',
    scope: 'read',
    answers: { 200: { description: 'As they are now.', fields: bindingList } },
    async handle({ bus, params }) {
      return { status: 200, body: toBody(await bus.stored.queue(params.queue).bindings()) }
    },
  }),

  route({
    name: 'publish',
    method: 'POST',
    path: '/v1/publish',
    tag,
    summary: 'Stores a copy of each message in every queue and topic that is bound to a matching pattern',
    description: `All copies of all messages, or none. A message that no pattern matches is stored nowhere. ${ofQueues}`,
    scope: 'send',
    body: { ...routedFields, entries },
    example: { routing_key: 'Orders.Paid', message: { orderId: 7 } },
    answers: {
      201: {
        description: 'They are stored for good.',
        fields: {
          copies: shape.optional({ ...copies, doc: 'For one message: its copies.' }),
          results: shape.optional(shape.several('For `entries`: the copies of each.', copies)),
        },
      },
    },
    async handle({ bus, body: { entries, routing_key, ...entry }, access, exact, maxMessageBytes }) {
      const isOne = entries === null
      const asked = isOne ? [{ ...entry, routing_key }] : entries
      if (!isOne && (routing_key !== null || entry.message !== undefined || entry.data !== null))
        throw new TidingsError('OPTION_CONFLICT', "'entries' is given beside a message of the body itself")
      const messages = asked.map((one, index) => {
        const path = isOne ? '' : `entries[${index}]`
        const key = checkRoutingKey(one.routing_key ?? undefined, 'routing_key')
        checkPublishing(access, key)
        const { message } = compose(one, { access, queue: null, routingKey: key, exact, maxMessageBytes, path })
        return { ...message, routingKey: key }
      })
      const stored = await bus.stored.publish(messages)
      const results = stored.map((copies) => copies.filter((copy) => isVisible(access, copy)))
      return { status: 201, body: isOne ? { copies: results[0] } : { results } }
    },
  }),
]

const toBody = (bindings: readonly Binding[]) => ({ bindings: bindings.map(toWireBinding) })

/** What a caller may publish can reach queues that it is to know nothing of. */
const isVisible = (access: Access, copy: PublishedCopy) =>
  access.allows('send', 'queue' in copy ? copy.queue : copy.topic)
