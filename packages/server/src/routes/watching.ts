import { TidingsError } from 'tidings/internal/core/errors'
import { checkQueueName, checkTopicName } from 'tidings/internal/core/names'
import * as option from 'tidings/internal/core/options'
import { type Interest, nameIn } from 'tidings/internal/port/listening'
import { noQueue, noTopic } from 'tidings/internal/port/refusals'
import type { Wakeups } from 'tidings/internal/port/wakeups'
import { type WireRefusal, wireError } from 'tidings/internal/protocol/messages'
import { redact } from '../http/error-redaction.ts'
import { checkHasHolder, holder, shape } from '../http/fields.ts'
import { holderName } from '../http/holders.ts'
import { type Access, type Route, route } from '../http/route.ts'
import { refuse, watching } from '../streams/watching.ts'

const maxInterests = 10_000
const description = 'It may tell too often, and after a failure it may miss something: look now and then.'
const inForce = { description: 'The watch is in force; what was committed before is for the caller to look for.' }
const due = shape.number('Above 0 where a message was stored that is ready only after that time.')

export const watchRoutes: readonly Route[] = [
  route({
    name: 'watchQueue',
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
    name: 'watchTopic',
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
    name: 'watch',
    method: 'POST',
    path: '/v1/watch',
    tag: 'Storage',
    summary: 'Tells of many queues and topics at once',
    description: `${description} With the interest \`life\` it also looks after the process that \`holder\` names: when the client goes, and no other stream of the holder is there within a second, what it had in hand is given back. A stream that this server ends takes nothing from it.`,
    scope: 'receive',
    body: {
      interests: option.required(
        option.list(
          "What to watch: 'queue:orders', 'topic:news'; 'cancels:orders': messages in hand are to be cancelled, see what a renewal says; 'life': what the holder has in hand ends with its streams.",
          option.required(option.text('', { default: null, check: checkInterest })),
          { default: null, min: 1, max: maxInterests },
        ),
      ),
      holder,
    },
    example: { interests: ['queue:orders', 'topic:news'] },
    answers: {
      200: {
        description: 'Server-sent events.',
        events: {
          watching: {
            ...inForce,
            fields: {
              look_ms: shape.nullable(
                shape.number(
                  'So often the server itself looks into all of these for what nobody announced: nobody else has to. Null: it does not.',
                ),
              ),
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
            fields: {
              interest: shape.text('Where.'),
              due_ms: due,
              changed: shape.optional(shape.flag('True after a change of settings of the queue.')),
            },
          },
        },
      },
    },
    async handle({ bus: { wakeups }, body, access, signal, holders, about }) {
      const asked = [...new Set(body.interests as Interest[])]
      const isLife = asked.includes('life')
      checkHasHolder(body.holder, { life: isLife })
      if (body.holder !== null && !isLife)
        throw new TidingsError('OPTION_CONFLICT', "holder is given, but 'life' is not among the interests")
      const refusals: WireRefusal[] = []
      const refused = (interest: Interest, error: unknown) => refusals.push({ interest, ...wireError(redact(error)) })
      const interests = asked.filter((interest) => {
        if (interest === 'life') return false
        if (isVisible(interest, access)) return true
        refused(interest, interest.startsWith('topic:') ? noTopic(nameIn(interest)) : noQueue(nameIn(interest)))
        return false
      })
      const opening = () => ({ refused: refusals, look_ms: lookMsOf(wakeups, interests) })
      const toEvent = (interest: Interest, due_ms: number, changed: { changed?: true }) => ({
        interest,
        due_ms,
        ...changed,
      })
      const { run } = await watching({ wakeups, interests, signal, refused, opening, toEvent })
      if (body.holder === null) return { run }
      const name = holderName(access, body.holder)
      return { run: (events) => holders.attend(name, { signal, about }, () => run(events)) }
    },
  }),
]

/** How often it is looked into all of them. */
function lookMsOf(wakeups: Wakeups, interests: readonly Interest[]): number | null {
  const each = interests.map((interest) => wakeups.lookMs(interest))
  return each.length === 0 || each.includes(null) ? null : Math.max(...each.map(Number))
}

/** What is not allowed is as if it were missing. */
const isVisible = (interest: Interest, access: Access) => access.allows('receive', nameIn(interest))

/** @throws QUEUE_NAME_INVALID, TOPIC_NAME_INVALID */
function checkInterest(text: string, path: string): void {
  const name = text.slice(text.indexOf(':') + 1)
  if (text.startsWith('topic:')) checkTopicName(name, path)
  else if (text.startsWith('queue:') || text.startsWith('cancels:')) checkQueueName(name, path)
  else if (text !== 'life') throw option.typeError(path, text, "'life', or a text like 'queue:orders' or 'topic:news'")
}
