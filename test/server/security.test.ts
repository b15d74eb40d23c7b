import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { FakeClock } from 'tidings/internal/core/fake-clock'
import { createServer } from 'tidings-server'
import { newToken, parseToken, type TokenOptions } from 'tidings-server/internal/auth/token'
import { Tokens } from 'tidings-server/internal/auth/tokens'
import { describe, expect, onTestFinished, test } from 'vitest'
import { EventClient } from './event-client.ts'
import { ask, bearer, head, makeToken, RawClient, startServer } from './support.ts'

const everything = ['send', 'receive', 'admin', 'read'] as const

describe('tokens', () => {
  test('are long, random, and known by their beginning', () => {
    const made = Array.from({ length: 100 }, newToken)
    expect(new Set(made.map(({ token }) => token)).size).toBe(100)
    for (const { token, hash } of made) {
      expect(token).toMatch(/^tdg_[\w-]{43}$/)
      expect(hash).toMatch(/^sha256:[0-9a-f]{64}$/)
    }
  })

  test('let in who has one, by either header, and nobody else', async () => {
    const { secret, entry } = makeToken({ name: 'all', scopes: everything })
    const server = await startServer({ tokens: [entry] })
    const of = async (headers: Record<string, string>) => (await ask(server, 'GET', '/v1/queues', { headers })).status
    expect(await of(bearer(secret))).toBe(200)
    expect(await of({ authorization: `bearer   ${secret}` })).toBe(200)
    expect(await of({ 'x-api-key': secret })).toBe(200)
    for (const headers of [
      {},
      bearer(''),
      bearer(secret.slice(0, -1)),
      bearer(`${secret}x`),
      bearer(entry.hash!),
      { authorization: secret },
      { authorization: `Basic ${secret}` },
      { 'x-api-key': '' },
    ] as Record<string, string>[])
      expect(await of(headers), JSON.stringify(headers)).toBe(401)
    const refused = await ask(server, 'GET', '/v1/queues')
    expect(refused.headers.get('www-authenticate')).toMatch(/^Bearer/)
    expect(refused.body).toMatchObject({ code: 'UNAUTHORIZED', error: 'unauthorized' })
  })

  test('are asked for before anything of the request is looked at', async () => {
    const { entry } = makeToken({ name: 'all', scopes: everything })
    const server = await startServer({ tokens: [entry] })
    for (const [method, path] of [
      ['GET', '/v1/queues/UPPER/metrics'],
      ['POST', '/v1/queues/missing/messages'],
      ['GET', '/metrics'],
    ] as const)
      expect((await ask(server, method, path, method === 'POST' ? { text: 'no json' } : {})).status).toBe(401)
  })

  test('are not needed by probes and pages', async () => {
    const { entry } = makeToken({ name: 'all', scopes: everything })
    const server = await startServer({ tokens: [entry] })
    for (const path of ['/livez', '/readyz', '/health', '/ready', '/v1/health', '/v1/ready', '/openapi.json', '/docs'])
      expect((await ask(server, 'GET', path)).status, path).toBe(200)
    expect((await ask(server, 'GET', '/health')).body.auth).toBe('enabled')
  })

  test('are good for their scopes', async () => {
    const made = Object.fromEntries(everything.map((scope) => [scope, makeToken({ name: scope, scopes: [scope] })]))
    const server = await startServer({ tokens: Object.values(made).map(({ entry }) => entry) })
    await server.bus.queue('orders').create()
    const calls = {
      send: ['POST', '/v1/queues/orders/messages', { message: 1 }],
      receive: ['POST', '/v1/queues/orders/read', {}],
      admin: ['POST', '/v1/queues/orders/purge', undefined],
      read: ['GET', '/v1/queues/orders/metrics', undefined],
    } as const
    for (const scope of everything)
      for (const [needed, [method, path, body]] of Object.entries(calls)) {
        const { status, body: answer } = await ask(server, method, path, {
          headers: bearer(made[scope]!.secret),
          ...(body === undefined ? {} : { body }),
        })
        expect(status < 300, `${scope} for ${needed}: ${status}`).toBe(scope === needed)
        if (scope !== needed) expect([status, answer.code]).toEqual([403, 'FORBIDDEN'])
      }
  })

  test('see their queues only; others are as if they did not exist', async () => {
    const { secret, entry } = makeToken({ name: 'some', scopes: everything, queues: ['orders', 'invoices*'] })
    const server = await startServer({ tokens: [entry] })
    for (const name of ['orders', 'invoices_eu', 'invoices', 'salaries', 'orders2'])
      await server.bus.queue(name).create()
    const headers = bearer(secret)
    const { body } = await ask(server, 'GET', '/v1/queues', { headers })
    expect(body.queues.map((one: { queue_name: string }) => one.queue_name)).toEqual([
      'invoices',
      'invoices_eu',
      'orders',
    ])
    const hidden = await ask(server, 'GET', '/v1/queues/salaries/metrics', { headers })
    const missing = await ask(server, 'GET', '/v1/queues/salarie5/metrics', { headers })
    expect(hidden.status).toBe(404)
    const without = (answer: { body: object }) => JSON.stringify(answer.body).replaceAll(/salarie./g, '')
    expect(without(hidden)).toBe(without(missing))
    const write = { headers, body: { message: 1 } }
    expect((await ask(server, 'POST', '/v1/queues/salaries/messages', write)).status).toBe(404)
    expect((await ask(server, 'PUT', '/v1/queues/new', { headers })).status).toBe(404)
    expect((await ask(server, 'PUT', '/v1/queues/invoices_us', { headers })).status).toBe(201)
  })

  test('are told nothing of other queues by hints', async () => {
    const { secret, entry } = makeToken({ name: 'some', scopes: everything, queues: ['orders*'] })
    const server = await startServer({ tokens: [entry] })
    await server.bus.queue('order').create()
    for (const [method, path, body] of [
      ['GET', '/v1/queues/orders/metrics', undefined],
      ['POST', '/v1/queues/orders/messages', { message: 1 }],
      ['POST', '/v1/queues/orders/read', {}],
    ] as const) {
      const answer = await ask(server, method, path, {
        headers: bearer(secret),
        ...(body === undefined ? {} : { body }),
      })
      expect(answer.status).toBe(404)
      expect(JSON.stringify(answer.body)).not.toContain("'order'")
    }
  })

  test('of some queues reach no others by bindings, moves or completions', async () => {
    const { secret, entry } = makeToken({
      name: 'some',
      scopes: everything,
      queues: ['orders'],
      keys: ['Orders.*'],
    })
    const server = await startServer({ tokens: [entry] })
    await server.bus.queue('orders').create()
    await server.bus.queue('salaries').create()
    await server.bus.bind('#', 'salaries')
    const headers = bearer(secret)
    const publish = (routing_key: string) =>
      ask(server, 'POST', '/v1/publish', { headers, body: { routing_key, message: 1 } })
    expect((await publish('Salaries.Paid')).status).toBe(403)
    const allowed = await publish('Orders.Paid')
    expect(allowed.status).toBeLessThan(300)
    expect(JSON.stringify(allowed.body)).not.toContain('salaries')

    await server.bus.queue('orders').send('x')
    const { body } = await ask(server, 'POST', '/v1/queues/orders/read', { headers, body: {} })
    const [{ id, receipt }] = body.messages
    const move = { settlements: [{ id, receipt, kind: 'move', to: 'salaries' }] }
    expect((await ask(server, 'POST', '/v1/queues/orders/settle', { headers, body: move })).status).toBe(403)
    const tracked = { message: 1, tracked: { correlation_id: 'c', completion_queue: 'salaries' } }
    expect((await ask(server, 'POST', '/v1/queues/orders/messages', { headers, body: tracked })).status).toBe(403)
    expect((await server.bus.queue('salaries').stats()).totalSent).toBe(1)
  })

  test('bind only to what they may publish', async () => {
    const { secret, entry } = makeToken({ name: 'mine', scopes: everything, queues: ['mine*'], keys: ['Orders.#'] })
    const bare = makeToken({ name: 'bare', scopes: everything, queues: ['mine*'] })
    const all = makeToken({ name: 'all', scopes: everything })
    const server = await startServer({ tokens: [entry, bare.entry, all.entry] })
    for (const name of ['mine1', 'other']) {
      await server.bus.queue(name).create()
      await server.bus.topic(name).create()
    }
    const put = async (path: string, by: string) => {
      const { status, body } = await ask(server, 'PUT', path, { headers: bearer(by) })
      return status === 201 ? status : `${status} ${body.code}`
    }
    for (const place of ['/v1/queues/mine1/bindings', '/v1/topics/mine1/patterns']) {
      for (const pattern of ['%23', 'secret.x', '*.Paid', '%23.Orders.Paid', '*.%23'])
        expect(await put(`${place}/${pattern}`, secret), pattern).toBe('403 FORBIDDEN')
      for (const pattern of ['Orders.%23', 'Orders.*.Paid', 'Orders'])
        expect(await put(`${place}/${pattern}`, secret)).toBe(201)
      expect(await put(`${place}/Orders`, bare.secret)).toBe('403 FORBIDDEN')
    }
    expect(await put('/v1/queues/other/bindings/%23', all.secret)).toBe(201)
    expect(await put('/v1/topics/mine1/queues/mine1', secret)).toBe(201)
    expect(await put('/v1/topics/mine1/queues/other', secret)).toBe('404 QUEUE_NOT_FOUND')
    expect(await put('/v1/topics/other/queues/mine1', secret)).toBe('404 TOPIC_NOT_FOUND')
    await server.bus.publish('secret.x', 1)
    expect((await server.bus.queue('mine1').stats()).totalSent).toBe(0)
    expect((await server.bus.queue('other').stats()).totalSent).toBe(1)
  })

  test('without the scope for it create no queue by a move, but the one for dead letters', async () => {
    const queues = ['orders*']
    const worker = makeToken({ name: 'worker', scopes: ['send', 'receive'], queues })
    const admin = makeToken({ name: 'admin', scopes: ['receive', 'admin'], queues })
    const server = await startServer({ tokens: [worker.entry, admin.entry] })
    for (const name of ['orders', 'orders.there']) await server.bus.queue(name).create()
    await server.bus.queue('orders').sendBatch([1, 2, 3].map((data) => ({ data })))
    const move = async (to: string, { secret } = worker) => {
      const headers = bearer(secret)
      const { body } = await ask(server, 'POST', '/v1/queues/orders/read', { headers, body: {} })
      const [{ id, receipt }] = body.messages
      const settlements = [{ id, receipt, kind: 'move', to }]
      const answer = await ask(server, 'POST', '/v1/queues/orders/settle', { headers, body: { settlements } })
      if (answer.status !== 200) {
        const back = { id, receipt, kind: 'release' }
        await ask(server, 'POST', '/v1/queues/orders/settle', { headers, body: { settlements: [back] } })
        return `${answer.status} ${answer.body.code}`
      }
      return answer.body.results[0].settled
    }
    for (const to of ['orders.new', 'orders.there_dlq', 'orders_dlq_dlq']) expect(await move(to)).toBe('403 FORBIDDEN')
    expect(await move('orders.there')).toBe(true)
    expect(await move('orders_dlq')).toBe(true)
    expect(await move('orders.new', admin)).toBe(true)
    expect((await server.bus.queues()).map(({ queue }) => queue)).toEqual([
      'orders',
      'orders.new',
      'orders.there',
      'orders_dlq',
    ])
  })

  test('expire', async () => {
    const past = makeToken({ name: 'past', scopes: everything, expires: '2020-01-01' })
    const future = makeToken({ name: 'future', scopes: everything, expires: '2999-01-01T00:00:00Z' })
    const server = await startServer({ tokens: [past.entry, future.entry] })
    expect((await ask(server, 'GET', '/v1/queues', { headers: bearer(past.secret) })).status).toBe(401)
    expect((await ask(server, 'GET', '/v1/queues', { headers: bearer(future.secret) })).status).toBe(200)
  })

  test('may make their number of requests a second', async () => {
    const clock = new FakeClock(1_000_000)
    const { secret, entry } = makeToken({ name: 'slow', scopes: everything, rate: 2 })
    const tokens = new Tokens([parseToken(entry, 'token')], true, clock)
    const call = () => tokens.callerOf(new Request('http://localhost/', { headers: bearer(secret) }))
    call()
    call()
    expect(call).toThrow(expect.objectContaining({ code: 'RATE_LIMITED', details: { rate: 2, retryAfterS: 1 } }))
    await clock.advance(499)
    expect(call).toThrow()
    await clock.advance(1)
    call()
    expect(call).toThrow()
  })

  test('that make too many requests are told when to come again', async () => {
    const { secret, entry } = makeToken({ name: 'slow', scopes: everything, rate: 1 })
    const server = await startServer({ tokens: [entry] })
    const of = () => ask(server, 'GET', '/v1/queues', { headers: bearer(secret) })
    const answers = await Promise.all(Array.from({ length: 10 }, of))
    const refused = answers.filter(({ status }) => status === 429)
    expect(refused.length).toBeGreaterThan(0)
    expect(Number(refused[0]!.headers.get('retry-after'))).toBe(1)
  })

  test.each<[string, TokenOptions, string]>([
    ['no name', { hash: newToken().hash, scopes: ['read'] }, 'CONFIG_INVALID'],
    ['no hash', { name: 'a', scopes: ['read'] }, 'CONFIG_INVALID'],
    ['no scope', { name: 'a', hash: newToken().hash }, 'CONFIG_INVALID'],
    ['the token instead of its hash', { name: 'a', hash: newToken().token, scopes: ['read'] }, 'CONFIG_INVALID'],
    ['an unknown scope', { name: 'a', hash: newToken().hash, scopes: ['write' as 'read'] }, 'TYPE'],
    [
      'a glob that is none',
      { name: 'a', hash: newToken().hash, scopes: ['read'], queues: ['Orders'] },
      'CONFIG_INVALID',
    ],
    ['a time that is none', { name: 'a', hash: newToken().hash, scopes: ['read'], expires: 'soon' }, 'TYPE'],
  ])('with %s are refused, and their hash is not shown', (_, entry, code) => {
    let error: { code?: string; message?: string } = {}
    try {
      parseToken(entry, 'token')
    } catch (thrown) {
      error = thrown as typeof error
    }
    expect(error.code).toBe(code)
    expect(error.message).not.toContain('tdg_')
  })
})

