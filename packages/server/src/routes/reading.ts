import { searchOptions } from 'tidings/internal/bus/search'
import { systemClock } from 'tidings/internal/core/clock'
import { TidingsError } from 'tidings/internal/core/errors'
import * as option from 'tidings/internal/core/options'
import { anything, parseWhere, type Wanted } from 'tidings/internal/messages/filter'
import { maxLeaseMs } from 'tidings/internal/messages/message'
import type { Lease, StoredMessage } from 'tidings/internal/port/engine'
import {
  afterId,
  idsOption,
  messageFields,
  messageList,
  messagesText,
  type Showing,
  shape,
  shownText,
} from '../http/fields.ts'
import { type OwnerOfRead, ownerFields, ownerIn } from '../http/ownership.ts'
import { moreField } from '../http/pages.ts'
import { unredacted } from '../http/redaction.ts'
import { type Call, type Reply, type Route, route } from '../http/route.ts'
import { giveBack } from '../streams/giving-back.ts'
import { Prefetch } from '../streams/prefetch.ts'
import { anyObject } from './entry.ts'

const tag = 'Reading'
const maxWaitMs = 120_000

const qty = option.integer('The largest number of messages.', {
  default: 1,
  min: 1,
  max: 10_000,
  rangeCode: 'LIMIT_RANGE',
})
const vt = option.integer('For how many seconds the messages stay hidden from other readers.', {
  default: null,
  defaultText: 'as stored for the queue, else 30',
  min: 0,
  max: maxLeaseMs / 1_000,
  rangeCode: 'LEASE_RANGE',
})
/** A lease that clients of PGMQ set, who may also end it. */
export const hiddenMs = option.integer('', { default: 0, min: 0, max: maxLeaseMs, rangeCode: 'LEASE_RANGE' })
export const leaseMs = option.integer('The same in milliseconds.', {
  default: null,
  min: 1,
  max: maxLeaseMs,
  rangeCode: 'LEASE_RANGE',
})
const conditional = option.value<object, Wanted>('Only messages whose data has all that this object has.', {
  default: anything,
  defaultText: 'any',
  typeText: 'object',
  jsonSchema: { type: 'object' },
  parse: (value, path) => {
    const data = anyObject('').parse(value, path) ?? {}
    return Object.keys(data).length === 0 ? anything : parseWhere({ data }, path)
  },
})

const readAnswer = {
  description: 'Messages under a lease, by priority, then oldest first; none where none came in time.',
  fields: {
    ...messageList,
    more: shape.flag('Whether more was ready than fits into one answer.'),
    next_due_ms: shape.nullable(
      shape.number('In how many milliseconds the next message becomes due, as far as is known.'),
    ),
    held_back: shape.flag('Whether limits of the queue, or a hold, kept back messages that were ready.'),
  },
} as const

