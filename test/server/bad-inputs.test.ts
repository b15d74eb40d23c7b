import { errorTable } from 'tidings/internal/core/errors'
import { describe, expect, test } from 'vitest'
import { ask, head, RawClient, startServer } from './support.ts'

const bodyHeaders = ['Content-Type: application/json']
const post = (path: string, ...headers: string[]) => head(`POST ${path}`, ...bodyHeaders, ...headers)

/** Asks until there is an answer; what is refused for being too slow, or one too many, is asked again. */
async function untilAnswered(server: { readonly url: string }): Promise<void> {
  let received = ''
  while (!received.includes('200 OK'))
    received = await new RawClient(server.url).send(head('GET /livez', 'Connection: close')).all()
}

/** The status and the error of what a raw client received. */
function errorIn(received: string): { status: number; code: string } {
  const [, status = ''] = /^HTTP\/1\.1 (\d{3})/.exec(received) ?? []
  const body = received.slice(received.indexOf('\r\n\r\n') + 4)
  const { code, message, hint, error, detail } = JSON.parse(body.slice(body.indexOf('{'), body.lastIndexOf('}') + 1))
  expect(Object.keys(errorTable)).toContain(code)
  expect(hint).toMatch(/\.$/)
  expect([error, detail]).toEqual([code.toLowerCase(), message])
  return { status: Number(status), code }
}

