import type { StoredSubscription } from 'tidings/internal/bus/stored-topic'
import { TidingsError } from 'tidings/internal/core/errors'
import * as option from 'tidings/internal/core/options'
import { maxLeaseMs } from 'tidings/internal/messages/message'
import { checkKey, parseIsoTime } from 'tidings/internal/messages/options'
import type { Position, SeekMove, TopicMessage } from 'tidings/internal/port/topic-store'
import { topicMessageText, toWireHold, toWireSubscription } from 'tidings/internal/protocol/topics'
import { holder, named, shape } from '../http/fields.ts'
import { holderName } from '../http/holders.ts'
import { type Call, type Route, route } from '../http/route.ts'
import { streamSubscription } from '../streams/subscription-stream.ts'
import { topicLimit, topicMessageFields, topicMessageList, topicMessagesText } from './topics.ts'

const tag = 'Subscriptions'

const subscriptionFields = {
  subscription: shape.text('Its name.'),
  cursor: shape.number('Read up to and including this offset.'),
  lag: shape.number('Messages after the cursor that are there.'),
  missed: shape.number('Messages after the cursor that retention removed before they were read.'),
  created_at: shape.time('When it was created.'),
  moved_at: shape.nullable(shape.time('When the cursor was last moved.')),
  consumer: shape.nullable(shape.text('Who holds it now.')),
} as const

const offset = (doc: string) => option.integer(doc, { default: null, min: 0, max: Number.MAX_SAFE_INTEGER })
const receipt = option.text('Of the hold.', { default: null })
const leaseMs = option.integer('For how long it is held from now.', {
  default: null,
  min: 1,
  max: maxLeaseMs,
  rangeCode: 'LEASE_RANGE',
})
const position = named(
  'Position',
  option.value<unknown, Position | null>(
    'A place between two messages: an end, before a message, before a time, or so many messages before the cursor.',
    {
      default: null,
      defaultText: 'none',
      typeText: "'earliest', 'latest', {offset}, {time} or {back}",
      jsonSchema: {
        oneOf: [
          { enum: ['earliest', 'latest'] },
          oneMember('offset', { type: 'integer', minimum: 0 }),
          oneMember('time', { type: 'string', format: 'date-time' }),
          oneMember('back', { type: 'integer', minimum: 0 }),
        ],
      },
      parse: parsePosition,
    },
  ),
)
const seekAnswer = {
  200: {
    description: 'Done, or with `dry_run` what would be done.',
    fields: {
      moved: shape.number('How many subscriptions were moved.'),
      moves: shape.optional(
        shape.several(
          'With `dry_run`: from and to which cursor, by name.',
          named(
            'SeekMove',
            option.object('', {
              subscription: shape.text('Its name.'),
              from: shape.number('Its cursor.'),
              to: shape.number('Where it would be.'),
            }),
          ),
        ),
      ),
    },
  },
}
const dryRun = option.boolean('Only tells what would be done, and moves nothing.', { default: false })

interface Movable {
  seek(position: Position): Promise<number>
  planSeek(position: Position): Promise<readonly SeekMove[]>
}

async function seek(what: Movable, { position, dry_run }: { position: Position; dry_run: boolean }) {
  if (dry_run) return { status: 200, body: { moved: 0, moves: await what.planSeek(position) } } as const
  return { status: 200, body: { moved: await what.seek(position) } } as const
}