export const readingRoutes: readonly Route[] = [
  route({
    name: 'readMessages',
    method: 'POST',
    path: '/v1/queues/{queue}/read',
    tag,
    summary: 'Takes messages out of sight for the length of a lease',
    description: `Settle each with its receipt. A client that goes away before it has the answer gives the messages back, and the read does not count.

With \`holder\` and \`held\` the leases end with the process: when the streams of \`POST /v1/watch\` that name this holder are gone, the messages are ready again soon. Their meta has \`process_lost_at\`; for those that were read ahead the read does not count, and their meta has \`read_ahead_lost\`.`,
    scope: 'receive',
    body: {
      qty,
      vt,
      lease_ms: leaseMs,
      wait_ms: option.integer('Waits this long for the first message.', { default: 0, min: 0, max: maxWaitMs }),
      ids: idsOption('Only these messages, if they are ready.'),
      conditional,
      max_bytes: option.integer(
        'Takes no more messages than have so many bytes of data, meta and headers, but at least one.',
        { default: null, defaultText: 'no bound', min: 1, max: Number.MAX_SAFE_INTEGER },
      ),
      ...ownerFields,
    },
    example: { qty: 10, lease_ms: 30_000, wait_ms: 1_000 },
    answers: { 200: readAnswer },
    async handle(call) {
      const asked = { ...call.body, waitMs: call.body.wait_ms }
      const owner = ownerIn(call)
      if (owner === null) return read(call, asked)
      try {
        await giveBack(call.bus.stored.queue(call.params.queue), owner.lost, call.leases)
        return await read(call, { ...asked, ...owner })
      } finally {
        owner.claiming.end()
      }
    },
  }),

  route({
    name: 'pollMessages',
    method: 'POST',
    path: '/v1/queues/{queue}/read-poll',
    tag,
    summary: 'The same, waiting for the first message',
    description: 'As clients of PGMQ ask for it; `read` with `wait_ms` waits without polling.',
    scope: 'receive',
    body: {
      qty,
      vt,
      max_poll_seconds: option.integer('Waits this long.', { default: 5, min: 0, max: maxWaitMs / 1_000 }),
      poll_interval_ms: option.integer('Looks this often for messages that nothing announced.', {
        default: 100,
        min: 10,
        max: maxWaitMs,
      }),
      conditional,
    },
    example: { qty: 10, vt: 30, max_poll_seconds: 1 },
    answers: { 200: readAnswer },
    handle: ({ body, ...call }) =>
      read(call, {
        ...body,
        lease_ms: null,
        ids: null,
        max_bytes: null,
        waitMs: body.max_poll_seconds * 1_000,
        pollMs: body.poll_interval_ms,
      }),
  }),

  route({
    name: 'popMessages',
    method: 'POST',
    path: '/v1/queues/{queue}/pop',
    tag,
    summary: 'Takes messages for good',
    description: 'What is lost on the way to the client is lost: `read` and settle what must not be.',
    scope: 'receive',
    body: { qty },
    example: { qty: 1 },
    answers: {
      200: { description: 'Messages that are gone from the queue.', fields: { ...messageList, ...moreField } },
    },
    async handle({ body, ...call }) {
      const { messages, more } = await call.bus.stored
        .queue(call.params.queue)
        .popPage(body.qty, { unjudged: call.exact })
      return { status: 200, body: messagesText(messages, call, { more }) }
    },
  }),

  route({
    name: 'peekMessages',
    method: 'POST',
    path: '/v1/queues/{queue}/peek',
    tag,
    summary: 'Looks at messages without changing anything',
    scope: 'read',
    body: {
      place: option.choice(
        'Only messages in this state; archived ones are shown only when asked for.',
        ['ready', 'delayed', 'leased', 'archived'],
        { default: null, defaultText: 'all but archived' },
      ),
      limit: option.integer('The largest number of messages.', {
        default: 10,
        min: 1,
        max: 100_000,
        rangeCode: 'LIMIT_RANGE',
      }),
      after: afterId,
      ids: idsOption('Only these messages.'),
      dedup_id: searchOptions.dedupId,
      meta: option.value<object, Readonly<Record<string, string>> | null>(
        'Only messages whose meta has these texts in these fields, by the names of the wire.',
        { default: null, defaultText: 'any', typeText: 'object', jsonSchema: { type: 'object' }, parse: parseTexts },
      ),
      scan: option.integer('Looks at about so many messages, those in other states too.', {
        default: null,
        defaultText: 'as many as it takes',
        min: 1,
        max: 1_000_000,
        rangeCode: 'LIMIT_RANGE',
      }),
    },
    example: { place: 'ready', limit: 10 },
    answers: {
      200: {
        description: 'By id. Receipts are null.',
        fields: {
          ...messageList,
          ...moreField,
          after: shape.optional(shape.text('Where to go on; left out where `scan` has not ended the look.')),
        },
      },
    },
    async handle({ body: { place, limit, after, ids, dedup_id, meta, scan }, ...call }) {
      const request = {
        ...{ place, limit, afterId: after, ids },
        ...(dedup_id === null ? {} : { dedupId: dedup_id }),
        ...(meta === null ? {} : { meta }),
        ...(scan === null ? {} : { scan }),
      }
      const { messages, ...rest } = await call.bus.stored.queue(call.params.queue).peekPage(request)
      return {
        status: 200,
        body: messagesText(
          messages.filter((one) => isFound(one, meta, call)),
          call,
          rest,
        ),
      }
    },
  }),

  route({
    name: 'streamMessages',
    method: 'GET',
    path: '/v1/queues/{queue}/stream',
    tag,
    summary: 'Messages as they become ready, each under a lease',
    description:
      'Settle each with its receipt, through this server. What is not settled when the stream ends is given back, and its read does not count.',
    scope: 'receive',
    query: {
      prefetch: option.integer('How many messages may be unsettled at once.', { default: 10, min: 1, max: 1_000 }),
      lease_ms: {
        ...leaseMs,
        doc: 'How long a message stays hidden from other readers.',
        defaultText: 'as stored for the queue, else 30000',
      },
    },
    answers: {
      200: {
        description: 'Server-sent events.',
        events: { message: { description: 'A message under a lease.', fields: messageFields } },
      },
    },
    async handle({ query, leases, ...call }) {
      const { bus, params, exact, signal } = call
      const queue = bus.stored.queue(params.queue)
      // Says so now if it does not exist.
      await queue.info()
      return {
        async run(events) {
          let lease = 0
          const prefetch = new Prefetch(queue.name, query.prefetch, leases, systemClock)
          const poller = queue.poller()
          try {
            for (;;) {
              await prefetch.waitForRoom(signal)
              const messages = await poller.wait({ waitMs: Number.POSITIVE_INFINITY, signal }, async () => {
                if (signal.aborted) return { found: null, full: false, nextDueMs: null }
                const limit = prefetch.room
                lease = await queue.rules.leaseMs(query.lease_ms)
                const look = await queue.claimPage({ limit, leaseMs: lease, ids: null }, { unjudged: exact })
                const { found, nextDueMs, more = false } = look
                return { found: found.length > 0 ? found : null, full: more || found.length === limit, nextDueMs }
              })
              if (messages === null) return
              prefetch.add(messages, lease)
              leases.given(queue.name, messages, lease)
              for (const message of messages) await events.send('message', shownText(message, call))
            }
          } finally {
            poller.close()
            await prefetch.close(queue, leases)
          }
        },
      }
    },
  }),
]