describe('a body', () => {
  const cases: [what: string, text: string, status: number, code: string, headers?: Record<string, string>][] = [
    ['that is not JSON', '{"message": nope}', 400, 'BODY_NOT_JSON'],
    ['that ends too soon', '{"message": {"a": [1', 400, 'BODY_NOT_JSON'],
    ['that is empty where one is needed', '', 400, 'TYPE'],
    ['that is an array', '[1]', 400, 'TYPE'],
    ['of another type', '{"message":{}}', 415, 'CONTENT_TYPE', { 'content-type': 'text/plain' }],
    [
      'of another charset',
      '{"message":"\u00c3\u00ab"}',
      415,
      'CONTENT_TYPE',
      { 'content-type': 'application/json; charset=iso-8859-1' },
    ],
    ['that is a form', 'message=1', 415, 'CONTENT_TYPE', { 'content-type': 'application/x-www-form-urlencoded' }],
    ['that is encoded', 'x', 415, 'CONTENT_TYPE', { 'content-encoding': 'gzip' }],
    ['with an unknown field', '{"message":{},"massage":1}', 400, 'OPTION_UNKNOWN'],
    ['with a field of another type', '{"message":{},"priority":"high"}', 400, 'TYPE'],
    ['with a number out of range', '{"message":{},"priority":1000}', 400, 'RANGE'],
    ['with a delay before now', '{"message":{},"delay":-1}', 400, 'DELAY_RANGE'],
    ['with headers that are none', '{"message":{},"headers":[1]}', 400, 'HEADERS_INVALID'],
    ['with a NUL character', '{"message":"\\u0000"}', 400, 'BODY_UNSUPPORTED_CHAR'],
    ['with a lone surrogate', '{"message":"\\ud800"}', 400, 'BODY_UNSUPPORTED_CHAR'],
    ['that is nested too deeply', `{"message":${'['.repeat(101)}${']'.repeat(101)}}`, 400, 'BODY_TOO_DEEP'],
    ['with a field given twice', '{"message":1,"message":2}', 400, 'BODY_NOT_JSON'],
    ['with a key given twice in the data', '{"message":{"a":1,"a":2}}', 400, 'BODY_NOT_JSON'],
    ['with a fraction that would be rounded', '{"message":{"price":0.12345678901234567890}}', 400, 'BODY_NOT_JSON'],
    ['with a number beyond all numbers', '{"message":{"n":1e400}}', 400, 'BODY_NOT_JSON'],
    ['with −0', '{"message":{"n":-0}}', 400, 'BODY_NOT_JSON'],
    ['with an integer of 60,002 digits', `{"message":1${'0'.repeat(60_000)}1}`, 400, 'BODY_NOT_JSON'],
    ['that is nested absurdly', `{"message":${'['.repeat(1e6)}${']'.repeat(1e6)}}`, 400, 'BODY_TOO_DEEP'],
    [
      'that is nested absurdly around a large integer',
      `{"message":${'['.repeat(1e5)}12345678901234567890${']'.repeat(1e5)}}`,
      400,
      'BODY_TOO_DEEP',
    ],
  ]
  test.each(cases)('$0', async (_, text, status, code, headers) => {
    const server = await startServer()
    await server.bus.queue('orders').create()
    const answer = await ask(server, 'POST', '/v1/queues/orders/messages', { text, headers: headers ?? {} })
    expect({ status: answer.status, code: answer.body.code }, answer.body.message).toEqual({ status, code })
    expect((await server.bus.queue('orders').stats()).totalSent).toBe(0)
  })

  test('with odd keys is plain data, and changes no prototype', async () => {
    const server = await startServer()
    const queue = server.bus.queue('orders')
    await queue.create()
    const text = '{"message":{"__proto__":{"polluted":true},"constructor":1},"meta":{"__proto__":{"x":1}}}'
    expect((await ask(server, 'POST', '/v1/queues/orders/messages', { text })).status).toBe(201)
    const { body } = await ask(server, 'POST', '/v1/queues/orders/read', { body: {} })
    const [{ message, meta }] = body.messages
    expect(Object.getOwnPropertyDescriptor(message, '__proto__')?.value).toEqual({ polluted: true })
    expect(message.constructor).toBe(1)
    expect(Object.getPrototypeOf(meta)).toBe(Object.prototype)
    expect(({} as { polluted?: boolean }).polluted).toBe(undefined)
  })

  test('with line breaks in it is data, and writes no line of an answer', async () => {
    const server = await startServer()
    await server.bus.queue('orders').create()
    const breaks = 'b\r\nX-Injected: 1\r\n\r\nevent: injected\ndata: {}\n\n'
    const body = { message: breaks, headers: { [breaks]: breaks }, meta: { x: breaks } }
    expect((await ask(server, 'POST', '/v1/queues/orders/messages', { body })).status).toBe(201)
    const client = new RawClient(server.url).send(head('GET /v1/queues/orders/stream'))
    const received = await client.until(/\ndata: .*\n\n/)
    expect([...received.matchAll(/^event: .*$/gm)].map(String)).toEqual(['event: message'])
    expect(received).not.toMatch(/^X-Injected/im)
    const [, data = ''] = /^data: (.*)$/m.exec(received) ?? []
    expect(JSON.parse(data)).toMatchObject({ message: breaks, headers: { [breaks]: breaks }, meta: { x: breaks } })
  })

  test('with very many or very long keys is an answer like any other', async () => {
    const server = await startServer()
    await server.bus.queue('orders').create()
    const many = Object.fromEntries(Array.from({ length: 100_000 }, (_, index) => [`k${index}`, 0]))
    for (const message of [many, { ['k'.repeat(1_000_000)]: 1 }]) {
      const { status } = await ask(server, 'POST', '/v1/queues/orders/messages', { body: { message } })
      expect([201, 400, 413]).toContain(status)
    }
    expect((await ask(server, 'GET', '/livez')).status).toBe(200)
  })

  test('that announces to be too large is refused before it is sent', async () => {
    const server = await startServer({ maxBodyBytes: 2_000 })
    const client = new RawClient(server.url).send(post('/v1/queues/orders/messages', 'Content-Length: 2001'))
    expect(errorIn(await client.until(/\}$/))).toEqual({ status: 413, code: 'BODY_TOO_LARGE' })
    await client.closed
  })

  test('that is too large is not invited', async () => {
    const server = await startServer({ maxBodyBytes: 2_000 })
    const request = post('/v1/queues/orders/messages', 'Content-Length: 2001', 'Expect: 100-continue')
    const received = await new RawClient(server.url).send(request).until(/\}$/)
    expect(received).not.toContain('100 Continue')
    expect(errorIn(received).status).toBe(413)
  })

  test('that comes in chunks without end is cut off', async () => {
    const server = await startServer({ maxBodyBytes: 2_000 })
    const client = new RawClient(server.url)
    client.send(post('/v1/queues/orders/messages', 'Transfer-Encoding: chunked'))
    const chunk = `400\r\n${'x'.repeat(1024)}\r\n`
    client.send(chunk).send(chunk)
    const received = await client.until(/\}$/)
    expect(errorIn(received)).toEqual({ status: 413, code: 'BODY_TOO_LARGE' })
    expect(received).toMatch(/^connection: close\r$/im)
    await client.closed
  })

  test('of exactly the limit is taken', async () => {
    const server = await startServer({ maxBodyBytes: 2_000 })
    await server.bus.queue('orders').create()
    const message = 'x'.repeat(2_000 - '{"message":""}'.length)
    expect((await ask(server, 'POST', '/v1/queues/orders/messages', { body: { message } })).status).toBe(201)
    const { status } = await ask(server, 'POST', '/v1/queues/orders/messages', { body: { message: `${message}x` } })
    expect(status).toBe(413)
  })

  test.each([
    ['/v1/queues/orders/messages', (data: string) => ({ message: data }), 'message'],
    ['/v1/queues/orders/messages/batch', (data: string) => ({ messages: [1, data] }), 'messages[1].message'],
    ['/v1/queues/orders/messages/batch', (data: string) => ({ entries: [{ message: data }] }), 'entries[0].message'],
    ['/v1/publish', (data: string) => ({ routing_key: 'Orders.Paid', message: data }), 'message'],
    ['/v1/topics/news/messages', (data: string) => ({ message: data }), 'message'],
    ['/v1/topics/news/messages', (data: string) => ({ entries: [{ message: data }] }), 'entries[0].message'],
  ])('with data of exactly the limit is taken, with more it is not: %s', async (path, bodyOf, field) => {
    const server = await startServer({ maxMessageBytes: 100 })
    await server.bus.queue('orders').create()
    await server.bus.bind('Orders.*', 'orders')
    await server.bus.topic('news').create()
    const data = 'é'.repeat(49)
    expect((await ask(server, 'POST', path, { body: bodyOf(data) })).status).toBe(201)
    const { status, body } = await ask(server, 'POST', path, { body: bodyOf(`${data}x`) })
    expect(status).toBe(413)
    expect(body).toMatchObject({ code: 'BODY_TOO_LARGE', details: { field, maxBytes: 100 } })
    expect(body.message).toBe(`${field} is 101 bytes of JSON; at most 100`)
  })

  test('with data as text is held to the same limit, which is 1 MiB', async () => {
    const server = await startServer()
    await server.bus.queue('orders').create()
    const send = (length: number) =>
      ask(server, 'POST', '/v1/queues/orders/messages', {
        body: { data: `"${'x'.repeat(length - 2)}"` },
        headers: { 'tidings-data': 'text' },
      })
    expect((await send(1_048_576)).status).toBe(201)
    expect((await send(1_048_577)).body).toMatchObject({ code: 'BODY_TOO_LARGE', details: { field: 'data' } })
  })

  test('shorter than it announced ends with the time for requests', async () => {
    const server = await startServer({ headerTimeout: 300, requestTimeout: 300 })
    const client = new RawClient(server.url)
    client.send(post('/v1/queues/orders/messages', 'Content-Length: 100')).send('{"message":1}')
    await client.closed
    await untilAnswered(server)
  })

  test('longer than it announced is no second request', async () => {
    const server = await startServer()
    await server.bus.queue('orders').create()
    const client = new RawClient(server.url)
    client.send(`${post('/v1/queues/orders/messages', 'Content-Length: 13')}{"message":1}{"message":2}`)
    const received = await client.all()
    expect([...received.matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => status)).toEqual(['201', '400'])
    expect((await server.bus.queue('orders').stats()).totalSent).toBe(1)
  })
})

