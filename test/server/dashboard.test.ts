import { describe, expect, test } from 'vitest'
import { logbook, ownHeaders, startDashboard } from './dashboard-support.ts'
import { bearer, makeToken, startServer } from './support.ts'

describe('who gets in', () => {
  const foreign = {
    'another name than this machine has': { host: 'queues.example.org' },
    'a name that is made to look like it': { host: 'localhost.example.org' },
    'a proxy that passes it on': { 'x-forwarded-for': '203.0.113.9' },
    'a proxy that says so as the standard has it': { forwarded: 'for=203.0.113.9' },
    'a proxy that names itself': { via: '1.1 proxy' },
  }

  test('without tokens and a log-in: this machine, by its own names', async () => {
    const { ask } = await startDashboard()
    for (const host of ['localhost', '127.0.0.1', '[::1]', 'LOCALHOST:8080'])
      expect(await ask('/api/session', { headers: { host } })).toMatchObject({
        status: 200,
        body: { who: 'this machine', readOnly: false, needsToken: false },
      })
  })

  test.each(Object.entries(foreign))('without these not %s', async (_, headers) => {
    const { ask, act } = await startDashboard()
    for (const path of ['/', '/api/session', '/api/v1/queues', '/api/v1'])
      expect(await ask(path, { headers })).toMatchObject({ status: 401, body: { code: 'UNAUTHORIZED' } })
    expect((await act('PUT', '/api/v1/queues/orders', undefined, headers)).status).toBe(401)
  })

  test('without these nobody whose connection cannot be seen, whatever name it gives', async () => {
    const { pages } = await startDashboard()
    for (const path of ['/', '/api/session', '/api/v1/queues']) {
      const answer = await pages(new Request(`http://localhost${path}`))
      expect(answer.status).toBe(401)
      expect(await answer.json()).toMatchObject({ hint: expect.stringContaining('authorize') })
    }
  })

  test('with tokens the page alone, until it has one', async () => {
    const { secret, entry } = makeToken({ name: 'ada', scopes: ['read'] })
    const { ask, act } = await startDashboard({ tokens: [entry] })
    expect((await ask('/')).status).toBe(200)
    expect((await ask('/api/session')).body).toMatchObject({ who: null, needsToken: true })
    expect((await ask('/api/session', { headers: bearer('wrong') })).status).toBe(401)
    expect((await ask('/api/session', { headers: bearer(secret) })).body).toMatchObject({
      who: 'ada',
      readOnly: true,
      needsToken: false,
      scopes: ['read'],
    })
    expect((await ask('/api/v1/queues')).status).toBe(401)
    const headers = { ...bearer(secret), host: 'queues.example.org', 'x-forwarded-for': '203.0.113.9' }
    expect((await ask('/api/v1/queues', { headers })).status).toBe(200)
    expect(await act('PUT', '/api/v1/queues/orders', undefined, headers)).toMatchObject({
      status: 403,
      body: { code: 'FORBIDDEN' },
    })
  })

  test('a token sees its queues only', async () => {
    const { secret, entry } = makeToken({ name: 'ada', scopes: ['read', 'admin'], queues: ['orders*'] })
    const { ask, bus } = await startDashboard({ tokens: [entry] })
    for (const name of ['orders', 'payroll']) await bus.queue(name).create()
    const { body } = await ask('/api/v1/queues', { headers: bearer(secret) })
    expect(body.queues.map(({ queue_name }: { queue_name: string }) => queue_name)).toEqual(['orders'])
    expect((await ask('/api/v1/queues/payroll', { headers: bearer(secret) })).status).toBe(404)
  })

  test('with a log-in whom it names, with the rights that it gives', async () => {
    const { ask, act, pages } = await startDashboard({
      authorize: async ({ headers }) => {
        const user = headers.get('cookie')
        if (user === null) return new Response(null, { status: 302, headers: { location: '/login' } })
        return user === 'eve' ? null : { who: user, readOnly: user !== 'ada' }
      },
    })
    for (const path of ['/', '/api/session', '/api/v1/queues'])
      expect(await ask(path)).toMatchObject({ status: 302, headers: { location: '/login' } })
    for (const path of ['/', '/api/session', '/api/v1/queues'])
      expect((await ask(path, { headers: { cookie: 'eve' } })).status).toBe(401)
    expect((await ask('/', { headers: { cookie: 'bob' } })).status).toBe(200)
    expect((await ask('/api/session', { headers: { cookie: 'bob' } })).body).toMatchObject({
      who: 'bob',
      readOnly: true,
    })
    expect((await ask('/api/session', { headers: { cookie: 'ada' } })).body).toMatchObject({
      who: 'ada',
      readOnly: false,
    })
    const create = (cookie: string) => act('PUT', '/api/v1/queues/orders', undefined, { cookie })
    expect((await create('bob')).status).toBe(403)
    expect((await create('ada')).status).toBe(201)
    // Also where it sees no connection.
    const asked = await pages(new Request('https://shop.example.org/x/api/v1/queues', { headers: { cookie: 'bob' } }))
    expect(asked.status).toBe(200)
  })

  test('a log-in that fails or answers nonsense lets nobody in', async () => {
    for (const authorize of [
      () => ({}),
      () => ({ who: '' }),
      () => undefined,
      () => true,
      () => Promise.reject(new Error('down')),
    ]) {
      const { ask } = await startDashboard({ authorize: authorize as never })
      for (const path of ['/', '/api/session', '/api/v1/queues'])
        expect((await ask(path)).status, path).toBeGreaterThanOrEqual(400)
    }
  })

  test('read-only it is for everybody', async () => {
    const { ask, act, bus } = await startDashboard({ readOnly: true })
    await bus.queue('orders').send(1)
    expect((await ask('/api/session')).body).toMatchObject({ readOnly: true, scopes: ['read'] })
    expect((await act('POST', '/api/v1/queues/orders/peek', {})).status).toBe(200)
    for (const [method, path, body] of [
      ['POST', '/api/v1/queues/orders/purge', undefined],
      ['POST', '/api/v1/queues/orders/read', {}],
      ['POST', '/api/v1/queues/orders/messages', { message: 1 }],
      ['DELETE', '/api/v1/queues/orders', undefined],
    ] as const)
      expect(await act(method, path, body)).toMatchObject({
        status: 403,
        body: { message: expect.stringContaining('read-only') },
      })
  })

  test('names that it is not called by are refused where it is told its own', async () => {
    const { entry, secret } = makeToken({ name: 'ada', scopes: ['read'] })
    const { ask } = await startDashboard({ tokens: [entry], hosts: ['queues.example.org'] })
    expect((await ask('/', { headers: { host: 'evil.example' } })).status).toBe(421)
    const headers = { ...bearer(secret), host: 'queues.example.org' }
    expect((await ask('/api/v1/queues', { headers })).status).toBe(200)
  })
})