interface Reading {
  readonly qty: number
  readonly vt: number | null
  readonly lease_ms: number | null
  readonly ids: readonly string[] | null
  readonly conditional: Wanted
  readonly max_bytes: number | null
  readonly ahead?: number
  readonly waitMs: number
  readonly pollMs?: number
  readonly ownerOf?: OwnerOfRead['ownerOf']
  readonly claiming?: OwnerOfRead['claiming']
  readonly claimed?: OwnerOfRead['claimed']
}

type ReadCall = Pick<Call<'{queue}'>, 'bus' | 'params' | 'leases' | 'exact' | 'redacted' | 'signal'>

async function read(call: ReadCall, asked: Reading): Promise<Reply> {
  const { bus, params, leases, exact, signal } = call
  const queue = bus.stored.queue(params.queue)
  const leaseMs = await queue.rules.leaseMs(leaseOf(asked))
  const {
    qty: limit,
    ids,
    conditional: wanted,
    max_bytes,
    ahead = 0,
    waitMs,
    pollMs,
    ownerOf,
    claiming,
    claimed,
  } = asked
  if (wanted !== anything && call.redacted !== unredacted)
    throw new TidingsError('UNSUPPORTED', "'conditional' would find messages by what is redacted", {
      hint: 'Search for them.',
    })
  if (max_bytes !== null && wanted !== anything)
    throw new TidingsError('OPTION_CONFLICT', "'max_bytes' and 'conditional' are both given")
  // Clients of our own judge by themselves what has expired, as their queue says.
  const request = {
    limit,
    leaseMs,
    ids,
    wanted,
    maxBytes: max_bytes ?? undefined,
    ahead,
    unjudged: exact,
    waitMs,
    pollMs,
    signal,
  }
  const { found, nextDueMs, more = false, heldBack = false } = await queue.read(request)
  leases.given(queue.name, found, leaseMs, ownerOf)
  if (found.length > 0) claimed?.()
  if (claiming?.isLost) await giveBack(queue, leasesOf(found.splice(0)), leases)
  return {
    status: 200,
    body: messagesText(found, call, { next_due_ms: nextDueMs, more, held_back: heldBack }),
    undelivered: () => giveBack(queue, leasesOf(found), leases),
  }
}

function leaseOf({ vt, lease_ms }: Reading): number | null {
  if (vt !== null && lease_ms !== null) throw new TidingsError('OPTION_CONFLICT', "'vt' and 'lease_ms' are both given")
  return lease_ms ?? (vt === null ? null : Math.max(1, vt * 1_000))
}

/** What may not be seen of a message does not make it one that is found. */
function isFound(
  message: StoredMessage,
  meta: Readonly<Record<string, string>> | null,
  { redacted, params }: Showing,
): boolean {
  if (meta === null || redacted === unredacted) return true
  const shown = redacted(params.queue, message).meta
  return Object.entries(meta).every(([field, text]) => Object.hasOwn(shown, field) && String(shown[field]) === text)
}

const leasesOf = (messages: readonly StoredMessage[]): Lease[] =>
  messages.map(({ id, receipt }) => ({ id, receipt: receipt ?? '' }))

function parseTexts(value: unknown, path: string): Readonly<Record<string, string>> {
  const fields = anyObject('').parse(value, path) ?? {}
  for (const [name, one] of Object.entries(fields))
    if (typeof one !== 'string') throw option.typeError(`${path}.${name}`, one, 'a string')
  return fields as Readonly<Record<string, string>>
}
