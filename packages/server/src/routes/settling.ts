import type { Bus } from 'tidings/internal/bus/bus'
import { isTidingsError, TidingsError } from 'tidings/internal/core/errors'
import { checkQueueName, defaultDeadLetterQueue } from 'tidings/internal/core/names'
import * as option from 'tidings/internal/core/options'
import { checkMessageId, parseIsoTime } from 'tidings/internal/messages/options'
import type { Ending, Lease, Settlement } from 'tidings/internal/port/engine'
import { toNumericId, toWireSettleResult } from 'tidings/internal/protocol/messages'
import { checkHasHolder, holder, idsOption, messageFields, named, shape, shownText } from '../http/fields.ts'
import { holderName } from '../http/holders.ts'
import { type Call, type Route, route } from '../http/route.ts'
import { anyObject, delayMs } from './entry.ts'
import { hiddenMs, leaseMs } from './reading.ts'

const tag = 'Settling'
const byIdAlone =
  'By its id alone, as clients of PGMQ do it. That ends the lease of the last reader to whom this server gave the message; one that nobody holds is taken as it is.'

const leaseFields = {
  id: option.required(option.text('The id of the message.', { default: null, check: checkMessageId })),
  receipt: option.required(option.text('As it was read.', { default: null })),
} as const

const heldLeaseFields = {
  ...leaseFields,
  held: option.boolean('It ends with the holder.', { default: false }),
  ahead: option.boolean('The message was read ahead, when it was read.', { default: false }),
  cancelled: option.boolean('Its reader knows that the message is to be cancelled; otherwise that is refused.', {
    default: false,
  }),
} as const

const settlementFields = {
  ...leaseFields,
  kind: option.required(
    option.choice('How the lease ends.', ['delete', 'archive', 'release', 'move'], { default: null }),
  ),
  meta: anyObject('Merged into the meta of the message; a null takes the field away. Not for delete.'),
  delay_ms: { ...delayMs, doc: 'For release and move: becomes ready after this time.' },
  uncount: option.boolean('For release: takes the read back, so that it does not count as an attempt.', {
    default: false,
  }),
  hold: option.choice('For release: what is held back for the same time, besides the message.', ['queue', 'group'], {
    default: null,
    defaultText: 'nothing',
  }),
  to: option.text(
    'For move: the other queue. It is created if it is missing, for tokens with the scope `admin`; for others only the default dead-letter queue, `<queue>_dlq`.',
    {
      default: null,
      check: (name, path) => void checkQueueName(name, path),
    },
  ),
} as const
type SettlementInput = option.OptionsOutput<typeof settlementFields>

/** Clients of PGMQ may send none. */
const msgIds = option.required(idsOption('Ids of messages.', { min: 0 }))

const manyOf = <I, O>(doc: string, items: option.Option<I, O>) =>
  option.required(option.list(doc, items, { default: null, min: 1, max: 10_000, rangeCode: 'BATCH_SIZE' }))

