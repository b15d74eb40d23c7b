import { checkQueueName, checkTopicName } from 'tidings/internal/core/names'
import * as option from 'tidings/internal/core/options'
import { type Interest, nameIn } from 'tidings/internal/port/listening'
import { noQueue, noTopic } from 'tidings/internal/port/refusals'
import { type WireRefusal, wireError } from 'tidings/internal/protocol/messages'
import { redact } from '../http/error-redaction.ts'
import { shape } from '../http/fields.ts'
import { type Access, type Route, route } from '../http/route.ts'
import { refuse, watching } from '../streams/watching.ts'

const maxInterests = 10_000
const description = 'It may tell too often, and after a failure it may miss something: look now and then.'
const inForce = { description: 'The watch is in force; what was committed before is for the caller to look for.' }
const due = shape.number('Above 0 where a message was stored that is ready only after that time.')

export const watchRoutes: readonly Route[] = [
  route({
    method: 'GET',
    path: '/v1/queues/{queue}/watch',
    tag: 'Queues',
    summary: 'Tells when there may be something to read',
    description,
    scope: 'receive',
    answers: {
      200: {
        description: 'Server-sent events.',
        events: {
          watching: inForce,
          wake: { description: 'There may be something to read.', fields: { due_ms: due } },
        },
      },
    },
    async handle({ bus: { stored, wakeups }, params, signal }) {
      const queue = stored.queue(params.queue)
      await queue.info()
      const toEvent = (_: Interest, due_ms: number) => ({ due_ms })
      return watching({ wakeups, interests: [queue.interest], signal, refused: refuse, toEvent })
    },
  }),

  route({
    method: 'GET',
    path: '/v1/topics/{topic}/watch',
    tag: 'Topics',
    summary: 'Tells when there may be something new in a topic',
    description: 'Messages, a subscription that was moved, or one that was left. It may tell too often.',
    scope: 'receive',
    answers: {
      200: {
        description: 'Server-sent events.',
        events: { watching: inForce, wake: { description: 'There may be something new.' } },
      },
    },
    async handle({ bus: { stored, wakeups }, params, signal }) {
      const topic = stored.topic(params.topic)
      await topic.info()
      return watching({ wakeups, interests: [topic.interest], signal, refused: refuse, toEvent: () => ({}) })
    },
  }),

  route({
    method: 'POST',
    path: '/v1/watch',
    tag: 'Storage',
    summary: 'Tells of many queues and topics at once',
    description,
    scope: 'receive',
    body: {
      interests: option.required(
        option.list(
          "What to watch: 'queue:orders', 'topic:news'.",
          option.required(option.text('', { default: null, check: checkInterest })),
          { default: null, min: 1, max: maxInterests },
        ),
      ),
    },
    answers: {
      200: {
        description: 'Server-sent events.',
        events: {
          watching: {
            ...inForce,
            fields: {
              refused: shape.several(
                'What is not watched, and why.',
                option.object('', {
                  interest: shape.text('As it was asked for.'),
                  code: shape.text(''),
                  message: shape.text(''),
                  hint: shape.text(''),
                }),
              ),
            },
          },
          wake: {
            description: 'There may be something new.',
            fields: { interest: shape.text('Where.'), due_ms: due },
          },
        },
      },
    },
    handle({ bus: { wakeups }, body, access, signal }) {
      const asked = [...new Set(body.interests as Interest[])]
      const refusals: WireRefusal[] = []
      const refused = (interest: Interest, error: unknown) => refusals.push({ interest, ...wireError(redact(error)) })
      const interests = asked.filter((interest) => {
        if (isVisible(interest, access)) return true
        refused(interest, interest.startsWith('queue:') ? noQueue(nameIn(interest)) : noTopic(nameIn(interest)))
        return false
      })
      const opening = () => ({ refused: refusals })
      const toEvent = (interest: Interest, due_ms: number) => ({ interest, due_ms })
      return watching({ wakeups, interests, signal, refused, opening, toEvent })
    },
  }),
]

/** What is not allowed is as if it were missing. */
const isVisible = (interest: Interest, access: Access) => access.allows('receive', nameIn(interest))

/** @throws QUEUE_NAME_INVALID, TOPIC_NAME_INVALID */
function checkInterest(text: string, path: string): void {
  const name = text.slice(text.indexOf(':') + 1)
  if (text.startsWith('topic:')) checkTopicName(name, path)
  else if (text.startsWith('queue:')) checkQueueName(name, path)
  else throw option.typeError(path, text, "a text like 'queue:orders' or 'topic:news'")
}
