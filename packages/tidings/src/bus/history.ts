import type { Clock } from '../core/clock.ts'
import { TidingsError } from '../core/errors.ts'
import * as option from '../core/options.ts'
import { moment } from '../messages/options.ts'
import type { Engine } from '../port/engine.ts'
import { type HistoryRange, historyMinutes, latencyBoundsMs, minuteMs, minuteOf } from '../port/history.ts'

/** The steps that are chosen from where none is given, in minutes. */
const usualSteps = [1, 5, 15, 30, 60, 180, 720]
const usualPoints = 360
const mostPoints = 1_500

export const historyOptions = {
  since: moment('From when on; at most seven days ago.', 'an hour before the end'),
  until: moment('Until when.', 'now'),
  step: option.integer('How many minutes are put together. There are at most 1,500 steps.', {
    default: null,
    defaultText: 'so that there are at most 360 steps',
    min: 1,
    max: 1_440,
  }),
} as const
export type HistoryOptions = option.OptionsInput<typeof historyOptions>

/** What a queue looked like, and what was done in it, step by step. */
export interface History {
  /** Null: all queues together. */
  readonly queue: string | null
  /** Where the first step begins, and where the last one ends. */
  readonly since: Date
  readonly until: Date
  readonly stepMinutes: number
  /** One for every step, in their order. */
  readonly points: readonly HistoryPoint[]
  /** How long messages took from being sent until they came to a reader for the first time, in all steps together. */
  readonly latency: readonly LatencyClass[]
}

export interface HistoryPoint {
  /** When the step begins. */
  readonly at: Date
  /** Messages that are ready, in the hands of readers, and waiting for their time, as last noted in the step; null: nobody looked. */
  readonly ready: number | null
  readonly leased: number | null
  readonly delayed: number | null
  /** For how many milliseconds the oldest ready message was; null also where none was ready. */
  readonly oldestReadyMs: number | null
  /** Messages that were sent in the step. */
  readonly sent: number
  /** Messages that were deleted by their reader, archived or popped. */
  readonly done: number
  /** Attempts that failed, and are followed by others. */
  readonly failed: number
  /** Messages that became dead letters. */
  readonly dead: number
}

export interface LatencyClass {
  /** Up to so many milliseconds, and more than the class before; null: any longer time. */
  readonly upToMs: number | null
  readonly count: number
}

/** @param queue null: all together @throws RANGE, TYPE; QUEUE_NOT_FOUND */
export async function readHistory(
  { engine, clock }: { readonly engine: Engine; readonly clock: Clock },
  queue: string | null,
  options: HistoryOptions | undefined,
): Promise<History> {
  const range = rangeOf(option.parseOptions(historyOptions, options, 'history'), clock.now())
  const { points, latency } = await engine.history.read(queue, range)
  return {
    queue,
    since: new Date(range.since * minuteMs),
    until: new Date(range.until * minuteMs),
    stepMinutes: range.step,
    points: points.map(({ at, gauges, ...counts }) => ({ at: new Date(at), ...(gauges ?? unknown), ...counts })),
    latency: latency.map((count, index) => ({ upToMs: latencyBoundsMs[index] ?? null, count })),
  }
}

const unknown = { ready: null, leased: null, delayed: null, oldestReadyMs: null } as const

type Parsed = option.OptionsOutput<typeof historyOptions>

function rangeOf({ since, until, step: given }: Parsed, now: number): HistoryRange {
  const end = until ?? now
  const begin = since ?? end - 60 * minuteMs
  if (begin >= end)
    throw new TidingsError('RANGE', `since is ${show(begin)}, which is not before ${show(end)}`, {
      details: { field: 'since' },
    })
  // A little more: the first step may begin before.
  if (begin < now - (historyMinutes + 60) * minuteMs)
    throw new TidingsError('RANGE', `since is ${show(begin)}; only the last seven days are kept`, {
      details: { field: 'since' },
    })
  if (end > now + 2 * 1_440 * minuteMs)
    throw new TidingsError('RANGE', `until is ${show(end)}, which is still to come`, { details: { field: 'until' } })
  const minutes = (end - begin) / minuteMs
  const step = given ?? usualSteps.find((one) => minutes / one <= usualPoints) ?? usualSteps.at(-1)!
  const whole = (minute: number) => minute * step
  const range = {
    since: whole(Math.floor(minuteOf(begin) / step)),
    until: whole(Math.ceil(end / minuteMs / step)),
    step,
  }
  if ((range.until - range.since) / step > mostPoints)
    throw new TidingsError('RANGE', `step is ${step}, which makes more than ${mostPoints} steps`, {
      details: { field: 'step', value: step },
      hint: 'Ask for longer steps, or for a shorter time.',
    })
  return range
}

const show = (time: number) => new Date(time).toISOString()
