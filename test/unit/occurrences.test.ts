import assert from 'node:assert/strict'
import type { ScheduleTiming, StoredSchedule } from 'tidings/internal/port/schedule-store'
import { dueAt, occurrencesOf } from 'tidings/internal/schedules/occurrences'
import { planOf } from 'tidings/internal/schedules/plan'
import { describe, test } from 'vitest'

const timing = (given: Partial<ScheduleTiming>): ScheduleTiming => ({
  cron: null,
  everyMs: null,
  at: null,
  timezone: 'UTC',
  startAt: null,
  endAt: null,
  limit: null,
  jitterMs: 0,
  ...given,
})

const at = (text: string) => Date.parse(text)

async function first(given: Partial<ScheduleTiming>, from: string, count: number): Promise<string[]> {
  const occurrences = await occurrencesOf(timing(given), at(from))
  const found: string[] = []
  for (let one = occurrences.after(at(from)); one !== null && found.length < count; one = occurrences.after(one))
    found.push(new Date(one).toISOString().replace(':00.000Z', ''))
  return found
}

const berlin = (cron: string) => ({ cron, timezone: 'Europe/Berlin' })

describe('occurrences', () => {
  test('a time of the day that a change of the clocks leaves out comes right after it', async () => {
    const found = await first(berlin('30 2 * * *'), '2026-03-28T12:00Z', 2)
    assert.deepEqual(found, ['2026-03-29T01:00', '2026-03-30T00:30'])
    // Also one of several.
    const several = await first(berlin('30 1,2,4 * * *'), '2026-03-28T12:00Z', 3)
    assert.deepEqual(several, ['2026-03-29T00:30', '2026-03-29T01:00', '2026-03-29T02:30'])
  })

  test('a time of the day that comes twice counts once', async () => {
    const found = await first(berlin('30 2 * * *'), '2026-10-24T12:00Z', 2)
    assert.deepEqual(found, ['2026-10-25T00:30', '2026-10-26T01:30'])
  })

  test('steps go on through an hour that comes twice', async () => {
    const found = await first(berlin('*/30 * * * *'), '2026-10-24T23:40Z', 5)
    const half = ['2026-10-25T00:00', '2026-10-25T00:30', '2026-10-25T01:00', '2026-10-25T01:30', '2026-10-25T02:00']
    assert.deepEqual(found, half)
  })

  test('seconds, last days, weekdays and nicknames', async () => {
    assert.equal((await first({ cron: '*/20 * * * * *' }, '2026-01-01T00:00Z', 3)).length, 3)
    assert.deepEqual(await first({ cron: '0 0 L * *' }, '2026-02-01T00:00Z', 1), ['2026-02-28T00:00'])
    assert.deepEqual(await first({ cron: '0 0 * * MON#2' }, '2026-03-01T00:00Z', 1), ['2026-03-09T00:00'])
    assert.deepEqual(await first({ cron: '0 9 LW * *' }, '2026-05-01T00:00Z', 1), ['2026-05-29T09:00'])
    assert.deepEqual(await first({ cron: '@daily' }, '2026-03-01T00:00Z', 1), ['2026-03-02T00:00'])
  })

  test('intervals count from their start, or from when they were declared', async () => {
    const every = { everyMs: 3_600_000 }
    assert.deepEqual(await first(every, '2026-01-01T00:20Z', 2), ['2026-01-01T01:20', '2026-01-01T02:20'])
    const startAt = at('2026-01-01T05:00Z')
    const occurrences = await occurrencesOf(timing({ ...every, startAt }), startAt)
    assert.equal(occurrences.after(at('2026-01-01T00:00Z')), startAt)
  })

  test('nothing lies outside of start and end', async () => {
    const [startAt, endAt] = [at('2026-01-03T00:00Z'), at('2026-01-05T00:00Z')]
    const found = await first({ cron: '0 0 * * *', startAt, endAt }, '2026-01-01T00:00Z', 9)
    assert.deepEqual(found, ['2026-01-03T00:00', '2026-01-04T00:00', '2026-01-05T00:00'])
    assert.deepEqual(await first({ at: at('2026-01-03T00:00Z') }, '2026-01-01T00:00Z', 9), ['2026-01-03T00:00'])
  })

  test('they only grow, in every zone and around every change of clocks', async () => {
    const zones = ['Europe/Berlin', 'America/New_York', 'Australia/Lord_Howe']
    const patterns = ['30 2 * * *', '*/30 * * * *', '15,45 1-3 * * *', '7 */2 1 * *']
    for (const timezone of zones)
      for (const cron of patterns) {
        const occurrences = await occurrencesOf(timing({ cron, timezone }), 0)
        for (const start of [
          '2026-03-07T23:59Z',
          '2026-03-28T22:00Z',
          '2026-04-04T10:00Z',
          '2026-10-03T10:00Z',
          '2026-10-24T20:00Z',
        ]) {
          const found: number[] = []
          for (let one = at(start); found.length < 31; found.push(one)) {
            const next = occurrences.after(one)
            assert(next !== null && next > one, `${cron} in ${timezone} after ${new Date(one).toISOString()}`)
            // None lies between: who asks earlier is told the same.
            assert.equal(occurrences.after(Math.floor((one + next) / 2)), next)
            one = next
          }
          assert.deepEqual(occurrences.between(found[10]!, found[30]!, 100), found.slice(10, 31))
          assert.deepEqual(occurrences.between(found[10]!, found[30]!, 3), found.slice(28, 31))
        }
      }
  })

  test('a long way back is not walked', async () => {
    const occurrences = await occurrencesOf(timing({ cron: '* * * * * *' }), 0)
    const now = at('2026-01-01T00:00Z')
    const found = occurrences.between(0, now, 2)
    assert.deepEqual(found, [now - 1_000, now])
    assert.deepEqual(occurrences.between(0, now, 0), [])
  })
})

