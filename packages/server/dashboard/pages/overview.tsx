import type { ComponentChildren } from 'preact'
import { useMemo, useRef } from 'preact/hooks'
import { get, may } from '../api.ts'
import { useHeld, useLive } from '../live.ts'
import { about, compact, count, counted, rate } from '../parts/format.ts'
import { Empty } from '../parts/notice.tsx'
import { Badge, Figures, Page } from '../parts/page.tsx'
import { Shown } from '../parts/shown.tsx'
import { type Column, Table } from '../parts/table.tsx'
import { Age, None } from '../parts/time.tsx'
import { changeQuery, place, toQueue } from '../routes.ts'
import type { Overview as Found, QueueMetrics, QueueOverview } from '../wire.ts'
import { Hour } from './history.tsx'
import { problemsIn } from './problems.ts'
import { askToCreate, askToPause, resume } from './queue-actions.tsx'
import { type Flow, flowsOf } from './rates.ts'

export interface Row extends QueueOverview {
  /** What came and went since the last look; null: not known yet. */
  readonly flow: Flow | null
}

const first = 100
const most = 1_000
const suffix = '_dlq'
const shownProblems = 6

export function Overview() {
  const { query } = place.value
  const wanted = query.get('q')?.toLowerCase() ?? ''
  const sort = query.get('sort') ?? 'problem'
  // The server has problems first; any other order takes all of them.
  const isAll = query.has('all') || wanted !== '' || sort !== 'problem'
  const limit = isAll ? most : first
  const { data, error } = useLive(
    `overview/${limit}`,
    async (signal) => ({ ...(await get<Found>('v1/overview', { query: { limit }, signal })), limit }),
    { keeps: true },
  )
  const flow = useRef(flowsOf())
  const rows = useMemo(() => data && toRows(data.queues, flow.current), [data])
  const found =
    rows &&
    sorted(
      rows.filter(({ queue_name }) => queue_name.toLowerCase().includes(wanted)),
      sort,
    )
  const held = useHeld(`${wanted}/${sort}/${data?.limit}`, found, ({ queue_name }) => queue_name)
  const totals = data?.totals
  const sum = (of: (row: Row) => number) => (rows ?? []).reduce((all, row) => all + of(row), 0)
  const areKnown = rows?.some(({ flow }) => flow !== null)
  const dead = sum((row) => row.dead ?? 0)
  const oldest = Math.max(-1, ...(rows ?? []).map(({ metrics }) => metrics?.oldest_ready_ms ?? -1))
  return (
    <Page
      name="overview"
      title="Overview"
      isLoaded={data !== null}
      error={error}
      actions={
        may('admin') && (
          <button type="button" onClick={askToCreate}>
            Create queue…
          </button>
        )
      }
    >
      {rows && <Problems rows={rows} />}
      {totals && (
        <Figures
          of={[
            {
              label: 'Ready',
              value: about(totals.ready - dead, { is_estimate: rows?.some(({ metrics }) => metrics?.is_estimate) }),
              tone: 'ready',
              hint: 'Dead letters are not among them',
            },
            { label: 'In hand', value: compact(totals.leased), tone: 'hand' },
            { label: 'Delayed', value: compact(totals.delayed), tone: 'wait' },
            { label: 'Failed', value: compact(dead), tone: 'bad' },
            // Of a part of the queues they would say nothing.
            ...(data?.after === null
              ? [
                  { label: 'Sent a second', value: areKnown ? rate(sum((row) => row.flow?.sent ?? 0)) : '…' },
                  { label: 'Done a second', value: areKnown ? rate(sum((row) => row.flow?.done ?? 0)) : '…' },
                ]
              : []),
            { label: 'Oldest ready', value: <Age ms={oldest < 0 ? null : oldest} /> },
          ]}
        />
      )}
      {rows?.length === 0 ? (
        <Empty command={`npx tidings enqueue orders '{"orderId": 7}'`}>
          No queues yet. The first message makes one:
        </Empty>
      ) : (
        <>
          <div class="list-head">
            <input
              type="search"
              aria-label="Filter queues"
              placeholder="Filter queues"
              value={query.get('q') ?? ''}
              onInput={(event) => changeQuery({ q: event.currentTarget.value }, { replace: true })}
            />
            <span class="muted" role="status">
              {counted(found?.length ?? 0, 'queue')}
              {totals &&
                totals.counted < totals.queues &&
                `, ${count(totals.queues - totals.counted)} still being counted`}
            </span>
          </div>
          <Table
            label="Queues"
            columns={columns(sort)}
            rows={held}
            keyOf={({ queue_name }) => queue_name}
            classOf={({ metrics }) => (metrics?.pause ? 'paused' : '')}
          />
          {totals && data.after !== null && (
            <p class="cut">
              The first {count(limit)} of {counted(totals.queues, 'queue')}
              {isAll ? '. Filter them by name for the others.' : '. '}
              {!isAll && (
                <button type="button" onClick={() => changeQuery({ all: 1 })}>
                  Show all
                </button>
              )}
            </p>
          )}
        </>
      )}
    </Page>
  )
}

