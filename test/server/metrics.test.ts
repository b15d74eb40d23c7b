import { connect } from 'tidings'
import { describe, expect, test } from 'vitest'
import { ask, bearer, makeToken, startServer } from './support.ts'

type Samples = ReadonlyMap<string, number>

/** The samples by their name and labels, whose order means nothing. */
function parse(text: string): Samples {
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
  return new Map(
    lines.map((line) => {
      const [, name = '', labels = '', value] = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? []
      return [`${name}{${labels.split(',').sort().join(',')}}`, Number(value)]
    }),
  )
}

function sample(samples: Samples, name: string, labels: Readonly<Record<string, string>> = {}): number | undefined {
  const texts = Object.entries(labels).map(([label, value]) => `${label}="${value}"`)
  return samples.get(`${name}{${texts.sort().join(',')}}`)
}

const scrape = async (server: { url: string }, headers: Record<string, string> = {}) => {
  const { status, body } = await ask(server, 'GET', '/metrics', { headers })
  expect(status).toBe(200)
  return parse(body)
}

const labelsOf = (operation: string, destination: string) => ({
  messaging_system_name: 'tidings',
  messaging_operation_name: operation,
  messaging_destination_name: destination,
})

describe('metrics', () => {
  test('count what was sent and consumed through the server', async () => {
    const server = await startServer()
    await ask(server, 'PUT', '/v1/queues/orders')
    const messages = [1, 2, 3]
    await ask(server, 'POST', '/v1/queues/orders/messages/batch', { body: { messages } })
    await ask(server, 'POST', '/v1/queues/orders/messages', { body: { message: 4, dedup: { id: 'x' } } })
    await ask(server, 'POST', '/v1/queues/orders/messages', { body: { message: 4, dedup: { id: 'x' } } })
    await ask(server, 'POST', '/v1/queues/orders/read', { body: { qty: 2 } })
    await ask(server, 'POST', '/v1/queues/orders/pop', { body: {} })
    await ask(server, 'POST', '/v1/queues/nowhere/messages', { body: { message: 4 } })
    const samples = await scrape(server)
    const sent = sample(samples, 'messaging_client_sent_messages_total', labelsOf('send', 'orders'))
    expect(sent, 'duplicates are not stored').toBe(4)
    const consumed = (operation: string) =>
      sample(samples, 'messaging_client_consumed_messages_total', labelsOf(operation, 'orders'))
    expect([consumed('receive'), consumed('pop')]).toEqual([2, 1])
    const name = 'messaging_client_operation_duration_seconds_count'
    expect(sample(samples, name, { ...labelsOf('send', 'orders'), messaging_operation_type: 'send' })).toBe(3)
    const failed = { messaging_operation_type: 'send', error_type: 'QUEUE_NOT_FOUND' }
    expect(sample(samples, name, { ...labelsOf('send', '_OTHER'), ...failed })).toBe(1)
  })

  test('have the buckets that OpenTelemetry advises, and its names for requests', async () => {
    const server = await startServer()
    await ask(server, 'GET', '/v1/queues')
    await ask(server, 'GET', '/secret-path')
    const samples = await scrape(server)
    const labels = { http_request_method: 'GET', http_route: '/v1/queues', http_response_status_code: '200' }
    const bounds = [...samples.keys()].flatMap((key) => {
      const isIt = key.startsWith('http_server_request_duration_seconds_bucket') && key.includes('"/v1/queues"')
      return isIt ? [/le="([^"]*)"/.exec(key)![1]] : []
    })
    expect(bounds.slice(0, -1).map(Number)).toEqual([
      0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10,
    ])
    expect(bounds.at(-1)).toBe('+Inf')
    expect(sample(samples, 'http_server_request_duration_seconds_count', labels)).toBe(1)
    expect(sample(samples, 'http_server_active_requests')).toBe(1)
    expect([...samples.keys()].join()).not.toContain('secret-path')
  })

  test('tell how queues stand, dead letters included', async () => {
    const server = await startServer()
    const queue = server.bus.queue('orders')
    await queue.create()
    for (const data of [1, 2, 3]) await queue.send(data)
    await queue.send(4, { delay: '1h' })
    const [message] = await queue.read()
    await message!.deadLetter('broken')
    await queue.read()
    const samples = await scrape(server)
    const state = (name: string) => sample(samples, 'tidings_queue_messages', { queue: 'orders', state: name })
    expect([state('ready'), state('delayed'), state('leased'), state('archived')]).toEqual([1, 1, 1, 0])
    expect(sample(samples, 'tidings_queue_dead_letters', { queue: 'orders' })).toBe(1)
    expect(sample(samples, 'tidings_queue_sent_messages_total', { queue: 'orders' })).toBe(4)
    expect(sample(samples, 'tidings_queue_oldest_ready_age_seconds', { queue: 'orders' })).toBeGreaterThanOrEqual(0)
    expect(sample(samples, 'tidings_storage_up')).toBe(1)
    expect([...samples.keys()].some((key) => key.startsWith('process_cpu_seconds_total'))).toBe(true)
  })

  test('tell how far subscriptions are behind', async () => {
    const server = await startServer()
    const topics = server.bus.engine.topics!
    await topics.createTopic('news', {})
    await topics.subscribe('news', 'payroll', 'earliest')
    const message = { data: '1', meta: {}, headers: {}, delayMs: 0, notBefore: null, priority: 0, orderingKey: null }
    const more = { dedup: null, uniqueTarget: null, bare: false }
    await topics.append(
      'news',
      [
        { ...message, ...more },
        { ...message, ...more },
        { ...message, ...more },
      ],
      null,
    )
    await topics.ack('news', 'payroll', 1, null)
    const samples = await scrape(server)
    expect(sample(samples, 'tidings_subscription_lag', { topic: 'news', subscription: 'payroll' })).toBe(2)
    expect(sample(samples, 'tidings_topic_last_offset', { topic: 'news' })).toBe(3)
  })

  test('are for tokens that may read, and show them their queues only', async () => {
    const reader = makeToken({ name: 'reader', scopes: ['read'], queues: ['orders*'] })
    const sender = makeToken({ name: 'sender', scopes: ['send'] })
    const server = await startServer({ tokens: [reader.entry, sender.entry] })
    for (const name of ['orders', 'salaries']) {
      await server.bus.queue(name).create()
      await ask(server, 'POST', `/v1/queues/${name}/messages`, { headers: bearer(sender.secret), body: { message: 1 } })
    }
    expect((await ask(server, 'GET', '/metrics')).status).toBe(401)
    expect((await ask(server, 'GET', '/metrics', { headers: bearer(sender.secret) })).status).toBe(403)
    const names = [...(await scrape(server, bearer(reader.secret))).keys()].join('\n')
    expect(names).toContain('"orders"')
    expect(names).not.toContain('salaries')
  })

  test('are there when the storage is not', async () => {
    const server = await startServer()
    await server.bus.close()
    expect(sample(await scrape(server), 'tidings_storage_up')).toBe(0)
    expect((await ask(server, 'GET', '/livez')).status).toBe(200)
    const ready = await ask(server, 'GET', '/readyz')
    expect(ready.status).toBe(503)
    expect(ready.body.message).toContain('CLOSED')
  })

  test('keep a bounded number of names', async () => {
    const bus = await connect('memory:')
    bus.metrics()
    for (let n = 0; n < 1_010; n++) await bus.queue(`q${n}`).send(1)
    const samples = parse(bus.metrics())
    const names = [...samples.keys()].filter((key) => key.startsWith('messaging_client_sent_messages_total'))
    expect(names).toHaveLength(1_001)
    expect(sample(samples, 'messaging_client_sent_messages_total', labelsOf('send', '_OTHER'))).toBe(10)
    await bus.close()
  })
})
