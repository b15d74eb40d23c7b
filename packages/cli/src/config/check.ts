import { isTidingsError, show, TidingsError } from 'tidings/internal/core/errors'
import { checkQueueName, checkScheduleName, defaultDeadLetterQueue } from 'tidings/internal/core/names'
import * as option from 'tidings/internal/core/options'
import { homeOf, meant } from 'tidings/internal/core/other-names'
import type { DeclaredSchedule } from 'tidings/internal/schedules/options'
import {
  type Config,
  eventSettings,
  generalSettings,
  processSettings,
  type QueueSettings,
  queueSettings,
  scheduleSettings,
  sentinelSettings,
  serveSettings,
} from './settings.ts'

/** Checks a configuration. @returns its valid part, and every problem */
export function checkConfig(input: unknown): { config: Config; problems: TidingsError[] } {
  const checker = new Checker()
  const config = checker.config(input)
  return { config, problems: checker.problems }
}

/** What settings of a schedule say together. @returns the problems */
export async function checkSchedules({ owner = 'unknown', schedules = {} }: Config): Promise<TidingsError[]> {
  const entries = Object.entries(schedules)
  if (entries.length === 0) return []
  const { parseDeclared } = await import('tidings/internal/schedules/declared')
  const problems = entries.map(async ([name, declared]) => {
    try {
      await parseDeclared(owner, name, declared, Date.now)
      return []
    } catch (error) {
      if (!isTidingsError(error)) throw error
      return [error]
    }
  })
  return (await Promise.all(problems)).flat()
}

const nested = {
  process: processSettings,
  queues: queueSettings,
  schedules: scheduleSettings,
  events: eventSettings,
  sentinel: sentinelSettings,
  serve: serveSettings,
} as const

class Checker {
  readonly problems: TidingsError[] = []

  config(input: unknown): Config {
    const { process, queues, schedules, events, sentinel, serve, ...general } = this.#entries(
      input,
      'the configuration',
    )
    const checked = {
      ...this.#section(generalSettings, general, ''),
      process: this.#section(processSettings, process, 'process'),
      queues: this.#queues(queues),
      ...(schedules === undefined ? {} : { schedules: this.#schedules(schedules, general.owner) }),
      events: this.#section(eventSettings, events, 'events'),
      serve: this.#section(serveSettings, serve, 'serve'),
      sentinel: this.#section(sentinelSettings, sentinel, 'sentinel'),
    }
    this.#deadLetters(checked.queues)
    return checked
  }

  #queues(input: unknown): Record<string, Record<string, unknown>> {
    const queues = Object.entries(this.#entries(input, 'queues'))
    return Object.fromEntries(
      queues.flatMap(([name, settings]) => {
        const path = `queues.${name}`
        if (!this.#try(() => checkQueueName(name, path))) return []
        return [[name, this.#section(queueSettings, settings, path)]]
      }),
    )
  }

  /** @returns those of which each setting is valid */
  #schedules(input: unknown, owner: unknown): Record<string, DeclaredSchedule> {
    const schedules = Object.entries(this.#entries(input, 'schedules'))
    if (owner === undefined && schedules.length > 0)
      this.problems.push(
        new TidingsError('CONFIG_INVALID', 'owner is missing, whose the schedules are', {
          details: { field: 'owner' },
          hint: "Add `owner`, the name of this application: what it declares no more is removed, others' schedules stay.",
        }),
      )
    return Object.fromEntries(
      schedules.flatMap(([name, settings]) => {
        const path = `schedules.${name}`
        const before = this.problems.length
        this.#try(() => checkScheduleName(name, path))
        const section = this.#section(scheduleSettings, settings, path)
        return this.problems.length > before ? [] : [[name, section]]
      }),
    )
  }

  /** @returns the valid settings, unparsed */
  #section(schema: option.OptionSchema, input: unknown, path: string): Record<string, unknown> {
    const settings = Object.entries(this.#entries(input, path)).filter(([, value]) => value !== undefined)
    return Object.fromEntries(
      settings.filter(([name, value]) => {
        const at = path ? `${path}.${name}` : name
        const known = Object.hasOwn(schema, name) ? schema[name] : undefined
        if (!known) this.problems.push(unknownSetting(name, path, schema))
        return known && this.#try(() => known.parse(value, at))
      }),
    )
  }

  #entries(input: unknown, path: string): Record<string, unknown> {
    if (input === undefined) return {}
    if (typeof input === 'object' && input !== null && !Array.isArray(input)) return input as Record<string, unknown>
    this.problems.push(option.typeError(path, input, 'an object'))
    return {}
  }

  /** Messages that failed too often need a queue that keeps them. */
  #deadLetters(queues: Readonly<Record<string, QueueSettings>>): void {
    const ownOf = (queue: string): QueueSettings => (Object.hasOwn(queues, queue) ? queues[queue]! : {})
    const next = (queue: string) => {
      const { deadLetter, settings } = ownOf(queue)
      const own = deadLetter ?? settings?.deadLetter ?? undefined
      return own === false ? null : (own ?? defaultDeadLetterQueue(queue))
    }
    const seen = new Set<string>()
    for (const start of Object.keys(queues)) {
      const path: string[] = []
      let queue: string | null = start
      while (queue !== null && !seen.has(queue)) {
        seen.add(queue)
        path.push(queue)
        queue = next(queue)
      }
      if (queue === null || !path.includes(queue)) continue
      const circle = [...path.slice(path.indexOf(queue)), queue].join(' → ')
      const isStored = ownOf(queue).deadLetter === undefined
      const field = `queues.${queue}.${isStored ? 'settings.' : ''}deadLetter`
      this.problems.push(
        new TidingsError('DEAD_LETTER_INVALID', `${field}: the dead-letter queues form a circle: ${circle}`, {
          details: { field },
        }),
      )
    }
  }

  /** @returns whether the check succeeded */
  #try(check: () => unknown): boolean {
    try {
      check()
      return true
    } catch (error) {
      if (!isTidingsError(error)) throw error
      this.problems.push(error)
      return false
    }
  }
}

function unknownSetting(name: string, path: string, schema: option.OptionSchema): TidingsError {
  const at = path ? `${path}.${name}` : name
  const known = [...Object.keys(schema), ...(path === '' ? Object.keys(nested) : [])]
  const here = meant(name, known)
  // A setting in the wrong section is as common as a typing error.
  const setting = Object.hasOwn(queueSettings, name) ? name : (homeOf(name)?.option ?? name)
  const elsewhere = Object.hasOwn(processSettings, setting)
    ? `process.${setting}`
    : Object.hasOwn(queueSettings, setting)
      ? `queues.NAME.${setting}`
      : undefined
  const suggestion = here ? (path ? `${path}.${here}` : here) : elsewhere
  return new TidingsError('OPTION_UNKNOWN', `${at} is not a setting`, {
    details: { field: at, option: name },
    hint: suggestion ? `Did you mean ${show(suggestion).replaceAll('"', "'")}?` : `There are ${known.join(', ')}.`,
  })
}