describe('the description of a topic', () => {
  test.each([
    ['a\u0000', 400, 'BODY_UNSUPPORTED_CHAR'],
    ['\ud800', 400, 'BODY_UNSUPPORTED_CHAR'],
    ['x'.repeat(1_001), 400, 'RANGE'],
    ['x'.repeat(1_000), 201, undefined],
  ])('%j: %i', async (description, status, code) => {
    const server = await startServer()
    const answer = await ask(server, 'PUT', '/v1/topics/news', { body: { description } })
    expect([answer.status, answer.body.code]).toEqual([status, code])
    if (status === 400) expect(answer.body.message).toMatch(/^description /)
  })
})

describe('a path', () => {
  test.each([
    ['/v1/queues/..%2f..%2fetc/metrics', [400, 404]],
    ['/v1/queues/%00/metrics', [400]],
    ['/v1/queues/a%0d%0aX-Injected:%201/metrics', [400]],
    ['/v1/queues/%zz/metrics', [400]],
    ['/v1/queues/%ff/metrics', [400]],
    ["/v1/queues/a'b;%20drop/metrics", [400]],
    ['/v1/queues/a--b/metrics', [400]],
    [`/v1/queues/${'a'.repeat(48)}/metrics`, [400]],
    ['/v1/queues/__proto__/metrics', [404]],
    ['/v1/queues/constructor/metrics', [404]],
    [`/${'a'.repeat(10_000)}`, [414]],
    ['/v1/queues?nonsense=1', [400]],
    ['/nothing', [404]],
    ['//', [404]],
  ])('$0', async (path, expected) => {
    const server = await startServer()
    const received = await new RawClient(server.url).send(head(`GET ${path}`, 'Connection: close')).all()
    expect(expected).toContain(errorIn(received).status)
    expect(received.slice(0, received.indexOf('\r\n\r\n'))).not.toContain('X-Injected')
  })
})