describe('a token that is not good any more', () => {
  /** A server with a token file, and all that waits by a token in it. */
  async function startWithFile() {
    const folder = mkdtempSync(join(tmpdir(), 'tidings-tokens-'))
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
    const tokenFile = join(folder, 'tokens')
    const write = (...entries: TokenOptions[]) =>
      writeFileSync(tokenFile, entries.map((entry) => JSON.stringify(entry)).join('\n'), { mode: 0o600 })
    write()
    const server = await startServer({ tokenFile })
    await server.bus.queue('orders').create()
    await server.bus.queue('polled').create()
    await server.bus.topic('news').create()
    await server.bus.engine.topics!.subscribe('news', 's', 'earliest')
    const waitBy = async (secret: string) => {
      const headers = bearer(secret)
      const open = (path: string) => EventClient.open(server, path, headers)
      const stream = await open('/v1/queues/orders/stream')
      const watch = await open('/v1/queues/orders/watch')
      await watch.next('watching')
      const topicWatch = await open('/v1/topics/news/watch')
      await topicWatch.next('watching')
      const subscription = await open('/v1/topics/news/subscriptions/s/stream')
      await subscription.next('holding')
      const polls = Promise.all([
        ask(server, 'POST', '/v1/queues/polled/read', { headers, body: { wait_ms: 60_000 } }),
        ask(server, 'GET', '/v1/topics/news/subscriptions/s/messages?wait_ms=60000', { headers }),
      ])
      return { streams: [stream, subscription], watches: [watch, topicWatch], polls }
    }
    return { server, write, waitBy }
  }

  const token = () => makeToken({ name: 'a', scopes: everything })

  test.each(['taken away', 'given less'])('ends what waits by it when it is %s', async (what) => {
    const { server, write, waitBy } = await startWithFile()
    const [old, other] = [token(), token()]
    write(old.entry, other.entry)
    server.reload()
    const { streams, watches, polls } = await waitBy(old.secret)
    const staying = await EventClient.open(server, '/v1/queues/polled/watch', bearer(other.secret))
    await staying.next('watching')
    write(...(what === 'taken away' ? [] : [{ ...old.entry, queues: ['polled'] }]), other.entry)
    server.reload()
    await server.bus.queue('orders').send('secret')
    await server.bus.topic('news').publish('secret')
    for (const stream of streams) expect((await stream.next('error')).code).toBe('UNAUTHORIZED')
    for (const watch of watches) expect((await watch.until('error')).code).toBe('UNAUTHORIZED')
    for (const { status } of await polls) expect(status).toBe(401)
    await Promise.all([...streams, ...watches].map(({ ended }) => ended))
    const [message] = await server.bus.queue('orders').read({ wait: '10s' })
    expect(message).toMatchObject({ data: 'secret', readCount: 1 })
    await server.bus.queue('polled').send(1)
    await staying.next('wake')
  })

  test('ends what waits by it when it expires', async () => {
    const { server, write, waitBy } = await startWithFile()
    const { secret, entry } = token()
    write({ ...entry, expires: new Date(Date.now() + 4_000).toISOString() })
    server.reload()
    const { streams, watches, polls } = await waitBy(secret)
    for (const stream of streams) expect((await stream.next('error')).code).toBe('UNAUTHORIZED')
    for (const watch of watches) expect((await watch.until('error')).code).toBe('UNAUTHORIZED')
    for (const { status } of await polls) expect(status).toBe(401)
  })
})

