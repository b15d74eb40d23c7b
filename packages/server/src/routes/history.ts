import { type History, historyOptions } from 'tidings/internal/bus/history'
import { TidingsError } from 'tidings/internal/core/errors'
import * as option from 'tidings/internal/core/options'
import type { WireHistory } from 'tidings/internal/protocol/history'
import { named, shape } from '../http/fields.ts'
import { type Route, route } from '../http/route.ts'

const tag = 'Queues'

const pointFields = {
  at: shape.time('When the step begins.'),
  ready: shape.nullable(shape.number('Ready messages, as last noted in the step; null: nobody looked.')),
  leased: shape.nullable(shape.number('Messages in the hands of readers, likewise.')),
  delayed: shape.nullable(shape.number('Messages that wait for their time, likewise.')),
  oldest_ready_ms: shape.nullable(shape.number('For how long the oldest message was ready; null also where none was.')),
  sent: shape.number('Messages that were sent in the step.'),
  done: shape.number('Messages that were deleted by their reader, archived or popped.'),
  failed: shape.number('Attempts that failed, and are followed by others.'),
  dead: shape.number('Messages that became dead letters.'),
} as const

const latencyFields = {
  up_to_ms: shape.nullable(
    shape.number('Up to so many milliseconds, and more than the class before; null: any longer.'),
  ),
  count: shape.number('How many messages.'),
} as const

const answers = {
  200: {
    description: 'Whole steps, one after the other.',
    fields: {
      queue_name: shape.nullable(shape.text('The name of the queue; null: all together.')),
      since: shape.time('When the first step begins.'),
      until: shape.time('When the last step ends.'),
      step_minutes: shape.number('How many minutes are put together.'),
      points: shape.several('One for every step.', named('HistoryPoint', option.object('', pointFields))),
      latency: shape.several(
        'How long messages took from being sent until they came to a reader for the first time, in all steps together.',
        named('LatencyClass', option.object('', latencyFields)),
      ),
    },
  },
} as const

export const historyRoutes: readonly Route[] = [
  route({
    name: 'getQueueHistory',
    method: 'GET',
    path: '/v1/queues/{queue}/history',
    tag,
    summary: 'What a queue looked like in the last days, and what was done in it',
    scope: 'read',
    query: historyOptions,
    answers,
    async handle({ bus, params, query }) {
      return { status: 200, body: toWire(await bus.stored.history(params.queue, asOptions(query))) }
    },
  }),

  route({
    name: 'getHistory',
    method: 'GET',
    path: '/v1/history',
    tag,
    summary: 'What all queues together looked like in the last days, and what was done in them',
    description: 'For a token that sees all queues.',
    scope: 'read',
    query: historyOptions,
    answers,
    async handle({ bus, access, query }) {
      if (!access.seesAll)
        throw new TidingsError('FORBIDDEN', 'the token does not see all queues, whose history this is', {
          hint: 'Ask for the history of single queues.',
        })
      return { status: 200, body: toWire(await bus.stored.history(null, asOptions(query))) }
    },
  }),
]

function asOptions({ since, until, step }: option.OptionsOutput<typeof historyOptions>) {
  const dateOf = (time: number | null) => (time === null ? undefined : new Date(time))
  return { since: dateOf(since), until: dateOf(until), step: step ?? undefined }
}

const toWire = ({ queue, since, until, stepMinutes, points, latency }: History): WireHistory => ({
  queue_name: queue,
  since: since.toISOString(),
  until: until.toISOString(),
  step_minutes: stepMinutes,
  points: points.map(({ at, oldestReadyMs, ...counts }) => ({
    at: at.toISOString(),
    oldest_ready_ms: oldestReadyMs,
    ...counts,
  })),
  latency: latency.map(({ upToMs, count }) => ({ up_to_ms: upToMs, count })),
})
