import { randomBytes } from 'node:crypto'
import { propagation, SpanStatusCode, trace } from '@opentelemetry/api'
import type { ReadableSpan } from '@opentelemetry/sdk-trace-base'
import { type Bus, type ConnectOptions, connect } from 'tidings'
import { describe, expect, onTestFinished, test } from 'vitest'
import { storages } from '../support/storages.ts'
import { allSpans, exceptions, idOf, inSpan, kindOf, linksOf, pointsOf, spansOf, startSdk, traceOf } from './sdk.ts'

startSdk()

const memory = { name: 'memory', url: async () => 'memory:' }
const each = [memory, ...storages.filter(({ name }) => !name.includes('Cluster'))]

const newName = () => `trace_${randomBytes(5).toString('hex')}`

async function open(url: string, telemetry: ConnectOptions['telemetry'] = true): Promise<Bus> {
  const bus = await connect(url, { telemetry })
  onTestFinished(() => bus.close())
  return bus
}

/** The spans of a destination with this operation. */
const spans = (destination: string, operation: string): ReadableSpan[] =>
  spansOf(destination).filter(({ name }) => name === `${operation} ${destination}`)

function only<T>(all: readonly T[]): T {
  expect(all).toHaveLength(1)
  return all[0]!
}

const applicationSpan = (name: string) => only(allSpans().filter((span) => span.name === name))

const attributesOf = (span: ReadableSpan) => {
  const { 'messaging.message.id': _, ...rest } = span.attributes
  return rest
}

const named = (operation: string, type: string, destination: string) => ({
  'messaging.system.name': 'tidings',
  'messaging.operation.name': operation,
  'messaging.operation.type': type,
  'messaging.destination.name': destination,
})

