import { idleOption } from 'tidings/internal/core/idle'
import * as option from 'tidings/internal/core/options'
import { poolOption } from 'tidings/internal/core/pool'
import { telemetryOption } from 'tidings/internal/core/telemetry-option'
import { checkUrl } from 'tidings/internal/core/url'
import { type EventsMigrationOptions, eventsMigrationOptions } from 'tidings/internal/events/migration'
import { type QueueOptions, queueOptions } from 'tidings/internal/messages/options'
import { declarableSettings } from 'tidings/internal/messages/settings'
import { type DeclaredSchedule, declaredOptions, ownerOption } from 'tidings/internal/schedules/options'
import { type SentinelOptions, sentinelOptions } from 'tidings/internal/sentinel/options'
import { stopOptions, type WorkOptions, workOptions } from 'tidings/internal/worker/options'
import { type ServerOptions, serverOptions } from 'tidings-server/internal/app/options'

/** Options that belong to code or to a single run. */
const { observe: _observe, maxMessages: _maxMessages, ...fileable } = workOptions

/** `tidings process` archives handled messages by default. */
const onSuccess: typeof workOptions.onSuccess = {
  ...workOptions.onSuccess,
  defaultValue: 'archive',
  defaultText: 'archive',
}

const workerSettings = { ...fileable, onSuccess } as const

export const generalSettings = {
  url: option.text('Where the messages are. --url and the environment go before it.', {
    default: null,
    check: (url, path) => void checkUrl(url, path),
  }),
  pool: poolOption,
  idle: idleOption,
  telemetry: telemetryOption,
  handlers: option.text('The folder with the handler modules, seen from this file.', { default: 'handlers' }),
  owner: {
    ...ownerOption,
    doc: 'Whose the `schedules` of this file are: the name of this application. With it, the file has all that this owner declares.',
  },
} as const

export const processSettings = { ...workerSettings, stopDeadline: stopOptions.deadline } as const

/** Options of the queue itself apply to every command, options of its worker to `tidings process`. */
export const queueSettings = {
  ...queueOptions,
  ...workerSettings,
  settings: option.object(
    'What `tidings queue apply` stores for whoever uses the queue, as `queue.configure` does; null takes one away, others stay.',
    declarableSettings,
  ),
} as const

/** Declared by `tidings process` and `tidings sentinel`. */
export const scheduleSettings = declaredOptions

/** `generate-migration` puts them into its SQL; `events` listens by the prefix. */
export const eventSettings = eventsMigrationOptions

/** For `tidings sentinel`. */
export const sentinelSettings = sentinelOptions

/** For `tidings serve`. */
export const serveSettings = serverOptions

export type GeneralSettings = option.OptionsInput<typeof generalSettings>
export type ProcessSettings = option.OptionsInput<typeof processSettings>
export type QueueSettings = option.OptionsInput<typeof queueSettings>

/** The type of a configuration file; for `tidings.config.js` and `.mjs`, and for editors. */
export interface Config extends GeneralSettings {
  readonly process?: ProcessSettings
  readonly queues?: Readonly<Record<string, QueueSettings>>
  readonly schedules?: Readonly<Record<string, DeclaredSchedule>>
  readonly events?: EventsMigrationOptions
  readonly sentinel?: SentinelOptions
  readonly serve?: ServerOptions
}

/** One group of settings, for code that visits all of them. */
export interface Section {
  /** 'process'; empty for the top level. NAME stands for the name of a queue or schedule. */
  readonly path: string
  readonly doc: string
  readonly schema: option.OptionSchema
  /** In the place of NAME. */
  readonly exampleName?: string
  /** An example as JavaScript, if the default shows no value; null: no short example is possible. */
  readonly examples: Readonly<Record<string, string | null>>
}

const workerExamples = { backoff: "'5s'", lease: "'50s'", maxAttempts: '5' }

export const sections: readonly Section[] = [
  {
    path: '',
    doc: 'General.',
    schema: generalSettings,
    examples: {
      url: "'postgres://user@host/database'",
      pool: '{ max: 20 }',
      idle: "'sleep'",
      telemetry: 'true',
      owner: "'billing'",
    },
  },
  {
    path: 'process',
    doc: 'Workers of `tidings process`. Options that a handler module exports go before these, flags before both.',
    schema: processSettings,
    examples: workerExamples,
  },
  {
    path: 'queues.NAME',
    doc: 'One queue: its own options, for all commands, and those of its worker, which go before `process` and before what its handler module exports.',
    schema: queueSettings,
    exampleName: 'orders',
    examples: {
      ...workerExamples,
      maxMessageBytes: '1_048_576',
      deadLetter: "'failed_orders'",
      schema: null,
      serializer: null,
      maxLength: '100_000',
      ttl: "'1d'",
      settings: "{ delay: '5s', retention: { keepFor: '30d' }, limits: [{ per: 'group', concurrency: 2 }] }",
    },
  },
  {
    path: 'schedules.NAME',
    doc: 'What is sent by the clock, for the `owner` above. `tidings process` and `tidings sentinel` declare it when they start: what this file does not list any more is removed, schedules of other owners stay. One of `cron`, `every` and `at`; one of `queue`, `topic` and `routingKey`.',
    schema: scheduleSettings,
    exampleName: 'nightly',
    examples: {
      cron: "'0 2 * * *'",
      every: null,
      at: null,
      timezone: "'Europe/Berlin'",
      startAt: "'2030-01-01T00:00:00Z'",
      endAt: "'2031-01-01T00:00:00Z'",
      limit: '12',
      queue: "'reports'",
      topic: null,
      routingKey: null,
      data: "{ kind: 'full' }",
      meta: null,
      headers: "{ lang: 'de' }",
      orderingKey: "'reports'",
      group: "'internal'",
      ttl: "'1d'",
    },
  },
  {
    path: 'events',
    doc: 'What queues announce: for `tidings generate-migration`, and the prefix for `tidings events`, too.',
    schema: eventSettings,
    examples: { channelPrefix: "'shop'" },
  },
  {
    path: 'serve',
    doc: 'The HTTP server of `tidings serve`.',
    schema: serveSettings,
    examples: {
      tokens: null,
      tokenFile: "'tokens'",
      tlsCert: "'cert.pem'",
      tlsKey: "'key.pem'",
      hosts: "['queues.example.org']",
      origins: "['https://example.org']",
    },
  },
  {
    path: 'sentinel',
    doc: 'What `tidings sentinel` watches: alerts, archives that are pruned, and expired messages that are ended. Rules and the webhook are described in the reference of `bus.sentinel`.',
    schema: sentinelSettings,
    examples: {
      rules: "[{ queues: '*', maxOldestReady: '10m', maxDead: 0 }, { topics: '*', maxLag: 10_000 }]",
      archives: "[{ queues: '*', keepFor: '30d' }]",
      expire: "[{ queues: '*', expired: 'drop' }]",
      webhook: "{ url: 'https://host/path', secretFile: 'webhook-secret' }",
    },
  },
]

const isOf = (schema: object) => (name: string) => Object.hasOwn(schema, name)

function pick(settings: object, isIncluded: (name: string) => boolean): object {
  return Object.fromEntries(Object.entries(settings).filter(([name, value]) => value !== undefined && isIncluded(name)))
}

/** The part that concerns the queue. */
export const queuePart = (settings: object): QueueOptions => pick(settings, isOf(queueOptions))

/** The part that concerns a worker. */
export const workerPart = (settings: object): WorkOptions => pick(settings, isOf(workOptions))
