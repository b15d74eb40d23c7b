import { Bus, connect, type QueueOptions } from 'tidings'
import { isTidingsError } from 'tidings/internal/core/errors'
import { MemoryEngine } from 'tidings/internal/engines/memory/memory'
import type { NewMessage, RoutedMessage, SendTerms } from 'tidings/internal/port/engine'
import { createServer } from 'tidings-server'
import { describe, expect, onTestFinished, test } from 'vitest'
import { z } from 'zod'
import { ask } from './support.ts'

/** What the storage was asked to store, or the code of the refusal. */
type Outcome = { readonly stored: object } | { readonly code: string }

/** Notes what it is asked to store. */
class RecordingEngine extends MemoryEngine {
  stored: object | null = null

  override send(queue: string, messages: readonly NewMessage[], transaction: null, terms?: SendTerms) {
    this.stored = { messages, terms: { ...terms } }
    return super.send(queue, messages, transaction, terms)
  }

  override publish(messages: readonly RoutedMessage[], transaction: null) {
    this.stored = { messages }
    return super.publish(messages, transaction)
  }
}

interface Message {
  readonly data: unknown
  readonly delay?: number
}

const asynchronous = z.object({ n: z.number() }).refine(async ({ n }) => n > 0)

/** Options of a queue, a message, and what becomes of the message. */
const cases: [string, QueueOptions, Message, string | null][] = [
  ['maxLength', { maxLength: 1 }, { data: { n: 1 } }, 'QUEUE_FULL'],
  ['schema, kept to', { schema: z.object({ n: z.number() }) }, { data: { n: 1 } }, null],
  ['schema, broken', { schema: z.object({ n: z.number() }) }, { data: { n: 'one' } }, 'BODY_INVALID'],
  ['an asynchronous schema, broken', { schema: asynchronous }, { data: { n: -1 } }, 'BODY_INVALID'],
  ['maxMessageBytes, kept to', { maxMessageBytes: 7 }, { data: { n: 1 } }, null],
  ['maxMessageBytes, exceeded', { maxMessageBytes: 6 }, { data: { n: 1 } }, 'BODY_TOO_LARGE'],
  ['requireTransaction', { requireTransaction: true }, { data: { n: 1 } }, 'TRANSACTION_REQUIRED'],
  ['durability', { durability: 'fsync' }, { data: { n: 1 } }, 'DURABILITY_UNAVAILABLE'],
  ['ttl', { ttl: '1h' }, { data: { n: 1 } }, null],
  ['ttl, shorter than the delay', { ttl: 10 }, { data: { n: 1 }, delay: 20 }, 'OPTION_CONFLICT'],
  ['envelope', { envelope: 'none' }, { data: { n: 1 } }, null],
  ['nothing', {}, { data: { n: 1 } }, null],
]

async function start(options: QueueOptions) {
  const engine = new RecordingEngine()
  await engine.open()
  const bus = new Bus(engine, { queues: new Map([['orders', options]]) })
  const server = createServer(bus, { port: 0, stopDeadline: 0 })
  await server.start()
  const client = await connect(server.url)
  onTestFinished(async () => {
    await client.close()
    await server.stop()
    await bus.close()
  })
  await bus.queue('orders').create()
  await bus.topic('news').create()
  await bus.bind('Orders.*', 'orders')
  await bus.topic('news').bind('orders')
  // One that is there already, past all options.
  await engine.send('orders', [earlier], null)
  engine.stored = null
  return { engine, bus, server, client }
}

const earlier: NewMessage = {
  data: '0',
  meta: {},
  headers: {},
  delayMs: 0,
  notBefore: null,
  priority: 0,
  orderingKey: null,
  dedup: null,
  uniqueTarget: null,
  bare: false,
}

type Started = Awaited<ReturnType<typeof start>>

const plain = ({ data, delay = 0 }: Message) => ({ message: data, delay_ms: delay })
const text = ({ data, delay = 0 }: Message) => ({ data: JSON.stringify(data), delay_ms: delay, meta: exactMeta })
const exactMeta = { queue_name: 'orders' }
const asText = { 'tidings-data': 'text' }

const post =
  (path: string, bodyOf: (message: Message) => object, headers: Record<string, string> = {}) =>
  async ({ server }: Started, message: Message) => {
    const { status, body } = await ask(server, 'POST', path, { body: bodyOf(message), headers })
    return status === 201 ? null : (body.code as string)
  }

const call =
  (of: (started: Started, message: Message) => Promise<unknown>) => async (started: Started, message: Message) => {
    try {
      await of(started, message)
      return null
    } catch (error) {
      if (isTidingsError(error)) return error.code as string
      throw error
    }
  }

const sendTo = (bus: Bus, { data, delay = 0 }: Message) => bus.queue('orders').send(data, { delay })
const sendBatchTo = (bus: Bus, { data, delay = 0 }: Message) => bus.queue('orders').sendBatch([{ data, delay }])

const at = '/v1/queues/orders/messages'
const onTheBus = {
  send: call(({ bus }, message) => sendTo(bus, message)),
  sendBatch: call(({ bus }, message) => sendBatchTo(bus, message)),
}
const overHttp = {
  'a message': post(at, plain),
  'a message as text': post(at, text, asText),
  'a batch of data': post(`${at}/batch`, ({ data, delay = 0 }) => ({ messages: [data], delay: delay / 1_000 })),
  'a batch of entries': post(`${at}/batch`, (message) => ({ entries: [plain(message)] })),
  'a batch of entries as text': post(`${at}/batch`, (message) => ({ entries: [text(message)] }), asText),
  'send of our client': call(({ client }, message) => sendTo(client, message)),
  'sendBatch of our client': call(({ client }, message) => sendBatchTo(client, message)),
}

