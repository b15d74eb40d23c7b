import { searchOptions } from 'tidings/internal/bus/search'
import { type TraceEvent, traceOptions } from 'tidings/internal/bus/trace'
import { type JsonObject, toJsonValue } from 'tidings/internal/core/json'
import * as option from 'tidings/internal/core/options'
import { parseWhere } from 'tidings/internal/messages/filter'
import { checkKey } from 'tidings/internal/messages/options'
import { messageList, messagesText, shape } from '../http/fields.ts'
import { type Redacted, unredacted } from '../http/redaction.ts'
import { type Route, route } from '../http/route.ts'
import { anyObject } from './entry.ts'
import { eventList, toWireEvent } from './messages.ts'

const tag = 'Messages'
const { text, error, dedupId, orderingKey, group, sentAfter, sentBefore, after, limit, scan } = searchOptions

const place = option.choice(
  'Only messages in this state; archived ones are looked at only when asked for.',
  ['ready', 'delayed', 'leased', 'archived'],
  { default: null, defaultText: 'all but archived' },
)
const part = (doc: string) =>
  option.value<unknown, unknown>(doc, {
    default: undefined,
    defaultText: 'any',
    typeText: 'JSON',
    jsonSchema: {},
    parse: (value, path) => toJsonValue(value, path),
  })

export const searchRoutes: readonly Route[] = [
  route({
    name: 'searchMessages',
    method: 'POST',
    path: '/v1/queues/{queue}/search',
    tag,
    summary: 'Looks for messages by what is in them',
    description:
      'By id, a part of the queue at a time: no more messages than `scan`, and for about half a second. Go on with `after` until that is null. Changes nothing.',
    scope: 'read',
    body: {
      text,
      data: part('What the data has: objects are parts, the rest is equal. `{ "order": { "id": 7 } }`'),
      headers: anyObject('What the headers have.'),
      meta: anyObject('What the meta has, by the names of the wire.'),
      correlation_id: option.text('Only messages of this correlation.', { default: null, check: checkKey }),
      target: option.text('Only messages for this target.', { default: null }),
      error,
      dedup_id: dedupId,
      ordering_key: orderingKey,
      group,
      sent_after: sentAfter,
      sent_before: sentBefore,
      place,
      after,
      limit,
      scan,
    },
    example: { text: 'ada', limit: 10 },
    answers: {
      200: {
        description: 'By id. Receipts are null.',
        fields: {
          ...messageList,
          after: shape.nullable(shape.text('Where to go on; null: that was all.')),
          scanned: shape.number('How many messages were looked at.'),
        },
      },
    },
    async handle({ body, ...call }) {
      const { queue } = call.params
      const { data, headers, meta, correlation_id, target, dedup_id, ordering_key, sent_after, sent_before, ...asked } =
        body
      const named = {
        ...(correlation_id === null ? {} : { correlation_id }),
        ...(target === null ? {} : { target_id: target }),
      }
      const parts = {
        ...(data === undefined ? {} : { data }),
        ...(headers === null ? {} : { headers }),
        meta: { ...meta, ...named },
      }
      const found = await call.bus.stored.queue(queue).search(
        {
          ...asked,
          where: parseWhere(parts, 'where'),
          dedupId: dedup_id,
          orderingKey: ordering_key,
          sentAfter: sent_after,
          sentBefore: sent_before,
        },
        (message) => call.redacted(queue, message),
      )
      const { messages, after: next, scanned } = found
      // They are redacted already, and what is redacted twice may be unlike what was looked for.
      return { status: 200, body: messagesText(messages, { ...call, redacted: unredacted }, { after: next, scanned }) }
    },
  }),

  route({
    name: 'traceTarget',
    method: 'GET',
    path: '/v1/trace',
    tag,
    summary: 'What happened to a target',
    description:
      'Over the queues, archives and dead-letter queues that the token may read, from what is still there. Reads them through.',
    scope: 'read',
    query: {
      target: option.required(
        option.text('What messages have as `target_id` in their meta.', { default: null, check: checkTarget }),
      ),
      limit: { ...traceOptions.limit, max: 1_000, defaultValue: 100, defaultText: '100' },
    },
    answers: { 200: { description: 'What is known.', fields: { events: eventList } } },
    async handle({ bus, access, redacted, query: { target, limit } }) {
      const visible = (await bus.queues()).filter(
        ({ queue, unusable }) => unusable === undefined && access.allows('read', queue),
      )
      const queues = visible.map(({ queue }) => queue)
      const events = queues.length === 0 ? [] : await bus.trace(target!, { queues, limit })
      return {
        status: 200,
        body: { events: events.flatMap((event) => shown(event, target!, redacted)).map(toWireEvent) },
      }
    },
  }),
]

type Told = { readonly data: string; readonly headers: JsonObject; readonly meta: JsonObject }

/** The event with what may be seen of the meta that it tells of; none where that has another target then. */
function shown(event: TraceEvent, target: string, redacted: Redacted): TraceEvent[] {
  const told = { target_id: target, error_message: event.errorMessage, action_type: event.actionType }
  const { meta } = redacted<Told>(event.queue, { data: 'null', headers: {}, meta: told })
  const text = (field: string) => (typeof meta[field] === 'string' ? (meta[field] as string) : null)
  if (meta.target_id !== target) return []
  return [{ ...event, errorMessage: text('error_message'), actionType: text('action_type') }]
}

function checkTarget(value: string, path: string): void {
  if (value.length === 0 || value.length > 1_000) throw option.typeError(path, value, 'a text of 1 to 1000 characters')
}