describe('what other sites may have done', () => {
  const evil = 'https://evil.example'
  const refused: Record<string, Record<string, string>> = {
    'a foreign Origin': { ...ownHeaders, origin: evil },
    'an opaque Origin': { ...ownHeaders, origin: 'null' },
    'another port of this machine': { ...ownHeaders, origin: 'http://localhost:1' },
    'cross-site': { ...ownHeaders, 'sec-fetch-site': 'cross-site' },
    'same-site': { ...ownHeaders, 'sec-fetch-site': 'same-site' },
    'nobody knows what': { ...ownHeaders, 'sec-fetch-site': 'none' },
    'no header of the page': {},
    'another value of it': { 'x-tidings-dashboard': '0' },
    'a foreign Origin for which Sec-Fetch-Site stands up, without a log-in': {
      ...ownHeaders,
      origin: evil,
      'sec-fetch-site': 'same-origin',
    },
  }

  test.each(Object.entries(refused))('changes nothing: %s', async (_, headers) => {
    const { ask, bus } = await startDashboard()
    await bus.queue('orders').send(1)
    for (const [method, path] of [
      ['POST', '/api/v1/queues/orders/purge'],
      ['DELETE', '/api/v1/queues/orders'],
      ['PUT', '/api/v1/queues/other'],
    ] as const)
      expect(await ask(path, { method, headers })).toMatchObject({ status: 403, body: { code: 'ORIGIN_REFUSED' } })
    expect((await bus.queue('orders').stats()).ready).toBe(1)
    expect((await bus.queues()).length).toBe(1)
  })

  test.each([
    ['cross-site', { 'sec-fetch-site': 'cross-site' }],
    ['same-site', { 'sec-fetch-site': 'same-site' }],
    ['a foreign Origin', { origin: evil }],
  ])('reads nothing: %s', async (_, headers) => {
    const { ask } = await startDashboard()
    for (const path of ['/api/v1/queues', '/api/session', '/api/v1/doctor'])
      expect((await ask(path, { headers })).status).toBe(403)
  })

  test('the page itself does, also behind a proxy that gives another Host, where callers show who they are', async () => {
    const { ask, port } = await startDashboard()
    const put = (headers: Record<string, string>) => ask('/api/v1/queues/orders', { method: 'PUT', headers })
    expect(
      (await put({ ...ownHeaders, origin: `http://127.0.0.1:${port}`, 'sec-fetch-site': 'same-origin' })).status,
    ).toBe(201)
    const guarded = await startDashboard({ authorize: () => ({ who: 'ada' }) })
    const proxied = { ...ownHeaders, origin: 'https://queues.example.org', 'sec-fetch-site': 'same-origin' }
    expect((await guarded.ask('/api/v1/queues/orders', { method: 'PUT', headers: proxied })).status).toBe(201)
  })
})

