import { type Duration, showDuration, toMilliseconds } from './duration.ts'
import { type ErrorCode, show, TidingsError } from './errors.ts'
import { homeOf, meant } from './other-names.ts'

/**
 * One option, declared once: validation, `--help` and the reference are derived from it.
 * `Input` is the type of the user's value, `Output` that of the parsed value.
 */
export interface Option<Input, Output> {
  readonly kind: 'duration' | 'integer' | 'boolean' | 'text' | 'choice' | 'value' | 'json' | 'list' | 'object'
  readonly doc: string
  readonly defaultValue: Output
  /** The default in words. */
  readonly defaultText: string
  /** The type and bounds in words, for help and reference. */
  readonly typeText: string
  /** Bounds: of a number, of a duration in milliseconds, of a list's length. */
  readonly min?: number
  readonly max?: number
  readonly choices?: readonly string[]
  /** The option of each item of a list. */
  readonly items?: Option<unknown, unknown>
  /** The options of an object's fields. */
  readonly properties?: OptionSchema
  /** Must be given. */
  readonly required?: boolean
  /** The JSON schema of the value. */
  readonly jsonSchema?: JsonSchema
  /** What OpenAPI calls the schema of an object. */
  readonly schemaName?: string
  parse(value: unknown, path: string): Output
  /** Carries the input type; never set. */
  readonly input?: Input
}

/** A JSON Schema (2020-12), as far as options need it. */
export type JsonSchema = { readonly [keyword: string]: unknown }

// biome-ignore lint/suspicious/noExplicitAny: the variance of a schema's members is of no interest here
export type OptionSchema = Readonly<Record<string, Option<any, any>>>
export type OptionsInput<S extends OptionSchema> = {
  readonly [K in keyof S]?: S[K] extends Option<infer Input, unknown> ? Input | undefined : never
}
export type OptionsOutput<S extends OptionSchema> = {
  readonly [K in keyof S]: S[K] extends Option<infer _, infer Output> ? Output : never
}

interface Bounds {
  readonly min: number
  readonly max: number
  /** Error code for a value outside; default RANGE. */
  readonly rangeCode?: ErrorCode
}

function checkRange(value: number, bounds: Bounds, path: string, unit: (value: number) => string): number {
  if (value >= bounds.min && value <= bounds.max) return value
  throw new TidingsError(
    bounds.rangeCode ?? 'RANGE',
    `${path} is ${unit(value)}; it must be between ${unit(bounds.min)} and ${unit(bounds.max)}`,
    { details: { field: path, value, min: bounds.min, max: bounds.max } },
  )
}

export function typeError(path: string, value: unknown, expected: string): TidingsError {
  return new TidingsError('TYPE', `${path} is ${show(value)}; it must be ${expected}`, { details: { field: path } })
}

/** A duration; parsed to milliseconds, rounded to whole ones. */
export function duration<D extends number | null>(
  doc: string,
  spec: Bounds & { default: D; defaultText?: string },
): Option<Duration, number | D> {
  return {
    kind: 'duration',
    doc,
    defaultValue: spec.default,
    defaultText: spec.defaultText ?? (spec.default === null ? 'none' : showDuration(spec.default)),
    typeText: `duration, ${showDuration(spec.min)} to ${showDuration(spec.max)}`,
    jsonSchema: { oneOf: [{ type: 'number', minimum: spec.min, maximum: spec.max }, { type: 'string' }] },
    min: spec.min,
    max: spec.max,
    parse: (value, path) => checkRange(Math.round(toMilliseconds(value, path)), spec, path, showDuration),
  }
}

export function integer<D extends number | null>(
  doc: string,
  spec: Bounds & { default: D; defaultText?: string },
): Option<number, number | D> {
  return {
    kind: 'integer',
    doc,
    defaultValue: spec.default,
    defaultText: spec.defaultText ?? (spec.default === null ? 'none' : String(spec.default)),
    typeText: `whole number, ${spec.min} to ${spec.max}`,
    jsonSchema: { type: 'integer', minimum: spec.min, maximum: spec.max },
    min: spec.min,
    max: spec.max,
    parse(value, path) {
      if (typeof value !== 'number') throw typeError(path, value, 'a whole number')
      if (!Number.isInteger(value))
        throw new TidingsError(spec.rangeCode ?? 'RANGE', `${path} is ${value}; it must be a whole number`, {
          details: { field: path },
        })
      return checkRange(value, spec, path, String)
    },
  }
}