export const settlingRoutes: readonly Route[] = [
  route({
    name: 'settleMessages',
    method: 'POST',
    path: '/v1/queues/{queue}/settle',
    tag,
    summary: 'Ends leases',
    description: 'Each settlement stands for itself: one whose receipt is stale changes nothing and says so.',
    scope: 'receive',
    body: {
      settlements: manyOf('What to do.', option.required(named('Settlement', option.object('', settlementFields)))),
    },
    example: { settlements: [{ id: '42', receipt: 'as it was read', kind: 'delete' }] },
    answers: {
      200: {
        description: 'What was done, in the order of the request.',
        fields: {
          results: shape.several(
            '',
            named(
              'SettleResult',
              option.object('', {
                settled: shape.flag('False if the receipt was stale.'),
                new_id: shape.nullable(shape.text('The id in the other queue, after a move.')),
              }),
            ),
          ),
        },
      },
    },
    async handle(call) {
      const { bus, leases } = call
      const { queue } = call.params
      const settlements = call.body.settlements.map((one, index) => toSettlement(one, `settlements[${index}]`))
      const targets = new Set(settlements.flatMap((one) => (one.kind === 'move' ? [one.to] : [])))
      for (const to of targets) await checkMove(call, to)
      const results = await bus.stored.queue(queue).settle(settlements)
      leases.ended(queue, settlements)
      return { status: 200, body: { results: results.map(toWireSettleResult) } }
    },
  }),

  route({
    name: 'extendLeases',
    method: 'POST',
    path: '/v1/queues/{queue}/extend',
    tag,
    summary: 'Makes leases last longer, from now on',
    scope: 'receive',
    description: 'A server that did not give them out learns here whose they are: of the client with `holder`.',
    body: {
      leases: manyOf('The leases.', option.required(named('Lease', option.object('', heldLeaseFields)))),
      lease_ms: option.required({ ...leaseMs, doc: 'How long they last from now.' }),
      holder,
      extension: option.integer(
        'Numbers this request among those of the holder. Sent again with the same number within a minute, it answers what was done the first time.',
        { default: null, defaultText: 'none', min: 0, max: Number.MAX_SAFE_INTEGER },
      ),
    },
    example: { leases: [{ id: '42', receipt: 'as it was read' }], lease_ms: 30_000 },
    answers: {
      200: {
        description: 'The new receipts, in the order of the request; null where a lease was lost or has run out.',
        fields: { receipts: shape.several('', shape.nullable(shape.text(''))) },
      },
    },
    async handle({ bus, params: { queue }, body, leases, access, holders, extensions }) {
      const { leases: given, lease_ms, holder: process, extension } = body
      checkHasHolder(process, { held: given.some(({ held }) => held), extension: extension !== null })
      const name = process === null ? null : holderName(access, process)
      if (name !== null) holders.heard(name)
      const extend = async () => {
        const receipts = await bus.stored.queue(queue).extend(given, lease_ms)
        leases.extended(queue, given, receipts, lease_ms, (index) => {
          const { held, ahead } = given[index]!
          return name === null ? null : { holder: name, held, ahead: held && ahead, claim: null }
        })
        return receipts
      }
      const isNumbered = name !== null && extension !== null
      const receipts = await (isNumbered ? extensions.once(name, extension, extend) : extend())
      return { status: 200, body: { receipts } }
    },
  }),

  route({
    name: 'deleteMessage',
    method: 'DELETE',
    path: '/v1/queues/{queue}/messages/{id}',
    tag,
    summary: 'Removes a message',
    description: byIdAlone,
    scope: 'receive',
    answers: {
      204: { description: 'It is gone.' },
      404: { description: 'It was not there, or it is in the hands of another reader.' },
    },
    async handle(call) {
      const { queue, id } = call.params
      if ((await endById(call, [id], { kind: 'delete' })).length === 0) throw messageNotFound(queue, id)
      return { status: 204 }
    },
  }),

  route({
    name: 'deleteMessages',
    method: 'POST',
    path: '/v1/queues/{queue}/messages/delete',
    tag,
    summary: 'Removes messages',
    description: byIdAlone,
    scope: 'receive',
    body: { msg_ids: msgIds },
    example: { msg_ids: [42, 43] },
    answers: {
      200: { description: 'Those that were removed.', fields: { msg_ids: shape.several('', shape.numericId) } },
    },
    async handle(call) {
      const ended = await endById(call, call.body.msg_ids, { kind: 'delete' })
      return { status: 200, body: { msg_ids: ended.map(toNumericId) } }
    },
  }),

  route({
    name: 'archiveMessage',
    method: 'POST',
    path: '/v1/queues/{queue}/messages/{id}/archive',
    tag,
    summary: 'Archives a message',
    description: byIdAlone,
    scope: 'receive',
    answers: {
      204: { description: 'It is in the archive.' },
      404: { description: 'It was not there, or it is in the hands of another reader.' },
    },
    async handle(call) {
      const { queue, id } = call.params
      if ((await endById(call, [id], { kind: 'archive', meta: {} })).length === 0) throw messageNotFound(queue, id)
      return { status: 204 }
    },
  }),

  route({
    name: 'archiveMessages',
    method: 'POST',
    path: '/v1/queues/{queue}/messages/archive',
    tag,
    summary: 'Archives messages',
    description: byIdAlone,
    scope: 'receive',
    body: { msg_ids: msgIds },
    example: { msg_ids: [42, 43] },
    answers: {
      200: { description: 'Those that were archived.', fields: { msg_ids: shape.several('', shape.numericId) } },
    },
    async handle(call) {
      const ended = await endById(call, call.body.msg_ids, { kind: 'archive', meta: {} })
      return { status: 200, body: { msg_ids: ended.map(toNumericId) } }
    },
  }),

  route({
    name: 'setVisibility',
    method: 'POST',
    path: '/v1/queues/{queue}/messages/{id}/vt',
    tag,
    summary: 'Says when a message can be read again',
    description: `${byIdAlone} Where the time has come already, the message is given back.`,
    scope: 'receive',
    body: {
      vt: option.required(
        option.value<number | string, number | null>('Seconds from now, or a time.', {
          default: null,
          defaultText: 'none',
          typeText: 'seconds, or ISO 8601 text',
          jsonSchema: {
            oneOf: [
              { type: 'number', minimum: 0 },
              { type: 'string', format: 'date-time' },
            ],
          },
          parse: parseVt,
        }),
      ),
    },
    example: { vt: 30 },
    answers: {
      200: { description: 'The message.', fields: messageFields },
      404: { description: 'It was not there, or it is in the hands of another reader.' },
    },
    async handle(call) {
      const { queue, id } = call.params
      const receipt = await hideById(call, id, call.body.vt)
      const look = { place: null, limit: 1, afterId: null, ids: [id] }
      const [message] = (await call.bus.stored.queue(queue).peekPage(look)).messages
      if (receipt === undefined || !message) throw messageNotFound(queue, id)
      return { status: 200, body: shownText({ ...message, receipt }, call) }
    },
  }),
]

