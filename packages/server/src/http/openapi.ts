import { errorTable } from 'tidings/internal/core/errors'
import type { JsonSchema, Option, OptionSchema } from 'tidings/internal/core/options'
import { version } from 'tidings/internal/core/version'
import { type Answer, parametersOf, pathParameters, type Route } from './route.ts'

/** An OpenAPI document, as far as it is made here. */
export interface OpenApi {
  readonly openapi: string
  readonly info: { readonly title: string; readonly version: string; readonly description: string }
  readonly tags: readonly { readonly name: string }[]
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>
  readonly components: object
}

export interface Operation {
  readonly operationId: string
  readonly tags: readonly string[]
  readonly summary: string
  readonly description?: string
  readonly security: readonly object[]
  readonly parameters: readonly Parameter[]
  readonly requestBody?: { readonly required: boolean; readonly content: Content }
  readonly responses: Readonly<Record<string, Response>>
}

export interface Parameter {
  readonly name: string
  readonly in: 'path' | 'query' | 'header'
  readonly required: boolean
  readonly description: string
  readonly schema: JsonSchema
}

type Content = Readonly<Record<string, { readonly schema: JsonSchema }>>
interface Response {
  readonly description: string
  readonly content?: Content
}

const about = `Durable message queues and topics. Its queue routes are those of PGMQ's HTTP server, with more fields.

Every error is \`{code, message, hint, details}\`, and repeats the code in lower case as \`error\` and the message as
\`detail\`. Times are ISO 8601 texts; durations are milliseconds where the name ends in \`_ms\`, else seconds. With the
header \`Tidings-Data: text\` the data of messages travel as JSON text in \`data\` instead of \`message\`, so that no
client rounds large integers.`

/** The document of the routes, from which they are declared. */
export function openApiDocument(routes: readonly Route[]): OpenApi {
  const paths: Record<string, Record<string, Operation>> = {}
  for (const route of routes)
    paths[route.path] = { ...paths[route.path], [route.method.toLowerCase()]: operationOf(route) }
  return {
    openapi: '3.1.0',
    info: { title: 'Tidings', version, description: about },
    tags: [...new Set(routes.map(({ tag }) => tag))].map((name) => ({ name })),
    paths,
    components: {
      schemas: { Error: errorSchema },
      securitySchemes: {
        bearer: { type: 'http', scheme: 'bearer' },
        apiKey: { type: 'apiKey', in: 'header', name: 'X-API-Key' },
      },
    },
  }
}

const errorSchema: JsonSchema = {
  type: 'object',
  required: ['code', 'message', 'hint', 'details', 'error', 'detail'],
  properties: {
    code: { type: 'string', enum: Object.keys(errorTable) },
    message: { type: 'string', description: 'The field, the value and the rule.' },
    hint: { type: 'string', description: 'The way out.' },
    details: { type: 'object', description: 'The same for programs.' },
    error: { type: 'string', description: 'The code in lower case, as clients of PGMQ expect it.' },
    detail: { type: 'string', description: 'The message once more, as clients of PGMQ expect it.' },
  },
}
const errorContent: Content = { 'application/json': { schema: { $ref: '#/components/schemas/Error' } } }

function operationOf(route: Route): Operation {
  const { method, path, tag, summary, description, scope, isPublic, query, body } = route
  const scopes = scope === null ? [] : [scope]
  return {
    operationId: idOf(method, path),
    tags: [tag],
    summary,
    ...(description === undefined ? {} : { description }),
    // Without tokens the server asks nobody, which the empty one stands for.
    security: isPublic ? [] : [{ bearer: scopes }, { apiKey: scopes }, {}],
    parameters: [...pathParametersOf(path), ...Object.entries(query).map(([name, one]) => queryParameter(name, one))],
    ...(body === null ? {} : { requestBody: requestBodyOf(body) }),
    responses: responsesOf(route),
  }
}

/** 'get_v1_queues_queue_messages'. */
const idOf = (method: string, path: string) =>
  [method.toLowerCase(), ...path.split(/[^\w]+/).filter((part) => part !== '')].join('_')

const pathParametersOf = (path: string): Parameter[] =>
  parametersOf(path).map((name) => {
    const { doc, jsonSchema = {} } = pathParameters[name]
    return { name, in: 'path', required: true, description: doc, schema: jsonSchema }
  })

const queryParameter = (name: string, one: Option<unknown, unknown>): Parameter => ({
  name,
  in: 'query',
  required: one.required === true,
  description: one.doc,
  schema: withDefault(one),
})

