import assert from 'node:assert/strict'
import type { Bus } from 'tidings/internal/bus/bus'
import type { Topic } from 'tidings/internal/bus/topic'
import type { ErrorCode } from 'tidings/internal/core/errors'
import { describe, test } from 'vitest'
import { refusal } from '../queue/support.ts'
import { scene } from './support.ts'

// biome-ignore lint/suspicious/noExplicitAny: bad inputs are what the types forbid
type Bad = any

interface Stage {
  readonly bus: Bus
  readonly news: Topic
}

/** The call, the code, and what its message must say. */
type Row = [what: string, call: (stage: Stage) => unknown, code: ErrorCode, message: RegExp | string]

const nothing = () => {}
const publish =
  (options: Bad, data: Bad = 'x') =>
  ({ news }: Stage) =>
    news.publish(data, options)
const subscribe =
  (options: Bad, handler: Bad = nothing) =>
  ({ news }: Stage) =>
    news.subscribe('payroll', handler, options)
const consume =
  (options: Bad) =>
  ({ news }: Stage) =>
    news.consume('payroll', options)
const seek =
  (position: Bad, options?: Bad) =>
  ({ news }: Stage) =>
    news.seek(position, options)

const names: Row[] = [
  ['an empty name', ({ bus }) => bus.topic(''), 'TOPIC_NAME_INVALID', 'topic name is empty'],
  ['48 bytes', ({ bus }) => bus.topic('x'.repeat(48)), 'TOPIC_NAME_INVALID', /is 48 bytes; at most 47$/],
  ['upper case', ({ bus }) => bus.topic('News'), 'TOPIC_NAME_INVALID', /"News" has upper-case letters; write "news"$/],
  ['a slash', ({ bus }) => bus.topic('a/b'), 'TOPIC_NAME_INVALID', /contains "\/"$/],
  ['no name', ({ bus }) => bus.topic(undefined as Bad), 'TYPE', /^topic name is undefined; it must be a string$/],
  [
    'a subscription: upper case',
    ({ news }) => news.subscription('P'),
    'SUBSCRIPTION_NAME_INVALID',
    /^subscription name/,
  ],
  ['a subscription: a number', ({ news }) => news.subscribe(5 as Bad, nothing), 'TYPE', /^subscription name is 5/],
  ['a loop: no name', ({ news }) => news.consume('' as Bad), 'SUBSCRIPTION_NAME_INVALID', 'subscription name is empty'],
  ['a queue: upper case', ({ news }) => news.bind('Invoices'), 'QUEUE_NAME_INVALID', /"Invoices" has upper-case/],
  ['a queue: none', ({ news }) => news.unbind(null as Bad), 'TYPE', /^queue name is undefined/],
  ['a pattern', ({ bus, news }) => bus.bind('a..b', news), 'PATTERN_INVALID', /position/],
]

const settings: Row[] = [
  ['a retention that is none', ({ bus }) => bus.topic('a', { retention: 5 as Bad }), 'TYPE', /retention/],
  ['a retention of null', ({ bus }) => bus.topic('a', { retention: null as Bad }), 'TYPE', /retention/],
  [
    'an age that is no duration',
    ({ bus }) => bus.topic('a', { retention: { maxAge: 'week' as Bad } }),
    'DURATION',
    /maxAge is "week"/,
  ],
  ['an age of nothing', ({ bus }) => bus.topic('a', { retention: { maxAge: 0 } }), 'RANGE', /maxAge is 0ms/],
  ['a size of nothing', ({ bus }) => bus.topic('a', { retention: { maxBytes: 0 } }), 'RANGE', /maxBytes is 0/],
  ['a misspelt retention', ({ bus }) => bus.topic('a', { retention: { age: 1 } as Bad }), 'OPTION_UNKNOWN', /"age"/],
  [
    'a description with a NUL character',
    ({ bus }) => bus.topic('a', { description: 'a\u0000' }),
    'BODY_UNSUPPORTED_CHAR',
    /^description contains a NUL/,
  ],
  [
    'a description with half a character',
    ({ bus }) => bus.topic('a', { description: 'a\ud800' }),
    'BODY_UNSUPPORTED_CHAR',
    /^description contains a lone surrogate/,
  ],
  [
    'a long description',
    ({ bus }) => bus.topic('a', { description: '\u{1f680}'.repeat(1_001) }),
    'RANGE',
    'description has 1001 characters; at most 1000',
  ],
  ['no schema', ({ bus }) => bus.topic('a', { schema: {} as Bad }), 'TYPE', /^schema is an object/],
]

