import assert from 'node:assert/strict'
import type { Bus } from 'tidings/internal/bus/bus'
import type { Queue } from 'tidings/internal/bus/queue'
import { type ErrorCode, TidingsError } from 'tidings/internal/core/errors'
import type { Message } from 'tidings/internal/messages/message'
import { describe, test } from 'vitest'
import { refusal, scene, stored } from './support.ts'

/** What a bad call is made on: a queue with a ready message and one in hand. */
interface Stage {
  readonly bus: Bus
  readonly jobs: Queue
  readonly held: Message<unknown>
  readonly id: string
}

// biome-ignore lint/suspicious/noExplicitAny: bad inputs are what the types forbid
type Bad = any

/** Number and words of the list, the call, the code, and what its message must say. */
type Row = [what: string, call: (stage: Stage) => unknown, code: ErrorCode, message: RegExp | string]

const send =
  (options: Bad, data: Bad = 'x') =>
  ({ jobs }: Stage) =>
    jobs.send(data, options)
const body =
  (data: Bad) =>
  ({ jobs }: Stage) =>
    jobs.send(data)
const nested = (depth: number) => {
  let value: unknown = 1
  for (let level = 0; level < depth; level++) value = [value]
  return value
}
const cycle: Record<string, unknown> = {}
cycle.self = { again: cycle }

