import assert from 'node:assert/strict'
import type { Queue } from 'tidings/internal/bus/queue'
import { TidingsError } from 'tidings/internal/core/errors'
import type { Message } from 'tidings/internal/messages/message'
import { describe, test } from 'vitest'
import { refusal, type Scene, scene } from './support.ts'

type Verb = 'delete' | 'archive' | 'release' | 'deadLetter' | 'extend'
/** What a verb says: that it was done, that it had been done, or an error. */
type Answer = true | false | 'extended' | 'LEASE_LOST' | 'QUEUE_NOT_FOUND' | 'CLOSED'

const verbs: Record<Verb, (message: Message<unknown>) => Promise<unknown>> = {
  delete: (message) => message.delete(),
  archive: (message) => message.archive(),
  release: (message) => message.release(),
  deadLetter: (message) => message.deadLetter('reason'),
  extend: (message) => message.extend('1m'),
}
const settling = ['delete', 'archive', 'release', 'deadLetter'] as const

async function say(verb: Verb, message: Message<unknown>): Promise<Answer> {
  try {
    const answer = await verbs[verb](message)
    return verb === 'extend' ? 'extended' : (answer as boolean)
  } catch (error) {
    return (await refusal(() => Promise.reject(error))).code as Answer
  }
}

/** All places where the message may be; each is looked at, so that it cannot be in two. */
async function placesOf(jobs: Queue, data: unknown): Promise<string[]> {
  const places: string[] = []
  for (const place of ['ready', 'delayed', 'leased', 'archived'] as const)
    for (const message of await jobs.peek({ place })) if (message.data === data) places.push(place)
  for (const message of await jobs.deadLetters.list()) if (message.data === data) places.push('dead')
  return places.length > 0 ? places : ['gone']
}

interface Held extends Scene {
  readonly jobs: Queue
  readonly message: Message<unknown>
}

async function held(): Promise<Held> {
  const all = scene()
  const jobs = all.bus.queue('jobs')
  await jobs.send('it')
  const [message] = await jobs.read({ lease: '10s' })
  assert(message)
  return { ...all, jobs, message }
}

const every = (answer: Answer): Record<Verb, Answer> => ({
  delete: answer,
  archive: answer,
  release: answer,
  deadLetter: answer,
  extend: answer,
})
const open: Record<Verb, Answer> = { ...every(true), extend: 'extended' }

/** The states that a message in hand can be in, how it gets there, and what each verb says then. */
const states: [string, (held: Held) => Promise<unknown>, Record<Verb, Answer>][] = [
  ['in hand', async () => {}, open],
  ['extended', ({ message }) => message.extend('20s'), open],
  [
    'extended beyond its first lease',
    async ({ message, clock }) => {
      await message.extend('20s')
      await clock.advance(15_000)
    },
    open,
  ],
  ['whose lease ran out', ({ clock }) => clock.advance(10_000), { ...every(true), extend: 'LEASE_LOST' }],
  [
    'that another reader has',
    async ({ clock, jobs }) => {
      await clock.advance(10_000)
      assert.equal((await jobs.read()).length, 1)
    },
    every('LEASE_LOST'),
  ],
  [
    'that another reader had and deleted',
    async ({ clock, jobs }) => {
      await clock.advance(10_000)
      assert.equal(await (await jobs.read())[0]?.delete(), true)
    },
    every('LEASE_LOST'),
  ],
  [
    'that another reader had and gave back',
    async ({ clock, jobs }) => {
      await clock.advance(10_000)
      assert.equal(await (await jobs.read())[0]?.release(), true)
    },
    every('LEASE_LOST'),
  ],
  [
    'that was popped after its lease',
    async ({ clock, jobs }) => {
      await clock.advance(10_000)
      assert.equal((await jobs.pop()).length, 1)
    },
    every('LEASE_LOST'),
  ],
  ['that was purged', ({ jobs }) => jobs.purge(), every('LEASE_LOST')],
  ['whose queue was dropped', ({ jobs }) => jobs.drop(), every('QUEUE_NOT_FOUND')],
  [
    'whose queue was dropped and made again',
    async ({ jobs }) => {
      await jobs.drop()
      await jobs.send('another')
      await jobs.read()
    },
    every('LEASE_LOST'),
  ],
  ...settling.map((verb): [string, (held: Held) => Promise<unknown>, Record<Verb, Answer>] => [
    `after ${verb}`,
    ({ message }) => verbs[verb](message),
    { ...every(false), extend: 'LEASE_LOST' },
  ]),
  [
    'after release, with another reader',
    async ({ message, jobs }) => {
      await message.release()
      await jobs.read()
    },
    { ...every(false), extend: 'LEASE_LOST' },
  ],
  ['of a closed bus', ({ bus }) => bus.close(), every('CLOSED')],
]