const publishing: Row[] = [
  ['a function', publish({}, nothing), 'BODY_NOT_JSON', /^data is a function/],
  ['undefined', ({ news }) => news.publish(undefined), 'BODY_NOT_JSON', /^data is undefined/],
  ['a misspelt option', publish({ dedupid: 'a' }), 'OPTION_UNKNOWN', 'publish has no option "dedupid"'],
  ['an empty dedup id', publish({ dedupId: '' }), 'DEDUP_ID_INVALID', /^dedupId is empty/],
  ['key and priority', publish({ orderingKey: 'a', priority: 1 }), 'OPTION_CONFLICT', /both given/],
  ['reserved headers', publish({ headers: { 'x-pgmq-a': 1 } }), 'HEADERS_INVALID', /reserved/],
  ['no transaction', publish({ tx: {} }), 'TYPE', /^tx is an object/],
  [
    'a transaction where there are none',
    publish({ tx: { query: async () => ({ rows: [] }) } }),
    'UNSUPPORTED',
    /^tx is given, but the memory engine cannot join transactions$/,
  ],
  ['too large', ({ bus }) => bus.topic('a', { maxMessageBytes: 3 }).publish('long'), 'BODY_TOO_LARGE', /^data is /],
  ['an empty batch', ({ news }) => news.publishBatch([]), 'BATCH_SIZE', /has 0 messages/],
  ['a batch that is none', ({ news }) => news.publishBatch(5 as Bad), 'TYPE', /^the batch is 5/],
  [
    'an entry with tx',
    ({ news }) => news.publishBatch([{ data: 1, tx: {} } as Bad]),
    'OPTION_UNKNOWN',
    /^entry 0 of the batch: publishBatch has no option "tx"/,
  ],
]

const positions: Row[] = [
  ['a word', seek('start'), 'TYPE', /^position is "start"; it must be 'earliest', 'latest', an offset, a Date or/],
  ['nothing', seek(undefined), 'TYPE', /^position is undefined/],
  ['a negative offset', seek(-1), 'RANGE', 'position is -1; it must be a whole number, 0 or more'],
  ['half an offset', seek(1.5), 'RANGE', /^position is 1\.5/],
  ['no number', seek(Number.NaN), 'RANGE', /^position is NaN/],
  ['no date', seek(new Date(Number.NaN)), 'TYPE', /^position is an instance of Date/],
  ['a subscription that is none', seek(0, { subscription: 5 }), 'TYPE', /^subscription is 5/],
  ['a beginning', subscribe({ from: 'begin' }), 'TYPE', /^from is "begin"/],
  ['an acknowledgement', ({ news }) => news.subscription('a').ack('1' as Bad), 'TYPE', /^offset is "1"/],
  ['an acknowledgement below 0', ({ news }) => news.subscription('a').ack(-1), 'RANGE', /^offset is -1/],
  ['a negative count', ({ news }) => news.subscription('a').rollBack(-1), 'RANGE', /^count is -1/],
]

const reading: Row[] = [
  ['read: limit 0', ({ news }) => news.read({ limit: 0 }), 'LIMIT_RANGE', /^limit is 0/],
  ['read: after -1', ({ news }) => news.read({ after: -1 }), 'RANGE', /^after is -1/],
  ['fetch: limit 1001', ({ news }) => news.subscription('a').fetch({ limit: 1_001 }), 'LIMIT_RANGE', /^limit is 1001/],
  ['fetch: wait', ({ news }) => news.subscription('a').fetch({ wait: '2h' }), 'RANGE', /^wait is 2h/],
  ['fetch: missing', ({ news }) => news.subscription('a').fetch(), 'SUBSCRIPTION_NOT_FOUND', /'a'/],
  ['read: missing topic', ({ bus }) => bus.topic('new').read(), 'TOPIC_NOT_FOUND', /'new' does not exist/],
  ['seek: missing topic', ({ bus }) => bus.topic('new').seek(0), 'TOPIC_NOT_FOUND', /'new' does not exist/],
]