function toSettlement(
  { id, receipt, kind, meta, delay_ms, uncount, hold, to }: SettlementInput,
  path: string,
): Settlement {
  const lease = { id, receipt }
  switch (kind) {
    case 'archive':
      return { ...lease, kind, meta: meta ?? {} }
    case 'release':
      return { ...lease, kind, meta: meta ?? {}, delayMs: delay_ms, uncount, ...(hold === null ? {} : { hold }) }
    case 'move':
      return { ...lease, kind, meta: meta ?? {}, delayMs: delay_ms, to: checkQueueName(to ?? undefined, `${path}.to`) }
    default:
      return { ...lease, kind: 'delete' }
  }
}

/**
 * Moving creates the queue, which takes the scope for it. The dead-letter queue that workers use without being told is
 * there for everybody.
 */
export async function checkMove({ bus, params: { queue }, access }: MoveCall, to: string): Promise<void> {
  if (!access.allows('send', to) && !access.allows('receive', to))
    throw new TidingsError('FORBIDDEN', `the token is not good for moving messages to queue '${to}'`)
  if (access.allows('admin', to) || to === defaultDeadLetterQueue(queue) || (await isThere(bus, to))) return
  throw new TidingsError('FORBIDDEN', `queue '${to}' does not exist, and the token may not create it`, {
    details: { queue: to },
    hint: 'Create the queue before, or use a token with the scope admin.',
  })
}

type MoveCall = Pick<Call<'{queue}'>, 'bus' | 'params' | 'access'>

