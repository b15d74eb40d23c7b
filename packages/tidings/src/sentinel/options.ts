import { TidingsError } from '../core/errors.ts'
import * as option from '../core/options.ts'
import { checkRetention, retentionFields } from '../messages/settings.ts'
import { checkUrlAllowed } from './addresses.ts'
import { checkNamePattern } from './names.ts'

const largest = Number.MAX_SAFE_INTEGER
const tenYearsMs = 315_360_000_000

const names = (doc: string) =>
  option.text(doc, { default: null, check: (pattern, path) => checkNamePattern(pattern, path) })
const atMost = (doc: string) => option.integer(doc, { default: null, min: 0, max: largest })
const time = (doc: string) => option.duration(doc, { default: null, min: 1, max: tenYearsMs })

const queueLimits = {
  maxReady: atMost('So many messages may be ready.'),
  maxOldestReady: time('For so long may the oldest message have been ready.'),
  maxDead: atMost('So many messages may be in its dead-letter queue.'),
  maxPaused: time('For so long may it be paused.'),
  stalledAfter: time(
    'For so long may messages be ready while none is in hand and the oldest are not touched; counted from when the sentinel sees it first.',
  ),
} as const

const topicLimits = {
  maxLag: atMost('So many messages may a subscription have before it.'),
} as const

/** One rule: what it is about, and the limits. @public */
export const ruleFields = {
  queues: names("Queues by their name; '*' stands for any text. Either this or `topics`."),
  ...queueLimits,
  topics: names('Topics by their name, likewise: each subscription of theirs is watched.'),
  ...topicLimits,
} as const

/** @public */
export const archiveFields = {
  queues: option.required(names("Queues by their name; '*' stands for any text.")),
  ...retentionFields,
} as const

/** @public */
export const expiryFields = {
  queues: option.required(names("Queues by their name; '*' stands for any text.")),
  expired: option.choice(
    "What becomes of ready messages whose time to live is over: a 'deadLetter', or they are deleted ('drop').",
    ['deadLetter', 'drop'],
    { default: 'deadLetter' },
  ),
} as const

/** @public */
export const webhookFields = {
  url: option.required(option.text('Where alerts are posted to as JSON. http or https.', { default: null })),
  secret: option.text('Signs what is posted, so that the receiver knows it is ours.', {
    default: null,
    check: (value, path) => {
      if (value === '') throw new TidingsError('RANGE', `${path} is empty`, { details: { field: path } })
    },
  }),
  secretFile: option.text('The file with the secret.', { default: null }),
  allowPrivate: option.boolean('Also to addresses in private networks and on this machine.', { default: false }),
  timeout: option.duration('How long one attempt may take.', { default: 10_000, min: 100, max: 60_000 }),
} as const

const rule = checked(option.object('Limits for queues or topics.', ruleFields), checkRule)
const archive = checked(option.object('How long archives are kept.', archiveFields), checkRetention)
const expiry = option.object('What becomes of expired messages.', expiryFields)
const webhook = checked(option.object('Takes alerts by HTTP.', webhookFields), (fields, path) => {
  if (fields.secret !== null && fields.secretFile !== null)
    throw new TidingsError('OPTION_CONFLICT', `${path} has both secret and secretFile`, { details: { field: path } })
  checkUrlAllowed(fields.url, fields.allowPrivate, `${path}.url`)
})

export const sentinelOptions = {
  every: option.duration('How long after one look comes the next.', { default: 10_000, min: 100, max: 86_400_000 }),
  rules: option.list(
    'What to watch. Of several that fit, the first with a limit decides on it.',
    option.required(rule),
    {
      default: [],
      min: 0,
      max: 1_000,
    },
  ),
  repeat: option.duration('How long until an alert that lasts is reported again.', {
    default: 3_600_000,
    min: 1_000,
    max: tenYearsMs,
  }),
  resolveAfter: option.duration('How long a figure must be within its limit until its alert is over.', {
    default: 30_000,
    min: 0,
    max: 86_400_000,
  }),
  archives: option.list(
    'Removes archived messages, dead letters among them, for good. Of several that fit, the first decides; where none fits, the `retention` that is stored for the queue.',
    option.required(archive),
    { default: [], min: 0, max: 1_000 },
  ),
  expire: option.list(
    'Ends messages whose time to live is over in queues that nobody reads. Of several that fit, the first decides.',
    option.required(expiry),
    { default: [], min: 0, max: 1_000 },
  ),
  webhook,
} as const

export type SentinelOptions = option.OptionsInput<typeof sentinelOptions>
export type RuleOptions = option.OptionsInput<typeof ruleFields>
export type ArchiveRuleOptions = option.OptionsInput<typeof archiveFields>
export type ExpiryRuleOptions = option.OptionsInput<typeof expiryFields>
export type WebhookOptions = option.OptionsInput<typeof webhookFields>
export type SentinelSettings = option.OptionsOutput<typeof sentinelOptions>
export type Rule = option.OptionsOutput<typeof ruleFields>
export type ArchiveRule = option.OptionsOutput<typeof archiveFields>
export type ExpiryRule = option.OptionsOutput<typeof expiryFields>
export type WebhookSettings = option.OptionsOutput<typeof webhookFields>

/** The limits that a rule may set. */
export type Limit = keyof typeof queueLimits | keyof typeof topicLimits

/** Adds a check across the fields to an option. */
function checked<Input, Output>(
  base: option.Option<Input, Output | null>,
  check: (fields: Output, path: string) => void,
): option.Option<Input, Output | null> {
  return {
    ...base,
    parse(value, path) {
      const fields = base.parse(value, path)
      if (fields !== null) check(fields, path)
      return fields
    },
  }
}

/** A rule names queues or topics, and sets a limit that fits them. */
function checkRule(fields: Rule, path: string): void {
  const { queues, topics } = fields
  if (queues === null && topics === null) throw incomplete(path, 'neither queues nor topics')
  if (queues !== null && topics !== null)
    throw new TidingsError('OPTION_CONFLICT', `${path} has both queues and topics`, {
      details: { field: path },
      hint: 'Make two rules of it.',
    })
  const [own, foreign] = queues === null ? [topicLimits, queueLimits] : [queueLimits, topicLimits]
  const stray = Object.keys(foreign).find((name) => fields[name as Limit] !== null)
  const subject = queues === null ? 'topics' : 'queues'
  if (stray !== undefined)
    throw new TidingsError('OPTION_CONFLICT', `${path}.${stray} is no limit for ${subject}`, {
      details: { field: `${path}.${stray}` },
      hint: `Limits for ${subject} are ${Object.keys(own).join(', ')}.`,
    })
  if (Object.keys(own).every((name) => fields[name as Limit] === null))
    throw incomplete(path, `no limit; there are ${Object.keys(own).join(', ')}`)
}

const incomplete = (path: string, what: string) =>
  new TidingsError('TYPE', `${path} has ${what}`, { details: { field: path }, hint: 'Add what is missing.' })