describe.each(each)('spans on $name', (storage) => {
  test('of sending, receiving and settling a message have the names, kinds and links of the conventions', async () => {
    const name = newName()
    const queue = (await open(await storage.url())).queue(name)
    await queue.create()
    const id = await inSpan(`order ${name}`, () => queue.send({ a: 1 }, { meta: { correlationId: 'c-1' } }))
    const [message] = await inSpan(`look ${name}`, () => queue.read())
    expect(await queue.read(), 'an empty poll').toEqual([])
    await message!.delete()

    const sent = only(spans(name, 'send'))
    expect(kindOf(sent)).toBe('PRODUCER')
    expect(sent.parentSpanContext?.spanId).toBe(idOf(applicationSpan(`order ${name}`)))
    expect(sent.attributes).toEqual({
      ...named('send', 'send', name),
      'messaging.message.id': id,
      'messaging.message.conversation_id': 'c-1',
    })
    const received = only(spans(name, 'receive'))
    expect([kindOf(received), linksOf(received)]).toEqual(['CLIENT', [idOf(sent)]])
    expect(received.parentSpanContext?.spanId).toBe(idOf(applicationSpan(`look ${name}`)))
    expect(received.attributes['messaging.message.id']).toBe(id)
    const settled = only(spans(name, 'settle'))
    expect([kindOf(settled), linksOf(settled)]).toEqual(['CLIENT', [idOf(sent)]])
    expect(attributesOf(settled)).toEqual(named('settle', 'settle', name))
    expect(message!.headers.traceparent).toBe(`00-${traceOf(sent)}-${idOf(sent)}-01`)
  })

  test('of a batch: one for each message, and one that links to them', async () => {
    const name = newName()
    const queue = (await open(await storage.url())).queue(name)
    await queue.create()
    await inSpan(`orders ${name}`, () => queue.sendBatch([{ data: 1 }, { data: 2 }, { data: 3 }]))
    const parent = idOf(applicationSpan(`orders ${name}`))
    const created = spans(name, 'create')
    expect(created.map((span) => [kindOf(span), span.parentSpanContext?.spanId])).toEqual(
      Array.from({ length: 3 }, () => ['PRODUCER', parent]),
    )
    const sent = only(spans(name, 'send'))
    expect([kindOf(sent), linksOf(sent)]).toEqual(['CLIENT', created.map(idOf)])
    expect(sent.attributes['messaging.batch.message_count']).toBe(3)
    await queue.read({ limit: 3 })
    const received = only(spans(name, 'receive'))
    expect(linksOf(received).sort()).toEqual(created.map(idOf).sort())
    expect(received.attributes['messaging.batch.message_count']).toBe(3)
    for (const span of created) expect(span.attributes).not.toHaveProperty('messaging.batch.message_count')
  })

  test('of messages that travel together by chance: one for each caller, in its trace', async () => {
    const name = newName()
    const queue = (await open(await storage.url())).queue(name)
    await queue.create()
    const callers = ['one', 'two', 'three'].map((caller) => `${caller} ${name}`)
    await Promise.all(callers.map((caller) => inSpan(caller, () => queue.send(caller))))
    const found = await queue.peek()
    for (const caller of callers) {
      const own = only(spans(name, 'send').filter((span) => traceOf(span) === traceOf(applicationSpan(caller))))
      expect([kindOf(own), own.attributes['messaging.batch.message_count']]).toEqual(['PRODUCER', undefined])
      const { headers } = only(found.filter(({ data }) => data === caller))
      expect(headers.traceparent).toContain(idOf(own))
    }
  })

  test('of a handler hold the spans of the user, and link to what sent the message, through retry, dead letter, redrive and replay', async () => {
    const name = newName()
    const queue = (await open(await storage.url())).queue(name)
    await inSpan(`order ${name}`, () => queue.send(1))
    const created = only(spans(name, 'send').filter(({ status }) => status.code !== SpanStatusCode.ERROR))
    const handle = async (fails: boolean) => {
      const worker = queue.work(
        () =>
          inSpan(`charge ${name}`, async () => {
            if (fails) throw new RangeError('no such card')
          }),
        { maxAttempts: 2, backoff: 0, onSuccess: 'archive', maxMessages: fails ? 2 : 1, pollInterval: 50 },
      )
      await worker.finished
    }
    await handle(true)
    await queue.deadLetters.redrive()
    await handle(false)
    await queue.replay()
    await handle(false)

    const handled = spans(name, 'process')
    expect(handled.map((span) => [kindOf(span), linksOf(span), span.parentSpanContext])).toEqual(
      Array.from({ length: 4 }, () => ['CONSUMER', [idOf(created)], undefined]),
    )
    const errors = handled.map(({ status, attributes }) => [status.code, attributes['error.type']])
    const failed = [SpanStatusCode.ERROR, 'RangeError']
    expect(errors).toEqual([failed, failed, [SpanStatusCode.UNSET, undefined], [SpanStatusCode.UNSET, undefined]])
    const inside = allSpans().filter((span) => span.name === `charge ${name}`)
    expect(inside.map((span) => span.parentSpanContext?.spanId)).toEqual(handled.map(idOf))
    const told = exceptions().filter(({ spanContext }) => handled.some((one) => idOf(one) === spanContext?.spanId))
    expect(told.map(({ eventName, severityNumber }) => [eventName, severityNumber])).toEqual([
      ['messaging.process.exception', 17],
      ['messaging.process.exception', 17],
    ])
    expect(told[0]!.attributes).toMatchObject({ 'exception.message': 'no such card', 'exception.type': 'RangeError' })
    const settled = spans(name, 'settle').filter((span) => span.parentSpanContext?.spanId === idOf(handled[0]!))
    expect(only(settled).links, 'what ends it belongs to the handling').toHaveLength(1)
    expect(spans(name, 'receive'), 'what is read ahead was not received yet').toEqual([])
  })

  test('of topics and published copies', async () => {
    const name = newName()
    const bus = await open(await storage.url())
    const topic = bus.topic(name)
    await topic.create()
    await bus.bind(`${name}.*`, topic)
    await inSpan(`news ${name}`, () => topic.publish(1))
    await inSpan(`routed ${name}`, () => bus.publish(`${name}.x`, 2))
    const senders = allSpans().filter(({ name: span }) => span === `publish ${name}` || span === 'publish')
    const own = senders.filter((span) =>
      [`news ${name}`, `routed ${name}`].some((caller) => traceOf(applicationSpan(caller)) === traceOf(span)),
    )
    expect(own.map(kindOf)).toEqual(['PRODUCER', 'PRODUCER'])
    expect(own[1]!.attributes['messaging.tidings.routing_key']).toBe(`${name}.x`)
    const subscriber = topic.subscribe('all', () => {}, { from: 'earliest' })
    await subscriber.drain()
    const handled = spans(name, 'process')
    expect(handled.flatMap(linksOf)).toEqual(own.map(idOf))
    expect(handled[0]!.attributes).toMatchObject({
      ...named('process', 'process', name),
      'messaging.destination.subscription.name': 'all',
    })
  })

  test('of an occurrence of a schedule: what sends it begins the trace', async () => {
    const name = newName()
    const bus = await open(await storage.url())
    await bus.queue(name).create()
    await inSpan(`declare ${name}`, () => bus.schedule(name, { every: '1h', queue: name, data: 1 }))
    await bus.schedules.runNow(name)
    await bus.queue(name).work(() => {}, { maxMessages: 1 }).finished
    await bus.schedules.remove(name)
    const sent = only(spans(name, 'send'))
    expect([kindOf(sent), sent.parentSpanContext]).toEqual(['PRODUCER', undefined])
    expect(linksOf(only(spans(name, 'process')))).toEqual([idOf(sent)])
  })

  test('are not there, and nothing is added to messages, without the option', async () => {
    const name = newName()
    const queue = (await open(await storage.url(), false)).queue(name)
    await inSpan(`order ${name}`, () => queue.send(1))
    const [message] = await queue.read()
    await message!.delete()
    expect(message!.headers).toEqual({})
    // The server has none either.
    expect(spansOf(name)).toHaveLength(0)
  })

  test('and metrics: what was sent, consumed and handled, and how long it took', async () => {
    const name = newName()
    const queue = (await open(await storage.url())).queue(name)
    await queue.create()
    await queue.sendBatch([{ data: 1 }, { data: 2 }])
    await queue.work(() => {}, { maxMessages: 2 }).finished
    const sent = only(await pointsOf('messaging.client.sent.messages', name))
    expect([sent.value, sent.unit]).toEqual([2, '{message}'])
    const consumed = only(await pointsOf('messaging.client.consumed.messages', name))
    expect([consumed.value, consumed.unit]).toEqual([2, '{message}'])
    const handled = only(await pointsOf('messaging.process.duration', name))
    expect([handled.unit, handled.value]).toMatchObject(['s', { count: 2 }])
    expect((handled.value as { buckets: { boundaries: number[] } }).buckets.boundaries).toEqual([
      0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10,
    ])
    const operations = await pointsOf('messaging.client.operation.duration', name)
    const types = operations.map(({ attributes }) => attributes['messaging.operation.type'])
    expect([...new Set(types)].sort()).toEqual(['receive', 'send', 'settle'])
    for (const { attributes } of [sent, consumed, handled])
      expect(attributes).not.toHaveProperty('messaging.operation.type')
  })
})

