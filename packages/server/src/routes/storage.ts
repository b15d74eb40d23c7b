import { TidingsError } from 'tidings/internal/core/errors'
import * as option from 'tidings/internal/core/options'
import { version } from 'tidings/internal/core/version'
import type { Feature } from 'tidings/internal/port/engine'
import { toWireCorrelation } from 'tidings/internal/protocol/messages'
import { named, shape } from '../http/fields.ts'
import { type Route, route } from '../http/route.ts'

const tag = 'Storage'

/** What a client of this server can use as if the storage were its own. */
const overHttp: readonly Feature[] = ['durable', 'events', 'limits', 'topics']

export const storageRoutes: readonly Route[] = [
  route({
    name: 'getServer',
    method: 'GET',
    path: '/v1',
    tag,
    summary: 'What this server is',
    scope: null,
    answers: {
      200: {
        description: 'As long as it runs.',
        fields: {
          name: shape.text('`tidings`.'),
          version: shape.text('Its version.'),
          engine: shape.text('The storage behind it.'),
          supports: shape.several('What it can do over HTTP, of what not every storage can do.', shape.text('')),
          max_body_bytes: shape.number('The largest body of a request that it takes.'),
          holders: shape.flag('True: it looks after clients that name their process as `holder`.'),
        },
      },
    },
    async handle({ bus, maxBodyBytes: max_body_bytes }) {
      const { storage } = bus.stored
      const supports = overHttp.filter((feature) => storage.supports.has(feature))
      const about = { name: 'tidings', version, engine: storage.name, supports, max_body_bytes, holders: true }
      return { status: 200, body: about }
    },
  }),

  route({
    name: 'getCorrelation',
    method: 'GET',
    path: '/v1/correlations/{correlation}',
    tag,
    summary: 'How far the tasks of a correlation are',
    scope: 'read',
    answers: {
      200: {
        description: 'As of now.',
        fields: {
          started_at: shape.time('When the first task was sent.'),
          completed_at: shape.nullable(shape.time('When the last task ended; null if that is still to come.')),
          failed_at: shape.nullable(shape.time('When a task first failed for good; null if none has.')),
          done_at: shape.nullable(shape.time('When all tasks were first done; null if that is still to come.')),
          queues: shape.several(
            'By queue.',
            named(
              'CorrelationQueue',
              option.object('', {
                queue: shape.text('Where the tasks are, or were.'),
                pending: shape.number('Neither over nor in the hands of a reader.'),
                running: shape.number('In the hands of a reader.'),
                done: shape.number('Deleted, archived or popped.'),
                dead: shape.number('Failed too often.'),
                cancelled: shape.number('Cancelled, purged or dropped with their queue.'),
              }),
            ),
          ),
        },
      },
      404: { description: 'There is no such task; completed correlations are forgotten after 30 days.' },
    },
    async handle({ bus, params: { correlation }, access }) {
      const state = await bus.stored.correlation(correlation)
      const queues = state?.queues.filter(({ queue }) => access.allows('read', queue)) ?? []
      if (state === null || queues.length === 0)
        throw new TidingsError('CORRELATION_NOT_FOUND', `correlation '${correlation}' has no tasks`, {
          details: { correlation },
        })
      return { status: 200, body: toWireCorrelation({ ...state, queues }) }
    },
  }),

  route({
    name: 'diagnose',
    method: 'GET',
    path: '/v1/doctor',
    tag,
    summary: 'Looks for what could hurt',
    description: 'Versions, permissions, durability, surroundings of the storage.',
    scope: 'admin',
    answers: {
      200: {
        description: 'What was found.',
        fields: {
          findings: shape.several(
            '',
            named(
              'Finding',
              option.object('', {
                level: option.choice('How bad it is.', ['ok', 'warning', 'problem'], { default: null }),
                check: shape.text('What was looked at.'),
                message: shape.text('What was found.'),
                remedy: shape.text('What to do; empty if nothing.'),
              }),
            ),
          ),
        },
      },
    },
    async handle({ bus }) {
      return { status: 200, body: { findings: await bus.diagnose() } }
    },
  }),

  route({
    name: 'maintain',
    method: 'POST',
    path: '/v1/maintain',
    tag,
    summary: 'Does what time asks for in the storage',
    description: 'The server does it by itself; after this call it has been done.',
    scope: 'admin',
    answers: { 204: { description: 'Done.' } },
    async handle({ bus }) {
      await bus.stored.maintain()
      return { status: 204 }
    },
  }),
]
