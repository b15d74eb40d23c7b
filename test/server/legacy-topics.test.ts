import { describe, expect, test } from 'vitest'
import { type Storage, storages } from '../support/storages.ts'
import { ask, bearer, makeToken, RawClient, startServer } from './support.ts'

const time = /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}\+00:00$/
const memory: Pick<Storage, 'name' | 'url'> = { name: 'memory', url: async () => 'memory:' }
let topics = 0
const newTopic = () => `legacy_${process.pid}_${topics++}`

describe.each([memory, ...storages])('publishers and subscribers of queue-sample on $name', (storage) => {
  test('go on as they were', async () => {
    const server = await startServer({ legacyTopics: true }, await storage.url())
    const topic = newTopic()
    const get = async (path: string) => (await ask(server, 'GET', path)).body
    const post = (path: string, body: object) => ask(server, 'POST', path, { body })

    // What the publisher sends: JSON. What the subscriber sends: parameters in the URL.
    const created = await post('/topic', { topic, description: 'Hires' })
    expect(created).toMatchObject({ status: 200, body: { topic, message: `Topic "${topic}" created` } })
    expect(await post('/topic', { topic, description: 'Again' })).toMatchObject({
      status: 422,
      body: { http_status: 422, error_message: `The topic "${topic}" already exists` },
    })
    expect(await get(`/topics?topic=${topic}`)).toEqual([
      { topic, description: 'Hires', create_ts: expect.stringMatching(time) },
    ])
    await post('/publish', { topic, message: 'before' })
    const { subscriber_id } = await get(`/subscribe?topic=${topic}`)
    expect(subscriber_id).toSatisfy(Number.isInteger)
    const next = (count = '') => get(`/get_message?subscriber_id=${subscriber_id}${count}`)
    const ack = async (offset: number) =>
      (await ask(server, 'PUT', `/ack_message?subscriber_id=${subscriber_id}&offset=${offset}`)).body

    expect(await next()).toEqual([])
    expect(await post('/publish', { topic, message: 'one' })).toMatchObject({ status: 200, body: '' })
    expect(await get(`/publish?topic=${topic}&message=%C3%BCber+%7B2%7D`)).toEqual({
      message: `Saved message to topic "${topic}" at offset 3`,
    })
    const row = (offset: number, message: string) => ({
      id: offset,
      topic,
      _offset: offset,
      message,
      publish_ts: expect.stringMatching(time),
    })
    expect(await next()).toEqual(row(2, 'one'))
    expect(await next('&num_messages=50')).toEqual([row(2, 'one'), row(3, 'über {2}')])
    const subscriber = (offset: number) => ({
      id: subscriber_id,
      topic,
      _offset: offset,
      action_ts: expect.stringMatching(time),
    })
    expect(await ack(3)).toEqual(subscriber(3))
    expect(await next()).toEqual([])
    // An acknowledgement goes back, too.
    expect(await ack(2)).toEqual(subscriber(2))
    expect(await next()).toEqual(row(3, 'über {2}'))
    expect(await get(`/topic_reset?topic=${topic}&offset=1`)).toEqual({ topic, offset: 1, subscriber_count: 1 })
    expect(await next('&num_messages=3')).toHaveLength(3)
    expect(await get(`/topic_messages?topic=${topic}`)).toEqual([row(1, 'before'), row(2, 'one'), row(3, 'über {2}')])
    expect(await get(`/topic_subscribers?topic=${topic}`)).toEqual([subscriber(0)])

    // Our own programs share the topic with them.
    const ours = server.bus.topic(topic)
    await ours.publish({ from: 'us' })
    expect((await ours.read({ after: 1, limit: 1 }))[0]?.data).toBe('one')
    await ack(3)
    expect(JSON.parse((await next()).message)).toEqual({ from: 'us' })
    expect((await server.bus.topics()).map((one) => one.topic)).not.toContain('tidings_legacy_subscribers')

    expect(await get(`/unsubscribe?subscriber_id=${subscriber_id}`)).toEqual({
      message: `Subscriber "${subscriber_id}" deleted`,
    })
    expect(await next()).toEqual([])
    expect(await ack(4)).toBe(null)
    expect(await ask(server, 'DELETE', `/topic_delete?topic=${topic}`)).toMatchObject({ status: 200, body: '' })
    expect(await post('/publish', { topic, message: 'late' })).toMatchObject({
      status: 422,
      body: { http_status: 422, error_message: `Topic "${topic}" does not exist` },
    })
  })
})

