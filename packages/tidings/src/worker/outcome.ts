import type { Duration } from '../core/duration.ts'
import { show, TidingsError } from '../core/errors.ts'
import * as option from '../core/options.ts'

/** The decision about a message. A null delay leaves the delay to the backoff. */
export type Decision =
  | { readonly kind: 'success' }
  | { readonly kind: 'delete' }
  | { readonly kind: 'archive' }
  | { readonly kind: 'retry'; readonly delayMs: number | null; readonly reason: unknown }
  | { readonly kind: 'snooze'; readonly delayMs: number; readonly hold?: 'queue' | 'group' }
  | { readonly kind: 'deadLetter'; readonly reason: unknown }

/** Shared by all copies of the package: a CLI installed elsewhere calls handlers that import the project's own copy. */
const brand = Symbol.for('tidings.outcome')

/**
 * A handler's decision about its message: `done()`, `archive()`, `retry()`, `snooze()` or `deadLetter()`. No return value
 * means success. So does any other value, with a warning.
 */
export class Outcome {
  readonly [brand] = true
  readonly decision: Decision

  /** For `done()` and its siblings; call those instead. */
  constructor(decision: Decision) {
    this.decision = decision
  }
}

const delayOption = option.duration('When to try again; the backoff decides where it is left out.', {
  default: null,
  defaultText: 'as the backoff says',
  min: 0,
  max: 315_360_000_000,
  rangeCode: 'DELAY_RANGE',
})

export const retryOptions = {
  delay: delayOption,
  reason: option.value<unknown, unknown>('Kept with the message as its error: a text or an error.', {
    default: 'the handler asked for another attempt',
    defaultText: 'a general text',
    typeText: 'anything',
    parse: (value) => value,
  }),
} as const

export type RetryOptions = option.OptionsInput<typeof retryOptions>

const success = new Outcome({ kind: 'success' })
const deleted = new Outcome({ kind: 'delete' })
const archived = new Outcome({ kind: 'archive' })

/**
 * The message is done and deleted, whatever `onSuccess` says.
 * @example hires.work(() => done())
 */
export const done = (): Outcome => deleted

/**
 * The message is done and kept in the archive, whatever `onSuccess` says.
 * @example hires.work(() => archive())
 */
export const archive = (): Outcome => archived

/**
 * Try again. Counts as an attempt: at `maxAttempts` the message is dead-lettered with the reason.
 * @throws DURATION, DELAY_RANGE
 * @example hires.work(() => retry({ delay: '10m' }))
 */
export function retry(options?: RetryOptions): Outcome {
  const { delay, reason } = option.parseOptions(retryOptions, options, 'retry')
  return new Outcome({ kind: 'retry', delayMs: delay, reason })
}

/**
 * Not now: gives the message back for this time, without counting an attempt.
 * @throws DURATION, DELAY_RANGE
 * @example hires.work(() => snooze('1h'))
 */
export function snooze(delay: Duration): Outcome {
  return new Outcome({ kind: 'snooze', delayMs: delayOption.parse(delay, 'delay') ?? 0 })
}

export const holdBackOptions = {
  group: option.boolean('Holds back the group of the message, instead of the whole queue.', { default: false }),
} as const
export type HoldBackOptions = option.OptionsInput<typeof holdBackOptions>

/** @throws DURATION, DELAY_RANGE, TYPE, OPTION_UNKNOWN */
export function holdBack(delay: Duration, options?: HoldBackOptions): Outcome {
  const { group } = option.parseOptions(holdBackOptions, options, 'holdBack')
  const delayMs = delayOption.parse(delay, 'delay') ?? 0
  return new Outcome({ kind: 'snooze', delayMs, hold: group ? 'group' : 'queue' })
}

/**
 * Never again: into the dead-letter queue with the reason, a text or an error.
 * @example hires.work(() => deadLetter('no such customer'))
 */
export const deadLetter = (reason: unknown): Outcome => new Outcome({ kind: 'deadLetter', reason })

/** A thrown error is a reason to try again. */
export const failed = (error: unknown): Outcome => new Outcome({ kind: 'retry', delayMs: null, reason: error })

/** Why the first message that is not done was not; undefined if all are, or are only put off. */
export function failureOf(outcomes: readonly Outcome[]): unknown {
  for (const { decision } of outcomes) if ('reason' in decision) return decision.reason ?? 'no reason was given'
  return undefined
}

/** @param judge called for a value that is no outcome: it may be a mistake. What it returns is the outcome; nothing: success */
export function toOutcome(result: unknown, judge: (why: TidingsError) => Outcome | undefined): Outcome {
  if (isOutcome(result)) return result
  return (result !== undefined && result !== null ? judge(oddAnswer(result)) : undefined) ?? success
}

const isOutcome = (value: unknown): value is Outcome => (value as Partial<Outcome> | null | undefined)?.[brand] === true

const oddAnswer = (result: unknown) =>
  new TidingsError('TYPE', `the handler returned ${show(result)}, which is no outcome`, {
    hint: 'Return nothing, or retry(), snooze(), deadLetter(), done() or archive(); throw what went wrong.',
  })

/** One outcome for each message of a batch. */
export function toOutcomes(
  result: unknown,
  count: number,
  judge: (why: TidingsError) => Outcome | undefined,
): Outcome[] {
  if (!Array.isArray(result)) return new Array<Outcome>(count).fill(toOutcome(result, judge))
  if (result.length === count) return Array.from<unknown, Outcome>(result, (one) => toOutcome(one, judge))
  const wrong = new TidingsError(
    'HANDLER_FAILED',
    `the handler returned ${result.length} outcomes for ${count} messages`,
  )
  return new Array<Outcome>(count).fill(failed(wrong))
}
