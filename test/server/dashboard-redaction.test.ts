import type { Redact } from 'tidings-server'
import { allRoutes } from 'tidings-server/internal/routes/all'
import { expect, test } from 'vitest'
import { startDashboard } from './dashboard-support.ts'

const canary = 'canary-4711'
const redact: Redact = ({ data, meta }) => {
  const { name } = (data ?? {}) as { name?: string }
  const { secret: _, target_id: __, error_message: ___, stack_trace: ____, ...rest } = meta
  return { data: { name: name ?? null }, headers: {}, meta: rest }
}

/** Every place that shows messages has one with the word in its data, headers and meta. */
async function startWithCanaries(given: Redact = redact) {
  const made = await startDashboard({ redact: given, authorize: () => ({ who: 'ada' }) })
  const { bus } = made
  const message = { name: 'ada', card: canary }
  const beside = { headers: { h: canary }, meta: { secret: canary, targetId: canary, correlationId: 'c-1' } }
  const queue = bus.queue('orders')
  await queue.send(message, { ...beside, track: true })
  const [dead] = await queue.read()
  await dead!.deadLetter(new Error(canary))
  await queue.send(message, beside)
  const [archived] = await queue.read()
  await archived!.archive()
  const id = await queue.send(message, beside)
  await bus.topic('news').publish(message, beside)
  await bus.stored.topic('news').subscription('s').create('earliest')
  await bus.schedule('nightly', {
    cron: '0 2 * * *',
    queue: 'orders',
    data: message,
    meta: { secret: canary },
  } as never)
  return { ...made, id }
}

/** They go on. */
const streaming = /\/(stream|watch|events|channels)$/

test('whatever shows messages shows what is left of them', async () => {
  const asked: string[] = []
  for (const { method, path, name } of allRoutes) {
    const { act, id } = await startWithCanaries()
    const filled = path
      .replace('{queue}', 'orders')
      .replace('{topic}', 'news')
      .replace('{subscription}', 's')
      .replace('{id}', id)
      .replace('{correlation}', 'c-1')
      .replace('{schedule}', 'nightly')
      .replace('{pattern}', 'a')
    if (streaming.test(path)) continue
    const query = path === '/v1/trace' ? `?target=${canary}` : ''
    for (const headers of [{}, { 'tidings-data': 'text' }] as Record<string, string>[]) {
      const { status, text } = await act(method, `/api${filled}${query}`, method === 'GET' ? undefined : {}, headers)
      // The name of what was asked for may be told.
      expect(text, `${name}: ${method} ${path} → ${status}`).not.toContain(canary)
      if (status === 200) asked.push(name)
    }
  }
  expect(asked).toEqual(
    expect.arrayContaining([
      'peekMessages',
      'readMessages',
      'popMessages',
      'getMessage',
      'searchMessages',
      'listDeadLetters',
      'groupDeadLetters',
      'listTopicMessages',
      'listSchedules',
      'traceTarget',
    ]),
  )
}, 300_000)

test('what may not be seen is not found, by search or by a trace', async () => {
  const { act, ask } = await startWithCanaries()
  const find = async (body: object) => (await act('POST', '/api/v1/queues/orders/search', body)).body.messages.length
  expect(await find({})).toBe(1)
  expect(await find({ text: 'ada' })).toBe(1)
  for (const body of [
    { text: canary },
    { data: { card: canary } },
    { headers: { h: canary } },
    { meta: { secret: canary } },
    { target: canary },
  ])
    expect(await find(body), JSON.stringify(body)).toBe(0)
  expect((await ask(`/api/v1/trace?target=${canary}`)).body.events).toEqual([])
  expect((await act('POST', '/api/v1/queues/orders/peek', { meta: { secret: canary } })).body.messages).toEqual([])
  expect((await act('POST', '/api/v1/queues/orders/read', { conditional: { card: canary } })).status).toBe(501)
})

test('a stream shows no more', async () => {
  const { port } = await startWithCanaries()
  const leaving = new AbortController()
  const { body } = await fetch(`http://127.0.0.1:${port}/api/v1/queues/orders/stream`, { signal: leaving.signal })
  let text = ''
  const reader = body!.getReader()
  while (!text.includes('\n\n')) text += new TextDecoder().decode((await reader.read()).value)
  leaving.abort()
  expect(text).toContain('"name":"ada"')
  expect(text).not.toContain(canary)
})

test('a copy is one of the whole message, and does not change what is stored', async () => {
  const { act, bus, id } = await startWithCanaries()
  expect(await act('POST', `/api/v1/queues/orders/messages/${id}/copy`, { to: 'orders' })).toMatchObject({
    status: 201,
  })
  const messages = await bus.queue('orders').peek()
  expect(messages.map(({ data }) => data)).toEqual([
    { name: 'ada', card: canary },
    { name: 'ada', card: canary },
  ])
})

test.each<[string, Redact]>([
  [
    'throws',
    () => {
      throw new Error(canary)
    },
  ],
  ['answers nothing', () => undefined as never],
  ['is asynchronous', (async () => ({})) as never],
])('where the hook %s, nothing is shown', async (_, broken) => {
  const { act } = await startWithCanaries(broken)
  const { status, text } = await act('POST', '/api/v1/queues/orders/peek', {})
  expect(status).toBeGreaterThanOrEqual(400)
  expect(text).not.toContain(canary)
})

test('a hook that changes what it is given changes nothing in the storage', async () => {
  const { act, bus } = await startWithCanaries(({ data, meta }) => {
    ;(meta as Record<string, unknown>).target_id = 'x'
    return { data: Object.assign(data as object, { card: 0 }) }
  })
  await act('POST', '/api/v1/queues/orders/peek', {})
  expect((await bus.queue('orders').peek())[0]).toMatchObject({ data: { card: canary }, meta: { targetId: canary } })
})