const names: Row[] = [
  ['1 an empty name', ({ bus }) => bus.queue(''), 'QUEUE_NAME_INVALID', 'queue name is empty'],
  ['2 48 bytes', ({ bus }) => bus.queue('x'.repeat(48)), 'QUEUE_NAME_INVALID', /"x{48}" is 48 bytes; at most 47$/],
  [
    '3 20 characters of 60 bytes',
    ({ bus }) => bus.queue('注'.repeat(20)),
    'QUEUE_NAME_INVALID',
    /is 60 bytes; at most/,
  ],
  ['4 upper case', ({ bus }) => bus.queue('Jobs'), 'QUEUE_NAME_INVALID', /"Jobs" has upper-case letters; write "jobs"/],
  ...["a'b; drop", 'a$b', 'a--b', 'a"b', 'a/../b', 'a\nb', 'a\u0000b', ' a', 'a '].map(
    (name): Row => [
      `5 ${JSON.stringify(name)}`,
      ({ bus }) => bus.queue(name),
      'QUEUE_NAME_INVALID',
      /^queue name ".*" contains ["']/,
    ],
  ),
  ...[null, undefined, 5, {}, []].map(
    (name): Row => [
      `6 ${JSON.stringify(name)} as name`,
      ({ bus }) => bus.queue(name as Bad),
      'TYPE',
      /^queue name is (null|undefined|5|an object|an array of 0); it must be a string$/,
    ],
  ),
]

const missing: Row[] = (
  [
    ['send', (queue) => queue.send(1)],
    ['sendBatch', (queue) => queue.sendBatch([{ data: 1 }])],
    ['read', (queue) => queue.read()],
    ['a read that waits', (queue) => queue.read({ wait: '1m' })],
    ['readById', (queue) => queue.readById('1')],
    ['pop', (queue) => queue.pop()],
    ['peek', (queue) => queue.peek()],
    ['cancel', (queue) => queue.cancel('1')],
    ['retryNow', (queue) => queue.retryNow('1')],
    ['purge', (queue) => queue.purge()],
    ['stats', (queue) => queue.stats()],
    ['redrive', (queue) => queue.deadLetters.redrive()],
  ] as [string, (queue: Queue) => unknown][]
).map(([verb, call]) => [
  `8 ${verb} on an unknown queue`,
  ({ bus }) => call(bus.queue('josb', { create: false })),
  'QUEUE_NOT_FOUND',
  "queue 'josb' does not exist",
])

const bodies: Row[] = [
  ['10 undefined', body(undefined), 'BODY_NOT_JSON', /^data is undefined/],
  ['10 a function', body({ f() {} }), 'BODY_NOT_JSON', /^data\.f is a function/],
  ['10 a symbol', body([Symbol('s')]), 'BODY_NOT_JSON', /^data\[0\] is Symbol\(s\)/],
  ['10 a BigInt', body({ n: 5n }), 'BODY_NOT_JSON', /^data\.n is 5n/],
  ['11 NaN', body({ a: [Number.NaN] }), 'BODY_NOT_JSON', /^data\.a\[0\] is NaN/],
  ['11 Infinity', body(Number.POSITIVE_INFINITY), 'BODY_NOT_JSON', /^data is Infinity/],
  ['12 a Map', body({ m: new Map() }), 'BODY_NOT_JSON', /^data\.m is an instance of Map/],
  ['12 a Set', body(new Set()), 'BODY_NOT_JSON', /^data is an instance of Set/],
  ['12 an invalid Date', body(new Date('x')), 'BODY_NOT_JSON', /^data is an instance of Date, which is not a valid/],
  ['13 a cycle', body(cycle), 'BODY_NOT_JSON', /^data\.self\.again is an object, which contains itself/],
  ['14 NUL', body({ a: ['\u0000'] }), 'BODY_UNSUPPORTED_CHAR', /^data\.a\[0\] contains a NUL character/],
  ['15 a lone surrogate', body('\udc00'), 'BODY_UNSUPPORTED_CHAR', /^data contains a lone surrogate/],
  ['16 depth 101', body(nested(101)), 'BODY_TOO_DEEP', /^data\[0\].*\.\.\. is nested deeper than 100 levels/],
  ['16 depth 100,000', body(nested(100_000)), 'BODY_TOO_DEEP', /deeper than 100/],
  ['17 one byte too many', body('x'.repeat(1_048_575)), 'BODY_TOO_LARGE', /^data is 1048577 bytes .* at most 1048576$/],
  ['17 far too many', body(new Array(1_048_577).fill(1)), 'BODY_TOO_LARGE', /^data is more than 1048576 bytes/],
]

const headers: Row[] = [
  ...[5, 'x', null, [], new Map(), new Date()].map(
    (value): Row => [
      `19 headers ${String(value)}`,
      send({ headers: value }),
      'HEADERS_INVALID',
      /^headers is (5|"x"|null|an array of 0|an instance of \w+); it must be a plain object$/,
    ],
  ),
  ['19 a header that is no JSON', send({ headers: { a: () => 1 } }), 'BODY_NOT_JSON', /^headers\.a is a function/],
  ['19 a header with NUL', send({ headers: { a: '\u0000' } }), 'BODY_UNSUPPORTED_CHAR', /^headers\.a contains/],
  ['19 a reserved header', send({ headers: { 'X-Tidings-Meta': 1 } }), 'HEADERS_INVALID', /"X-Tidings-Meta".*reserved/],
  ["19 PGMQ's header", send({ headers: { 'x-pgmq-group': 1 } }), 'HEADERS_INVALID', /"x-pgmq-group".*reserved/],
  ['19 large headers', send({ headers: { a: 'x'.repeat(1_048_576) } }), 'BODY_TOO_LARGE', /^headers is more than/],
  ...[5, 'x', null, [], new Map()].map(
    (value): Row => [`meta ${String(value)}`, send({ meta: value }), 'TYPE', /^meta is .*; it must be a plain object$/],
  ),
  ['meta with a wrong type', send({ meta: { targetId: 5 } }), 'TYPE', 'meta.targetId is 5; it must be a string'],
]

const batches: Row[] = [
  ['20 an empty batch', ({ jobs }) => jobs.sendBatch([]), 'BATCH_SIZE', /^the batch has 0 messages; .* 1 to 10000$/],
  [
    '20 a batch of 10,001',
    ({ jobs }) => jobs.sendBatch(new Array(10_001).fill({ data: 1 })),
    'BATCH_SIZE',
    /^the batch has 10001 messages/,
  ],
  ['20 no batch', ({ jobs }) => jobs.sendBatch({ data: 1 } as Bad), 'TYPE', /^the batch is an object; .*array/],
  [
    '20 an entry that is none',
    ({ jobs }) => jobs.sendBatch([{ data: 1 }, 5 as Bad]),
    'TYPE',
    /^entry 1 of the batch is 5/,
  ],
  ['20 a hole', ({ jobs }) => jobs.sendBatch(new Array(3)), 'TYPE', /^entry 0 of the batch is undefined/],
  [
    '20 an entry with bad data',
    ({ jobs }) => jobs.sendBatch([{ data: 1 }, { data: 2 }, { data: Number.NaN }]),
    'BODY_NOT_JSON',
    /^entry 2 of the batch: data is NaN/,
  ],
  [
    '20 an entry with a bad option',
    ({ jobs }) => jobs.sendBatch([{ data: 1 }, { data: 2, dealy: '5s' } as Bad]),
    'OPTION_UNKNOWN',
    /^entry 1 of the batch: sendBatch has no option "dealy"/,
  ],
]

const leases: Row[] = ([-1, 0, 1.5, 99, 1e10, '116d', '-5s'] as Bad[])
  .map((lease): [unknown, ErrorCode] => [lease, 'LEASE_RANGE'])
  .concat(['5', Number.NaN, null, {}, '5 s'].map((lease): [unknown, ErrorCode] => [lease, 'DURATION']))
  .flatMap(([lease, code]): Row[] => {
    const calls: [string, (stage: Stage) => unknown][] = [
      ['read', ({ jobs }) => jobs.read({ lease: lease as Bad })],
      ['readById', ({ jobs, id }) => jobs.readById(id, { lease: lease as Bad })],
      ['extend', ({ held }) => held.extend(lease as Bad)],
      ['work', ({ jobs }) => jobs.work(() => {}, { lease: lease as Bad })],
      ['consume', ({ jobs }) => jobs.consume({ lease: lease as Bad })],
    ]
    return calls.map(([verb, call]) => [`21 ${verb} with lease ${String(lease)}`, call, code, /^lease is /])
  })

const limits: Row[] = ([0, -1, 1.5, Number.NaN, 1_001] as Bad[])
  .map((limit): [unknown, ErrorCode] => [limit, 'LIMIT_RANGE'])
  .concat(['5', null, {}].map((limit): [unknown, ErrorCode] => [limit, 'TYPE']))
  .flatMap(([limit, code]): Row[] => {
    const calls: [string, (stage: Stage) => unknown][] = [
      ['read', ({ jobs }) => jobs.read({ limit: limit as Bad })],
      ['pop', ({ jobs }) => jobs.pop({ limit: limit as Bad })],
      ['peek', ({ jobs }) => jobs.peek({ limit: limit as Bad })],
    ]
    if (limit !== 1_001) {
      calls.push(['deadLetters.list', ({ jobs }) => jobs.deadLetters.list({ limit: limit as Bad })])
      calls.push(['deadLetters.redrive', ({ jobs }) => jobs.deadLetters.redrive({ limit: limit as Bad })])
    }
    return calls.map(([verb, call]) => [`22 ${verb} with limit ${String(limit)}`, call, code, /^limit is /])
  })

const now = Date.UTC(2026, 0, 1)
const delays: Row[] = [
  ['23 a negative delay', send({ delay: -1 }), 'DELAY_RANGE', /^delay is -1ms; it must be between 0ms and 3650d$/],
  ['23 a delay of 11 years', send({ delay: '4015d' }), 'DELAY_RANGE', /^delay is 4015d/],
  ['23 a delay in words', send({ delay: 'soon' }), 'DURATION', /^delay is "soon"/],
  ['23 a delay that is a Date', send({ delay: new Date() }), 'DURATION', /^delay is an instance of Date/],
  ['23 an invalid Date', send({ at: new Date('x') }), 'DELAY_RANGE', /^at is an instance of Date, which is not a time/],
  ['23 the year 30000', send({ at: new Date(Date.UTC(30_000, 0)) }), 'DELAY_RANGE', /^at is \+030000-01-01T/],
  [
    '23 no day',
    send({ at: '2027-02-30T10:00:00Z' }),
    'DELAY_RANGE',
    /^at is "2027-02-30T10:00:00Z", which is not a time/,
  ],
  ['23 no time', send({ at: 'tomorrow' }), 'DELAY_RANGE', /^at is "tomorrow", which is not a time/],
  [
    '23 what Date.parse takes for one',
    send({ at: 'foo 2030' }),
    'DELAY_RANGE',
    /^at is "foo 2030", which is not a time/,
  ],
  ['23 a number as time', send({ at: now + 5_000 }), 'DELAY_RANGE', /^at is \d+, which is not a time/],
  ['23 a delay and a time', send({ delay: '5s', at: new Date(now + 5_000) }), 'OPTION_CONFLICT', /'delay' and 'at'/],
  ['23 release with a negative delay', ({ held }) => held.release({ delay: -1 }), 'DELAY_RANGE', /^delay is -1ms/],
  [
    '23 redrive with a negative delay',
    ({ jobs }) => jobs.deadLetters.redrive({ delay: -1 }),
    'DELAY_RANGE',
    /^delay is/,
  ],
  ['23 a wait of two hours', ({ jobs }) => jobs.read({ wait: '2h' }), 'RANGE', /^wait is 2h; it must be .* 1h$/],
]

const ids: Row[] = [5, null, undefined, '', 'a b', "1'; drop", {}, 'x'.repeat(65), '1\u0000'].flatMap((id): Row[] => {
  const calls: [string, (stage: Stage) => unknown][] = [
    ['readById', ({ jobs }) => jobs.readById(id as Bad)],
    ['cancel', ({ jobs }) => jobs.cancel(id as Bad)],
    ['retryNow', ({ jobs }) => jobs.retryNow([id as Bad])],
    ['list', ({ jobs }) => jobs.deadLetters.list({ ids: ['1', id as Bad] })],
    ['redrive', ({ jobs }) => jobs.deadLetters.redrive({ ids: [id as Bad] })],
  ]
  return calls.map(([verb, call]) => [
    `24 ${verb} with id ${JSON.stringify(id)}`,
    call,
    'MESSAGE_ID_INVALID',
    /^(id|ids\[\d\]) is .*, which is not an id of a message$/,
  ])
})

const others: Row[] = [
  ['24 ids that are none', ({ jobs }) => jobs.deadLetters.list({ ids: 'x' as Bad }), 'TYPE', /^ids is "x"/],
  [
    '24 no ids',
    ({ jobs }) => jobs.deadLetters.redrive({ ids: [] }),
    'TYPE',
    /^ids is an array of 0; .* one id or more$/,
  ],
  ['24 peek after no id', ({ jobs }) => jobs.peek({ after: 'a b' }), 'MESSAGE_ID_INVALID', /^after is "a b"/],
  ['28 no attempts', ({ jobs }) => jobs.work(() => {}, { maxAttempts: 0 }), 'RANGE', /^maxAttempts is 0; .* 1 and/],
  [
    '28 itself',
    ({ bus }) => bus.queue('a', { deadLetter: 'a' }),
    'DEAD_LETTER_INVALID',
    /^deadLetter is "a", the queue/,
  ],
  ['28 an invalid name', ({ bus }) => bus.queue('a', { deadLetter: 'A' }), 'QUEUE_NAME_INVALID', /^deadLetter "A" has/],
  ['28 true', ({ bus }) => bus.queue('a', { deadLetter: true as Bad }), 'TYPE', /^deadLetter is true/],
  [
    '28 a circle',
    ({ bus }) => {
      bus.queue('a', { deadLetter: 'b' })
      bus.queue('b', { deadLetter: 'c' })
      return bus.queue('c', { deadLetter: 'a' })
    },
    'DEAD_LETTER_INVALID',
    'the dead-letter queues form a circle: c → a → b → c',
  ],
  [
    '28 a circle through a default',
    ({ bus }) => bus.queue('jobs_dlq', { deadLetter: 'jobs' }),
    'DEAD_LETTER_INVALID',
    'the dead-letter queues form a circle: jobs_dlq → jobs → jobs_dlq',
  ],
  ['29 an empty dedup id', send({ dedupId: '' }), 'DEDUP_ID_INVALID', /^dedupId is empty; it must have 1 to 255 bytes/],
  [
    '29 one of 1 MB',
    send({ dedupId: 'x'.repeat(1_000_000) }),
    'DEDUP_ID_INVALID',
    /^dedupId is "x+\.\.\., 1000000 bytes;/,
  ],
  ['29 one with NUL', send({ dedupId: 'a\u0000' }), 'DEDUP_ID_INVALID', /^dedupId is "a\\u0000"/],
  ['29 one with half a character', send({ dedupId: '\ud800' }), 'DEDUP_ID_INVALID', /^dedupId is "\\ud800"/],
  ['29 an object', send({ dedupId: {} }), 'TYPE', /^dedupId is an object; it must be a string$/],
  ['29 a window of a year', send({ dedupId: 'x', dedupWindow: '365d' }), 'RANGE', /^dedupWindow is 365d/],
  ['an empty ordering key', send({ orderingKey: '' }), 'RANGE', /^orderingKey is empty; it must have 1 to 255 bytes/],
  ['a long ordering key', send({ orderingKey: 'ä'.repeat(128) }), 'RANGE', /^orderingKey is "ä+\.\.\., 256 bytes/],
  ['a key and a priority', send({ orderingKey: 'k', priority: 1 }), 'OPTION_CONFLICT', /'orderingKey' and 'priority'/],
  ['a priority of 101', send({ priority: 101 }), 'RANGE', /^priority is 101; it must be between -100 and 100$/],
  ['a target without its id', send({ uniqueTarget: true }), 'OPTION_CONFLICT', /'uniqueTarget' .* meta.targetId/],
  [
    'a long target',
    send({ uniqueTarget: true, meta: { targetId: 'x'.repeat(256) } }),
    'RANGE',
    /^meta\.targetId is "x/,
  ],
  ['a misspelt option', send({ dealy: '5s' }), 'OPTION_UNKNOWN', 'send has no option "dealy"'],
  ['options that are none', send(5), 'TYPE', /^the options of send is 5; it must be an object$/],
  ['a transaction that is none', send({ tx: {} }), 'TYPE', /^tx is an object; it must be /],
  [
    'a transaction where there are none',
    ({ bus }) => bus.queue('new').send(1, { tx: { query: async () => ({ rows: [] }) } }),
    'UNSUPPORTED',
    /^tx is given, but the memory engine cannot join transactions$/,
  ],
  ['no signal', ({ jobs }) => jobs.read({ signal: {} as Bad }), 'TYPE', /^signal is an object; .* an AbortSignal$/],
  ['no place', ({ jobs }) => jobs.peek({ place: 'lost' as Bad }), 'TYPE', /^place is "lost"; .* 'archived'$/],
  ['no schema', ({ bus }) => bus.queue('a', { schema: {} as Bad }), 'TYPE', /^schema is an object; .* Standard Schema/],
  ['no handler', ({ jobs }) => jobs.work('x' as Bad), 'TYPE', /^the handler is "x"; it must be a function$/],
]

describe('bad inputs', () => {
  const rows = [names, missing, bodies, headers, batches, leases, limits, delays, ids, others].flat()
  test.each(rows)('%s', async (_what, call, code, message) => {
    const { bus, memory } = scene()
    const jobs = bus.queue('jobs')
    const [, id] = [await jobs.send('held'), await jobs.send('ready')]
    const [held] = await jobs.read()
    const stage: Stage = { bus, jobs, held: held as Message<unknown>, id }
    const before = await stored(memory)
    const statsBefore = await memory.stats('jobs')

    const error = await refusal(() => call(stage), code)

    if (typeof message === 'string') assert.equal(error.message, message)
    else assert.match(error.message, message)
    assert(error.message.length < 200, error.message)
    assert.deepEqual(await stored(memory), before, 'nothing was stored or changed')
    assert.deepEqual(await memory.stats('jobs'), statsBefore)
    assert.equal(await held?.delete(), true, 'the message in hand can still be settled')
  })

  test('8 the hint names the nearest queue', async () => {
    const { bus } = scene()
    await bus.queue('jobs').create()
    const queue = bus.queue('josb', { create: false })
    for (const call of [
      () => queue.send(1),
      () => queue.sendBatch([{ data: 1 }]),
      () => queue.read(),
      () => queue.stats(),
    ])
      assert.match((await refusal(call, 'QUEUE_NOT_FOUND')).hint, /^Did you mean 'jobs'\?/)
    const far = await refusal(() => bus.queue('something-else', { create: false }).send(1), 'QUEUE_NOT_FOUND')
    assert.doesNotMatch(far.hint, /Did you mean/)
  })

  test('who may not list the queues is told of the missing one all the same', async () => {
    const { bus, spy } = scene()
    spy.before = (member) => {
      if (member === 'describe') throw new TidingsError('FORBIDDEN', 'not with this token')
    }
    const error = await refusal(() => bus.queue('jobs', { create: false }).send(1), 'QUEUE_NOT_FOUND')
    assert.doesNotMatch(error.hint, /Did you mean/)
  })

  test('the hint names the nearest option', async () => {
    const { bus } = scene()
    const error = await refusal(() => bus.queue('jobs').send(1, { dealy: '5s' } as Bad), 'OPTION_UNKNOWN')
    assert.equal(error.hint, "Did you mean 'delay'?")
  })
})

describe('odd inputs that are fine', () => {
  test('7 names of the language, as queue, key, header, meta, dedup id and ordering key', async () => {
    const { bus } = scene()
    for (const name of ['__proto__', 'constructor', 'hasown']) {
      const queue = bus.queue(name)
      const data = JSON.parse('{"__proto__":{"polluted":1},"constructor":1}')
      const headers = JSON.parse('{"__proto__":{"polluted":1},"toString":1}')
      const meta = JSON.parse('{"__proto__":{"polluted":1},"toString":1}')
      await queue.send(data, { headers, meta, dedupId: '__proto__', orderingKey: '__proto__' })
      const [message] = await queue.read()
      assert(message)
      assert.deepEqual(message.data, data)
      assert.deepEqual(message.headers, headers)
      assert.deepEqual(message.meta, {
        queueName: name,
        ...JSON.parse('{"toString":1}'),
        ['__proto__']: { polluted: 1 },
      })
      await refusal(() => queue.send(1, { dedupId: '__proto__' }), 'DUPLICATE')
      assert.equal(await message.deadLetter('x'), true)
    }
    assert.equal(({} as Bad).polluted, undefined)
    assert.equal((await bus.queues()).length, 6)
  })

  test('9 creating what is there', async () => {
    const { bus } = scene()
    assert.equal(await bus.queue('jobs').create(), true)
    assert.equal(await bus.queue('jobs').create(), false)
    assert.deepEqual(await Promise.all([bus.queue('new').create(), bus.queue('new').create()]), [true, false])
  })

  test('12 a Date, a class and boxed values are written as JSON does', async () => {
    class Person {
      name = 'Ada'
      #secret = 1
      reveal = undefined
      get secret() {
        return this.#secret
      }
    }
    const { bus } = scene()
    await bus.queue('jobs').send({ at: new Date(0), person: new Person(), boxed: Object(5), left: undefined })
    const [message] = await bus.queue('jobs').read()
    assert.deepEqual(message?.data, { at: '1970-01-01T00:00:00.000Z', person: { name: 'Ada' }, boxed: 5 })
  })

  test('16 depth 100, 17 exactly the limit', async () => {
    const { bus } = scene()
    const jobs = bus.queue('jobs', { maxMessageBytes: 202 })
    await jobs.send(nested(100))
    await jobs.send('x'.repeat(200))
    await refusal(() => jobs.send('x'.repeat(201)), 'BODY_TOO_LARGE')
    assert.equal((await jobs.stats()).ready, 2)
  })

  test('18 large integers of other clients are exact', async () => {
    const { bus, memory } = scene()
    const jobs = bus.queue('jobs')
    await jobs.create()
    const options = { delayMs: 0, notBefore: null, priority: 0, orderingKey: null, dedup: null, uniqueTarget: null }
    const data = '{"id": 9223372036854775807, "near": 9007199254740991, "text": "9223372036854775807"}'
    await memory.send('jobs', [{ ...options, data, meta: {}, headers: {}, bare: false }], null)
    const exact = { id: 9223372036854775807n, near: 9007199254740991, text: '9223372036854775807' }
    assert.deepEqual((await jobs.peek())[0]?.data, exact)
    assert.deepEqual((await jobs.read())[0]?.data, exact)
  })

  test('24 ids that look like some but are of no message', async () => {
    const { bus } = scene()
    const jobs = bus.queue('jobs')
    await jobs.send(1)
    for (const id of ['abc', '-1', '0', '9223372036854775808', '1_0', '__proto__']) {
      assert.equal(await jobs.readById(id), null)
      await assert.rejects(jobs.cancel(id), { code: 'MESSAGE_NOT_FOUND' })
    }
    assert.equal((await jobs.stats()).ready, 1)
  })

  test.each([-1_000, -8.64e15])('a time that has passed means now', async (ago) => {
    const { bus, clock } = scene()
    await bus.queue('jobs').send(1, { at: new Date(ago === -1_000 ? clock.now() + ago : ago) })
    const [message] = await bus.queue('jobs').read()
    assert.deepEqual(message?.sentAt, new Date(clock.now()))
    assert.equal((await bus.queue('jobs').stats()).oldestReadyMs, null)
  })
})

describe('30 after closing', () => {
  const calls: [string, (bus: Bus, jobs: Queue, held: Message<unknown>) => unknown][] = [
    ['send', (_, jobs) => jobs.send(1)],
    ['sendBatch', (_, jobs) => jobs.sendBatch([{ data: 1 }])],
    ['read', (_, jobs) => jobs.read()],
    ['a read that waits', (_, jobs) => jobs.read({ wait: '1m' })],
    ['readById', (_, jobs) => jobs.readById('1')],
    ['pop', (_, jobs) => jobs.pop()],
    ['peek', (_, jobs) => jobs.peek()],
    ['cancel', (_, jobs) => jobs.cancel('1')],
    ['retryNow', (_, jobs) => jobs.retryNow('1')],
    ['create', (_, jobs) => jobs.create()],
    ['drop', (_, jobs) => jobs.drop()],
    ['purge', (_, jobs) => jobs.purge()],
    ['stats', (_, jobs) => jobs.stats()],
    ['deadLetters.list', (_, jobs) => jobs.deadLetters.list()],
    ['deadLetters.redrive', (_, jobs) => jobs.deadLetters.redrive()],
    ['work', (_, jobs) => jobs.work(() => {})],
    ['workBatch', (_, jobs) => jobs.workBatch(() => {})],
    ['consume', (_, jobs) => jobs.consume().next()],
    ['queues', (bus) => bus.queues()],
    ['stats of the bus', (bus) => bus.stats()],
    ['diagnose', (bus) => bus.diagnose()],
    ['delete', (_bus, _jobs, held) => held.delete()],
    ['archive', (_bus, _jobs, held) => held.archive()],
    ['release', (_bus, _jobs, held) => held.release()],
    ['deadLetter', (_bus, _jobs, held) => held.deadLetter('x')],
    ['extend', (_bus, _jobs, held) => held.extend('30s')],
  ]
  test.each(calls)('%s is CLOSED', async (_verb, call) => {
    const { bus } = scene()
    const jobs = bus.queue('jobs')
    await jobs.send(1)
    const [held] = await jobs.read()
    await bus.close()
    const error = await refusal(() => call(bus, jobs, held as Message<unknown>), 'CLOSED')
    assert.match(error.message, /closed/)
  })
})