function requestBodyOf(fields: OptionSchema): NonNullable<Operation['requestBody']> {
  const required = Object.values(fields).some((one) => one.required)
  return { required, content: { 'application/json': { schema: inputSchema(fields) } } }
}

/** What may be left out may be null as well. */
function inputSchema(fields: OptionSchema): JsonSchema {
  return {
    type: 'object',
    properties: mapFields(fields, (one) => (one.required ? withDefault(one) : nullable(withDefault(one)))),
    required: namesOf(fields, (one) => one.required === true),
    additionalProperties: false,
  }
}

/** What is always there is required; what may be null says so itself. */
function outputSchema(fields: OptionSchema): JsonSchema {
  return {
    type: 'object',
    properties: mapFields(fields, (one) => ({ ...schemaOf(one, outputSchema), description: one.doc })),
    required: namesOf(fields, (one) => one.required !== false),
    additionalProperties: false,
  }
}

function schemaOf(one: Option<unknown, unknown>, ofFields: (fields: OptionSchema) => JsonSchema): JsonSchema {
  if (one.properties) return ofFields(one.properties)
  if (one.items) return { ...one.jsonSchema, items: schemaOf(one.items, ofFields) }
  return one.jsonSchema ?? {}
}

function withDefault(one: Option<unknown, unknown>): JsonSchema {
  const { defaultValue, doc } = one
  const isPlain = ['string', 'number', 'boolean'].includes(typeof defaultValue)
  return { ...schemaOf(one, inputSchema), description: doc, ...(isPlain ? { default: defaultValue } : {}) }
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

const mapFields = (fields: OptionSchema, map: (one: Option<unknown, unknown>) => JsonSchema) =>
  Object.fromEntries(Object.entries(fields).map(([name, one]) => [name, map(one)]))
const namesOf = (fields: OptionSchema, test: (one: Option<unknown, unknown>) => boolean) =>
  Object.keys(fields).filter((name) => test(fields[name]!))

function responsesOf({ answers, scope, isPublic, path, query, body }: Route): Operation['responses'] {
  const takesInput = body !== null || Object.keys(query).length > 0 || path.includes('{')
  const errors: readonly (readonly [number, string, boolean])[] = [
    [400, 'The request is not as it must be.', takesInput],
    [401, 'There is no valid token.', !isPublic],
    [403, `The token lacks the scope${scope === null ? '' : ` '${scope}'`}, or the storage refuses.`, !isPublic],
    [404, 'Something that the path names does not exist, or not for this token.', path.includes('{')],
    [413, 'The body is too large.', body !== null],
    [415, 'The body is not JSON.', body !== null],
    [429, 'The token has used up its requests of this second.', !isPublic],
    [503, 'The storage does not answer, or the server stops.', !isPublic],
  ]
  const usual = errors.filter(([, , applies]) => applies).map(([status, text]) => [status, text] as const)
  return Object.fromEntries([
    ...usual.map(([status, description]) => [status, { description, content: errorContent }]),
    ...Object.entries(answers).map(([status, answer]) => [status, responseOf(Number(status), answer)]),
    ['default', { description: 'Another error, by its code.', content: errorContent }],
  ])
}

function responseOf(status: number, { description, fields, events, type }: Answer): Response {
  if (type !== undefined) return { description, content: { [type.split(';')[0]!]: { schema: textSchema(type) } } }
  if (fields) return { description, content: { 'application/json': { schema: outputSchema(fields) } } }
  if (events)
    return {
      description: withEvents(description, events),
      content: { 'text/event-stream': { schema: { type: 'string' } } },
    }
  return { description, ...(status >= 400 ? { content: errorContent } : {}) }
}

const textSchema = (type: string): JsonSchema =>
  type.startsWith('application/json') ? { type: 'object' } : { type: 'string' }

/** What any stream may end with. */
const failure = {
  description: 'What ended the stream: as the body of any answer with an error',
  fields: errorSchema.properties as object,
}

/** OpenAPI 3.1 has no words for events. */
function withEvents(description: string, events: NonNullable<Answer['events']>): string {
  const lines = Object.entries({ ...events, error: failure }).map(([name, event]) => {
    const fields = event.fields ? ` (${Object.keys(event.fields).join(', ')})` : ''
    return `- \`${name}\`: ${event.description}${fields}`
  })
  return `${description}\n\n${lines.join('\n')}`
}
