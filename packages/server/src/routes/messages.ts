import type { TraceEvent } from 'tidings/internal/bus/trace'
import { TidingsError } from 'tidings/internal/core/errors'
import { toJson } from 'tidings/internal/core/json'
import { checkQueueName } from 'tidings/internal/core/names'
import * as option from 'tidings/internal/core/options'
import { sendOptions } from 'tidings/internal/messages/options'
import { messageFields, named, shape, shownText } from '../http/fields.ts'
import { type Route, route } from '../http/route.ts'
import { anyObject, delayMs } from './entry.ts'
import { checkMove } from './settling.ts'

const tag = 'Messages'
const gone = { description: 'It is not there, or not to be had: in hand, or waiting for its time.' }
const raced = { description: 'Another reader took it meanwhile.' }

/** A thing that happened to a message. */
export const eventFields = {
  at: shape.time('When. Of what is still to come, too.'),
  kind: shape.text("'sent', 'replayed', 'read', 'archived', 'deadLettered', 'waiting' or 'leased'."),
  queue: shape.text('The queue.'),
  id: shape.text('The id of the message there.'),
  state: shape.text('Where the message is now.'),
  attempts: shape.number('How often it had been tried.'),
  error: shape.nullable(shape.text('The error of the last attempt that failed.')),
  action_type: shape.nullable(shape.text('What was done to its target, if the sender said so.')),
  from: shape.nullable(shape.anyMembers('The message that it comes from: `queue`, `id`.')),
} as const
export const eventList = shape.several('In the order of time.', named('MessageEvent', option.object('', eventFields)))

export const toWireEvent = ({ at, kind, queue, id, state, attempts, errorMessage, actionType, from }: TraceEvent) => ({
  at: at.toISOString(),
  kind,
  queue,
  id,
  state,
  attempts,
  error: errorMessage,
  action_type: actionType,
  from,
})

export const messageRoutes: readonly Route[] = [
  route({
    name: 'getMessage',
    method: 'GET',
    path: '/v1/queues/{queue}/messages/{id}',
    tag,
    summary: 'One message, and what is known of its past',
    description: 'Changes nothing. The archive is looked into as well.',
    scope: 'read',
    answers: {
      200: {
        description: 'As of now.',
        fields: {
          ...messageFields,
          state: shape.text("'ready', 'delayed', 'leased' or 'archived'."),
          timeline: eventList,
        },
      },
      404: { description: 'There is none.' },
    },
    async handle(call) {
      const { queue, id } = call.params
      const { byId } = call.bus.stored.queue(queue)
      const placed = await byId.find(id)
      // What its meta says of it is seen only as far as its meta is.
      const message = call.redacted(queue, placed.message)
      const timeline = byId.timeline({ ...placed, message }).map(toWireEvent)
      const beside = JSON.stringify({ state: placed.state, timeline })
      return { status: 200, body: `${shownText(placed.message, call).slice(0, -1)},${beside.slice(1)}` }
    },
  }),

  route({
    name: 'moveMessage',
    method: 'POST',
    path: '/v1/queues/{queue}/messages/{id}/move',
    tag,
    summary: 'Moves a message that is ready into another queue, in one step',
    scope: 'admin',
    body: {
      to: option.required(
        option.text('The other queue.', { default: null, check: (name, path) => void checkQueueName(name, path) }),
      ),
      delay_ms: delayMs,
    },
    example: { to: 'others' },
    answers: {
      200: {
        description: 'It is there.',
        fields: { id: shape.nullable(shape.text('Its id there; null if it arrives later.')) },
      },
      404: gone,
      409: raced,
    },
    async handle(call) {
      const { queue, id } = call.params
      const { to, delay_ms: delayMs } = call.body as { to: string; delay_ms: number }
      await checkMove(call, to)
      return { status: 200, body: { id: await call.bus.stored.queue(queue).byId.move(id, { to, delayMs }) } }
    },
  }),

  route({
    name: 'deadLetterMessage',
    method: 'POST',
    path: '/v1/queues/{queue}/messages/{id}/dead-letter',
    tag,
    summary: 'Ends a message that is ready as if it had failed too often',
    scope: 'admin',
    body: { reason: option.text('Stands as its error.', { default: 'ended by hand' }) },
    example: { reason: 'the customer is gone' },
    answers: {
      200: {
        description: 'It is a dead letter.',
        fields: {
          queue: shape.nullable(shape.text('The dead-letter queue; null: it is in the archive.')),
          id: shape.nullable(shape.text('Its id there.')),
        },
      },
      404: gone,
      409: raced,
    },
    async handle({ bus, params: { queue, id }, body }) {
      return { status: 200, body: await bus.stored.queue(queue).byId.deadLetter(id, body.reason ?? 'ended by hand') }
    },
  }),

  route({
    name: 'copyMessage',
    method: 'POST',
    path: '/v1/queues/{queue}/messages/{id}/copy',
    tag,
    summary: 'Sends a copy of a message, with what is changed in it',
    description:
      'What is left out stays as it is. The message itself stays, too; the copy has its own id, and in its meta where it comes from: `replayed_from_queue`, `replayed_from_id`.',
    scope: 'send',
    body: {
      message: option.json('In place of the data of the message.'),
      to: option.text('The queue to send it to.', {
        default: null,
        check: (name, path) => void checkQueueName(name, path),
      }),
      meta: anyObject('In place of the meta of the message.'),
      headers: { ...sendOptions.headers, jsonSchema: { type: 'object' }, defaultValue: null },
      priority: { ...sendOptions.priority, defaultValue: null },
      delay_ms: delayMs,
    },
    example: { message: { n: 2 } },
    answers: {
      201: {
        description: 'It is stored.',
        fields: {
          queue: shape.text('Where it is.'),
          id: shape.text('Its id.'),
          duplicate: shape.flag('Always false.'),
        },
      },
      404: { description: 'There is no such message.' },
    },
    async handle(call) {
      const { queue, id } = call.params
      const { to, message, meta, headers, priority, delay_ms: delayMs } = call.body as CopyBody
      const target = to ?? queue
      if (!call.access.allows('send', target))
        throw new TidingsError('FORBIDDEN', `the token is not good for sending to queue '${target}'`)
      if (!call.access.allows('read', queue))
        throw new TidingsError('FORBIDDEN', `the token is not good for looking into queue '${queue}'`)
      const composed = await call.bus.stored.queue(queue).byId.copy(id, target, {
        ...(message === undefined ? {} : { data: toJson(message, 'message', call.maxMessageBytes) }),
        ...(meta === null ? {} : { meta }),
        ...(headers === null ? {} : { headers }),
        ...(priority === null ? {} : { priority }),
        delayMs,
      })
      const [sent] = await call.bus.stored.queue(target, { maxMessageBytes: call.maxMessageBytes }).send([composed], {})
      return { status: 201, body: { queue: target, id: sent!.id, duplicate: sent!.duplicate } }
    },
  }),
]

interface CopyBody {
  readonly to: string | null
  readonly message: unknown
  readonly meta: Readonly<Record<string, never>> | null
  readonly headers: Readonly<Record<string, never>> | null
  readonly priority: number | null
  readonly delay_ms: number
}