describe('a method', () => {
  test.each([
    ['PATCH', '/v1/queues', 405, 'GET, HEAD'],
    ['POST', '/livez', 405, 'GET, HEAD'],
    ['GET', '/v1/queues/orders/read', 405, 'POST'],
    ['PROPFIND', '/v1/queues/orders', 405, null],
  ])('%s is not for %s', async (method, path, status, allow) => {
    const server = await startServer()
    const answer = await ask(server, method, path)
    expect({ status: answer.status, code: answer.body.code }).toEqual({ status, code: 'METHOD_NOT_ALLOWED' })
    const allowed = answer.headers.get('allow')
    if (allow === null) expect(allowed).toMatch(/DELETE/)
    else expect(allowed).toBe(allow)
  })

  test('HEAD has no body', async () => {
    const server = await startServer()
    const received = await new RawClient(server.url).send(head('HEAD /livez', 'Connection: close')).all()
    expect(received).toMatch(/^HTTP\/1\.1 200 OK\r\n[\s\S]*\r\n\r\n$/)
  })
})

describe('limits of calls', () => {
  test.each([
    ['read', { qty: 0 }, 'LIMIT_RANGE'],
    ['read', { qty: 1e9 }, 'LIMIT_RANGE'],
    ['read', { qty: null, vt: -1 }, 'LEASE_RANGE'],
    ['read', { vt: 1e9 }, 'LEASE_RANGE'],
    ['pop', { qty: -1 }, 'LIMIT_RANGE'],
    ['messages/batch', { messages: Array(10_001).fill(1) }, 'BATCH_SIZE'],
    ['messages/batch', { messages: [{}], headers: [{}, {}] }, null],
    ['messages/delete', { msg_ids: ['../x'] }, 'MESSAGE_ID_INVALID'],
  ])('$0: $2', async (call, body, code) => {
    const server = await startServer()
    await server.bus.queue('orders').create()
    const answer = await ask(server, 'POST', `/v1/queues/orders/${call}`, { body })
    expect(answer.status, JSON.stringify(answer.body)).toBe(400)
    if (code !== null) expect(answer.body.code).toBe(code)
  })
})