test('each action and each refusal is logged, with who and what, and with nothing of messages', async () => {
  const { lines, logger } = logbook()
  const { ask, act, bus } = await startDashboard({
    logger,
    authorize: ({ headers }) => (headers.get('cookie') === null ? null : { who: headers.get('cookie')! }),
  })
  await bus.queue('orders').create()
  const cookie = { cookie: 'ada' }
  await act('POST', '/api/v1/queues/orders/messages', { message: 'canary' }, cookie)
  await act('POST', '/api/v1/queues/orders/prune', { limit: 5 }, cookie)
  await act('DELETE', '/api/v1/queues/none', undefined, cookie)
  await act('POST', '/api/v1/queues/orders/purge')
  await ask('/api/v1/queues/orders/purge', { method: 'POST', headers: cookie })
  await ask('/api/v1/queues', { headers: cookie })
  await act('POST', '/api/v1/queues/orders/peek', {}, cookie)
  expect(lines).toMatchObject([
    { level: 'info', details: { who: 'ada', action: 'sendMessage', queue: 'orders', status: 201 } },
    { level: 'info', details: { who: 'ada', action: 'pruneArchive', queue: 'orders', limit: 5, status: 200 } },
    { level: 'warn', details: { who: 'ada', action: 'dropQueue', queue: 'none', status: 404 } },
    { level: 'warn', details: { who: null, path: '/v1/queues/orders/purge', status: 401 } },
    { level: 'warn', details: { path: '/v1/queues/orders/purge', status: 403 } },
  ])
  expect(lines).toHaveLength(5)
  expect(JSON.stringify(lines)).not.toContain('canary')
})

test('`tidings serve` has it at /dashboard, with its tokens, or not at all', async () => {
  const { secret, entry } = makeToken({ name: 'ada', scopes: ['read'] })
  const server = await startServer({ tokens: [entry] })
  const at = (path: string, headers = {}) => fetch(server.url + path, { headers, redirect: 'manual' })
  expect((await at('/dashboard')).headers.get('location')).toBe('dashboard/')
  expect((await at('/dashboard/')).headers.get('content-type')).toContain('text/html')
  expect(await (await at('/dashboard/api/session')).json()).toMatchObject({ needsToken: true })
  expect((await at('/dashboard/api/v1/queues')).status).toBe(401)
  expect((await at('/dashboard/api/v1/queues', bearer(secret))).status).toBe(200)
  expect((await at('/dashboardx')).status).toBe(404)
  const without = await startServer({ dashboard: false })
  expect((await fetch(`${without.url}/dashboard/`)).status).toBe(404)
})