const consuming: Row[] = [
  ['no handler', subscribe({}, 'x'), 'TYPE', /^the handler is "x"; it must be a function$/],
  ['a short lease', subscribe({ lease: '50ms' }), 'LEASE_RANGE', /^lease is 50ms/],
  ['no attempts', subscribe({ maxAttempts: 0 }), 'RANGE', /^maxAttempts is 0/],
  ['a backoff', subscribe({ backoff: {} }), 'TYPE', /^backoff is an object/],
  ['read ahead', subscribe({ readAhead: 0 }), 'RANGE', /^readAhead is 0/],
  ['a misspelt option', subscribe({ form: 'latest' }), 'OPTION_UNKNOWN', 'subscribe has no option "form"'],
  ['no signal', subscribe({ signal: {} }), 'TYPE', /^signal is an object/],
  ['no observer', consume({ observe: 1 }), 'TYPE', /^observe is 1/],
  ['empty reads', consume({ untilEmpty: 0 }), 'RANGE', /^untilEmpty is 0/],
  ['an option of the other', consume({ maxAttempts: 3 }), 'OPTION_UNKNOWN', 'consume has no option "maxAttempts"'],
  ['dead letters: upper case', subscribe({ deadLetter: 'DLQ' }), 'QUEUE_NAME_INVALID', /^deadLetter "DLQ"/],
  [
    'dead letters: a long name',
    ({ news }) => news.subscribe('x'.repeat(40), nothing),
    'DEAD_LETTER_INVALID',
    /^the dead-letter queue 'news_x+_dlq' would have a name of 49 bytes; at most 47$/,
  ],
]

describe('bad inputs', () => {
  test.each([names, settings, publishing, positions, reading, consuming].flat())(
    '%s',
    async (_, call, code, message) => {
      const { bus, news, server } = scene()
      await news.publish('there')
      const before = await server.memory.topics!.listTopics(null)
      const error = await refusal(() => call({ bus, news }), code)
      if (typeof message === 'string') assert.equal(error.message, message)
      else assert.match(error.message, message)
      assert(error.message.length < 200, error.message)
      assert.deepEqual(await server.memory.topics!.listTopics(null), before, 'nothing was stored or changed')
    },
  )

  test('the hint names the nearest option', async () => {
    const { news } = scene()
    const error = await refusal(() => news.subscribe('payroll', nothing, { form: 'latest' } as Bad), 'OPTION_UNKNOWN')
    assert.equal(error.hint, "Did you mean 'from'?")
  })

  test('a dead-letter queue that is named fits', async () => {
    const { news } = scene()
    const subscriber = news.subscribe('x'.repeat(40), nothing, { deadLetter: 'letters' })
    assert.equal(subscriber.deadLetterQueue, 'letters')
    await subscriber.stop()
  })
})

describe('after closing', () => {
  const calls: [string, (stage: Stage) => unknown][] = [
    ['publish', ({ news }) => news.publish(1)],
    ['publishBatch', ({ news }) => news.publishBatch([{ data: 1 }])],
    ['create', ({ news }) => news.create()],
    ['drop', ({ news }) => news.drop()],
    ['info', ({ news }) => news.info()],
    ['read', ({ news }) => news.read()],
    ['seek', ({ news }) => news.seek(0)],
    ['bind', ({ news }) => news.bind('invoices')],
    ['subscriptions', ({ news }) => news.subscriptions()],
    ['subscribe', ({ news }) => news.subscribe('payroll', nothing)],
    ['consume', ({ news }) => news.consume('payroll').next()],
    ['fetch', ({ news }) => news.subscription('payroll').fetch()],
    ['a fetch that waits', ({ news }) => news.subscription('payroll').fetch({ wait: '1m' })],
    ['ack', ({ news }) => news.subscription('payroll').ack(1)],
    ['state', ({ news }) => news.subscription('payroll').state()],
    ['topics', ({ bus }) => bus.topics()],
  ]
  test.each(calls)('%s is CLOSED', async (_, call) => {
    const { bus, news } = scene()
    await news.subscription('payroll').create()
    await bus.close()
    assert.match((await refusal(() => call({ bus, news }), 'CLOSED')).message, /closed/)
  })
})