/** A dead-letter queue is told with the queue whose failures it has, where that is there. */
function toRows(queues: readonly QueueOverview[], flowsOfNow: ReturnType<typeof flowsOf>): Row[] {
  const names = new Set(queues.map((one) => one.queue_name))
  const isOfAnother = (name: string) => name.endsWith(suffix) && names.has(name.slice(0, -suffix.length))
  const flows = flowsOfNow(queues.flatMap(({ metrics }) => metrics ?? []))
  return queues
    .filter(({ queue_name }) => !isOfAnother(queue_name))
    .map((one) => ({ ...one, flow: flows.get(one.queue_name) ?? null }))
}

const orders: Readonly<Record<string, (row: Row) => number>> = {
  ready: ({ metrics }) => metrics?.ready ?? -1,
  hand: ({ metrics }) => metrics?.leased ?? -1,
  delayed: ({ metrics }) => metrics?.delayed ?? -1,
  failed: ({ dead }) => dead ?? -1,
  sent: ({ flow }) => flow?.sent ?? -1,
  done: ({ flow }) => flow?.done ?? -1,
  oldest: ({ metrics }) => metrics?.oldest_ready_ms ?? -1,
}

function sorted(rows: readonly Row[], by: string): Row[] {
  if (by === 'problem') return [...rows]
  if (by === 'name') return rows.toSorted((a, b) => (a.queue_name < b.queue_name ? -1 : 1))
  const of = orders[by] ?? orders.ready!
  return rows.toSorted((a, b) => of(b) - of(a))
}

function columns(sort: string): Column<Row>[] {
  const number = (
    name: string,
    label: string,
    cell: (row: Row) => ComponentChildren,
    goes?: 1 | 2 | 3,
  ): Column<Row> => ({
    name,
    label,
    isNumber: true,
    cell,
    ...(goes ? { goes } : {}),
    sort: () => changeQuery({ sort: sort === name ? null : name }, { replace: true }),
    sorted: sort === name ? 'descending' : undefined,
  })
  const figure = (name: string, label: string, cell: (metrics: QueueMetrics) => ComponentChildren, goes?: 1 | 2 | 3) =>
    number(name, label, ({ metrics }) => metrics && cell(metrics), goes)
  return [
    {
      name: 'queue',
      label: 'Queue',
      grows: true,
      sort: () => changeQuery({ sort: sort === 'name' ? null : 'name' }, { replace: true }),
      sorted: sort === 'name' ? 'ascending' : undefined,
      cell: ({ queue_name, metrics }) => (
        <>
          <a href={toQueue(queue_name)}>
            <Shown text={queue_name} />
          </a>{' '}
          {metrics?.pause && <Badge tone="wait">Paused</Badge>}
        </>
      ),
    },
    { name: 'hour', label: 'Last hour', goes: 2, cell: ({ queue_name }) => <Hour queue={queue_name} /> },
    figure('ready', 'Ready', (metrics) => <Quantity value={metrics.ready} show={(value) => about(value, metrics)} />),
    figure('hand', 'In hand', ({ leased }) => <Quantity value={leased} />),
    figure('delayed', 'Delayed', ({ delayed }) => <Quantity value={delayed} />, 2),
    number('failed', 'Failed', ({ dead, queue_name }) =>
      dead ? (
        <a class="bad" href={toQueue(queue_name, 'dead-letters')}>
          {compact(dead)}
        </a>
      ) : (
        <None />
      ),
    ),
    number('sent', 'Sent/s', ({ flow }) => flow && <Quantity value={flow.sent} show={rate} />, 1),
    number('done', 'Done/s', ({ flow }) => flow && <Quantity value={flow.done} show={rate} />, 1),
    figure('oldest', 'Oldest ready', ({ oldest_ready_ms: ms }) => <Age ms={ms} />, 3),
    {
      name: 'do',
      label: <span class="unseen">Actions</span>,
      goes: 3,
      cell: ({ queue_name, metrics }) =>
        metrics &&
        may('admin') && (
          <button
            type="button"
            class="quiet"
            aria-label={`${metrics.pause ? 'Resume' : 'Pause'} ${queue_name}`}
            onClick={() => (metrics.pause ? void resume(queue_name) : askToPause(queue_name))}
          >
            {metrics.pause ? 'Resume' : 'Pause…'}
          </button>
        ),
    },
  ]
}

/** Nothing is quieter than a number. */
export const Quantity = ({ value, show = compact }: { value: number; show?: (value: number) => string }) =>
  value === 0 ? <None /> : <span>{show(value)}</span>

function Problems({ rows }: { rows: readonly Row[] }) {
  const problems = rows.flatMap((row) => problemsIn(row).map((problem) => ({ ...problem, queue: row.queue_name })))
  if (problems.length === 0)
    return rows.length === 0 ? null : (
      <p class="all-well">
        <span aria-hidden="true">✓</span> Nothing waits that should not.
      </p>
    )
  return (
    <section class="problems" aria-label="Problems">
      <ul>
        {problems.slice(0, shownProblems).map(({ queue, kind, tone, text, to }) => (
          <li key={`${queue}/${kind}`} class={`tone-${tone}`}>
            <a href={to}>
              <Shown text={queue} />
            </a>
            <span>
              <Shown text={text} />
            </span>
          </li>
        ))}
      </ul>
      {problems.length > shownProblems && (
        <p class="muted">and {counted(problems.length - shownProblems, 'further one')}, in the list below</p>
      )}
    </section>
  )
}
