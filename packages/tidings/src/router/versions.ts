import { show, TidingsError } from '../core/errors.ts'
import * as option from '../core/options.ts'
import { parseSchema, type StandardSchemaV1, validate } from '../core/schema.ts'
import type { Message } from '../messages/message.ts'
import type { HandlerContext } from '../worker/handler.ts'
import { deadLetter } from '../worker/outcome.ts'

/** Declared as methods, so that a handler may name the type of its data without a schema. */
type HandlerOf<T> = { handle(message: Message<T>, context: HandlerContext): unknown }['handle']
type Convert = { convert(data: unknown, message: Message<unknown>): unknown }['convert']

/** Converts data of one version to another: to the next whole number, or to the version in `to`. */
export type Upcaster = Convert | { readonly to: string; readonly convert: Convert }

/** Keys may be written as numbers, too. */
type ByText<Table> = { readonly [K in keyof Table & (string | number) as `${K}`]: Table[K] }

type DataOf<Schemas, Version extends string | number> = `${Version}` extends keyof ByText<Schemas>
  ? ByText<Schemas>[`${Version}`] extends infer S extends StandardSchemaV1
    ? StandardSchemaV1.InferOutput<S>
    : unknown
  : unknown

export interface VersionsOptions<
  Schemas extends Readonly<Record<string, StandardSchemaV1>>,
  Version extends string | number,
> extends VersionsTable {
  readonly schemas?: Schemas
  readonly handlers: { readonly [V in Version]: HandlerOf<DataOf<Schemas, V>> }
  readonly upcasters?: Readonly<Record<string, Upcaster>>
}

/**
 * A handler for messages of several versions (`meta.version`). A version with a handler is handled as it is. The data of
 * another version are converted step by step until a version has a handler. Meta stays as it was sent. A message of an
 * unknown version, or with invalid data, is dead-lettered. An upcaster that throws fails like a handler.
 * @throws VERSIONS_INVALID for a table with a gap, a circle or no handler; TYPE
 * @example hires.work(versions({ handlers: { 2: handler }, upcasters: { 1: (data: { name: string }) => ({ names: [data.name] }) } }))
 */
export function versions<
  const Version extends string | number,
  const Schemas extends Readonly<Record<string, StandardSchemaV1>> = Readonly<Record<never, StandardSchemaV1>>,
>(
  options: VersionsOptions<Schemas, Version>,
): (message: Message<unknown>, context: HandlerContext) => Promise<unknown> {
  const table = new Versions(option.parseOptions(versionsOptions, options, 'versions'))
  return (message, context) => table.handle(message, context)
}

interface Step {
  readonly to: string
  readonly convert: Convert
}

/** @public The reference is made from it. */
export const versionsOptions = {
  schemas: option.value<object, ReadonlyMap<string, StandardSchemaV1>>(
    'By version, a schema for its data, as sent or as converted; its output goes on.',
    {
      default: new Map(),
      defaultText: 'none',
      typeText: 'object of schemas',
      parse: (value, path) => parseTable(value, path, parseSchema),
    },
  ),
  handlers: option.value<object, ReadonlyMap<string, HandlerOf<unknown>>>('By version, its handler.', {
    default: new Map(),
    defaultText: 'none',
    typeText: 'object of functions',
    parse: (value, path) => parseTable(value, path, option.parseFunction<HandlerOf<unknown>>),
  }),
  upcasters: option.value<object, ReadonlyMap<string, Step>>(
    'By the version that it starts from, a function to the next one, or { to, convert }.',
    {
      default: new Map(),
      defaultText: 'none',
      typeText: 'object of functions',
      parse: (value, path) => parseTable(value, path, parseUpcaster),
    },
  ),
  unversioned: option.text('What a message without a version counts as; left out, such a message is dead-lettered.', {
    default: null,
  }),
} as const
export type VersionsTable = option.OptionsInput<typeof versionsOptions>

class Versions {
  readonly #schemas: ReadonlyMap<string, StandardSchemaV1>
  readonly #handlers: ReadonlyMap<string, HandlerOf<unknown>>
  readonly #upcasters: ReadonlyMap<string, Step>
  readonly #unversioned: string | null

