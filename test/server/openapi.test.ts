import { connect } from 'tidings'
import type { JsonSchema } from 'tidings/internal/core/options'
import { createServer } from 'tidings-server'
import type { OpenApi, Operation } from 'tidings-server/internal/http/openapi'
import { allRoutes } from 'tidings-server/internal/routes/all'
import { afterAll, describe, expect, test } from 'vitest'
import { misfits, resolve, sampleOf } from './json-schema.ts'
import { startServer } from './support.ts'

const bus = await connect('memory:')
const found = await createServer(bus).fetch(new Request('http://localhost/openapi.json'))
const document = (await found.json()) as OpenApi
afterAll(() => bus.close())

const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => [method.toUpperCase(), path, operation] as const),
)

/** What stands in paths and bodies. */
const there = { queue: 'orders', topic: 'news', subscription: 'payroll', pattern: 'Orders.*', correlation: 'c-1' }
const missing = { queue: 'nothing', topic: 'nothing', subscription: 'nothing', pattern: 'No.*', correlation: 'c-0' }

/** What the memory engine cannot do. */
const lacking = ['/v1/events', '/v1/channels']

/** A server with something of everything. */
async function startScene() {
  const server = await startServer()
  const { engine } = server.bus
  const orders = server.bus.queue('orders')
  await orders.create()
  await server.bus.queue('others').create()
  await server.bus.bind('Orders.*', 'orders')
  for (let n = 0; n < 3; n++)
    await orders.send({ n }, { meta: { correlationId: 'c-1', targetId: `t-${n}` }, track: true })
  const read = await fetch(`${server.url}/v1/queues/orders/read`, { method: 'POST' })
  const [leased] = ((await read.json()) as { messages: { id: string; receipt: string }[] }).messages
  const [dead] = await orders.read()
  await dead!.deadLetter('broken')
  const topics = engine.topics!
  await topics.createTopic('news', {})
  await topics.subscribe('news', 'payroll', 'earliest')
  await server.bus.topic('news').publish({ n: 1 })
  return { server, id: leased!.id, receipt: leased!.receipt }
}

type Fields = Readonly<Record<string, JsonSchema>>
const hasFields = (schema: JsonSchema): schema is JsonSchema & { readonly properties: Fields } => 'properties' in schema

interface Made {
  readonly url: string
  readonly init: RequestInit
}

