import { signal } from '@preact/signals'
import { useEffect, useMemo, useRef, useState } from 'preact/hooks'
import { get, path } from '../api.ts'
import { useLive } from '../live.ts'
import { compact, count, counted, duration, rate } from '../parts/format.ts'
import { Empty, Failure } from '../parts/notice.tsx'
import { Section, Tabs } from '../parts/page.tsx'
import { Plot } from '../parts/plot.tsx'
import { Sparkline } from '../parts/sparkline.tsx'
import { href, place } from '../routes.ts'
import type { History as Found, HistoryPoint, LatencyBucket } from '../wire.ts'

const ranges = [
  ['1h', '1 h', 3_600_000],
  ['24h', '24 h', 86_400_000],
  ['7d', '7 d', 604_800_000],
] as const

/** Of one queue; null: of all. */
export function History({ queue }: { queue: string | null }) {
  const { path: here, query } = place.value
  const [range, , length] = ranges.find(([name]) => name === query.get('range')) ?? ranges[0]
  const { data, error } = useLive(
    `history/${queue ?? ''}/${range}`,
    (signal) => {
      const since = new Date(Date.now() - length).toISOString()
      return get<Found>(queue === null ? 'v1/history' : path`v1/queues/${queue}/history`, { query: { since }, signal })
    },
    { every: 20_000 },
  )
  if (error?.status === 404) return null
  const views = ranges.map(([name, label]) => ({
    label,
    to: href(here, { ...Object.fromEntries(query), range: name }),
    isHere: name === range,
  }))
  return (
    <Section title="History" actions={<Tabs label="Range" of={views} />}>
      {error && <Failure error={error} />}
      {data && (isEmpty(data) ? <NoHistory /> : <Plots of={data} />)}
    </Section>
  )
}

/** A server of an older version has no history: it is asked once. */
const isMissing = signal(false)

let running = 0
const waiting: (() => void)[] = []

/** Two at a time, so that what the person asks for does not wait for a hundred small pictures. */
async function inTurn<T>(load: () => Promise<T>): Promise<T> {
  if (running >= 2) await new Promise<void>((resolve) => waiting.push(resolve))
  running += 1
  try {
    return await load()
  } finally {
    running -= 1
    waiting.shift()?.()
  }
}

/** How many were ready in the last hour, in a row of a table; asked for once it is seen. */
export function Hour({ queue }: { queue: string }) {
  const frame = useRef<HTMLSpanElement>(null)
  const [isSeen, setSeen] = useState(false)
  useEffect(() => {
    const observer = new IntersectionObserver((entries) => {
      if (entries.some(({ isIntersecting }) => isIntersecting)) setSeen(true)
    })
    observer.observe(frame.current!)
    return () => observer.disconnect()
  }, [])
  const { data, error } = useLive(
    isSeen && !isMissing.value ? `hour/${queue}` : null,
    (signal) => inTurn(() => get<Found>(path`v1/queues/${queue}/history`, { signal })),
    { every: 60_000 },
  )
  useEffect(() => {
    if (error?.status === 404 && error.code !== 'QUEUE_NOT_FOUND') isMissing.value = true
  }, [error])
  const values = data?.points.map(({ ready }) => ready)
  const most = Math.max(0, ...(values ?? []).map((value) => value ?? 0))
  return (
    <span ref={frame} class="hour">
      {values?.some((value) => value !== null) && (
        <Sparkline values={values} label={`Ready in the last hour: at most ${count(most)}`} />
      )}
    </span>
  )
}

const isEmpty = ({ points }: Found) => points.every(({ ready, sent, done }) => ready === null && sent + done === 0)

const NoHistory = () => (
  <Empty command="npx tidings sentinel">
    No figures of this time yet. Every minute one row a queue is noted by whatever runs the upkeep: a server, a worker,
    or
  </Empty>
)

const fraction = (value: number) => (value === 0 || value >= 10 ? compact(value) : rate(value))

