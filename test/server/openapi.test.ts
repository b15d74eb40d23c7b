import { connect } from 'tidings'
import type { JsonSchema } from 'tidings/internal/core/options'
import { createServer } from 'tidings-server'
import type { OpenApi, Operation } from 'tidings-server/internal/http/openapi'
import { allRoutes } from 'tidings-server/internal/routes/all'
import { afterAll, describe, expect, test } from 'vitest'
import { flatten, misfits, resolve, sampleOf } from './json-schema.ts'
import { startServer } from './support.ts'

const bus = await connect('memory:')
const found = await createServer(bus).fetch(new Request('http://localhost/openapi.json'))
const published = (await found.json()) as OpenApi
/** The same without references. */
const document = flatten(published, published) as OpenApi
afterAll(() => bus.close())

const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => [method.toUpperCase(), path, operation] as const),
)

/** What stands in paths and bodies. */
const there = {
  queue: 'orders',
  topic: 'news',
  subscription: 'payroll',
  pattern: 'Orders.*',
  correlation: 'c-1',
  schedule: 'nightly',
}
const missing = {
  queue: 'nothing',
  topic: 'nothing',
  subscription: 'nothing',
  pattern: 'No.*',
  correlation: 'c-0',
  schedule: 'no',
}

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
  await server.bus.schedule('nightly', { cron: '0 2 * * *', queue: 'orders' })
  const { revision } = (await engine.schedules.list('all')).schedules[0]!
  const free = (await orders.peek({ place: 'ready', limit: 1 }))[0]!.id
  return { server, id: leased!.id, free, receipt: leased!.receipt, revision }
}

const takesFree = (path: string) => /\{id\}\/(move|dead-letter)$/.test(path)

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
  // It sends to one place.
  if (method === 'PUT' && path === '/v1/schedules/{schedule}') {
    for (const field of ['routing_key', 'topic']) delete (body as Record<string, unknown>)[field]
    Object.assign(body as object, { queue: 'others' })
  }
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
const needed = ['message', 'messages', 'routing_key', 'cron']
const others = ['data', 'entries', 'not_before', 'conditional', 'lease_ms', 'every_ms', 'at', 'owner']

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
    for (const [, reference] of JSON.stringify(published).matchAll(/"\$ref":"([^"]+)"/g)) resolve(reference!, published)
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
    expect(schema.required).toEqual(['messages', 'more', 'next_due_ms', 'held_back'])
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
      const { server, id: leased, free, receipt, revision } = await startScene()
      // What is in hand stays there.
      const id = takesFree(path) ? free : leased
      const fields = {
        id,
        limits: [{ per: 'group', rate: '100/min' }],
        weights: { gold: 3 },
        ids: [id],
        msg_ids: [Number(id)],
        names: ['pgmq_queue_created'],
        interests: ['queue:orders', 'topic:news', ...(withOptional ? ['life'] : [])],
        holder: 'h'.repeat(32),
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
        settings: { pause: { reason: 'the printer is out of paper' } },
        // The rest contradicts a target and a task.
        dedup: { id: 'd', window_ms: 60_000 },
        revision,
        before: revision,
        cron: '0 2 * * *',
        timezone: 'Europe/Berlin',
        start_at: '2026-01-01T00:00:00Z',
        end_at: '9000-01-01T00:00:00Z',
        since: new Date(Date.now() - 3_600_000).toISOString(),
        until: new Date().toISOString(),
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

describe('clients', () => {
  test('get a name for every operation, in camel case and snake case, and for every object a type', () => {
    const names = operations.map(([, , { operationId }]) => operationId)
    for (const name of names) expect(name).toMatch(/^[a-z]+([A-Z][a-z0-9]*)*$/)
    const { schemas } = published.components
    for (const name of Object.keys(schemas)) expect(name).toMatch(/^([A-Z][a-z0-9]*)+$/)
    // Inline objects would get names from where they stand, and one for every place.
    for (const [name, schema] of Object.entries(schemas)) {
      if (name === 'Position') continue
      const { properties, ...rest } = schema
      expect(rest, name).toMatchObject({ type: 'object', required: expect.any(Array) })
      expect(JSON.stringify(properties), `an object in ${name} is not named(), http/fields.ts`).not.toContain(
        '"properties"',
      )
    }
    for (const [, path, { requestBody, responses }] of Object.entries(published.paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, one]) => [method, path, one] as const),
    ))
      for (const content of [requestBody?.content, ...Object.values(responses).map((one) => one.content)])
        if (content?.['application/json'] && path !== '/openapi.json')
          expect(content['application/json'].schema).toEqual({ $ref: expect.any(String) })
  })

  test('find where to go, and an example of every parameter in a path and of every body', () => {
    expect(published.servers).toEqual([{ url: './', description: expect.any(String) }])
    for (const [, path, { parameters, requestBody }] of operations) {
      for (const one of parameters) if (one.in === 'path') expect(one.example, `${path}: ${one.name}`).toBeTruthy()
      const { schema, example } = requestBody?.content['application/json'] ?? {}
      if (schema) expect(example && misfits(schema, example, document), `the example of ${path}`).toEqual([])
    }
  })

  test.each(operations.filter(([, , { requestBody }]) => requestBody))('%s %s takes its example', async (...one) => {
    const [method, path, { requestBody }] = one
    const { server, id, free } = await startScene()
    const names = { ...there, id: takesFree(path) ? free : id }
    const { example } = requestBody!.content['application/json']!
    const filled = path.replaceAll(/\{(\w+)\}/g, (_, name: keyof typeof names) => encodeURIComponent(names[name]))
    const leaving = new AbortController()
    const answer = await fetch(`${server.url}${filled}`, {
      method,
      body: JSON.stringify(example),
      headers: { 'content-type': 'application/json' },
      signal: leaving.signal,
    })
    expect(answer.status).toBeLessThan(300)
    leaving.abort()
  })
})