  constructor(options: option.OptionsOutput<typeof versionsOptions>) {
    this.#schemas = options.schemas
    this.#handlers = options.handlers
    this.#upcasters = options.upcasters
    this.#unversioned = options.unversioned
    if (this.#handlers.size === 0) throw invalid('handlers', 'are none, so no message could be handled')
    for (const version of this.#upcasters.keys()) this.#checkWay(version)
    for (const version of this.#schemas.keys()) this.#checkKnown(version, 'schemas')
    if (this.#unversioned !== null) this.#checkKnown(this.#unversioned, 'unversioned')
  }

  async handle(message: Message<unknown>, context: HandlerContext): Promise<unknown> {
    const sentAs = message.meta.version ?? this.#unversioned
    if (sentAs === null || !this.#isKnown(sentAs)) return deadLetter(this.#unknown(message))
    let version: string = sentAs
    let data = message.data
    for (;;) {
      try {
        data = await this.#validate(version, data, message)
      } catch (error) {
        // Another attempt cannot make the data valid.
        if (error instanceof TidingsError && error.code === 'BODY_INVALID') return deadLetter(error)
        throw error
      }
      const handler = this.#handlers.get(version)
      if (handler) return handler(data === message.data ? message : message.withData(data), context)
      const { to, convert }: Step = this.#upcasters.get(version)!
      data = await convert(data, message)
      version = to
    }
  }

  #validate(version: string, data: unknown, message: Message<unknown>): unknown {
    const schema = this.#schemas.get(version)
    return schema ? validate(schema, data, `data of message ${message.id} as version ${show(version)}`) : data
  }

  #isKnown(version: string): boolean {
    return this.#handlers.has(version) || this.#upcasters.has(version)
  }

  /** Every version without a handler must lead to a version with one. */
  #checkWay(from: string): void {
    const way = [from]
    for (let version = from; !this.#handlers.has(version); ) {
      const step = this.#upcasters.get(version)
      if (step === undefined)
        throw invalid(
          `upcasters[${show(from)}]`,
          `leads to version ${show(version)}, which has no handler and no upcaster`,
        )
      version = step.to
      if (way.includes(version)) throw invalid('upcasters', `lead in a circle: ${[...way, version].join(' → ')}`)
      way.push(version)
    }
  }

  #checkKnown(version: string, field: string): void {
    if (!this.#isKnown(version))
      throw invalid(field, `names version ${show(version)}, which has no handler and no upcaster`)
  }

  #unknown({ id, queue, meta }: Message<unknown>): TidingsError {
    const known = [...new Set([...this.#upcasters.keys(), ...this.#handlers.keys()])].map((one) => show(one))
    const which = meta.version === undefined ? 'has no version' : `has version ${show(meta.version)}`
    return new TidingsError('VERSION_UNKNOWN', `message ${id} ${which}; the handler knows ${known.join(', ')}`, {
      details: { queue, id, version: meta.version ?? null },
    })
  }
}

function invalid(field: string, why: string): TidingsError {
  return new TidingsError('VERSIONS_INVALID', `${field} ${why}`, {
    details: { field },
  })
}

function parseTable<T>(
  value: unknown,
  path: string,
  parse: (one: unknown, path: string, version: string) => T,
): Map<string, T> {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw option.typeError(path, value, 'an object with versions as its keys')
  const entries = Object.entries(value).filter(([, one]) => one !== undefined)
  return new Map(entries.map(([version, one]) => [version, parse(one, `${path}[${show(version)}]`, version)]))
}

function parseUpcaster(value: unknown, path: string, version: string): Step {
  if (typeof value === 'function') return { to: nextOf(version, path), convert: value as Convert }
  const { to, convert } = (value ?? {}) as { to?: unknown; convert?: unknown }
  if (typeof to !== 'string' || typeof convert !== 'function')
    throw option.typeError(path, value, 'a function, or { to, convert }')
  return { to, convert: convert as Convert }
}

function nextOf(version: string, path: string): string {
  if (/^(0|[1-9]\d*)$/.test(version)) return String(BigInt(version) + 1n)
  throw invalid(path, 'is a function, but what comes after this version is not plain: write { to, convert }')
}
