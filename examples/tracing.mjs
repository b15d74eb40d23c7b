// One order through OpenTelemetry, from what sends it to what handles it, over a retry: node examples/tracing.mjs
// It needs @opentelemetry/api and an SDK: here the parts of it that keep spans in memory, elsewhere @opentelemetry/sdk-node.
import { context, propagation, SpanKind, trace } from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import { W3CTraceContextPropagator } from '@opentelemetry/core'
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base'
import { connect } from 'tidings'

const exporter = new InMemorySpanExporter()
context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())
propagation.setGlobalPropagator(new W3CTraceContextPropagator())
trace.setGlobalTracerProvider(new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }))

const tracer = trace.getTracer('shop')
const inSpan = (name, work) =>
  tracer.startActiveSpan(name, async (span) => {
    try {
      return await work()
    } finally {
      span.end()
    }
  })

const bus = await connect('memory:', { telemetry: true })
const orders = bus.queue('orders')
await orders.create()

await inSpan('POST /checkout', () => orders.send({ order: 7 }))
const [waiting] = await orders.peek()
console.log('travels as', waiting.headers.traceparent.replaceAll(/[0-9a-f]{16,}/g, '…'))

// The span of the handler is active: this one becomes its child.
const charge = (attempt) =>
  inSpan('charge card', () => {
    if (attempt === 1) throw new Error('the bank does not answer')
  })
await orders.work((_, { attempt }) => charge(attempt), { maxMessages: 2, backoff: 0 }).finished
await bus.close()

const spans = exporter.getFinishedSpans().filter(({ name }) => !name.startsWith('settle'))
const nameOf = (id) => spans.find((span) => span.spanContext().spanId === id)?.name ?? 'nothing'
for (const { name, kind, parentSpanContext: parent, links, attributes } of spans) {
  const link = links.length > 0 ? `, linked to ${nameOf(links[0].context.spanId)}` : ''
  const error = attributes['error.type'] ? `, ${attributes['error.type']}` : ''
  console.log(`${name} (${SpanKind[kind]}) in ${nameOf(parent?.spanId)}${link}${error}`)
}

// Prints:
// travels as 00-…-…-01
// send orders (PRODUCER) in POST /checkout
// POST /checkout (INTERNAL) in nothing
// charge card (INTERNAL) in process orders
// process orders (CONSUMER) in nothing, linked to send orders, Error
// charge card (INTERNAL) in process orders
// process orders (CONSUMER) in nothing, linked to send orders