export const subscriptionRoutes: readonly Route[] = [
  route({
    name: 'listSubscriptions',
    method: 'GET',
    path: '/v1/topics/{topic}/subscriptions',
    tag,
    summary: 'The subscriptions of a topic',
    scope: 'read',
    answers: {
      200: {
        description: 'By name.',
        fields: { subscriptions: shape.several('', named('Subscription', option.object('', subscriptionFields))) },
      },
    },
    async handle({ bus, params }) {
      const states = await bus.stored.topic(params.topic).subscriptions()
      return { status: 200, body: { subscriptions: states.map(toWireSubscription) } }
    },
  }),

  route({
    name: 'createSubscription',
    method: 'PUT',
    path: '/v1/topics/{topic}/subscriptions/{subscription}',
    tag,
    summary: 'Creates a subscription',
    description: 'One that is there stays where it is.',
    scope: 'receive',
    body: { from: { ...position, doc: 'Where it begins, if it is created now; not `back`.', defaultText: 'latest' } },
    example: { from: 'earliest' },
    answers: {
      201: { description: 'It is there now.', fields: { created: shape.flag('Whether it was created now.') } },
    },
    async handle({ bus, params: { topic, subscription }, body }) {
      const from = body.from ?? 'latest'
      if (typeof from === 'object' && 'back' in from)
        throw option.typeError('from', from, "'earliest', 'latest', {offset} or {time}")
      return { status: 201, body: { created: await bus.stored.topic(topic).subscription(subscription).create(from) } }
    },
  }),

  route({
    name: 'getSubscription',
    method: 'GET',
    path: '/v1/topics/{topic}/subscriptions/{subscription}',
    tag,
    summary: 'A subscription',
    scope: 'read',
    answers: { 200: { description: 'As it is now.', fields: subscriptionFields } },
    async handle(call) {
      return { status: 200, body: toWireSubscription(await subscriptionOf(call).state()) }
    },
  }),

  route({
    name: 'dropSubscription',
    method: 'DELETE',
    path: '/v1/topics/{topic}/subscriptions/{subscription}',
    tag,
    summary: 'Removes a subscription',
    scope: 'receive',
    answers: { 204: { description: 'It is gone.' }, 404: { description: 'There was none.' } },
    async handle({ bus, params: { topic, subscription } }) {
      if (await bus.stored.topic(topic).subscription(subscription).delete()) return { status: 204 }
      throw subscriptionNotFound(topic, subscription)
    },
  }),

  route({
    name: 'nextMessages',
    method: 'GET',
    path: '/v1/topics/{topic}/subscriptions/{subscription}/messages',
    tag,
    summary: 'The next messages of a subscription',
    description: 'They stay the next ones until they are acknowledged.',
    scope: 'receive',
    query: {
      limit: topicLimit,
      wait_ms: option.integer('Waits this long for the first message.', { default: 0, min: 0, max: 120_000 }),
    },
    answers: {
      200: {
        description: 'Ascending; none where none came in time.',
        fields: topicMessageList,
      },
    },
    async handle(call) {
      const { query, signal } = call
      const page = await subscriptionOf(call).fetchPage(query.limit, { waitMs: query.wait_ms, signal })
      return { status: 200, body: topicMessagesText(page, call) }
    },
  }),

  route({
    name: 'ackSubscription',
    method: 'POST',
    path: '/v1/topics/{topic}/subscriptions/{subscription}/ack',
    tag,
    summary: 'Moves the cursor forward',
    description: 'Never past the end of the topic. Without a receipt an offset before the cursor is refused.',
    scope: 'receive',
    body: {
      offset: option.required(offset('Read up to and including this offset.')),
      receipt: { ...receipt, doc: 'Of the hold; left out: whoever holds it.' },
    },
    example: { offset: 1 },
    answers: {
      200: { description: 'Done, or not.', fields: { acked: shape.flag('False if the receipt was stale.') } },
    },
    async handle(call) {
      const { offset, receipt } = call.body
      const subscription = subscriptionOf(call)
      const acked = await subscription.ack(offset, receipt)
      if (receipt === null && !call.exact) await checkMoved(subscription, offset)
      if (acked) call.acks.acked(subscription.topic.name, subscription.name, offset)
      return { status: 200, body: { acked } }
    },
  }),

  route({
    name: 'seekSubscription',
    method: 'POST',
    path: '/v1/topics/{topic}/subscriptions/{subscription}/seek',
    tag,
    summary: 'Moves a subscription',
    description: 'Forward or back; whoever holds it loses it.',
    scope: 'receive',
    body: { position: option.required(position), dry_run: dryRun },
    example: { position: { back: 10 } },
    answers: seekAnswer,
    handle: (call) => seek(subscriptionOf(call), call.body),
  }),

  route({
    name: 'seekTopic',
    method: 'POST',
    path: '/v1/topics/{topic}/seek',
    tag,
    summary: 'Moves all subscriptions of a topic',
    scope: 'admin',
    body: { position: option.required(position), dry_run: dryRun },
    example: { position: 'earliest' },
    answers: seekAnswer,
    handle: ({ bus, params: { topic }, body }) => seek(bus.stored.topic(topic), body),
  }),

  route({
    name: 'holdSubscription',
    method: 'POST',
    path: '/v1/topics/{topic}/subscriptions/{subscription}/hold',
    tag,
    summary: 'Makes a consumer the one active consumer of a subscription',
    description: 'For the length of the lease. It goes on with it by asking again.',
    scope: 'receive',
    body: {
      consumer: option.required(
        option.text('Names one consumer among all, for ever.', {
          default: null,
          check: (one, path) => checkKey(one, path),
        }),
      ),
      lease_ms: option.required(leaseMs),
      holder: { ...holder, doc: `${holder.doc} The hold ends with it, as leases that are held do.` },
    },
    example: { consumer: 'payroll-1', lease_ms: 10_000 },
    answers: {
      200: {
        description: 'Whether it has it.',
        fields: {
          held: shape.flag('True: the subscription is the consumer’s.'),
          receipt: shape.optional(shape.text('If it is: proves it.')),
          cursor: shape.optional(shape.number('If it is: read up to and including this offset.')),
          vanished: shape.optional(
            shape.number('If it is: how many holders in a row went away without leaving at the next message.'),
          ),
          retry_ms: shape.optional(shape.number("If it is not: it is somebody else's for at most so long.")),
        },
      },
    },
    async handle(call) {
      const { access, params, holders, holds } = call
      const { consumer, lease_ms, holder: given } = call.body
      const hold = await subscriptionOf(call).hold(consumer, lease_ms)
      if (given !== null) holders.heard(holderName(access, given))
      if (hold.held && given === null) holds.ended(params.topic, params.subscription)
      else if (hold.held && given !== null)
        holds.held({ ...params, consumer, holder: holderName(access, given) }, lease_ms)
      return { status: 200, body: toWireHold(hold) }
    },
  }),

  route({
    name: 'leaveSubscription',
    method: 'POST',
    path: '/v1/topics/{topic}/subscriptions/{subscription}/leave',
    tag,
    summary: 'Ends a hold',
    scope: 'receive',
    body: { receipt: option.required(receipt) },
    example: { receipt: 'as the hold answered it' },
    answers: { 200: { description: 'Done, or not.', fields: { left: shape.flag('False if the receipt was stale.') } } },
    async handle(call) {
      const left = await subscriptionOf(call).leave(call.body.receipt)
      if (left) call.holds.ended(call.params.topic, call.params.subscription)
      return { status: 200, body: { left } }
    },
  }),

  route({
    name: 'streamSubscription',
    method: 'GET',
    path: '/v1/topics/{topic}/subscriptions/{subscription}/stream',
    tag,
    summary: 'The messages of a subscription, as they come',
    description:
      'The stream holds the subscription, or waits until it can. Acknowledge what you have handled, with the receipt of the newest `holding`; after a `holding` the messages go on from its cursor.',
    scope: 'receive',
    query: {
      prefetch: option.integer('How many messages may be unacknowledged at once.', { default: 10, min: 1, max: 1_000 }),
      lease_ms: { ...leaseMs, doc: 'How long it stays held when this server dies.', defaultText: '30000' },
    },
    answers: {
      200: {
        description: 'Server-sent events.',
        events: {
          holding: {
            description: 'The subscription is held from here on: at first, and when it was moved or lost in between.',
            fields: {
              receipt: shape.text('For acknowledging.'),
              cursor: shape.number('Read up to and including this offset.'),
            },
          },
          message: { description: 'The next message.', fields: topicMessageFields },
        },
      },
    },
    async handle(call) {
      const subscription = subscriptionOf(call)
      // Says so now if it does not exist.
      await subscription.state()
      const { bus, params, query, acks, exact, redacted, signal } = call
      const toText = (message: TopicMessage) => topicMessageText(redacted(params.topic, message), exact)
      const settings = { prefetch: query.prefetch, leaseMs: query.lease_ms ?? 30_000, toText, signal }
      return { run: (events) => streamSubscription(subscription, bus.wakeups, settings, acks, events) }
    },
  }),
]