/** A request as the document describes it. */
function makeRequest(base: string, method: string, path: string, operation: Operation, values: Values): Made {
  const { names, fields, withOptional } = values
  const filled = path.replaceAll(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(names[name] ?? ''))
  const query = new URLSearchParams()
  for (const { name, in: place, required, schema } of operation.parameters)
    if (place === 'query' && (required || withOptional)) query.set(name, String(sampleOf(schema, fields, name)))
  const schema = operation.requestBody?.content['application/json']?.schema
  const body = schema && sampleOf(select(schema, withOptional), fields)
  return {
    url: `${base}${filled}${query.size > 0 ? `?${query}` : ''}`,
    init: {
      method,
      ...(body === undefined ? {} : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
    },
  }
}

interface Values {
  /** By the names of parameters in the path. */
  readonly names: Readonly<Record<string, string>>
  /** By the names of fields, wherever they stand. */
  readonly fields: Readonly<Record<string, unknown>>
  readonly withOptional: boolean
}

/** Of these one is needed, or at most one is possible; the first ways are taken. */
const needed = ['message', 'messages', 'routing_key']
const others = ['data', 'entries', 'not_before', 'conditional', 'lease_ms']

function select(schema: JsonSchema, withOptional: boolean): JsonSchema {
  const required = (schema.required ?? []) as readonly string[]
  const properties = Object.entries(schema.properties ?? {}).filter(([name]) =>
    withOptional ? !others.includes(name) || required.includes(name) : [...required, ...needed].includes(name),
  )
  return { ...schema, properties: Object.fromEntries(properties) }
}

/** Asks, and holds the answer against the document. @returns the status */
async function askAndCompare({ url, init }: Made, operation: Operation): Promise<number> {
  const leaving = new AbortController()
  const answer = await fetch(url, { ...init, signal: leaving.signal, redirect: 'manual' })
  const documented = operation.responses[String(answer.status)]
  const type = answer.headers.get('content-type')?.split(';')[0]
  const where = `${init.method} ${url} with ${init.body} → ${answer.status}`
  if (type === 'text/event-stream') {
    leaving.abort()
    expect(Object.keys(documented?.content ?? {}), where).toEqual([type])
    return answer.status
  }
  const text = await answer.text()
  expect(documented, `${where}: ${text}`).toBeDefined()
  expect(type === undefined ? [] : [type], where).toEqual(Object.keys(documented!.content ?? {}))
  const schema = documented!.content?.['application/json']?.schema
  if (schema) expect(misfits(schema, JSON.parse(text), document), where).toEqual([])
  return answer.status
}

describe('the document', () => {
  test('describes every route, each once', () => {
    const described = operations.map(([method, path]) => `${method} ${path}`)
    expect(described).toEqual(expect.arrayContaining(allRoutes.map(({ method, path }) => `${method} ${path}`)))
    expect(new Set(described).size).toBe(described.length)
    const ids = operations.map(([, , { operationId }]) => operationId)
    expect(new Set(ids).size).toBe(ids.length)
  })

  test('names the parameters of every path, and its references lead somewhere', () => {
    for (const [, path, { parameters }] of operations) {
      const inPath = parameters.filter((one) => one.in === 'path').map(({ name }) => name)
      expect(inPath).toEqual([...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name))
    }
    for (const [, reference] of JSON.stringify(document).matchAll(/"\$ref":"([^"]+)"/g)) resolve(reference!, document)
  })

  test('says of every answer which fields are always there, and of each once whether it may be null', () => {
    const answers = operations.flatMap(([, , { responses }]) =>
      Object.entries(responses).flatMap(([status, { content }]) => (/^2/.test(status) && content ? [content] : [])),
    )
    const schemas = answers
      .flatMap((content) => (content['application/json'] ? [content['application/json'].schema] : []))
      .filter(hasFields)
    expect(schemas.length).toBeGreaterThan(40)
    for (const schema of schemas) {
      const required = schema.required as readonly string[]
      // One message or several: each has its own.
      if (!['copies', 'offset'].some((name) => name in schema.properties)) expect(required).not.toEqual([])
      expect(schema.additionalProperties).toBe(false)
      expect(JSON.stringify(schema)).not.toMatch(/\{"anyOf":\[\{"anyOf"/)
    }
    const { schema } = document.paths['/v1/queues/{queue}/read']!.post!.responses['200']!.content!['application/json']!
    const message = (schema.properties as Fields).messages!.items as { properties: Fields; required: string[] }
    expect(schema.required).toEqual(['messages', 'more', 'next_due_ms'])
    expect(Object.keys(message.properties).filter((name) => !message.required.includes(name))).toEqual([
      'message',
      'data',
    ])
    expect(message.properties.msg_id).toMatchObject({ type: ['integer', 'string'] })
    expect(message.properties.first_read_at).toMatchObject({ anyOf: [{ type: 'string' }, { type: 'null' }] })
  })

  test('names the error that ends a stream wherever there is one', () => {
    for (const [, , { responses }] of operations)
      for (const { content, description } of Object.values(responses))
        if (content?.['text/event-stream']) expect(description).toMatch(/^- `error`: .*\(code, message, hint, details/m)
  })

  test('says which fields of what is published are for queues only', () => {
    for (const path of ['/v1/publish', '/v1/topics/{topic}/messages']) {
      const { description, requestBody } = document.paths[path]!.post!
      const known = Object.keys(requestBody!.content['application/json']!.schema.properties as Fields)
      const named = [
        .../In a topic (.*) count for its copies in queues only/.exec(description!)![1]!.matchAll(/`(\w+)`/g),
      ]
      expect(named.map(([, name]) => name).toSorted(), path).toEqual(
        known
          .filter((name) => !['message', 'data', 'meta', 'headers', 'dedup', 'entries', 'routing_key'].includes(name))
          .toSorted(),
      )
    }
  })

  test('says of every operation what it is for, and of every field what it means', () => {
    for (const [method, path, { summary, responses, requestBody }] of operations) {
      expect(summary).toMatch(/^[A-Z]/)
      expect(
        Object.keys(responses).some((status) => /^[23]/.test(status)),
        `${method} ${path}`,
      ).toBe(true)
      const fields = Object.entries(requestBody?.content['application/json']?.schema.properties ?? {})
      for (const [name, field] of fields)
        expect((field as { description?: string }).description, `${method} ${path}: ${name}`).toBeTruthy()
    }
  })
})

describe('every operation is answered as the document says', () => {
  test.each(operations)('%s %s', async (method, path, operation) => {
    for (const withOptional of [false, true]) {
      const { server, id, receipt } = await startScene()
      const fields = {
        id,
        ids: [id],
        msg_ids: [Number(id)],
        names: ['pgmq_queue_created'],
        interests: ['queue:orders', 'topic:news'],
        receipt,
        routing_key: 'Orders.Paid',
        to: 'others',
        target_id: 't-1',
        max_length: 100,
        queue: 'others',
        meta: {},
        headers: path.endsWith('/batch') ? [{}] : {},
        message: { n: 1 },
        messages: [{ n: 1 }],
        max_poll_seconds: 0,
        wait_ms: 0,
        consumer: 'c1',
      }
      const names = { ...there, id }
      const status = await askAndCompare(
        makeRequest(server.url, method, path, operation, { names, fields, withOptional }),
        operation,
      )
      if (lacking.includes(path)) expect(status).toBe(501)
      else expect(status, withOptional ? 'with everything' : 'with what is needed').toBeLessThan(400)
      const lost = { names: { ...missing, id: '999' }, fields, withOptional }
      await askAndCompare(makeRequest(server.url, method, path, operation, lost), operation)
      const invalid = {
        names: Object.fromEntries(Object.keys(missing).map((name) => [name, 'a..b'])),
        fields,
        withOptional,
      }
      await askAndCompare(makeRequest(server.url, method, path, operation, invalid), operation)
    }
  })
})

describe('the page for people', () => {
  test('shows every operation and loads nothing', async () => {
    const { server } = await startScene()
    // Its root leads there.
    const answer = await fetch(server.url)
    expect(answer.url).toBe(`${server.url}/docs`)
    expect(answer.headers.get('content-type')).toBe('text/html; charset=utf-8')
    const html = await answer.text()
    for (const [, , { operationId }] of operations) expect(html).toContain(`id="${operationId}"`)
    expect(html).not.toMatch(/undefined|NaN|\[object/)
    expect(html).not.toMatch(/<script|<link|<img|<iframe|@import|url\(|\son\w+=|\sstyle=/i)
  })

  test('escapes what it shows', async () => {
    const { docsPage } = await import('tidings-server/internal/http/docs-page')
    const bad = '<img src=x onerror=alert(1)>"\'&'
    const [path, methods] = Object.entries(document.paths)[0]!
    const operation = { ...Object.values(methods)[0]!, summary: bad, description: bad, tags: [bad] }
    const { text } = docsPage({ ...document, tags: [{ name: bad }], paths: { [path + bad]: { get: operation } } })
    expect(text).not.toContain('<img')
  })
})