function Plots({ of: { points, step_minutes, latency } }: { of: Found }) {
  const times = useMemo(() => points.map(({ at }) => Date.parse(at) / 1_000), [points])
  const of = (field: 'ready' | 'leased' | 'delayed' | 'oldest_ready_ms') => points.map((point) => point[field])
  const perSecond = (field: 'sent' | 'done' | 'failed' | 'dead') =>
    points.map((point, index) => (isLast(points, index) ? null : point[field] / step_minutes / 60))
  return (
    <div class="plots">
      <Plot
        label="Messages"
        times={times}
        show={compact}
        least={4}
        lines={[
          { label: 'Ready', tone: 'ready', values: of('ready') },
          { label: 'In hand', tone: 'hand', values: of('leased') },
          { label: 'Delayed', tone: 'wait', values: of('delayed') },
        ]}
      />
      <Plot
        label="A second"
        times={times}
        show={fraction}
        least={1}
        lines={[
          { label: 'Sent', tone: 'ready', values: perSecond('sent') },
          { label: 'Done', tone: 'good', values: perSecond('done') },
          { label: 'Failed', tone: 'bad', values: perSecond('failed') },
        ]}
      />
      <Plot
        label="Oldest ready"
        times={times}
        show={duration}
        least={4_000}
        lines={[{ label: 'Age', tone: 'wait', values: of('oldest_ready_ms').map((ms) => ms ?? null) }]}
      />
      <Latency buckets={latency} />
    </div>
  )
}

/** The minute that is not over yet would look like a fall. */
const isLast = (points: readonly HistoryPoint[], index: number) => index === points.length - 1

function Latency({ buckets }: { buckets: readonly LatencyBucket[] }) {
  const total = buckets.reduce((sum, one) => sum + one.count, 0)
  const most = Math.max(1, ...buckets.map((one) => one.count))
  const first = Math.max(0, buckets.findIndex((one) => one.count > 0) - 1)
  const last = Math.min(buckets.length - 1, buckets.findLastIndex((one) => one.count > 0) + 1)
  const shown = total === 0 ? buckets : buckets.slice(first, last + 1)
  const within = (share: number) => {
    let sum = 0
    const found = buckets.find((one) => {
      sum += one.count
      return sum >= total * share
    })
    return total === 0 ? '–' : nameOf(found?.up_to_ms ?? null, buckets)
  }
  const told = `half within ${within(0.5)}, 95 % within ${within(0.95)}`
  const width = 100 / shown.length
  return (
    <figure class="plot">
      <figcaption>
        <strong>From send to handler</strong>
        <span class="muted">{total === 0 ? 'nothing was handled' : told}</span>
      </figcaption>
      <svg class="histogram" role="img" aria-label={`Latency of ${counted(total, 'message')}: ${told}`}>
        {shown.map(({ up_to_ms, count: number }, index) => {
          const height = (number / most) * 112
          return (
            <g key={up_to_ms}>
              <rect class="hit" x={`${index * width}%`} y="0" width={`${width}%`} height="120">
                <title>{`${nameOf(up_to_ms, buckets)}: ${count(number)}`}</title>
              </rect>
              <rect
                class="bar"
                x={`${index * width + width * 0.08}%`}
                y={120 - height}
                width={`${width * 0.84}%`}
                height={height}
              />
              <text x={`${(index + 0.5) * width}%`} y="138">
                {up_to_ms === null ? '∞' : shortTime(up_to_ms)}
              </text>
            </g>
          )
        })}
      </svg>
    </figure>
  )
}

const nameOf = (ms: number | null, buckets: readonly LatencyBucket[]) =>
  ms === null ? `more than ${duration(buckets.at(-2)?.up_to_ms ?? 0)}` : duration(ms)

/** '5', '500', '1s', '10m', '1h': for below a bar. */
function shortTime(ms: number): string {
  if (ms < 1_000) return String(ms)
  if (ms < 60_000) return `${Math.round(ms / 100) / 10}s`
  return ms < 3_600_000 ? `${Math.round(ms / 60_000)}m` : `${Math.round(ms / 3_600_000)}h`
}
