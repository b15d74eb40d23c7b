import type { JsonSchema, Option, OptionSchema } from 'tidings/internal/core/options'
import type { Route } from './route.ts'

type AnyOption = Option<unknown, unknown>
type ObjectSchema = (fields: OptionSchema) => JsonSchema

/** The schemas of a document, each under a name: what they are called decides what types clients get. */
export class Schemas {
  /** What fields are called, wherever they stand. */
  readonly #names = new Map<OptionSchema, string>()
  readonly #all = new Map<string, JsonSchema>()

  constructor(routes: readonly Route[]) {
    for (const { body, answers } of routes)
      for (const fields of [body, ...Object.values(answers).map((one) => one.fields)]) this.#learn(fields ?? {})
  }

  #learn(fields: OptionSchema): void {
    for (const one of Object.values(fields)) {
      const inner: AnyOption = one.items ?? one
      if (inner.properties && inner.schemaName) this.#names.set(inner.properties, inner.schemaName)
      this.#learn(inner.properties ?? inner.items?.properties ?? {})
    }
  }

  /** By name, in alphabetical order. */
  all(): Readonly<Record<string, JsonSchema>> {
    return Object.fromEntries([...this.#all].toSorted(([one], [other]) => (one < other ? -1 : 1)))
  }

  /** @throws if another schema has this name */
  add(name: string, schema: JsonSchema): JsonSchema {
    const known = this.#all.get(name)
    if (known && JSON.stringify(known) !== JSON.stringify(schema))
      throw new Error(`two schemas of the document are called ${name}`)
    this.#all.set(name, schema)
    return { $ref: `#/components/schemas/${name}` }
  }

  /** The body of a request. @param name where the fields have none of their own */
  inputOf(fields: OptionSchema, name: string): JsonSchema {
    return this.add(this.#names.get(fields) ?? name, this.#inputObject(fields))
  }

  /** The body of an answer. @param name where the fields have none of their own */
  outputOf(fields: OptionSchema, name: string): JsonSchema {
    return this.add(this.#nameOnce(fields, name), this.#outputObject(fields))
  }

  /** What two routes answer with the same fields is one type. */
  #nameOnce(fields: OptionSchema, name: string): string {
    const known = this.#names.get(fields) ?? name
    this.#names.set(fields, known)
    return known
  }

  input(one: AnyOption): JsonSchema {
    const { defaultValue, doc } = one
    const isPlain = ['string', 'number', 'boolean'].includes(typeof defaultValue)
    const schema = this.#schemaOf(one, this.#inputObject)
    return { ...schema, ...(doc ? { description: doc } : {}), ...(isPlain ? { default: defaultValue } : {}) }
  }

  /** What may be left out may be null as well. */
  #inputObject = (fields: OptionSchema): JsonSchema => ({
    type: 'object',
    properties: mapFields(fields, (one) => (one.required ? this.input(one) : nullable(this.input(one)))),
    required: namesOf(fields, (one) => one.required === true),
    additionalProperties: false,
  })

  /** What is always there is required; what may be null says so itself. */
  #outputObject = (fields: OptionSchema): JsonSchema => ({
    type: 'object',
    properties: mapFields(fields, (one) => {
      const schema = this.#schemaOf(one, this.#outputObject)
      return { ...schema, ...(one.doc ? { description: one.doc } : {}) }
    }),
    required: namesOf(fields, (one) => one.required !== false),
    additionalProperties: false,
  })

  #schemaOf(one: AnyOption, ofFields: ObjectSchema): JsonSchema {
    const schema = one.properties
      ? ofFields(one.properties)
      : one.items
        ? { ...one.jsonSchema, items: this.#schemaOf(one.items, ofFields) }
        : open(one.jsonSchema ?? {})
    return one.schemaName ? this.add(one.schemaName, schema) : schema
  }
}

/** Generators take an object of which nothing is said for an empty one. */
function open(schema: JsonSchema): JsonSchema {
  if (Array.isArray(schema.anyOf)) return { ...schema, anyOf: schema.anyOf.map(open) }
  const isObject = [schema.type].flat().includes('object')
  return isObject && !schema.properties ? { ...schema, additionalProperties: true } : schema
}

/** A schema without a type takes null already. */
function nullable(schema: JsonSchema): JsonSchema {
  const { description, default: defaultValue, ...rest } = schema
  if (Object.keys(rest).length === 0) return schema
  const beside = {
    ...(description ? { description } : {}),
    ...(defaultValue === undefined ? {} : { default: defaultValue }),
  }
  return { anyOf: [rest, { type: 'null' }], ...beside }
}

const mapFields = (fields: OptionSchema, map: (one: AnyOption) => JsonSchema) =>
  Object.fromEntries(Object.entries(fields).map(([name, one]) => [name, map(one)]))
const namesOf = (fields: OptionSchema, test: (one: AnyOption) => boolean) =>
  Object.keys(fields).filter((name) => test(fields[name]!))
