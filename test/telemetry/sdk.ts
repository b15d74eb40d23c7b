import { context, metrics, propagation, SpanKind, trace } from '@opentelemetry/api'
import { logs } from '@opentelemetry/api-logs'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import { CompositePropagator, W3CBaggagePropagator, W3CTraceContextPropagator } from '@opentelemetry/core'
import { InMemoryLogRecordExporter, LoggerProvider, SimpleLogRecordProcessor } from '@opentelemetry/sdk-logs'
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics'
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  type ReadableSpan,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-base'
import { afterAll } from 'vitest'

const spanExporter = new InMemorySpanExporter()
const metricExporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE)
const logExporter = new InMemoryLogRecordExporter()
const reader = new PeriodicExportingMetricReader({ exporter: metricExporter, exportIntervalMillis: 3_600_000 })

/** Sets the real SDK up as an application does, but for where it exports to. Further files of the process have none. */
export function startSdk(): void {
  afterAll(() => {
    for (const api of [context, propagation, trace, metrics, logs]) api.disable()
  })
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())
  propagation.setGlobalPropagator(
    new CompositePropagator({ propagators: [new W3CTraceContextPropagator(), new W3CBaggagePropagator()] }),
  )
  trace.setGlobalTracerProvider(new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(spanExporter)] }))
  metrics.setGlobalMeterProvider(new MeterProvider({ readers: [reader] }))
  logs.setGlobalLoggerProvider(
    new LoggerProvider({ processors: [new SimpleLogRecordProcessor({ exporter: logExporter })] }),
  )
}

/** The spans of one destination that have ended. */
export const spansOf = (destination: string): ReadableSpan[] =>
  spanExporter
    .getFinishedSpans()
    .filter(({ name, instrumentationScope: scope }) => scope.name === 'tidings' && name.split(' ')[1] === destination)

export const allSpans = (): ReadableSpan[] => spanExporter.getFinishedSpans()
export const exceptions = () => logExporter.getFinishedLogRecords()

/** All points of a metric, by its name. */
export async function pointsOf(name: string, destination: string) {
  metricExporter.reset()
  await reader.forceFlush()
  const all = metricExporter.getMetrics().flatMap(({ scopeMetrics }) => scopeMetrics.flatMap((scope) => scope.metrics))
  return all
    .filter(({ descriptor }) => descriptor.name === name)
    .flatMap(({ descriptor, dataPoints }) => dataPoints.map((point) => ({ ...point, unit: descriptor.unit })))
    .filter(({ attributes }) => attributes['messaging.destination.name'] === destination)
}

/** What the application does, in a span of its own. */
export function inSpan<T>(name: string, work: () => Promise<T>): Promise<T> {
  return trace.getTracer('application').startActiveSpan(name, async (span) => {
    try {
      return await work()
    } finally {
      span.end()
    }
  })
}

export const kindOf = ({ kind }: ReadableSpan) => SpanKind[kind]
export const linksOf = ({ links }: ReadableSpan) => links.map(({ context: { spanId } }) => spanId)
export const idOf = (span: ReadableSpan) => span.spanContext().spanId
export const traceOf = (span: ReadableSpan) => span.spanContext().traceId