describe('where it listens', () => {
  test.each([
    [{ host: '0.0.0.0' }, /no tokens and no TLS/],
    [{ host: '::' }, /no tokens and no TLS/],
    [{ host: '192.168.1.1', behindProxy: true }, /no tokens/],
    [{ host: '0.0.0.0', tokens: [makeToken({ name: 'a', scopes: ['read'] }).entry] }, /no TLS/],
    [{ tlsCert: 'cert.pem' }, /tlsCert is given, but not the other/],
  ])('%j is refused', async (options, message) => {
    await expect(startServer(options)).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringMatching(message),
    })
  })

  test('beyond this machine it does with tokens and something that does TLS', async () => {
    const { secret, entry } = makeToken({ name: 'a', scopes: ['read'] })
    const server = await startServer({ host: '0.0.0.0', behindProxy: true, tokens: [entry] })
    const url = server.url.replace('0.0.0.0', '127.0.0.1')
    const headers = { ...bearer(secret), host: 'queues.example.org' }
    expect((await ask({ url }, 'GET', '/v1/queues', { headers })).status).toBe(200)
    expect((await ask({ url }, 'GET', '/v1/queues')).status).toBe(401)
  })
})

describe('requests of browsers', () => {
  const of = async (url: string, ...headers: string[]) => {
    const received = await new RawClient(url).send(head('POST /v1/maintain', 'Connection: close', ...headers)).all()
    return { status: Number(received.slice(9, 12)), received }
  }

  test('for a name that is not the server’s are refused (DNS rebinding)', async () => {
    const server = await startServer({ hosts: ['queues.example.org'] })
    const { port } = new URL(server.url)
    for (const host of ['localhost', '127.0.0.1', `127.0.0.1:${port}`, '[::1]', 'LOCALHOST', 'queues.example.org:443'])
      expect((await of(server.url, `Host: ${host}`)).status, host).toBe(204)
    for (const host of ['evil.example', 'localhost.evil.example', `evil.example:${port}`, '127.0.0.2', '10.0.0.1'])
      expect((await of(server.url, `Host: ${host}`)).status, host).toBe(421)
    expect((await of(server.url, 'Host: a b')).status).toBe(400)
  })

  test('from pages of other sites are refused, unless they are named', async () => {
    const server = await startServer({ origins: ['https://app.example.org'] })
    const { host } = new URL(server.url)
    const own = `Host: ${host}`
    expect((await of(server.url, own, `Origin: http://${host}`)).status).toBe(204)
    expect((await of(server.url, own, 'Origin: https://app.example.org')).status).toBe(204)
    for (const origin of ['https://evil.example', 'null', 'http://localhost:1', 'https://app.example.org.evil.example'])
      expect((await of(server.url, own, `Origin: ${origin}`)).status, origin).toBe(403)
    expect((await of(server.url, own, 'Sec-Fetch-Site: cross-site')).status).toBe(403)
    expect((await of(server.url, own, 'Sec-Fetch-Site: same-origin')).status).toBe(204)
  })

  test('that only read are refused too, since reading can lease messages', async () => {
    const server = await startServer()
    const read = (path: string) => ask(server, 'GET', path, { headers: { 'sec-fetch-site': 'cross-site' } })
    expect((await read('/v1/queues')).status).toBe(403)
    expect((await read('/docs')).status).toBe(200)
  })

  test.each([
    ['without origins', [], null],
    ['with others', ['https://other.example'], null],
    ['with its own', ['https://app.example.org'], 'https://app.example.org'],
  ])('ask beforehand: %s', async (_, origins, allowed) => {
    const server = await startServer({ origins })
    const answer = await ask(server, 'OPTIONS', '/v1/queues', {
      headers: { origin: 'https://app.example.org', 'access-control-request-method': 'PUT' },
    })
    expect(answer.headers.get('access-control-allow-origin')).toBe(allowed)
    expect(answer.headers.get('access-control-allow-credentials')).toBe(null)
    expect(answer.status === 204).toBe(allowed !== null)
  })

  test.each(['*', 'https://*.example.org', 'example.org', 'https://example.org/', 'null'])(
    'cannot be let in by %s',
    (origin) =>
      expect(() => createServer(null as never, { origins: [origin] })).toThrow(
        expect.objectContaining({ code: 'CONFIG_INVALID' }),
      ),
  )

  test('get headers that keep answers where they belong', async () => {
    const server = await startServer()
    for (const path of ['/livez', '/nothing', '/docs', '/v1/queues/UPPER/metrics', '/metrics']) {
      const { headers } = await ask(server, 'GET', path)
      expect(headers.get('x-content-type-options')).toBe('nosniff')
      expect(headers.get('x-frame-options')).toBe('DENY')
      expect(headers.get('content-security-policy')).toMatch(/^default-src 'none';.*frame-ancestors 'none'/)
      expect(headers.get('content-security-policy')).not.toMatch(/unsafe|https?:|\*/)
      expect(headers.get('cache-control')).toBe('no-store')
      expect(headers.get('server') ?? headers.get('x-powered-by')).toBe(null)
    }
  })
})
