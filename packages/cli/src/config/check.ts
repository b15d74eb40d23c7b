import { isTidingsError, nearest, show, TidingsError } from 'tidings/internal/core/errors'
import { checkQueueName, defaultDeadLetterQueue } from 'tidings/internal/core/names'
import * as option from 'tidings/internal/core/options'
import type { QueueOptions } from 'tidings/internal/messages/options'
import {
  type Config,
  eventSettings,
  generalSettings,
  processSettings,
  queueSettings,
  sentinelSettings,
  serveSettings,
} from './settings.ts'

/** Checks a configuration. @returns its valid part, and every problem */
export function checkConfig(input: unknown): { config: Config; problems: TidingsError[] } {
  const checker = new Checker()
  const config = checker.config(input)
  return { config, problems: checker.problems }
}

const nested = {
  process: processSettings,
  queues: queueSettings,
  events: eventSettings,
  sentinel: sentinelSettings,
  serve: serveSettings,
} as const

class Checker {
  readonly problems: TidingsError[] = []

  config(input: unknown): Config {
    const { process, queues, events, sentinel, serve, ...general } = this.#entries(input, 'the configuration')
    const checked = {
      ...this.#section(generalSettings, general, ''),
      process: this.#section(processSettings, process, 'process'),
      queues: this.#queues(queues),
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
  #deadLetters(queues: Readonly<Record<string, QueueOptions>>): void {
    const next = (queue: string) => {
      const own = Object.hasOwn(queues, queue) ? queues[queue]?.deadLetter : undefined
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
      const field = `queues.${queue}.deadLetter`
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
  const meant = nearest(name, known)
  // A setting in the wrong section is as common as a typing error.
  const elsewhere = Object.hasOwn(processSettings, name)
    ? `process.${name}`
    : Object.hasOwn(queueSettings, name)
      ? `queues.NAME.${name}`
      : undefined
  const suggestion = meant ? (path ? `${path}.${meant}` : meant) : elsewhere
  return new TidingsError('OPTION_UNKNOWN', `${at} is not a setting`, {
    details: { field: at, option: name },
    hint: suggestion ? `Did you mean ${show(suggestion).replaceAll('"', "'")}?` : `There are ${known.join(', ')}.`,
  })
}
