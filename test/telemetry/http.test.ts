import { randomBytes } from 'node:crypto'
import { connect } from 'tidings'
import { createServer } from 'tidings-server'
import { expect, onTestFinished, test } from 'vitest'
import { ask } from '../server/support.ts'
import { idOf, inSpan, kindOf, linksOf, spansOf, startSdk, traceOf } from './sdk.ts'

startSdk()

/** A server that follows messages too, and a client of it. */
async function start() {
  const bus = await connect('memory:', { telemetry: true })
  const server = createServer(bus, { port: 0, stopDeadline: 0 })
  await server.start()
  const client = await connect(server.url, { telemetry: true })
  onTestFinished(async () => {
    await client.close()
    await server.stop()
    await bus.close()
  })
  const queue = client.queue(`http_${randomBytes(5).toString('hex')}`)
  await queue.create()
  return { server, queue }
}

test('requests bring their context along: what the server does belongs to the call of its client', async () => {
  const { queue } = await start()
  await queue.send(1)
  await inSpan('look', async () => {
    const [message] = await queue.read()
    await message!.delete()
  })
  const sent = spansOf(queue.name).filter(({ name }) => name.startsWith('send '))
  const [byServer, byClient] = sent
  expect(sent.map(kindOf), 'the server did not create the message').toEqual(['CLIENT', 'PRODUCER'])
  expect(byServer!.parentSpanContext?.spanId).toBe(idOf(byClient!))
  expect(linksOf(byServer!)).toEqual([idOf(byClient!)])
  for (const operation of ['receive ', 'settle ']) {
    const both = spansOf(queue.name).filter(({ name }) => name.startsWith(operation))
    expect(both, operation).toHaveLength(2)
    expect(new Set(both.map(traceOf)).size, `${operation}of one trace`).toBe(1)
  }
})

test('clients in any language start a trace with the header of a request', async () => {
  const { server, queue } = await start()
  const traceId = randomBytes(16).toString('hex')
  const headers = { traceparent: `00-${traceId}-b7ad6b7169203331-01` }
  await ask(server, 'POST', `/v1/queues/${queue.name}/messages`, { body: { message: 1 }, headers })
  const [sent] = spansOf(queue.name)
  expect([kindOf(sent!), traceOf(sent!), sent!.parentSpanContext?.spanId]).toEqual([
    'PRODUCER',
    traceId,
    'b7ad6b7169203331',
  ])
  const [message] = await queue.peek()
  expect(message!.headers.traceparent).toBe(`00-${traceId}-${idOf(sent!)}-01`)
})

test('a broken header starts nothing, and refuses nothing', async () => {
  const { server, queue } = await start()
  const headers = { traceparent: 'no context' }
  const { status } = await ask(server, 'POST', `/v1/queues/${queue.name}/messages`, { body: { message: 1 }, headers })
  expect(status).toBeLessThan(300)
  expect(spansOf(queue.name)[0]!.parentSpanContext).toBeUndefined()
})