test('what the old server refused is refused with its statuses and in its words', async () => {
  const server = await startServer({ legacyTopics: true })
  const refusal = async (method: string, path: string, given: Parameters<typeof ask>[3] = {}) => {
    const { status, body } = await ask(server, method, path, given)
    expect(body.http_status).toBe(status)
    return [status, body.error_message]
  }
  const form = { text: 'topic=a', headers: { 'content-type': 'application/x-www-form-urlencoded' } }
  expect(await refusal('POST', '/publish', form)).toEqual([
    400,
    'POST command only accepts "application/json" content type. (Got "application/x-www-form-urlencoded")',
  ])
  expect(await refusal('GET', '/nothing')).toEqual([501, 'Unsupported route (nothing)'])
  expect(await refusal('GET', '/constructor')).toEqual([501, 'Unsupported route (constructor)'])
  expect(await refusal('PATCH', '/publish')).toEqual([501, 'Unsupported command'])
  expect(await refusal('POST', '/subscribe', { body: {} })).toEqual([401, 'Unsupported route (subscribe) for POST'])
  expect(await refusal('PUT', '/topic_delete')).toEqual([401, 'Unsupported route (topic_delete) for PUT'])
  expect(await refusal('GET', '/topic?topic=a&description=')).toEqual([422, 'Missing parameters topic, description'])
  expect(await refusal('POST', '/publish', { body: { topic: 'a' } })).toEqual([
    422,
    'Missing parameters topic, message',
  ])
  expect(await refusal('GET', '/subscribe?topic=a')).toEqual([422, 'The topic "a" does not exist'])
  expect(await refusal('GET', '/get_message?subscriber_id=x')).toEqual([
    422,
    'Expected integer value for the subscriber_id parameter. Got [x].',
  ])
  expect((await refusal('GET', '/topic?topic=Two+words&description=d'))[0]).toBe(422)
  expect((await refusal('POST', '/publish', { text: '{' }))[0]).toBe(422)
  // The routes of ours stay as they are.
  expect((await ask(server, 'GET', '/v1/nothing')).body).toMatchObject({ code: 'ROUTE_NOT_FOUND' })
  expect((await ask(server, 'GET', '/livez')).status).toBe(200)
})

test('tokens hold for them, and pages of other sites are kept out', async () => {
  const { secret, entry } = makeToken({ name: 'a', scopes: ['send', 'receive', 'read'], queues: ['mine*'] })
  const server = await startServer({ legacyTopics: true, tokens: [entry] })
  for (const name of ['mine', 'theirs']) await server.bus.topic(name).create()
  const get = (path: string, headers: Record<string, string> = bearer(secret)) => ask(server, 'GET', path, { headers })
  expect((await get('/publish?topic=mine&message=1')).status).toBe(200)
  expect((await get('/publish?topic=mine&message=1', {})).status).toBe(401)
  expect((await get('/topic?topic=mine2&description=d')).status).toBe(403)
  expect((await get('/publish?topic=theirs&message=1')).status).toBe(422)
  expect((await get('/topics')).body.map(({ topic }: { topic: string }) => topic)).toEqual(['mine'])
  const foreign = new RawClient(server.url).send(
    'GET /publish?topic=mine&message=2 HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Site: cross-site\r\nConnection: close\r\n\r\n',
  )
  expect(await foreign.all()).toMatch(/ORIGIN_REFUSED/)
  // A subscriber of a topic that the token does not see is none.
  const other = makeToken({ name: 'b', scopes: ['receive'], queues: ['theirs'] })
  const second = await startServer({ legacyTopics: true, tokens: [other.entry] })
  await second.bus.topic('mine').create()
  await second.bus.topic('tidings_legacy_subscribers').publish({ topic: 'mine' })
  await second.bus.topic('mine').subscription('1').create({ from: 'earliest' })
  await second.bus.topic('mine').publish('secret')
  expect((await ask(second, 'GET', '/get_message?subscriber_id=1', { headers: bearer(other.secret) })).body).toEqual([])
})

test('without the option there are no such routes', async () => {
  const server = await startServer()
  expect((await ask(server, 'GET', '/topics')).body).toMatchObject({ code: 'ROUTE_NOT_FOUND' })
})