export function boolean(doc: string, spec: { default: boolean }): Option<boolean, boolean> {
  return {
    kind: 'boolean',
    doc,
    defaultValue: spec.default,
    defaultText: String(spec.default),
    typeText: 'true or false',
    jsonSchema: { type: 'boolean' },
    parse(value, path) {
      if (typeof value !== 'boolean') throw typeError(path, value, 'true or false')
      return value
    },
  }
}

export function text<D extends string | null>(
  doc: string,
  spec: { default: D; check?: (value: string, path: string) => void },
): Option<string, string | D> {
  return {
    kind: 'text',
    doc,
    defaultValue: spec.default,
    defaultText: spec.default === null ? 'none' : spec.default,
    typeText: 'text',
    jsonSchema: { type: 'string' },
    parse(value, path) {
      if (typeof value !== 'string') throw typeError(path, value, 'a string')
      spec.check?.(value, path)
      return value
    },
  }
}

export function choice<const C extends readonly string[], D extends C[number] | null>(
  doc: string,
  choices: C,
  spec: { default: D; defaultText?: string },
): Option<C[number], C[number] | D> {
  const list = choices.map((one) => `'${one}'`).join(' or ')
  return {
    kind: 'choice',
    doc,
    defaultValue: spec.default,
    defaultText: spec.defaultText ?? spec.default ?? 'none',
    typeText: list,
    jsonSchema: { enum: choices },
    choices,
    parse(value, path) {
      if (typeof value !== 'string' || !choices.includes(value)) throw typeError(path, value, list)
      return value
    },
  }
}

/** Anything else: a function, an object, several types. `parse` checks it and throws a typed error. */
export function value<Input, Output>(
  doc: string,
  spec: {
    default: Output
    defaultText: string
    typeText: string
    jsonSchema?: JsonSchema
    parse: (value: unknown, path: string) => Output
  },
): Option<Input, Output> {
  return {
    kind: 'value',
    doc,
    defaultValue: spec.default,
    defaultText: spec.defaultText,
    typeText: spec.typeText,
    jsonSchema: spec.jsonSchema ?? {},
    parse: spec.parse,
  }
}

/** Any JSON value, null included; `undefined` if there is none. */
export function json(doc: string): Option<unknown, unknown> {
  return {
    kind: 'json',
    doc,
    defaultValue: undefined,
    defaultText: 'none',
    typeText: 'any JSON',
    jsonSchema: {},
    parse: (value) => value,
  }
}

/** The same option, but a call without it is refused. */
export function required<Input, Output>(option: Option<Input, Output>): Option<Input, Exclude<Output, null>> {
  return { ...option, required: true, defaultText: 'required' } as Option<Input, Exclude<Output, null>>
}

/** A list of items of one option. */
export function list<Input, Output, D extends readonly Output[] | null>(
  doc: string,
  items: Option<Input, Output>,
  spec: Bounds & { default: D; defaultText?: string },
): Option<readonly Input[], readonly Output[] | D> {
  return {
    kind: 'list',
    doc,
    defaultValue: spec.default,
    defaultText: spec.defaultText ?? 'none',
    typeText: `list of ${spec.min} to ${spec.max}: ${items.typeText}`,
    min: spec.min,
    max: spec.max,
    items,
    jsonSchema: { type: 'array', items: items.jsonSchema ?? {}, minItems: spec.min, maxItems: spec.max },
    parse(value, path) {
      if (!Array.isArray(value)) throw typeError(path, value, 'an array')
      checkRange(value.length, spec, `the number of ${path}`, String)
      return value.map((item, index) => items.parse(item, `${path}[${index}]`))
    },
  }
}

/** An object with known fields. A null counts as a missing field, because clients in other languages send nulls. */
export function object<S extends OptionSchema>(
  doc: string,
  properties: S,
): Option<OptionsInput<S>, OptionsOutput<S> | null> {
  return {
    kind: 'object',
    doc,
    defaultValue: null,
    defaultText: 'none',
    typeText: `object with ${Object.keys(properties).join(', ')}`,
    properties,
    jsonSchema: objectSchema(properties),
    parse(value, path) {
      if (!isObject(value)) throw typeError(path, value, 'an object')
      return parseFields(properties, withoutNulls(properties, value), path, `${path}.`)
    },
  }
}

