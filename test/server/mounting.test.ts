import { Hono } from 'hono'
import { connect } from 'tidings'
import { createServer, type ServerOptions } from 'tidings-server'
import { describe, expect, onTestFinished, test } from 'vitest'
import { bearer, makeToken } from './support.ts'

async function mount(options: ServerOptions = {}) {
  const bus = await connect('memory:')
  onTestFinished(() => bus.close())
  const server = createServer(bus, options)
  const app = new Hono().get('/', (context) => context.text('the application'))
  app.mount('/queues', server.fetch)
  const request = (path: string, init?: RequestInit) =>
    Promise.resolve(app.request(`https://shop.example.org${path}`, init))
  return { bus, server, request }
}

const json = (body: unknown) => ({
  method: 'POST',
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify(body),
})

test('an application can answer by it, under a path and a name of its own', async () => {
  const { bus, request } = await mount()
  expect(await (await request('/')).text()).toBe('the application')
  expect((await request('/queues/v1/queues/orders', { method: 'PUT' })).status).toBe(201)
  expect((await request('/queues/v1/queues/orders/messages', json({ message: 1 }))).status).toBe(201)
  expect((await bus.queue('orders').stats()).ready).toBe(1)
  const read = await request('/queues/v1/queues/orders/read', json({}))
  expect(await read.json()).toMatchObject({ messages: [{ message: 1 }] })
  expect((await request('/queues/nothing')).status).toBe(404)
})

test('tokens, the limit of the body and the origin hold there too', async () => {
  const { secret, entry } = makeToken({ name: 'a', scopes: ['send'] })
  const { bus, request } = await mount({ tokens: [entry], maxBodyBytes: 2_000 })
  await bus.queue('orders').create()
  const path = '/queues/v1/queues/orders/messages'
  const send = (message: unknown, headers: Record<string, string> = bearer(secret)) => {
    const { headers: own, ...init } = json({ message })
    return request(path, { ...init, headers: { ...own, ...headers } }).then(({ status }) => status)
  }
  expect(await send(1)).toBe(201)
  expect(await send(1, {})).toBe(401)
  expect(await send('x'.repeat(3_000))).toBe(413)
  expect(await send(1, { ...bearer(secret), origin: 'https://evil.example' })).toBe(403)
  expect(await send(1, { ...bearer(secret), origin: 'https://shop.example.org' })).toBe(201)
})

/** Reads the stream up to its first event of this name. */
async function untilEvent({ body }: Response, name: string): Promise<ReadableStreamDefaultReader<Uint8Array>> {
  const reader = body!.getReader()
  let text = ''
  while (!text.includes(`event: ${name}`)) {
    const { value, done } = await reader.read()
    if (done) throw new Error(`the stream ended without '${name}': ${text}`)
    text += new TextDecoder().decode(value)
  }
  return reader
}

describe('a client that leaves', () => {
  const ways = ['cancel', 'abort'] as const

  test.each(ways)('a stream of a queue holds nothing any more (%s)', async (way) => {
    const { bus, request } = await mount()
    const queue = bus.queue<number>('orders')
    await queue.send(1)
    const client = new AbortController()
    const { signal } = client
    const stream = await untilEvent(await request('/queues/v1/queues/orders/stream', { signal }), 'message')
    if (way === 'cancel') await stream.cancel()
    else client.abort()
    const again = await request('/queues/v1/queues/orders/read', json({ wait_ms: 10_000 }))
    expect(await again.json()).toMatchObject({ messages: [{ message: 1, read_ct: 1 }] })
  })

  test.each(ways)('a stream of a subscription leaves it to others (%s)', async (way) => {
    const { bus, request } = await mount()
    await bus.topic('news').create()
    const at = '/queues/v1/topics/news/subscriptions/s'
    await request(at, { method: 'PUT' })
    const client = new AbortController()
    const { signal } = client
    const stream = await untilEvent(await request(`${at}/stream?lease_ms=600000`, { signal }), 'holding')
    if (way === 'cancel') await stream.cancel()
    else client.abort()
    await (await untilEvent(await request(`${at}/stream`), 'holding')).cancel()
  })

  test('what asks for the head of a stream only takes nothing', async () => {
    const { bus, request } = await mount()
    await bus.queue('orders').send(1)
    expect((await request('/queues/v1/queues/orders/stream', { method: 'HEAD' })).status).toBe(200)
    const read = await request('/queues/v1/queues/orders/read', json({ wait_ms: 10_000 }))
    expect(await read.json()).toMatchObject({ messages: [{ message: 1, read_ct: 1 }] })
  })

  test('a read that waits takes nothing any more', async () => {
    const { bus, request } = await mount()
    await bus.queue('orders').create()
    const client = new AbortController()
    const waiting = request('/queues/v1/queues/orders/read', { ...json({ wait_ms: 60_000 }), signal: client.signal })
    client.abort()
    expect(await (await waiting).json()).toMatchObject({ messages: [] })
  })
})

test('a watcher that reads slowly is told once of what happened meanwhile', async () => {
  const { bus, request } = await mount()
  const queue = bus.queue<number>('orders')
  await queue.create()
  const { body } = await request('/queues/v1/queues/orders/watch')
  for (let n = 0; n < 100; n++) await queue.send(n, { delay: '1h' })
  await queue.send(0)
  let text = ''
  const reader = body!.getReader()
  while (!text.includes('"due_ms":0')) text += new TextDecoder().decode((await reader.read()).value)
  await reader.cancel()
  // Some are on their way already.
  expect(text.match(/event: wake/g)!.length).toBeLessThan(30)
})

test('what was stopped does not listen, and says so to its probes', async () => {
  const { server, request } = await mount({ port: 0 })
  expect((await request('/queues/readyz')).status).toBe(200)
  await server.start()
  const { url } = server
  expect((await request('/queues/readyz')).status).toBe(200)
  await server.stop()
  await server.stop()
  await expect(fetch(url)).rejects.toThrow()
  expect((await request('/queues/readyz')).status).toBe(503)
})
