import * as option from 'tidings/internal/core/options'
import { eventSettings } from './settings.ts'

const migrationFields = {
  include_rollback: option.boolean('', { default: true }),
  name_prefix: option.text('', { default: null }),
} as const

/** The configuration of tasker-pgmq. */
const fields = {
  queue_naming_pattern: option.text('', { default: null }),
  channels_prefix: option.text('', { default: null }),
  max_payload_size: option.integer('', { default: 7_800, min: 1, max: 8_000 }),
  include_metadata: option.boolean('', { default: true }),
  migration: option.object('', migrationFields),
} as const

/** Whether a file is a configuration of tasker-pgmq, which needs one of these. */
export const isTasker = (given: unknown): given is object =>
  typeof given === 'object' && given !== null && Object.keys(fields).some((name) => Object.hasOwn(given, name))

/**
 * The same as a configuration of ours, in TOML. What belongs to one command stands behind it as a comment.
 * @throws OPTION_UNKNOWN, TYPE, CONFIG_INVALID and the like
 */
export function fromTasker(given: object): string {
  const old = option.parseOptions(fields, given, 'the file')
  const events = {
    ...(old.queue_naming_pattern === null ? {} : { queuePattern: old.queue_naming_pattern }),
    ...(old.channels_prefix === null ? {} : { channelPrefix: old.channels_prefix }),
    // It never took more.
    maxPayloadSize: Math.max(512, Math.min(old.max_payload_size, 7_800)),
    withMetadata: old.include_metadata,
  }
  option.parseOptions(eventSettings, events, 'events')
  const lines = Object.entries(events).map(([name, value]) => `${name} = ${toToml(value)}`)
  const { include_rollback = true, name_prefix = null } = old.migration ?? {}
  const flags = [
    ...(name_prefix === null ? [] : [`--name ${name_prefix}`]),
    ...(include_rollback ? [] : ['--include-rollback false']),
  ]
  const hint = flags.length === 0 ? [] : [`# tidings generate-migration ${flags.join(' ')}`]
  return ['[events]', ...lines, ...hint].join('\n')
}

const toToml = (value: unknown) =>
  typeof value === 'string' && !value.includes("'") ? `'${value}'` : JSON.stringify(value)