describe('telemetry', () => {
  test('puts handling into the trace of the sender where that is asked for', async () => {
    const name = newName()
    const queue = (await open('memory:', { parent: true })).queue(name)
    await queue.create()
    await inSpan(`order ${name}`, () => queue.send(1))
    await queue.work(() => {}, { maxMessages: 1 }).finished
    const sent = only(spans(name, 'send'))
    const handled = only(spans(name, 'process'))
    expect(handled.parentSpanContext?.spanId).toBe(idOf(sent))
    expect(linksOf(handled)).toEqual([idOf(sent)])
  })

  test('lets baggage travel only where that is asked for', async () => {
    const baggage = propagation.createBaggage({ tenant: { value: 't-1' } })
    const { context } = await import('@opentelemetry/api')
    const seen = async (telemetry: ConnectOptions['telemetry']) => {
      const queue = (await open('memory:', telemetry)).queue(newName())
      await context.with(propagation.setBaggage(context.active(), baggage), () => queue.send(1))
      const { headers } = only(await queue.peek())
      let inHandler: string | undefined
      await queue.work(
        () => {
          inHandler = propagation.getActiveBaggage()?.getEntry('tenant')?.value
        },
        { maxMessages: 1 },
      ).finished
      return [headers.baggage, inHandler]
    }
    expect(await seen(true)).toEqual([undefined, undefined])
    expect(await seen({ baggage: true })).toEqual(['tenant=t-1', 't-1'])
  })

  test('leaves the context alone that the user put into a message', async () => {
    const name = newName()
    const queue = (await open('memory:')).queue(name)
    await queue.create()
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
    await queue.sendBatch([{ data: 1, headers: { traceparent, mine: 1 } }])
    const [message] = await queue.read()
    expect(message!.headers).toEqual({ traceparent, mine: 1 })
    const sent = only(spans(name, 'send'))
    expect([kindOf(sent), linksOf(sent)]).toEqual(['CLIENT', ['b7ad6b7169203331']])
  })

  test('makes one span of a batch where those of its messages are not wanted', async () => {
    const name = newName()
    const queue = (await open('memory:', { createSpans: false })).queue(name)
    await queue.create()
    await queue.sendBatch([{ data: 1 }, { data: 2 }])
    const sent = only(spansOf(name))
    expect([sent.name, kindOf(sent)]).toEqual([`send ${name}`, 'PRODUCER'])
    for (const { headers } of await queue.peek()) expect(headers.traceparent).toContain(idOf(sent))
  })

  test('tells what fails', async () => {
    const name = newName()
    const queue = (await open('memory:')).queue(name, { create: false })
    await expect(queue.send(1)).rejects.toMatchObject({ code: 'QUEUE_NOT_FOUND' })
    const { status, attributes } = only(spans(name, 'send'))
    expect([status.code, attributes['error.type']]).toEqual([SpanStatusCode.ERROR, 'QUEUE_NOT_FOUND'])
  })

  test('gives a loop its spans of receiving, one message at a time', async () => {
    const name = newName()
    const queue = (await open('memory:')).queue(name)
    await queue.create()
    for (const data of [1, 2]) await queue.send(data)
    for await (const _ of queue.consume({ wait: 0 }));
    expect(spans(name, 'receive').flatMap(linksOf)).toEqual(spans(name, 'send').map(idOf))
    expect(spans(name, 'receive')).toHaveLength(2)
  })

  test('does not take the handling for a part of what started the worker', async () => {
    const name = newName()
    const queue = (await open('memory:')).queue(name)
    await queue.create()
    const worker = await inSpan(`start ${name}`, async () => queue.work(() => {}, { maxMessages: 1 }))
    await queue.send(1)
    await worker.finished
    expect(only(spans(name, 'process')).parentSpanContext).toBeUndefined()
    expect(trace.getActiveSpan()).toBeUndefined()
  })
})
