import type { Duration } from '../core/duration.ts'
import * as option from '../core/options.ts'
import type { QueueAccess } from '../messages/access.ts'
import { type Backoff, exponential, parseBackoff, storedBackoff } from '../messages/backoff.ts'
import { leaseOption } from '../messages/message.ts'
import { attemptsOption, orStored } from '../messages/options.ts'
import type { WorkerEvent } from './events.ts'

/** Long enough for a blocked event loop; a process that is gone is noticed by its connection. */
export const lease: option.Option<Duration, number> = {
  ...leaseOption(50_000),
  doc: 'For how long a process that does not go on keeps its messages; renewed well before, for as long as it is needed.',
}

export const backoff = option.value<Duration | Backoff, Backoff>(
  'How long to wait after a failed attempt: a duration, a curve, or a function (attempt, error) => milliseconds.',
  {
    default: exponential(),
    defaultText: "exponential({ first: '1s', factor: 2, max: '5m', jitter: 0.1 })",
    typeText: 'duration, curve or function',
    parse: parseBackoff,
  },
)

/** What may be stored for the queue. */
const storable = { lease: orStored(lease), maxAttempts: orStored(attemptsOption), backoff: orStored(backoff) } as const

const strictResults = option.boolean(
  'Takes what a handler returns beside an outcome, or nothing, for a failed attempt; without this it counts as done, with a warning.',
  { default: false },
)

const pollInterval = option.duration('How often to look for messages even if nothing announced one.', {
  default: 2_000,
  min: 10,
  max: 3_600_000,
})

export const workOptions = {
  concurrency: option.integer(
    'How many handler calls run at a time. 1 keeps strict order: all wait for a message that is to be tried again.',
    {
      default: 10,
      min: 1,
      max: 10_000,
    },
  ),
  ...storable,
  onSuccess: option.choice('What becomes of a message that was handled.', ['delete', 'archive'], {
    default: 'delete',
  }),
  transactional: option.boolean(
    'Calls the handler in a transaction, `context.tx`, that commits together with the end of its messages.',
    { default: false },
  ),
  strictResults,
  pollInterval,
  prefetch: option.integer(
    'How many messages may be read ahead of the handlers, at most; never more than they get through in 200 ms.',
    { default: 500, min: 0, max: 10_000 },
  ),
  maxMessages: option.integer('Stops by itself after this many messages.', {
    default: null,
    min: 1,
    max: Number.MAX_SAFE_INTEGER,
  }),
  observe: option.value<(event: WorkerEvent) => void, ((event: WorkerEvent) => void) | null>(
    'Is told of everything that happens.',
    { default: null, defaultText: 'none', typeText: 'function', parse: option.parseFunction },
  ),
} as const
export type WorkOptions = option.OptionsInput<typeof workOptions>

export const batchWorkOptions = {
  ...workOptions,
  batchSize: option.integer('How many messages a handler call gets, at most.', { default: 10, min: 1, max: 1_000 }),
  batchWait: option.duration('How long to wait for a fuller batch.', { default: 0, min: 0, max: 60_000 }),
} as const
export type BatchWorkOptions = option.OptionsInput<typeof batchWorkOptions>
export type OwnWorkOptions = option.OptionsOutput<typeof batchWorkOptions>
export type ParsedWorkOptions = WithStored<OwnWorkOptions>

export const stopOptions = {
  deadline: option.duration('How long handlers may take to finish; then their signals are aborted.', {
    default: 30_000,
    min: 0,
    max: 3_600_000,
  }),
} as const
export type StopOptions = option.OptionsInput<typeof stopOptions>

export const consumeOptions = {
  lease: storable.lease,
  maxAttempts: storable.maxAttempts,
  pollInterval,
  wait: option.duration('Ends the loop when nothing came for this long.', {
    default: null,
    defaultText: 'for ever',
    min: 0,
    max: 86_400_000,
  }),
  signal: option.value<AbortSignal, AbortSignal | null>('Ends the loop.', {
    default: null,
    defaultText: 'none',
    typeText: 'AbortSignal',
    parse: parseSignal,
  }),
} as const
export type ConsumeOptions = option.OptionsInput<typeof consumeOptions>
export type ParsedConsumeOptions = WithStored<option.OptionsOutput<typeof consumeOptions>>

function parseSignal(value: unknown, path: string): AbortSignal {
  if (!(value instanceof AbortSignal)) throw option.typeError(path, value, 'an AbortSignal')
  return value
}

/** What options may leave to the queue. */
interface Left {
  readonly lease: number | null
  readonly maxAttempts: number | null
  readonly backoff?: Backoff | null
}
type WithStored<O extends Left> = Omit<O, keyof Left> & {
  readonly lease: number
  readonly maxAttempts: number
  readonly backoff: Backoff
}

/** Options that change with the queue: where they say nothing, what is stored for it holds, else what Tidings takes. */
export function withStored<O extends Left>(own: O, { settings }: QueueAccess<unknown>): WithStored<O> {
  return {
    ...own,
    get lease() {
      return own.lease ?? settings.known?.lease ?? lease.defaultValue
    },
    get maxAttempts() {
      return own.maxAttempts ?? settings.known?.maxAttempts ?? attemptsOption.defaultValue
    },
    get backoff() {
      const stored = settings.known?.backoff
      return own.backoff ?? (stored === undefined ? backoff.defaultValue : storedBackoff(stored))
    },
  }
}
