import { expect, test } from 'vitest'
import { ask, bearer, makeToken, startServer } from './support.ts'

test('settings hold for clients that send and read by requests of their own', async () => {
  const server = await startServer()
  await server.bus.queue('orders').create()
  const settings = { delay: 3_600_000, ttl: '2h', lease: '1h', maxLength: 5, maxMessageBytes: 8, deadLetter: 'failed' }
  const configured = await ask(server, 'POST', '/v1/queues/orders/configure', { body: { settings } })
  expect(configured).toMatchObject({
    status: 200,
    body: { settings: { ...settings, ttl: 7_200_000, lease: 3_600_000 } },
  })

  const send = async (body: object) => (await ask(server, 'POST', '/v1/queues/orders/messages', { body })).status
  const batch = async (body: object) => (await ask(server, 'POST', '/v1/queues/orders/messages/batch', { body })).status
  expect(await send({ message: 'delayed' })).toBe(413)
  expect(await send({ message: 'a' })).toBe(201)
  expect(await send({ message: 'b', delay_ms: 0 })).toBe(201)
  expect(await send({ message: 'c', delay: 0 })).toBe(201)
  expect(await batch({ messages: ['d'] })).toBe(201)
  expect(await batch({ messages: ['e'], delay: 0 })).toBe(201)
  expect(await send({ message: 'f' })).toBe(429)
  expect(await batch({ messages: ['f'], max_length: 100 })).toBe(429)
  expect(await server.bus.queue('orders').stats()).toMatchObject({ ready: 3, delayed: 2 })

  const read = async (body: object) => {
    const answer = await ask(server, 'POST', '/v1/queues/orders/read', { body })
    const [{ vt, last_read_at, meta }] = answer.body.messages
    return [Date.parse(vt) - Date.parse(last_read_at), meta.ttl_ms]
  }
  expect(await read({})).toEqual([3_600_000, 7_200_000])
  expect(await read({ vt: 10 })).toEqual([10_000, 7_200_000])
  expect(await read({ lease_ms: 20_000 })).toEqual([20_000, 7_200_000])
})

test('a setting that cannot be is refused, and only an administrator may set one', async () => {
  const sender = makeToken({ name: 'web', scopes: ['send'], queues: ['orders'] })
  const admin = makeToken({ name: 'ops', scopes: ['admin'], queues: ['orders'] })
  const server = await startServer({ tokens: [sender.entry, admin.entry] })
  await server.bus.queue('orders').create()
  const configure = (secret: string, settings: object) =>
    ask(server, 'POST', '/v1/queues/orders/configure', { body: { settings }, headers: bearer(secret) })
  expect((await configure(sender.secret, { maxLength: 1 })).status).toBe(403)
  expect(await configure(admin.secret, { maxLength: 0 })).toMatchObject({ status: 400, body: { code: 'RANGE' } })
  for (const [wrong, name] of [
    [{ lease: 0 }, 'lease'],
    [{ deadLetter: 'orders' }, 'dead-letter'],
    [{ retention: {} }, 'retention'],
    [{ backoff: { curve: 'cubic' } }, 'backoff'],
  ] as const) {
    const { status, body } = await configure(admin.secret, { maxLength: 5, ttl: '1h', ...wrong })
    expect([status, body.message]).toEqual([400, expect.stringContaining(name)])
  }
  expect(await server.bus.queue('orders').settings()).toEqual({})
  expect(await configure(admin.secret, { maxLenght: 1 })).toMatchObject({
    status: 400,
    body: { code: 'OPTION_UNKNOWN' },
  })
  expect((await configure(admin.secret, { maxLength: 1 })).status).toBe(200)
  const send = () =>
    ask(server, 'POST', '/v1/queues/orders/messages', { body: { message: 1 }, headers: bearer(sender.secret) })
  expect((await send()).status).toBe(201)
  expect((await send()).status).toBe(429)
})
