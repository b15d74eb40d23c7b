import { letterGroupsOptions, redriveOptions } from 'tidings/internal/bus/dead-letters'
import * as option from 'tidings/internal/core/options'
import { afterId, idsOption, messageList, messagesText, named, shape } from '../http/fields.ts'
import { moreField } from '../http/pages.ts'
import { type Route, route } from '../http/route.ts'
import { delayMs } from './entry.ts'

const tag = 'Dead letters'

const limit = option.integer('The largest number of messages.', {
  default: 100,
  min: 1,
  max: 100_000,
  rangeCode: 'LIMIT_RANGE',
})
const ids = idsOption('Only these messages, by their ids in the dead-letter queue.')

export const deadLetterRoutes: readonly Route[] = [
  route({
    name: 'listDeadLetters',
    method: 'GET',
    path: '/v1/queues/{queue}/dead-letters',
    tag,
    summary: 'Messages of a queue that failed too often',
    description: 'In its dead-letter queue; `meta` tells of the failure. Changes nothing.',
    scope: 'read',
    query: { limit, ids, after: afterId },
    answers: { 200: { description: 'Oldest first.', fields: { ...messageList, ...moreField } } },
    async handle({ query, ...call }) {
      const { messages, more } = await call.bus.stored.queue(call.params.queue).deadLetters.page(query)
      return { status: 200, body: messagesText(messages, call, { more }) }
    },
  }),

  route({
    name: 'groupDeadLetters',
    method: 'GET',
    path: '/v1/queues/{queue}/dead-letters/groups',
    tag,
    summary: 'How many messages of a queue failed with which error',
    description: 'Numbers and ids in errors count as the same.',
    scope: 'read',
    query: letterGroupsOptions,
    answers: {
      200: {
        description: 'The most frequent first.',
        fields: {
          groups: shape.several(
            '',
            named(
              'DeadLetterGroup',
              option.object('', {
                error: shape.text("The error, with '#' for numbers and ids."),
                count: shape.number('How many there are.'),
                first_at: shape.nullable(shape.time('When the first of them failed.')),
                last_at: shape.nullable(shape.time('When the last of them failed.')),
                example_id: shape.text('The id of one of them in the dead-letter queue.'),
              }),
            ),
          ),
          scanned: shape.number('How many messages of the dead-letter queue were looked at.'),
          more: shape.flag('Whether there are further ones, which were not looked at.'),
        },
      },
    },
    async handle({ bus, params: { queue }, query, redacted }) {
      const letters = bus.stored.queue(queue).deadLetters
      const { groups, ...rest } = await letters.groupsOf((letter) => redacted(letters.queue ?? queue, letter), query)
      const told = groups.map(({ firstAt, lastAt, exampleId, ...group }) => ({
        ...group,
        first_at: firstAt,
        last_at: lastAt,
        example_id: exampleId,
      }))
      return { status: 200, body: { groups: told, ...rest } }
    },
  }),

  route({
    name: 'redriveDeadLetters',
    method: 'POST',
    path: '/v1/queues/{queue}/dead-letters/redrive',
    tag,
    summary: 'Sends dead letters again',
    description: 'Each is moved back in one step, and its attempts start anew.',
    scope: 'admin',
    body: {
      limit: { ...limit, defaultValue: 100_000, defaultText: '100000' },
      ids,
      error: redriveOptions.error,
      rate: redriveOptions.rate,
      dry_run: option.boolean('Answers what would be sent again and changes nothing.', { default: false }),
      delay_ms: delayMs,
    },
    example: { limit: 100, dry_run: true },
    answers: {
      200: {
        description: 'What was sent again.',
        fields: {
          redriven: shape.several(
            '',
            named(
              'RedrivenMessage',
              option.object('', {
                dead_letter_id: shape.text('The id in the dead-letter queue.'),
                id: shape.nullable(shape.text('The new id in the queue; null in a dry run.')),
              }),
            ),
          ),
        },
      },
    },
    async handle({ bus, params, body: { limit, ids, error, rate, dry_run: dryRun, delay_ms: delay } }) {
      const asked = {
        limit,
        dryRun,
        delay,
        ...(error === null ? {} : { error }),
        ...(rate === null ? {} : { rate }),
        ...(ids === null ? {} : { ids }),
      }
      const redriven = await bus.stored.queue(params.queue).deadLetters.redrive(asked)
      return {
        status: 200,
        body: { redriven: redriven.map(({ deadLetterId, id }) => ({ dead_letter_id: deadLetterId, id })) },
      }
    },
  }),
]
