import assert from 'node:assert/strict'
import { momentOf } from 'tidings/internal/core/clock'
import { type ErrorCode, isTidingsError, TidingsError } from 'tidings/internal/core/errors'
import { FakeClock } from 'tidings/internal/core/fake-clock'
import { type LeaseCalls, MessageLease } from 'tidings/internal/messages/lease'
import type { Lease, Settlement, SettleResult, StoredMessage } from 'tidings/internal/port/engine'
import { describe, test } from 'vitest'

const message: StoredMessage = {
  id: '7',
  data: '1',
  meta: {},
  headers: {},
  priority: 0,
  orderingKey: null,
  group: null,
  sentAt: 0,
  visibleAt: 0,
  readCount: 3,
  firstReadAt: 0,
  lastReadAt: 0,
  archivedAt: null,
  receipt: 'r1',
}

/** Calls that wait until the test answers them. */
class Calls implements LeaseCalls {
  readonly clock = new FakeClock(0)
  readonly settlements: Settlement[] = []
  readonly extensions: { id: string; receipt: string; leaseMs: number }[] = []
  readonly #open: { resolve: (value: unknown) => void; reject: (error: unknown) => void }[] = []

  origin(): undefined {}

  settle(settlement: Settlement): Promise<SettleResult> {
    this.settlements.push(settlement)
    return this.#wait() as Promise<SettleResult>
  }

  look(): Promise<StoredMessage | null> {
    return this.#wait() as Promise<StoredMessage | null>
  }

  extend({ id, receipt }: Lease, leaseMs: number): Promise<string | null> {
    this.extensions.push({ id, receipt, leaseMs })
    return this.#wait() as Promise<string | null>
  }

  #wait(): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.#open.push({ resolve, reject })
    })
  }

  async answer(value: unknown): Promise<void> {
    await turn()
    const call = this.#open.shift()
    assert(call, 'nothing was asked')
    if (value instanceof Error) call.reject(value)
    else call.resolve(value)
    await turn()
  }

  done = () => this.answer({ settled: true, newId: null })
  stale = () => this.answer({ settled: false, newId: null })
}

const turn = () => new Promise<void>((resolve) => setImmediate(resolve))
const rejects = (promise: Promise<unknown>, code: ErrorCode) =>
  assert.rejects(promise, (error) => isTidingsError(error, code))

function setUp(deadLetterQueue: string | null = 'jobs_dlq') {
  const calls = new Calls()
  return {
    calls,
    lease: new MessageLease('jobs', deadLetterQueue, message, calls, { leaseMs: 30_000, from: momentOf(calls.clock) }),
  }
}

