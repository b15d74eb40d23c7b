// What traces and metrics cost: the same work without them, with them in a process that exports nothing, and with the
// SDK of OpenTelemetry, which makes every span and drops it at its end.
import { context, metrics, propagation, trace } from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import { W3CTraceContextPropagator } from '@opentelemetry/core'
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics'
import { BasicTracerProvider } from '@opentelemetry/sdk-trace-base'
import { connect } from 'tidings'

const data = { name: 'Ada Lovelace', email: 'ada@example.org', department: 'Engineering', starts: '2026-12-01' }
const count = 20_000

function startSdk() {
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())
  propagation.setGlobalPropagator(new W3CTraceContextPropagator())
  const dropping = { onStart() {}, onEnd() {}, forceFlush: async () => {}, shutdown: async () => {} }
  trace.setGlobalTracerProvider(new BasicTracerProvider({ spanProcessors: [dropping] }))
  const exporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE)
  const reader = new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 3_600_000 })
  metrics.setGlobalMeterProvider(new MeterProvider({ readers: [reader] }))
}

function stopSdk() {
  for (const api of [context, propagation, trace, metrics]) api.disable()
}

/** @returns microseconds of CPU of this process for each message that is sent by itself and handled */
async function cpuOf(url, telemetry) {
  const bus = await connect(url, { telemetry })
  const queue = bus.queue(`bench_${Math.random().toString(36).slice(2, 10)}`)
  await queue.create()
  try {
    const before = process.cpuUsage()
    await Promise.all(
      Array.from({ length: 50 }, async () => {
        for (let sent = 0; sent < count / 50; sent++) await queue.send(data)
      }),
    )
    await queue.work(() => {}, { concurrency: 50, maxMessages: count }).finished
    const { user, system } = process.cpuUsage(before)
    return (user + system) / count
  } finally {
    await queue.drop()
    await bus.close()
  }
}

async function withSdk(run) {
  startSdk()
  try {
    return await run()
  } finally {
    stopSdk()
  }
}

export const telemetryWork = (url) => [
  { name: 'telemetry: off', unit: 'µs CPU a message', run: () => cpuOf(url, false) },
  { name: 'telemetry: on, no SDK', unit: 'µs CPU a message', run: () => cpuOf(url, true) },
  { name: 'telemetry: on, SDK', unit: 'µs CPU a message', run: () => withSdk(() => cpuOf(url, true)) },
]