describe('what is not HTTP', () => {
  test.each([
    ['another protocol', 'SSH-2.0-OpenSSH_9.2\r\n', 400],
    ['TLS', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03', 400],
    ['two lengths', head('POST /v1/queues/a/read', 'Content-Length: 1', 'Content-Length: 2'), 400],
    ['a length and chunks', head('POST /v1/queues/a/read', 'Content-Length: 1', 'Transfer-Encoding: chunked'), 400],
    ['headers of 16 kB', head('GET /livez', `X-Long: ${'x'.repeat(17_000)}`), 431],
    ['very many headers', head('GET /livez', ...Array.from({ length: 3_000 }, (_, n) => `X-${n}: 1`)), 431],
  ])('%s', async (_, text, status) => {
    const server = await startServer()
    const received = await new RawClient(server.url).send(text).all()
    expect(errorIn(received).status).toBe(status)
    expect((await ask(server, 'GET', '/livez')).status).toBe(200)
  })

  test('no Host', async () => {
    const server = await startServer()
    const received = await new RawClient(server.url).send('GET /livez HTTP/1.1\r\nConnection: close\r\n\r\n').all()
    expect(errorIn(received)).toEqual({ status: 400, code: 'REQUEST_INVALID' })
  })

  test('HTTP/1.0, which has none, is answered', async () => {
    const server = await startServer()
    const received = await new RawClient(server.url).send('GET /livez HTTP/1.0\r\n\r\n').all()
    expect(received).toMatch(/^HTTP\/1\.1 200 OK\r\n[\s\S]*\{"status":"ok"\}$/)
    const foreign = 'GET /livez HTTP/1.0\r\nHost: evil.example\r\n\r\n'
    expect(errorIn(await new RawClient(server.url).send(foreign).all()).code).toBe('HOST_UNKNOWN')
  })
})

describe('clients that keep others waiting', () => {
  test('headers that never end are answered in time, and hold up nobody', async () => {
    const server = await startServer({ headerTimeout: 500 })
    const slow = Array.from({ length: 50 }, () => new RawClient(server.url).send('GET /livez HTTP/1.1\r\nHost: local'))
    await untilAnswered(server)
    for (const client of slow) expect(errorIn(await client.all())).toEqual({ status: 408, code: 'REQUEST_TIMEOUT' })
  })

  test.each([
    ['says nothing', '', /REQUEST_TIMEOUT/],
    ['speaks no HTTP', 'SSH-2.0-OpenSSH_9.2\r\n', /REQUEST_INVALID/],
  ])('whoever %s and does not close the connection keeps no place', async (_, text, refusal) => {
    const server = await startServer({ headerTimeout: 300, maxConnections: 10 })
    const others = Array.from({ length: 10 }, () => new RawClient(server.url, { allowHalfOpen: true }).send(text))
    await Promise.all(others.map((client) => client.until(refusal)))
    await untilAnswered(server)
  })

  test('connections beyond the limit are closed, and room is made when others end', async () => {
    const server = await startServer({ maxConnections: 20 })
    const idle: RawClient[] = []
    for (let n = 0; n < 20; n++) {
      idle.push(new RawClient(server.url).send(head('GET /livez')))
      await idle[n]!.until(/ok/)
    }
    const refused = new RawClient(server.url).send(head('GET /livez', 'Connection: close'))
    expect(await refused.all()).toBe('')
    idle[0]!.socket.destroy()
    await idle[0]!.closed
    // The server notices the end of the other one a moment later.
    await untilAnswered(server)
  })

  test('whoever does not read answers keeps no place', async () => {
    const server = await startServer({ stallTimeout: 1_000, maxConnections: 1 })
    await server.bus.queue('orders').create()
    await server.bus.queue('orders').sendBatch(Array.from({ length: 12 }, () => ({ data: 'x'.repeat(1_000_000) })))
    const deaf = new RawClient(server.url)
    deaf.socket.pause()
    const body = '{"limit":100}'
    const look = head('POST /v1/queues/orders/peek', 'Content-Type: application/json', `Content-Length: ${body.length}`)
    deaf.send(look + body)
    await untilAnswered(server)
    deaf.socket.destroy()
  })

  test('requests in a row on one connection are answered in their order', async () => {
    const server = await startServer()
    const paths = ['/livez', '/v1/health', '/nothing', '/readyz']
    const requests = paths.map((path, n) => head(`GET ${path}`, ...(n === 3 ? ['Connection: close'] : [])))
    const received = await new RawClient(server.url).send(requests.join('')).all()
    expect([...received.matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => status)).toEqual([
      '200',
      '200',
      '404',
      '200',
    ])
  })

  test('too many requests without reading an answer end the connection', async () => {
    const server = await startServer()
    await server.bus.queue('orders').create()
    const wait = '{"max_poll_seconds":20}'
    const request = `${post('/v1/queues/orders/read-poll', `Content-Length: ${wait.length}`)}${wait}`
    await new RawClient(server.url).send(request.repeat(200)).closed
    expect((await ask(server, 'GET', '/livez')).status).toBe(200)
  })
})