async function isThere(bus: Bus, queue: string): Promise<boolean> {
  try {
    await bus.stored.queue(queue).info()
    return true
  } catch (error) {
    if (isTidingsError(error, 'QUEUE_NOT_FOUND')) return false
    throw error
  }
}

type ByIdCall = Pick<Call<'{queue}'>, 'bus' | 'params' | 'leases'>

/** @returns the ids of the messages for which it was done */
async function endById(call: ByIdCall, ids: readonly string[], ending: Ending): Promise<string[]> {
  const queue = call.bus.stored.queue(call.params.queue)
  const known = knownLeases(call, ids)
  const knownIds = new Set(known.map(({ id }) => id))
  const free = ids.filter((id) => !knownIds.has(id))
  if (ending.kind === 'delete') {
    const removed = free.length > 0 ? await queue.cancel(free) : []
    return [...(await settleAll(call, known, ending)), ...free.filter((_, index) => removed[index] === 'removed')]
  }
  const taken = free.length > 0 ? await takeFree(call, free) : []
  return settleAll(call, [...known, ...taken], ending)
}

const knownLeases = ({ params: { queue }, leases }: ByIdCall, ids: readonly string[]): Lease[] =>
  [...new Set(ids)].flatMap((id) => {
    const receipt = leases.receiptOf(queue, id)
    return receipt === null ? [] : [{ id, receipt }]
  })

async function settleAll(
  { bus, params: { queue }, leases }: ByIdCall,
  given: readonly Lease[],
  ending: Ending,
): Promise<string[]> {
  if (given.length === 0) return []
  const settlements = given.map((lease) => ({ ...lease, ...ending }))
  const results = await bus.stored.queue(queue).settle(settlements)
  leases.ended(queue, given)
  return given.filter((_, index) => results[index]?.settled).map(({ id }) => id)
}

/** Leases messages without a reader for a moment: those that are ready, and first of their key. */
async function takeFree({ bus, params }: ByIdCall, ids: readonly string[]): Promise<Lease[]> {
  const queue = bus.stored.queue(params.queue)
  const taken = new Map<string, Lease>()
  for (let more = true; more; ) {
    const left = ids.filter((id) => !taken.has(id))
    const page = await queue.claimPage({ limit: left.length, leaseMs: 5_000, ids: left }, { unjudged: true })
    for (const { id, receipt } of page.found) taken.set(id, { id, receipt: receipt ?? '' })
    more = page.more === true
  }
  return [...taken.values()]
}

/** @returns the receipt of the lease that goes on; null where the message was given back; undefined if it was not there */
async function hideById(call: ByIdCall, id: string, hideMs: number): Promise<string | null | undefined> {
  const { bus, params, leases } = call
  const known = knownLeases(call, [id])
  if (known.length > 0 && hideMs > 0) {
    const receipts = await bus.stored.queue(params.queue).extend(known, hideMs)
    leases.extended(params.queue, known, receipts, hideMs)
    return receipts[0] ?? undefined
  }
  // Of a message that nobody held, this was no read.
  const given = known.length > 0 ? known : await takeFree(call, [id])
  const ending = { kind: 'release', delayMs: hideMs, meta: {}, uncount: known.length === 0 } as const
  return (await settleAll(call, given, ending)).length > 0 ? null : undefined
}

const messageNotFound = (queue: string, id: string) =>
  new TidingsError('MESSAGE_NOT_FOUND', `queue '${queue}' has no message ${id} that can be settled`, {
    details: { queue, id },
  })

function parseVt(value: unknown, path: string): number {
  if (typeof value !== 'string') return leaseFor(value, path)
  const time = parseIsoTime(value)
  if (Number.isNaN(time)) throw option.typeError(path, value, 'seconds or an ISO 8601 time')
  return leaseFor(Math.max(0, time - Date.now()) / 1_000, path)
}

const leaseFor = (value: unknown, path: string) =>
  hiddenMs.parse(typeof value === 'number' ? Math.round(value * 1_000) : value, path)
