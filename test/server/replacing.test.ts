import assert from 'node:assert/strict'
import { test } from 'vitest'
import { ask, startServer } from './support.ts'

test('a message replaces one that nobody has read, and its answer says so', async () => {
  const server = await startServer()
  await ask(server, 'PUT', '/v1/queues/pages')
  const send = (message: number, dedup: object, more: object = {}) =>
    ask(server, 'POST', '/v1/queues/pages/messages', { body: { message, dedup: { id: 'a', ...dedup }, ...more } })
  const extend = { replace: true, extend: true, at_most_ms: 60_000 }
  const first = await send(1, { while_active: 'keepLast' })
  assert.deepEqual(first.body, { msg_id: 1, id: '1', duplicate: false })
  assert.deepEqual((await send(2, extend, { delay_ms: 30_000 })).body, {
    msg_id: 1,
    id: '1',
    duplicate: false,
    replaced: true,
  })
  const { body } = await ask(server, 'POST', '/v1/queues/pages/peek', { body: {} })
  const [{ message, ordering_key, vt, enqueued_at }] = body.messages
  assert.deepEqual([message, ordering_key], [2, 'a'])
  assert(Date.parse(vt) - Date.parse(enqueued_at) >= 30_000)

  const refused = await send(3, { extend: true })
  assert.deepEqual([refused.status, refused.body.message], [400, "'dedup.extend' is set without 'dedup.replace'"])
  for (const more of [{ unique_target: 't' }, { tracked: { correlation_id: 'c' } }])
    assert.equal((await send(3, { replace: true }, more)).body.code, 'OPTION_CONFLICT')
  await ask(server, 'PUT', '/v1/topics/news')
  const topic = await ask(server, 'POST', '/v1/topics/news/messages', {
    body: { message: 1, dedup: { id: 'a', replace: true } },
  })
  assert.equal(topic.body.code, 'OPTION_CONFLICT')
})