describe('the page for people', () => {
  test('comes whole from this server, also below a path', async () => {
    const { server } = await startScene()
    // Its root leads there.
    const answer = await fetch(server.url)
    expect(answer.url).toBe(`${server.url}/docs`)
    expect(answer.headers.get('content-type')).toBe('text/html; charset=utf-8')
    const html = await answer.text()
    const loaded = [...html.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, one]) => one!)
    expect(loaded.toSorted()).toEqual([
      'data:,',
      'docs/page.css',
      'docs/page.js',
      'docs/swagger-ui.css',
      'docs/swagger-ui.js',
      'openapi.json',
    ])
    for (const one of loaded.filter((name) => name.startsWith('docs/'))) {
      const part = await fetch(`${server.url}/${one}`)
      expect(part.status, one).toBe(200)
      const text = await part.text()
      expect(text.length, one).toBeGreaterThan(100)
      if (one.endsWith('.css')) expect(text).not.toMatch(/@import|url\((?!["']?data:)/)
    }
    expect(answer.headers.get('content-security-policy')).toMatch(
      /default-src 'none'; script-src 'self'; .*connect-src 'self'/,
    )
    expect(html).not.toMatch(/<script>|\son\w+=|https?:/i)
  })

  test('hands its search the words of every operation', async () => {
    const { server } = await startScene()
    const source = await (await fetch(`${server.url}/docs/page.js`)).text()
    interface Tag {
      readonly list: readonly object[]
      get(): { size: number }
      update(_: string, change: (operations: { filter(test: (one: object) => boolean): object[] }) => object[]): Tag
    }
    type Ui = { readonly plugins: readonly (() => { fn: { opsFilter(tags: Tag[], phrase: string): Tag[] } })[] }
    let started: Ui | undefined
    const media = { matches: true, addEventListener() {} }
    const page = { documentElement: { classList: { toggle() {} } }, querySelector: () => null }
    const start = (ui: Ui) => {
      started = ui
    }
    new Function('SwaggerUIBundle', 'matchMedia', 'document', source)(start, () => media, page)
    // As much of an immutable map as the search asks of.
    const tagOf = (list: readonly object[]): Tag => ({
      list,
      get: () => ({ size: list.length }),
      update: (_, change) => tagOf(change({ filter: (test) => list.filter((one) => test({ toJS: () => one })) })),
    })
    const all = operations.map(([method, path, operation]) => ({ method, path, operation }))
    const [found] = started!.plugins[0]!().fn.opsFilter([tagOf(all)], 'Dead redrive')
    expect(found!.list).toMatchObject([{ operation: { operationId: 'redriveDeadLetters' } }])
  })
})
