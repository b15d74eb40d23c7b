import { errorTable } from 'tidings/internal/core/errors'
import type { JsonSchema, Option, OptionSchema } from 'tidings/internal/core/options'
import { version } from 'tidings/internal/core/version'
import { type Answer, parametersOf, pathExamples, pathParameters, type Route } from './route.ts'
import { Schemas } from './schemas.ts'

/** An OpenAPI document, as far as it is made here. */
export interface OpenApi {
  readonly openapi: string
  readonly info: { readonly title: string; readonly version: string; readonly description: string }
  readonly servers: readonly { readonly url: string; readonly description: string }[]
  readonly tags: readonly { readonly name: string }[]
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>
  readonly components: { readonly schemas: Readonly<Record<string, JsonSchema>>; readonly securitySchemes: object }
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
  readonly example?: unknown
}

type Content = Readonly<Record<string, { readonly schema: JsonSchema; readonly example?: unknown }>>
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
  const schemas = new Schemas(routes)
  schemas.add('ErrorBody', errorSchema)
  const paths: Record<string, Record<string, Operation>> = {}
  for (const route of routes)
    paths[route.path] = { ...paths[route.path], [route.method.toLowerCase()]: operationOf(route, schemas) }
  return {
    openapi: '3.1.0',
    info: { title: 'Tidings', version, description: about },
    // Relative to the document, since the server may be mounted below a path.
    servers: [{ url: './', description: 'The server that gave this document.' }],
    tags: [...new Set(routes.map(({ tag }) => tag))].map((name) => ({ name })),
    paths,
    components: {
      schemas: schemas.all(),
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
    details: { type: 'object', additionalProperties: true, description: 'The same for programs.' },
    error: { type: 'string', description: 'The code in lower case, as clients of PGMQ expect it.' },
    detail: { type: 'string', description: 'The message once more, as clients of PGMQ expect it.' },
  },
}
const errorContent: Content = { 'application/json': { schema: { $ref: '#/components/schemas/ErrorBody' } } }

function operationOf(route: Route, schemas: Schemas): Operation {
  const { name, path, tag, summary, description, scope, isPublic, query, body } = route
  const scopes = scope === null ? [] : [scope]
  return {
    operationId: name,
    tags: [tag],
    summary,
    ...(description === undefined ? {} : { description }),
    // Without tokens the server asks nobody, which the empty one stands for.
    security: isPublic ? [] : [{ bearer: scopes }, { apiKey: scopes }, {}],
    parameters: [
      ...pathParametersOf(path),
      ...Object.entries(query).map(([field, one]) => queryParameter(field, one, schemas)),
    ],
    ...(body === null ? {} : { requestBody: requestBodyOf(route, body, schemas) }),
    responses: responsesOf(route, schemas),
  }
}

const pathParametersOf = (path: string): Parameter[] =>
  parametersOf(path).map((name) => {
    const { doc, jsonSchema = {} } = pathParameters[name]
    return { name, in: 'path', required: true, description: doc, schema: jsonSchema, example: pathExamples[name] }
  })

const queryParameter = (name: string, one: Option<unknown, unknown>, schemas: Schemas): Parameter => ({
  name,
  in: 'query',
  required: one.required === true,
  description: one.doc,
  schema: schemas.input(one),
})

function requestBodyOf(
  { name, example }: Route,
  fields: OptionSchema,
  schemas: Schemas,
): NonNullable<Operation['requestBody']> {
  const required = Object.values(fields).some((one) => one.required)
  const schema = schemas.inputOf(fields, `${titled(name)}Request`)
  return { required, content: { 'application/json': { schema, ...(example ? { example } : {}) } } }
}

const titled = (name: string) => `${name[0]!.toUpperCase()}${name.slice(1)}`

function responsesOf(route: Route, schemas: Schemas): Operation['responses'] {
  const { name, answers, scope, isPublic, path, query, body } = route
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
    ...Object.entries(answers).map(([status, answer]) => [
      status,
      responseOf(Number(status), answer, (fields) => schemas.outputOf(fields, `${titled(name)}Result`)),
    ]),
    ['default', { description: 'Another error, by its code.', content: errorContent }],
  ])
}

function responseOf(
  status: number,
  { description, fields, events, type }: Answer,
  schemaOf: (fields: OptionSchema) => JsonSchema,
): Response {
  if (type !== undefined) return { description, content: { [type.split(';')[0]!]: { schema: textSchema(type) } } }
  if (fields) return { description, content: { 'application/json': { schema: schemaOf(fields) } } }
  if (events)
    return {
      description: withEvents(description, events),
      content: { 'text/event-stream': { schema: { type: 'string' } } },
    }
  return { description, ...(status >= 400 ? { content: errorContent } : {}) }
}

const textSchema = (type: string): JsonSchema =>
  type.startsWith('application/json') ? { type: 'object', additionalProperties: true } : { type: 'string' }

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
