import assert from 'node:assert/strict'
import { check } from 'tidings-testkit/internal/stress/checker/check'
import type { ViolationKind } from 'tidings-testkit/internal/stress/checker/violation'
import type { FinalQueue, FinalState } from 'tidings-testkit/internal/stress/final-state'
import type { Entry, Fact } from 'tidings-testkit/internal/stress/history'
import type { Plan } from 'tidings-testkit/internal/stress/plan'
import { describe, test } from 'vitest'

const plan: Plan = {
  seed: 1,
  queues: [
    { name: 'plain', keyed: false, onSuccess: 'delete' },
    { name: 'kept', keyed: true, onSuccess: 'archive' },
  ],
  topics: [{ name: 'news', subscriptions: ['a'] }],
  route: { routingKey: 'Routed', queues: ['plain'], topics: ['news'] },
  rate: 1,
  maxAttempts: 5,
  load: { messages: 0, kills: 0, seeks: 0 },
}

/** A history under construction; each fact comes 10 ms after the one before it. */
class Told {
  readonly entries: Entry[] = []
  #time = 0

  by(process: string, ...facts: Fact[]): this {
    for (const fact of facts) this.entries.push({ time: this.later(10).#time, process, ...fact })
    return this
  }

  later(milliseconds: number): this {
    this.#time += milliseconds
    return this
  }
}

const sending = (uids: string[], places: string[], key: string | null = null): Fact => ({
  event: 'sending',
  lane: 'p.1',
  uids,
  places: places.map((name) => (name === 'news' ? { topic: name } : { queue: name })),
  key,
})
const sent = (uid: string, place: string, at: string): Fact => ({
  event: 'sent',
  uid,
  place: place === 'news' ? { topic: place } : { queue: place },
  at,
})
const message = (queue: string, uid: string, id: string, attempt: number) => ({ queue, uid, id, attempt })
/** The lease is the second after the time of reading, by the storage's clock. */
const startedAt = (readAt: number, ...about: Parameters<typeof message>): Fact => ({
  event: 'started',
  readAt,
  leasedUntil: readAt + 1_000,
  ...message(...about),
})
/** Each attempt after the lease of the one before it. */
const started = (...about: Parameters<typeof message>): Fact => startedAt(about[3] * 5_000, ...about)
const ended = (...about: Parameters<typeof message>): Fact => ({ event: 'ended', ok: true, ...message(...about) })
const failed = (...about: Parameters<typeof message>): Fact => ({ event: 'ended', ok: false, ...message(...about) })
const settled = (as: 'succeeded' | 'retried' | 'deadLettered', ...about: Parameters<typeof message>): Fact => ({
  event: 'settled',
  as,
  ...message(...about),
})
const leaseLost = (...about: Parameters<typeof message>): Fact => ({ event: 'leaseLost', ...message(...about) })
const at = (offset: number, uid: string) => ({ topic: 'news', subscription: 'a', offset, uid })
const received = (offset: number, uid: string): Fact => ({ event: 'received', ...at(offset, uid) })
const handled = (offset: number, uid: string): Fact => ({ event: 'handled', ...at(offset, uid) })
const killing = (target: string): Fact => ({ event: 'killing', target })
const seek = (offset: number): Fact[] => [
  { event: 'seeking', topic: 'news', subscription: 'a', offset },
  { event: 'sought', topic: 'news', subscription: 'a', offset },
]

interface Ending {
  readonly plain?: FinalQueue['messages']
  readonly kept?: FinalQueue['messages']
  readonly log?: readonly string[]
  readonly offsets?: readonly number[]
  readonly cursor?: number
}

function stateOf({ plain = [], kept = [], log = [], offsets, cursor = log.length }: Ending): FinalState {
  return {
    queues: [
      { queue: 'plain', messages: plain },
      { queue: 'kept', messages: kept },
    ],
    topics: [
      {
        topic: 'news',
        log: log.map((uid, index) => ({ offset: offsets?.[index] ?? index + 1, uid })),
        subscriptions: [{ subscription: 'a', cursor, lag: log.length - cursor }],
      },
    ],
  }
}

const kindsOf = (told: Told, ending: Ending): ViolationKind[] =>
  check(plan, told.entries, stateOf(ending)).map(({ kind }) => kind)

/** One message that was sent and handled. */
const whole = (queue: string, uid: string, id: string) =>
  new Told()
    .by('p', sending([uid], [queue]), sent(uid, queue, id))
    .by('w', started(queue, uid, id, 1), ended(queue, uid, id, 1), settled('succeeded', queue, uid, id, 1))

describe('the checker finds nothing in', () => {
  const valid: Record<string, readonly [Told, Ending]> = {
    'a message that two processes sent, and the storage kept once': [
      new Told()
        .by('p', sending(['m'], ['plain']), sent('m', 'plain', '1'))
        .by('q', sending(['m'], ['plain']), sent('m', 'plain', '1'))
        .by(
          'w',
          started('plain', 'm', '1', 1),
          ended('plain', 'm', '1', 1),
          settled('succeeded', 'plain', 'm', '1', 1),
        ),
      {},
    ],
    'a message that was published again after a later one': [
      new Told()
        .by('p', sending(['x'], ['news']), sending(['y'], ['news']), sending(['x'], ['news']), sent('x', 'news', '1'))
        .by('s', received(1, 'x'), handled(1, 'x'), received(2, 'y'), handled(2, 'y')),
      { log: ['x', 'y'] },
    ],
    'a message that was handled': [whole('plain', 'm', '1'), {}],
    'one that is in the archive': [whole('kept', 'm', '1'), { kept: [{ uid: 'm', id: '1', in: 'archived' }] }],
    'one whose send had no answer and that is nowhere': [new Told().by('p', sending(['m'], ['plain'])), {}],
    'one whose worker was killed before it could tell of the settlement': [
      new Told()
        .by('p', sending(['m'], ['plain']), sent('m', 'plain', '1'))
        .by('w', started('plain', 'm', '1', 1), ended('plain', 'm', '1', 1))
        .by('c', killing('w')),
      {},
    ],
    'one that came again after a kill, before the end of its lease': [
      new Told()
        .by('p', sending(['m'], ['plain']), sent('m', 'plain', '1'))
        .by('w', startedAt(1_000, 'plain', 'm', '1', 1))
        .by('c', killing('w'))
        .by(
          'v',
          startedAt(1_500, 'plain', 'm', '1', 2),
          ended('plain', 'm', '1', 2),
          settled('succeeded', 'plain', 'm', '1', 2),
        ),
      {},
    ],
    'one whose first reader noticed that its lease was lost': [
      new Told()
        .by('p', sending(['m'], ['plain']), sent('m', 'plain', '1'))
        .by('w', started('plain', 'm', '1', 1))
        .by('v', started('plain', 'm', '1', 2), ended('plain', 'm', '1', 2), settled('succeeded', 'plain', 'm', '1', 2))
        .by('w', leaseLost('plain', 'm', '1', 1)),
      {},
    ],
    'one whose worker was killed at the last attempt, and which the next one dead-lettered untried': [
      new Told()
        .by('p', sending(['m'], ['plain']), sent('m', 'plain', '1'))
        .by('w', started('plain', 'm', '1', 5), failed('plain', 'm', '1', 5))
        .by('c', killing('w'))
        .by('v', settled('deadLettered', 'plain', 'm', '1', 6)),
      { plain: [{ uid: 'm', id: '1', in: 'dead letters' }] },
    ],
    'a key whose first message failed once': [
      new Told()
        .by('p', sending(['a', 'b'], ['kept'], 'k'), sent('a', 'kept', '1'), sent('b', 'kept', '2'))
        .by('w', started('kept', 'a', '1', 1), failed('kept', 'a', '1', 1), settled('retried', 'kept', 'a', '1', 1))
        .by('w', started('kept', 'a', '1', 2), ended('kept', 'a', '1', 2), settled('succeeded', 'kept', 'a', '1', 2))
        .by('w', started('kept', 'b', '2', 1), ended('kept', 'b', '2', 1), settled('succeeded', 'kept', 'b', '2', 1)),
      {
        kept: [
          { uid: 'a', id: '1', in: 'archived' },
          { uid: 'b', id: '2', in: 'archived' },
        ],
      },
    ],
    'a topic that was read twice, after a seek': [
      new Told()
        .by('p', sending(['x', 'y'], ['news']), sent('x', 'news', '1'), sent('y', 'news', '2'))
        .by('s', received(1, 'x'), handled(1, 'x'), received(2, 'y'), handled(2, 'y'))
        .by('c', ...seek(1))
        .by('s', received(1, 'x'), handled(1, 'x'), received(2, 'y'), handled(2, 'y')),
      { log: ['x', 'y'] },
    ],
    'a subscription that was taken over from a killed consumer': [
      new Told()
        .by('p', sending(['x'], ['news']))
        .by('s', received(1, 'x'))
        .by('c', killing('s'))
        .by('t', received(1, 'x'), handled(1, 'x')),
      { log: ['x'] },
    ],
    'something published to all places': [
      new Told()
        .by('p', sending(['r'], ['plain', 'news']), sent('r', 'plain', '1'), sent('r', 'news', '1'))
        .by('w', started('plain', 'r', '1', 1), ended('plain', 'r', '1', 1), settled('succeeded', 'plain', 'r', '1', 1))
        .by('s', received(1, 'r'), handled(1, 'r')),
      { log: ['r'] },
    ],
  }
  for (const [name, [told, ending]] of Object.entries(valid))
    test(name, () => assert.deepEqual(check(plan, told.entries, stateOf(ending)), []))
})

describe('the checker finds', () => {
  const wrong: Record<string, readonly [ViolationKind, Told, Ending]> = {
    'a message that was acknowledged and is gone': [
      'lost',
      new Told().by('p', sending(['m'], ['plain']), sent('m', 'plain', '1')),
      {},
    ],
    'a message that is gone while a living worker says that it failed': [
      'lost',
      new Told()
        .by('p', sending(['m'], ['plain']), sent('m', 'plain', '1'))
        .by('w', started('plain', 'm', '1', 1), failed('plain', 'm', '1', 1), settled('retried', 'plain', 'm', '1', 1)),
      {},
    ],
    'a handled message that is not in the archive': ['lost', whole('kept', 'm', '1'), {}],
    'a dead letter that is nowhere': [
      'lost',
      new Told()
        .by('p', sending(['m'], ['plain']), sent('m', 'plain', '1'))
        .by(
          'w',
          started('plain', 'm', '1', 5),
          failed('plain', 'm', '1', 5),
          settled('deadLettered', 'plain', 'm', '1', 5),
        ),
      {},
    ],
    'a message that nobody sent': ['phantom', new Told(), { plain: [{ uid: 'm', id: '1', in: 'archived' }] }],
    'a message of a topic that nobody sent': [
      'phantom',
      new Told().by('s', received(1, 'x'), handled(1, 'x')),
      { log: ['x'] },
    ],
    'a message with two ids': [
      'stored twice',
      whole('plain', 'm', '1'),
      { plain: [{ uid: 'm', id: '2', in: 'dead letters' }] },
    ],
    'a message that was handled and is still there': [
      'two states',
      whole('plain', 'm', '1'),
      { plain: [{ uid: 'm', id: '1', in: 'ready' }] },
    ],
    'a message in the archive and among the dead letters': [
      'two states',
      whole('kept', 'm', '1'),
      {
        kept: [
          { uid: 'm', id: '1', in: 'archived' },
          { uid: 'm', id: '1', in: 'dead letters' },
        ],
      },
    ],
    'one lease with two readers': [
      'delivered twice',
      new Told()
        .by('p', sending(['m'], ['plain']), sent('m', 'plain', '1'))
        .by('w', started('plain', 'm', '1', 1))
        .later(5_000)
        .by(
          'v',
          started('plain', 'm', '1', 1),
          ended('plain', 'm', '1', 1),
          settled('succeeded', 'plain', 'm', '1', 1),
        ),
      {},
    ],
    'a second lease during the first one': [
      'delivered twice',
      new Told()
        .by('p', sending(['m'], ['plain']), sent('m', 'plain', '1'))
        .by('w', startedAt(1_000, 'plain', 'm', '1', 1))
        .by('v', startedAt(1_500, 'plain', 'm', '1', 2))
        .by('w', ended('plain', 'm', '1', 1), leaseLost('plain', 'm', '1', 1))
        .by('v', ended('plain', 'm', '1', 2), settled('succeeded', 'plain', 'm', '1', 2)),
      {},
    ],
    'a second lease before the process of the first one was killed': [
      'delivered twice',
      new Told()
        .by('p', sending(['m'], ['plain']), sent('m', 'plain', '1'))
        .by('w', startedAt(1_000, 'plain', 'm', '1', 1))
        .by('v', startedAt(1_500, 'plain', 'm', '1', 2))
        .by('c', killing('w'))
        .by('v', ended('plain', 'm', '1', 2), settled('succeeded', 'plain', 'm', '1', 2)),
      {},
    ],
    'a stale settlement': [
      'stale settlement',
      new Told()
        .by('p', sending(['m'], ['plain']), sent('m', 'plain', '1'))
        .by('w', started('plain', 'm', '1', 1))
        .later(5_000)
        .by('v', started('plain', 'm', '1', 2))
        .by('w', ended('plain', 'm', '1', 1), settled('succeeded', 'plain', 'm', '1', 1)),
      {},
    ],
    'a stale release': [
      'stale settlement',
      new Told()
        .by('p', sending(['m'], ['plain']), sent('m', 'plain', '1'))
        .by('w', started('plain', 'm', '1', 1))
        .by('v', started('plain', 'm', '1', 2))
        .by('w', failed('plain', 'm', '1', 1), settled('retried', 'plain', 'm', '1', 1))
        .by('v', ended('plain', 'm', '1', 2), settled('succeeded', 'plain', 'm', '1', 2)),
      {},
    ],
    'a message that came again after it was settled': [
      'delivered after its end',
      whole('plain', 'm', '1').by(
        'v',
        started('plain', 'm', '1', 2),
        ended('plain', 'm', '1', 2),
        leaseLost('plain', 'm', '1', 2),
      ),
      {},
    ],
    'a second send of a message that was answered with another id': [
      'stored twice',
      new Told()
        .by('p', sending(['m'], ['plain']), sent('m', 'plain', '1'))
        .by('q', sending(['m'], ['plain']), sent('m', 'plain', '2'))
        .by(
          'w',
          started('plain', 'm', '1', 1),
          ended('plain', 'm', '1', 1),
          settled('succeeded', 'plain', 'm', '1', 1),
        ),
      {},
    ],
    'two dead letters of one message': [
      'two states',
      new Told()
        .by('p', sending(['m'], ['plain']), sent('m', 'plain', '1'))
        .by('w', started('plain', 'm', '1', 5), failed('plain', 'm', '1', 5))
        .by('c', killing('w'))
        .by('v', settled('deadLettered', 'plain', 'm', '1', 6)),
      {
        plain: [
          { uid: 'm', id: '1', in: 'dead letters' },
          { uid: 'm', id: '1', in: 'dead letters' },
        ],
      },
    ],
    'a process that ended by itself': [
      'ended early',
      new Told().by('w', { event: 'trouble', doing: 'being a worker', code: 'ended', message: 'no room' }),
      {},
    ],
    'one try too many': [
      'too many attempts',
      new Told()
        .by('p', sending(['m'], ['plain']), sent('m', 'plain', '1'))
        .by(
          'w',
          started('plain', 'm', '1', 6),
          ended('plain', 'm', '1', 6),
          settled('succeeded', 'plain', 'm', '1', 6),
        ),
      {},
    ],
    'a message that overtook an earlier one of its key': [
      'order of a key',
      new Told()
        .by('p', sending(['a', 'b'], ['kept'], 'k'), sent('a', 'kept', '1'), sent('b', 'kept', '2'))
        .by('w', started('kept', 'a', '1', 1), started('kept', 'b', '2', 1))
        .by('w', ended('kept', 'a', '1', 1), ended('kept', 'b', '2', 1)),
      {
        kept: [
          { uid: 'a', id: '1', in: 'archived' },
          { uid: 'b', id: '2', in: 'archived' },
        ],
      },
    ],
    'a published message that is in one of two places': [
      'not all or none',
      new Told().by('p', sending(['r'], ['plain', 'news'])).by('s', received(1, 'r'), handled(1, 'r')),
      { log: ['r'] },
    ],
    'a gap in the offsets': [
      'gap in a topic',
      new Told().by('p', sending(['x', 'y'], ['news'])).by('s', received(1, 'x'), handled(1, 'x')),
      { log: ['x', 'y'], offsets: [1, 3] },
    ],
    'an offset that was acknowledged and has another message': [
      'lost',
      new Told().by('p', sending(['x'], ['news']), sent('x', 'news', '2')).by('s', received(1, 'x'), handled(1, 'x')),
      { log: ['x'] },
    ],
    'a message with two offsets': [
      'stored twice',
      new Told()
        .by('p', sending(['x'], ['news']))
        .by('s', received(1, 'x'), handled(1, 'x'), received(2, 'x'), handled(2, 'x')),
      { log: ['x', 'x'] },
    ],
    'offsets against the order of publishing': [
      'order of a topic',
      new Told()
        .by('p', sending(['x'], ['news']), sending(['y'], ['news']))
        .by('s', received(1, 'y'), handled(1, 'y'), received(2, 'x'), handled(2, 'x')),
      { log: ['y', 'x'] },
    ],
    'a message that was passed over': [
      'passed over',
      new Told()
        .by('p', sending(['x', 'y'], ['news']))
        .by('s', received(2, 'y'), handled(2, 'y'), received(1, 'x'), handled(1, 'x')),
      { log: ['x', 'y'] },
    ],
    'a message under a wrong offset': [
      'phantom',
      new Told().by('p', sending(['x'], ['news'])).by('s', received(1, 'y'), handled(1, 'y')),
      { log: ['x'] },
    ],
    'two consumers at a time': [
      'two consumers',
      new Told()
        .by('p', sending(['x'], ['news']))
        .by('s', received(1, 'x'))
        .by('t', received(1, 'x'), handled(1, 'x'))
        .by('s', handled(1, 'x')),
      { log: ['x'] },
    ],
    'a seek that changed nothing': [
      'seek without effect',
      new Told()
        .by('p', sending(['x'], ['news']))
        .by('s', received(1, 'x'), handled(1, 'x'))
        .by('c', ...seek(1)),
      { log: ['x'] },
    ],
    'a message that is left': [
      'stuck',
      new Told().by('p', sending(['m'], ['plain']), sent('m', 'plain', '1')),
      { plain: [{ uid: 'm', id: '1', in: 'ready' }] },
    ],
    'a subscription that is behind': ['stuck', new Told().by('p', sending(['x'], ['news'])), { log: ['x'], cursor: 0 }],
    'a cursor at the end of what nobody handled': [
      'lost',
      new Told().by('p', sending(['x'], ['news'])),
      { log: ['x'] },
    ],
  }
  for (const [name, [kind, told, ending]] of Object.entries(wrong))
    test(name, () => assert.deepEqual([...new Set(kindsOf(told, ending))].slice(0, 1), [kind]))
})

describe('the checker asks for a quarter of', () => {
  const planned = { messages: 8, kills: 4, seeks: 4 }
  const loaded = (told: Told, load: Partial<Plan['load']>, ending: Ending = {}) =>
    check({ ...plan, load: { messages: 0, kills: 0, seeks: 0, ...load } }, told.entries, stateOf(ending)).map(
      ({ kind, text }) => `${kind}: ${text}`,
    )
  const tooLittle = (what: string) => [`too little load: ${what} prove nothing. Plan less, or give it more time.`]

  test('the messages: none, one too few, enough', () => {
    const { messages } = planned
    const one = whole('plain', 'm', '1')
    assert.deepEqual(loaded(new Told(), { messages }), tooLittle('messages sent: 0 of 8; fewer than 2 (25%)'))
    assert.deepEqual(loaded(one, { messages }), tooLittle('messages sent: 1 of 8; fewer than 2 (25%)'))
    assert.deepEqual(loaded(one, { messages: 7 }), [])
  })

  test('the smallest load, too', () =>
    assert.deepEqual(loaded(new Told(), { messages: 1 }), tooLittle('messages sent: 0 of 1; fewer than 1 (25%)')))

  test('what is to be handled', () => {
    const told = new Told().by('p', sending(['m'], ['plain']), sent('m', 'plain', '1'))
    const found = loaded(told, { messages: 1 }, { plain: [{ uid: 'm', id: '1', in: 'archived' }] })
    assert.deepEqual(found, tooLittle('messages handled: 0 of 1; fewer than 1 (25%)'))
  })

  test('the kills and the seeks', () => {
    const { kills, seeks } = planned
    assert.deepEqual(loaded(new Told(), { kills }), tooLittle('kills: 0 of 4; fewer than 1 (25%)'))
    assert.deepEqual(loaded(new Told().by('c', killing('w')), { kills }), [])
    assert.deepEqual(loaded(new Told(), { seeks }), tooLittle('seeks: 0 of 4; fewer than 1 (25%)'))
  })
})