const after = { delete: 'gone', archive: 'archived', release: 'ready', deadLetter: 'dead', extend: 'leased' } as const

describe.each(states)('a message %s', (_state, bring, answers) => {
  test.each(Object.keys(verbs) as Verb[])('%s', async (verb) => {
    const stage = await held()
    const { jobs, message } = stage
    await bring(stage)
    const closed = answers.delete === 'CLOSED' || answers.delete === 'QUEUE_NOT_FOUND'
    const before = closed ? [] : await placesOf(jobs, 'it')

    assert.equal(await say(verb, message), answers[verb])

    const done = answers[verb] === true || answers[verb] === 'extended'
    if (!closed) {
      assert.deepEqual(await placesOf(jobs, 'it'), done ? [after[verb]] : before)
      assert.deepEqual(await placesOf(jobs, 'another'), _state.includes('made again') ? ['leased'] : ['gone'])
    }
    // A second time: a settlement that was carried out says false, everything else the same again.
    assert.equal(await say(verb, message), answers[verb] === true ? false : answers[verb])
  })
})

describe('a message', () => {
  test('released with a delay is delayed', async () => {
    const { jobs, message, clock } = await held()
    assert.equal(await message.release({ delay: '5s' }), true)
    assert.deepEqual(await placesOf(jobs, 'it'), ['delayed'])
    await clock.advance(5_000)
    const [again] = await jobs.read()
    assert.equal(again?.readCount, 2)
  })

  test('dead-lettered without a dead-letter queue is archived, with the reason', async () => {
    const { bus, clock } = scene()
    const jobs = bus.queue('jobs', { deadLetter: false })
    await jobs.send('it')
    const [message] = await jobs.read()
    await clock.advance(1_000)
    assert.equal(await message?.deadLetter(new Error('boom')), true)
    const [archived] = await jobs.peek({ place: 'archived' })
    assert.equal(archived?.meta.errorMessage, 'boom')
    assert.match(archived?.meta.stackTrace ?? '', /^Error: boom\n/)
    assert.equal(archived?.meta.deadLetteredAt, '2026-01-01T00:00:01.000Z')
    assert.deepEqual(archived?.archivedAt, new Date(clock.now()))
  })

  test('settled twice at the same time is settled once', async () => {
    for (const verb of settling) {
      const { message, spy } = await held()
      const answers = await Promise.all([say(verb, message), say('delete', message), say('archive', message)])
      assert.deepEqual(answers, [true, false, false], verb)
      assert.equal(spy.of('settle').length, 1)
    }
  })

  test('extended and settled at the same time is both', async () => {
    const { message } = await held()
    assert.deepEqual(await Promise.all([say('extend', message), say('delete', message)]), ['extended', true])
  })

  test('changes its receipt with every extension', async () => {
    const { message } = await held()
    const receipts = [message.receipt]
    for (let count = 0; count < 3; count++) {
      await message.extend('10s')
      receipts.push(message.receipt)
    }
    assert.equal(new Set(receipts).size, 4)
  })

  test('can be settled after an interruption', async () => {
    const { message, spy } = await held()
    spy.before = () => {
      throw new TidingsError('CONNECTION_LOST', 'no')
    }
    const error = await refusal(() => message.delete(), 'CONNECTION_LOST')
    assert.equal(error.retryable, true)
    spy.before = () => {}
    assert.equal(await message.delete(), true)
  })

  test('settlements and extensions of one tick travel together', async () => {
    const { bus, spy } = scene()
    const jobs = bus.queue('jobs')
    await jobs.sendBatch([...Array(20).keys()].map((data) => ({ data })))
    const messages = await jobs.read({ limit: 20 })
    await Promise.all(messages.map((message) => message.extend('1m')))
    await Promise.all(messages.map((message, index) => (index % 2 ? message.delete() : message.archive())))
    assert.equal(spy.of('extend').length, 1)
    assert.equal(spy.of('settle').length, 1)
    const { archived, leased } = await jobs.stats()
    assert.deepEqual([archived, leased], [10, 0])
  })

  test('extensions by many lengths leave nothing behind', async () => {
    const { message } = await held()
    for (let leaseMs = 10_000; leaseMs < 10_300; leaseMs++) await message.extend(leaseMs)
    assert.equal(await message.delete(), true)
  })
})