describe('jitter', () => {
  test('is the same whoever asks, differs between occurrences and schedules, and stays within', () => {
    const given = timing({ jitterMs: 60_000 })
    const delays = Array.from({ length: 200 }, (_, index) => dueAt('nightly', index * 1_000, given) - index * 1_000)
    assert.deepEqual(
      delays,
      delays.map((_, index) => dueAt('nightly', index * 1_000, given) - index * 1_000),
    )
    assert(delays.every((delay) => delay >= 0 && delay < 60_000))
    assert(new Set(delays).size > 150)
    assert.notEqual(dueAt('other', 0, given), dueAt('nightly', 0, given))
    assert.equal(dueAt('nightly', 7, timing({})), 7)
  })
})

describe('what is to be sent', () => {
  const second = 1_000
  const schedule = (
    definition: Partial<StoredSchedule['definition']> & { timing: ScheduleTiming },
    progress: { occurrence: number; runs?: number },
  ) =>
    ({
      name: 's',
      definition: { missed: 'once', graceMs: 5 * second, maxMissed: 3, overlap: 'allow', ...definition },
      progress: { runs: 0, ...progress },
    }) as StoredSchedule
  const every = timing({ everyMs: second })
  /** Times in seconds. @param now what it is */
  async function plan(one: StoredSchedule, now: number) {
    const occurrences = await occurrencesOf(one.definition.timing, 0)
    const { sending, skipped, next } = planOf(one, occurrences, now * second)
    return [sending.map((time) => time / second), skipped, next === null ? null : next / second]
  }

  test('what is in time is sent, each', async () => {
    const one = schedule({ timing: every, missed: 'skip' }, { occurrence: second })
    assert.deepEqual(await plan(one, 1), [[1], 0, 2])
    assert.deepEqual(await plan(one, 3.5), [[1, 2, 3], 0, 4])
    assert.deepEqual(await plan(one, 6), [[1, 2, 3, 4, 5, 6], 0, 7])
  })

  test('of what was missed nothing, the last or the last few are', async () => {
    const from = { occurrence: second }
    assert.deepEqual(await plan(schedule({ timing: every, missed: 'skip' }, from), 12), [[7, 8, 9, 10, 11, 12], 6, 13])
    assert.deepEqual(await plan(schedule({ timing: every }, from), 12), [[6, 7, 8, 9, 10, 11, 12], 5, 13])
    const all = schedule({ timing: every, missed: 'all' }, from)
    assert.deepEqual(await plan(all, 12), [[4, 5, 6, 7, 8, 9, 10, 11, 12], 3, 13])
  })

  test('a limit ends it, and so do its times', async () => {
    const limited = timing({ everyMs: second, limit: 5 })
    assert.deepEqual(await plan(schedule({ timing: limited }, { occurrence: second, runs: 3 }), 4), [[1, 2], 0, null])
    const ended = timing({ everyMs: second, endAt: 2 * second })
    assert.deepEqual(await plan(schedule({ timing: ended }, { occurrence: second }), 4), [[1, 2], 0, null])
  })

  test('a great many are sent in steps, and none is left out between them', async () => {
    const all = { timing: every, missed: 'all', maxMissed: 1_000, graceMs: 0 } as const
    const sent: number[] = []
    let next: number | null = second
    while (next !== null && next <= 450 * second) {
      const one = schedule(all, { occurrence: next })
      const found: { sending: readonly number[]; next: number | null } = planOf(
        one,
        await occurrencesOf(every, 0),
        450 * second,
      )
      assert(found.sending.length <= 100)
      sent.push(...found.sending)
      next = found.next
    }
    assert.deepEqual(
      sent,
      Array.from({ length: 450 }, (_, index) => (index + 1) * second),
    )
  })
})