const subscriptionOf = ({ bus, params }: Pick<Call<'{topic}{subscription}'>, 'bus' | 'params'>) =>
  bus.stored.topic(params.topic).subscription(params.subscription)

const subscriptionNotFound = (topic: string, subscription: string) =>
  new TidingsError('SUBSCRIPTION_NOT_FOUND', `subscription '${subscription}' of topic '${topic}' does not exist`, {
    details: { topic, subscription },
  })

function oneMember(name: string, schema: option.JsonSchema): option.JsonSchema {
  return { type: 'object', properties: { [name]: schema }, required: [name], additionalProperties: false }
}

function parsePosition(value: unknown, path: string): Position {
  if (value === 'earliest' || value === 'latest') return value
  const [[name, at] = [], ...others] = typeof value === 'object' && value !== null ? Object.entries(value) : []
  if (others.length === 0 && (name === 'offset' || name === 'back') && Number.isSafeInteger(at) && at >= 0)
    return name === 'offset' ? { offset: at } : { back: at }
  const time = others.length === 0 && name === 'time' && typeof at === 'string' ? parseIsoTime(at) : Number.NaN
  if (Number.isFinite(time)) return { time }
  throw option.typeError(path, value, "'earliest', 'latest', {offset}, {time} or {back}")
}

/** A person who acknowledges by hand means to move something. Our own clients may acknowledge in any order. */
async function checkMoved(subscription: StoredSubscription, offset: number): Promise<void> {
  const { cursor } = await subscription.state()
  if (offset < cursor)
    throw new TidingsError(
      'RANGE',
      `offset is ${offset}, but subscription '${subscription.name}' has read up to ${cursor}`,
      {
        details: { field: 'offset', value: offset, cursor },
        hint: 'An acknowledgement moves it forward only; `seek` moves it back.',
      },
    )
}
