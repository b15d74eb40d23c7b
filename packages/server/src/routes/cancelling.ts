import * as option from 'tidings/internal/core/options'
import { idList, shape } from '../http/fields.ts'
import { type Route, route } from '../http/route.ts'

const tag = 'Settling'

export const cancelRoutes: readonly Route[] = [
  route({
    name: 'cancelMessages',
    method: 'POST',
    path: '/v1/queues/{queue}/cancel',
    tag,
    summary: 'Removes messages that nobody has in hand, and asks for those that somebody has',
    description:
      'With `running`: the meta of a message in hand gets `cancel_requested_at`, and its lease is not prolonged until its reader says that it knows.',
    scope: 'receive',
    body: {
      ids: idList,
      running: option.boolean('Also asks for those that somebody has in hand.', { default: false }),
    },
    example: { ids: ['42'], running: true },
    answers: {
      200: {
        description: 'What became of each, in the order of the request.',
        fields: {
          cancelled: shape.several('Which were removed.', shape.flag('')),
          asked: shape.several('Which were asked for.', shape.flag('')),
        },
      },
    },
    async handle({ bus, params: { queue }, body: { ids, running } }) {
      const ended = await bus.stored.queue(queue).cancel(ids, { running })
      const cancelled = ended.map((one) => one === 'removed')
      return { status: 200, body: { cancelled, asked: ended.map((one) => one === 'asked') } }
    },
  }),

  route({
    name: 'retryMessages',
    method: 'POST',
    path: '/v1/queues/{queue}/retry',
    tag,
    summary: 'Makes messages ready that wait for their time, before it',
    description:
      'Ends what holds back the queue and their groups, too. Limits, a pause and the order of keys stay as they are.',
    scope: 'receive',
    body: { ids: idList },
    example: { ids: ['42'] },
    answers: {
      200: {
        description: 'What became of each, in the order of the request.',
        fields: { ready: shape.several('Which are ready now; the others are in hand, or not there.', shape.flag('')) },
      },
    },
    async handle({ bus, params: { queue }, body: { ids } }) {
      const ready = new Set(await bus.stored.queue(queue).byId.makeReady(ids))
      return { status: 200, body: { ready: ids.map((id) => ready.has(id)) } }
    },
  }),
]
