// biome-ignore lint/suspicious/noExplicitAny: a schema is any JSON
type Schema = any

/** Why a value does not fit a schema, each with its path; as much of JSON Schema as the document uses. */
export function misfits(schema: Schema, value: unknown, document: Schema, path = 'body'): string[] {
  const inner = (one: Schema, part: unknown, at = path) => misfits(one, part, document, at)
  if (schema.$ref !== undefined) return inner(resolve(schema.$ref, document), value)
  for (const keyword of Object.keys(schema))
    if (!known.has(keyword)) throw new Error(`the keyword ${keyword} at ${path} is unknown to this check`)
  const choices = schema.anyOf ?? schema.oneOf
  if (choices && !choices.some((one: Schema) => inner(one, value).length === 0))
    return [`${path} fits none of its choices: ${choices.flatMap((one: Schema) => inner(one, value)).join('; ')}`]
  const problems: string[] = []
  const say = (why: string) => problems.push(`${path} is ${JSON.stringify(value)?.slice(0, 60)}: ${why}`)
  if (schema.enum && !schema.enum.includes(value)) say(`not one of ${schema.enum.slice(0, 9)}`)
  if (schema.type && ![schema.type].flat().some((type: string) => hasType(type, value))) say(`not a ${schema.type}`)
  if (typeof value === 'number' && (value < schema.minimum || value > schema.maximum)) say('out of bounds')
  if (typeof value === 'string' && [...value].length > schema.maxLength) say('too long')
  if (schema.pattern && typeof value === 'string' && !new RegExp(schema.pattern).test(value)) say('not as it must look')
  if (schema.format === 'date-time' && typeof value === 'string' && new Date(value).toISOString() !== value)
    say('not a time')
  if (Array.isArray(value)) {
    if (value.length < schema.minItems || value.length > schema.maxItems) say('of the wrong length')
    for (const [index, item] of value.entries()) problems.push(...inner(schema.items ?? {}, item, `${path}[${index}]`))
  } else if (typeof value === 'object' && value !== null) {
    for (const name of schema.required ?? []) if (!Object.hasOwn(value, name)) problems.push(`${path} lacks ${name}`)
    for (const [name, part] of Object.entries(value)) {
      const own = schema.properties?.[name]
      if (own) problems.push(...inner(own, part, `${path}.${name}`))
      else if (schema.additionalProperties === false) problems.push(`${path} has ${name}, which is not documented`)
    }
  }
  return problems
}

const known = new Set(
  'type enum minimum maximum minItems maxItems maxLength pattern items format properties required additionalProperties anyOf oneOf description default'.split(
    ' ',
  ),
)

export function resolve(reference: string, document: Schema): Schema {
  const found = reference
    .replace(/^#\//, '')
    .split('/')
    .reduce((at, part) => at?.[part], document)
  if (found === undefined) throw new Error(`${reference} leads nowhere`)
  return found
}

/** The same with what its references lead to in their place. */
export function flatten(part: Schema, document: Schema): Schema {
  if (Array.isArray(part)) return part.map((one) => flatten(one, document))
  if (typeof part !== 'object' || part === null) return part
  const { $ref, ...rest } = part
  const own = Object.fromEntries(Object.entries(rest).map(([name, one]) => [name, flatten(one, document)]))
  return $ref === undefined ? own : { ...flatten(resolve($ref, document), document), ...own }
}

function hasType(type: string, value: unknown): boolean {
  if (type === 'null') return value === null
  if (type === 'array') return Array.isArray(value)
  if (type === 'object') return typeof value === 'object' && value !== null && !Array.isArray(value)
  if (type === 'integer') return Number.isInteger(value)
  return typeof value === type
}

/** A value that fits a schema, small but with all that may be in it. @param named values for fields by their names */
export function sampleOf(schema: Schema, named: Readonly<Record<string, unknown>>, name = ''): unknown {
  if (Object.hasOwn(named, name)) return named[name]
  if (schema.default !== undefined) return schema.default
  if (schema.enum) return schema.enum[0]
  const choice = (schema.anyOf ?? schema.oneOf)?.find((one: Schema) => one.type !== 'null')
  if (choice) return sampleOf(choice, named, name)
  if (schema.format === 'date-time') return new Date(Date.now() + 60_000).toISOString()
  switch (schema.type) {
    case 'object':
      return Object.fromEntries(
        Object.entries(schema.properties ?? {}).map(([field, own]) => [field, sampleOf(own, named, field)]),
      )
    case 'array':
      return Array.from({ length: schema.minItems || 1 }, () => sampleOf(schema.items ?? {}, named, name))
    case 'integer':
    case 'number':
      return Math.max(schema.minimum ?? 0, 0)
    case 'boolean':
      return false
    default:
      return 'x'
  }
}