/** Parses the options in a JSON text from outside. A null counts as a missing field. */
export function parseJsonOptions<S extends OptionSchema>(schema: S, input: unknown, where: string): OptionsOutput<S> {
  if (!isObject(input)) throw typeError(where, input, 'an object')
  return parseFields(schema, withoutNulls(schema, input), where, '')
}

function withoutNulls(schema: OptionSchema, fields: Record<string, unknown>): Record<string, unknown> {
  const isPresent = ([name, one]: [string, unknown]) =>
    one !== null || (Object.hasOwn(schema, name) && schema[name]?.kind === 'json')
  return Object.fromEntries(Object.entries(fields).filter(isPresent))
}

function objectSchema(properties: OptionSchema): JsonSchema {
  const entries = Object.entries(properties)
  const required = entries.filter(([, one]) => one.required).map(([name]) => name)
  return {
    type: 'object',
    properties: Object.fromEntries(entries.map(([name, one]) => [name, { ...one.jsonSchema, description: one.doc }])),
    ...(required.length > 0 ? { required } : {}),
    additionalProperties: false,
  }
}

/** The `parse` of an option that takes a function. */
export function parseFunction<F>(input: unknown, path: string): F {
  if (typeof input !== 'function') throw typeError(path, input, 'a function')
  return input as F
}

/**
 * Checks the user's options and fills in the defaults. An `undefined` option counts as left out.
 * @param where the call, for error messages: 'send', 'work'
 * @throws TYPE, RANGE and the like, OPTION_UNKNOWN with the nearest name
 */
export function parseOptions<S extends OptionSchema>(schema: S, input: unknown, where: string): OptionsOutput<S> {
  if (input !== undefined && !isObject(input)) throw typeError(`the options of ${where}`, input, 'an object')
  return parseFields(schema, input ?? nothing, where, '')
}

const nothing: Record<string, unknown> = Object.freeze({})

interface Known {
  readonly entries: readonly [name: string, option: Option<unknown, unknown>][]
  /** The output where nothing is given; null if something has to be. */
  readonly defaults: object | null
}

/** What is known of each schema, which is one object for all calls. */
const knownOf = new WeakMap<OptionSchema, Known>()

function learn(schema: OptionSchema): Known {
  const entries = Object.entries(schema)
  const defaults = Object.fromEntries(entries.map(([name, { defaultValue }]) => [name, defaultValue]))
  const known = { entries, defaults: entries.some(([, { required }]) => required) ? null : Object.freeze(defaults) }
  knownOf.set(schema, known)
  return known
}

function isEmpty(fields: object): boolean {
  for (const _ in fields) return false
  return true
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** @param prefix the start of names in error messages */
function parseFields<S extends OptionSchema>(
  schema: S,
  fields: Record<string, unknown>,
  where: string,
  prefix: string,
): OptionsOutput<S> {
  const { entries, defaults } = knownOf.get(schema) ?? learn(schema)
  // As in most calls: nothing is parsed, and nothing made.
  if (defaults !== null && isEmpty(fields)) return defaults as OptionsOutput<S>
  for (const name in fields) {
    if (!Object.hasOwn(fields, name) || Object.hasOwn(schema, name)) continue
    throw new TidingsError('OPTION_UNKNOWN', `${where} has no option ${show(name)}`, {
      details: { option: name },
      hint: hintFor(name, Object.keys(schema)),
    })
  }
  const output: Record<string, unknown> = {}
  for (const [name, option] of entries) {
    const raw = Object.hasOwn(fields, name) ? fields[name] : undefined
    if (raw === undefined && option.required)
      throw new TidingsError('TYPE', `${prefix}${name} is missing; it must be ${option.typeText}`, {
        details: { field: `${prefix}${name}` },
      })
    output[name] = raw === undefined ? option.defaultValue : option.parse(raw, `${prefix}${name}`)
  }
  return output as OptionsOutput<S>
}

function hintFor(name: string, options: readonly string[]): string {
  const option = meant(name, options)
  if (option) return `Did you mean '${option}'?`
  const home = homeOf(name)
  if (home) return `Did you mean '${home.option}'? It is an option of ${home.call}.`
  return `Its options are ${options.join(', ') || 'none'}.`
}