describe('settling', () => {
  test('happens once', async () => {
    const { calls, lease } = setUp()
    const first = lease.settle({ kind: 'delete' })
    await calls.done()
    assert.equal(await first, true)
    assert.equal(await lease.settle({ kind: 'archive', meta: {} }), false)
    assert.deepEqual(calls.settlements, [{ kind: 'delete', id: '7', receipt: 'r1' }])
  })

  test('who asks while it is under way hears how it ended', async () => {
    const { calls, lease } = setUp()
    const first = lease.settle({ kind: 'delete' })
    let second: boolean | undefined
    const asked = lease.settle({ kind: 'delete' }).then((settled) => {
      second = settled
    })
    await turn()
    assert.equal(second, undefined, 'that is not known yet')
    await calls.done()
    assert.equal(await first, true)
    await asked
    assert.equal(second, false)
    assert.equal(calls.settlements.length, 1)
  })

  test('with a stale receipt is LEASE_LOST, also when it is asked for again', async () => {
    const { calls, lease } = setUp()
    const first = rejects(lease.settle({ kind: 'delete' }), 'LEASE_LOST')
    const second = rejects(lease.settle({ kind: 'delete' }), 'LEASE_LOST')
    await calls.stale()
    await Promise.all([first, second])
    await rejects(lease.settle({ kind: 'delete' }), 'LEASE_LOST')
    await rejects(lease.extend(1_000), 'LEASE_LOST')
    assert.equal(calls.settlements.length, 1)
    assert.equal(lease.ended, true)
  })

  test.each<ErrorCode>(['CONNECTION_LOST', 'OUTCOME_UNKNOWN', 'PERMISSION_DENIED', 'CLOSED'])(
    'that failed by %s can be tried again',
    async (code) => {
      const { calls, lease } = setUp()
      const both = [lease.settle({ kind: 'delete' }), lease.settle({ kind: 'delete' })].map((one) => rejects(one, code))
      assert.equal(lease.ended, true)
      await calls.answer(new TidingsError(code, 'no'))
      await Promise.all(both)
      assert.equal(lease.ended, false)
      const again = lease.settle({ kind: 'delete' })
      await calls.done()
      assert.equal(await again, true)
    },
  )

  // What is found of the message afterwards, how long that was, and what it means.
  test.each([
    ['delete', null, 29_000, true],
    ['delete', null, 31_000, 'OUTCOME_UNKNOWN'],
    ['delete', message, 29_000, 'LEASE_LOST'],
    ['release', { ...message, readCount: 3 }, 31_000, true],
    ['release', { ...message, readCount: 4 }, 29_000, true],
    ['release', { ...message, readCount: 4 }, 31_000, 'OUTCOME_UNKNOWN'],
    ['release', null, 31_000, 'OUTCOME_UNKNOWN'],
  ] as const)('%s without an answer, then refused: told as what it was', async (kind, found, waitMs, outcome) => {
    const { calls, lease } = setUp()
    const ending = kind === 'delete' ? { kind } : { kind, delayMs: 0, meta: {}, uncount: false }
    const first = rejects(lease.settle(ending), 'OUTCOME_UNKNOWN')
    await calls.answer(new TidingsError('OUTCOME_UNKNOWN', 'lost'))
    await first
    await calls.clock.advance(waitMs)
    const again = lease.settle(ending)
    const expected = outcome === true ? again.then((settled) => assert.equal(settled, true)) : rejects(again, outcome)
    await calls.stale()
    await calls.answer(found)
    await expected
    assert.equal(lease.endedBefore, outcome === true)
  })

  test('that was not sent, then refused: another reader has the message', async () => {
    const { calls, lease } = setUp()
    const first = rejects(lease.settle({ kind: 'delete' }), 'CONNECTION_FAILED')
    await calls.answer(new TidingsError('CONNECTION_FAILED', 'nobody there'))
    await first
    const again = rejects(lease.settle({ kind: 'delete' }), 'LEASE_LOST')
    await calls.stale()
    await again
  })

  test('waits for an extension and uses the new receipt', async () => {
    const { calls, lease } = setUp()
    const extended = lease.extend(5_000)
    const settled = lease.settle({ kind: 'delete' })
    await calls.answer('r2')
    await extended
    await calls.done()
    assert.equal(await settled, true)
    assert.deepEqual(calls.settlements, [{ kind: 'delete', id: '7', receipt: 'r2' }])
  })

  test('is tried even if the extension before it failed', async () => {
    const { calls, lease } = setUp()
    const extended = rejects(lease.extend(5_000), 'LEASE_LOST')
    const settled = lease.settle({ kind: 'delete' })
    await calls.answer(null)
    // It is looked whether somebody cancelled it.
    await calls.answer(null)
    await extended
    await calls.done()
    assert.equal(await settled, true, 'a lease that ran out can be settled while nobody else took the message')
  })
})

describe('extending', () => {
  test('one after the other, each with the receipt of the one before', async () => {
    const { calls, lease } = setUp()
    const both = [lease.extend(1_000), lease.extend(2_000)]
    await calls.answer('r2')
    await calls.answer('r3')
    await Promise.all(both)
    assert.deepEqual(calls.extensions, [
      { id: '7', receipt: 'r1', leaseMs: 1_000 },
      { id: '7', receipt: 'r2', leaseMs: 2_000 },
    ])
    assert.equal(lease.receipt, 'r3')
  })

  test('that failed does not stand in the way of the next', async () => {
    const { calls, lease } = setUp()
    const first = rejects(lease.extend(1_000), 'CONNECTION_LOST')
    await calls.answer(new TidingsError('CONNECTION_LOST', 'no'))
    await first
    const second = lease.extend(1_000)
    await calls.answer('r2')
    await second
    assert.equal(lease.receipt, 'r2')
  })

  test('of a lease that ended is LEASE_LOST and asks nobody', async () => {
    const { calls, lease } = setUp()
    const settled = lease.settle({ kind: 'delete' })
    await rejects(lease.extend(1_000), 'LEASE_LOST')
    await calls.done()
    await settled
    await rejects(lease.extend(1_000), 'LEASE_LOST')
    assert.equal(calls.extensions.length, 0)
  })
})

describe('dead-lettering', () => {
  const meta = {
    error_message: 'boom',
    stack_trace: null,
    origin_queue: 'jobs',
    origin_id: '7',
    attempts: 3,
    dead_lettered_at: '1970-01-01T00:00:00.000Z',
  }

  test('moves the message with the reason and where it comes from', async () => {
    const { calls, lease } = setUp()
    const settled = lease.deadLetter('boom')
    await calls.done()
    assert.equal(await settled, true)
    assert.deepEqual(calls.settlements, [{ kind: 'move', to: 'jobs_dlq', delayMs: 0, meta, id: '7', receipt: 'r1' }])
  })

  test('archives it where there is no dead-letter queue', async () => {
    const { calls, lease } = setUp(null)
    const settled = lease.deadLetter('boom')
    await calls.done()
    await settled
    assert.deepEqual(calls.settlements, [{ kind: 'archive', meta, id: '7', receipt: 'r1' }])
  })
})