const topicAt = '/v1/topics/news/messages'
const publishedOnTheBus = {
  publish: call(({ bus }, { data, delay = 0 }) => bus.publish('Orders.Paid', data, { delay })),
  'publish to a topic': call(({ bus }, { data, delay = 0 }) => bus.topic('news').publish(data, { delay })),
}
const publishedOverHttp = {
  publish: {
    'a message': post('/v1/publish', (message) => ({ routing_key: 'Orders.Paid', ...plain(message) })),
    'a message as text': post('/v1/publish', (message) => ({ routing_key: 'Orders.Paid', ...routed(message) }), asText),
    'a batch': post('/v1/publish', (message) => ({ entries: [{ routing_key: 'Orders.Paid', ...plain(message) }] })),
    'publish of our client': call(({ client }, { data, delay = 0 }) => client.publish('Orders.Paid', data, { delay })),
  },
  'publish to a topic': {
    'a message': post(topicAt, plain),
    'a message as text': post(topicAt, (message) => ({ ...text(message), meta: {} }), asText),
    'a batch': post(topicAt, (message) => ({ entries: [plain(message)] })),
    'publish of our client': call(({ client }, { data, delay = 0 }) => client.topic('news').publish(data, { delay })),
  },
}
const routed = (message: Message) => ({ ...text(message), meta: { routing_key: 'Orders.Paid' } })

type Way = (started: Started, message: Message) => Promise<string | null>

async function outcomeOf(way: Way, options: QueueOptions, message: Message): Promise<Outcome> {
  const started = await start(options)
  const code = await way(started, message)
  return code === null ? { stored: started.engine.stored! } : { code }
}

/** Of what came into the queue. */
async function copyBy(way: Way, options: QueueOptions, message: Message) {
  const started = await start(options)
  const code = await way(started, message)
  const copies = await started.engine.peek('orders', { place: null, limit: 10, afterId: '1', ids: null })
  return { code, copies: copies.map(({ data, meta, headers, priority }) => ({ data, meta, headers, priority })) }
}

/** Says which of the ways leads elsewhere. */
async function expectOfAll<T>(
  ways: Record<string, Way>,
  expected: T,
  outcome: (way: Way) => Promise<T>,
): Promise<void> {
  const outcomes = await Promise.all(Object.entries(ways).map(async ([name, way]) => [name, await outcome(way)]))
  expect(Object.fromEntries(outcomes)).toEqual(Object.fromEntries(Object.keys(ways).map((name) => [name, expected])))
}

describe('options of a queue that the server has configured hold for what is sent over HTTP as on its bus', () => {
  test.each(cases)('%s', async (_, options, message, code) => {
    const expected = await outcomeOf(onTheBus.sendBatch, options, message)
    expect('code' in expected ? expected.code : null).toBe(code)
    await expectOfAll({ ...onTheBus, ...overHttp }, expected, (way) => outcomeOf(way, options, message))
  })

  test.each([
    [{ maxLength: 5 }, { max_length: 7 }, { maxLength: 5, durability: undefined }],
    [{ maxLength: 5 }, { max_length: 3 }, { maxLength: 3, durability: undefined }],
    [{}, { max_length: 3 }, { maxLength: 3, durability: undefined }],
  ])('the stricter of two terms counts: %j and %j', async (options, terms, expected) => {
    const { engine, server } = await start(options)
    expect((await ask(server, 'POST', at, { body: { message: 1, ...terms } })).status).toBe(201)
    expect(engine.stored).toMatchObject({ terms: expected })
  })

  test.each([
    [{ durability: 'fsync' }, {}],
    [{}, { durability: 'fsync' }],
  ] as const)('either may ask for the disk: %j and %j', async (options, terms) => {
    const { server } = await start(options)
    const { status, body } = await ask(server, 'POST', at, { body: { message: 1, ...terms } })
    expect([status, body.code]).toEqual([501, 'DURABILITY_UNAVAILABLE'])
  })

  test('an error of a batch names the field as the client wrote it', async () => {
    const { server } = await start({ maxMessageBytes: 3 })
    const errorOf = async (body: object, headers = {}) =>
      (await ask(server, 'POST', `${at}/batch`, { body, headers })).body.details.field
    expect(await errorOf({ messages: [1, 'long'] })).toBe('messages[1].message')
    expect(await errorOf({ entries: [{ message: 1 }, { message: 'long' }] })).toBe('entries[1].message')
    expect(await errorOf({ entries: [{ data: '"long"' }] }, asText)).toBe('entries[0].data')
  })
})

describe('what is published over HTTP reaches a queue as it does from the bus, past the options of the queue', () => {
  describe.each(cases)('%s', (_, options, message) => {
    test.each(Object.entries(publishedOverHttp))('%s', async (name, ways) => {
      const expected = await copyBy(publishedOnTheBus[name as keyof typeof publishedOnTheBus], options, message)
      expect(expected).toMatchObject({ code: null, copies: [{ data: JSON.stringify(message.data) }] })
      await expectOfAll(ways, expected, (way) => copyBy(way, options, message))
    })
  })
})
