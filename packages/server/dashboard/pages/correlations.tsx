import { useState } from 'preact/hooks'
import { get, path } from '../api.ts'
import { useLive } from '../live.ts'
import { count, duration } from '../parts/format.ts'
import { Empty } from '../parts/notice.tsx'
import { Badge, Figures, Page, Section } from '../parts/page.tsx'
import { Shown } from '../parts/shown.tsx'
import { Table } from '../parts/table.tsx'
import { Time } from '../parts/time.tsx'
import { go, href, toQueue } from '../routes.ts'
import type { CorrelationQueue, Correlation as Found } from '../wire.ts'
import { FanOut } from './fan-out.tsx'
import { Quantity } from './overview.tsx'

const toCorrelation = (id: string) => href(['correlations', id])

export function Correlations() {
  const [id, setId] = useState('')
  const submit = (event: Event) => {
    event.preventDefault()
    if (id.trim()) go(toCorrelation(id.trim()))
  }
  return (
    <Page name="correlations" title="Correlations" isLoaded>
      <form class="find" onSubmit={submit}>
        <input
          type="search"
          aria-label="Id of a correlation"
          placeholder="Id of a correlation"
          value={id}
          onInput={(event) => setId(event.currentTarget.value)}
        />
        <button type="submit" class="filled">
          Show
        </button>
      </form>
      <Empty command="npx tidings correlation hired-17">
        What follows from one event: the tasks that were sent with its id and `track`. A message shows the id of its
        correlation. The same on the command line:
      </Empty>
    </Page>
  )
}

const kinds = ['done', 'running', 'pending', 'dead', 'cancelled'] as const
const sumOf = (queues: readonly CorrelationQueue[], kind: (typeof kinds)[number]) =>
  queues.reduce((sum, one) => sum + one[kind], 0)

export function Correlation({ id }: { id: string }) {
  const { data, error } = useLive(`correlation/${id}`, (signal) => get<Found>(path`v1/correlations/${id}`, { signal }))
  const number = (kind: (typeof kinds)[number], label: string) => ({
    name: kind,
    label,
    isNumber: true,
    cell: (row: CorrelationQueue) => <Quantity value={row[kind]} />,
  })
  return (
    <Page
      name="correlation"
      title={id}
      above={[['Correlations', href(['correlations'])]]}
      isLoaded={data !== null}
      error={error}
      badges={data && <StateOf correlation={data} />}
    >
      {data && (
        <>
          <Figures
            of={[
              { label: 'Done', value: count(sumOf(data.queues, 'done')), tone: 'good' },
              { label: 'In hand', value: count(sumOf(data.queues, 'running')), tone: 'hand' },
              { label: 'To come', value: count(sumOf(data.queues, 'pending')), tone: 'ready' },
              { label: 'Failed', value: count(sumOf(data.queues, 'dead')), tone: 'bad' },
              { label: 'Cancelled', value: count(sumOf(data.queues, 'cancelled')) },
              { label: 'Began', value: <Time at={data.started_at} past /> },
              ...(data.completed_at
                ? [{ label: 'Took', value: duration(Date.parse(data.completed_at) - Date.parse(data.started_at)) }]
                : []),
            ]}
          />
          <Section title="Fan-out">
            <FanOut id={id} correlation={data} />
          </Section>
          <Section title="Tasks by queue">
            <Table
              label="Tasks by queue"
              rows={data.queues}
              keyOf={({ queue }) => queue}
              columns={[
                {
                  name: 'queue',
                  label: 'Queue',
                  grows: true,
                  cell: ({ queue }) => (
                    <a href={toQueue(queue, 'messages').concat(`?q=${encodeURIComponent(`correlation:"${id}"`)}`)}>
                      <Shown text={queue} />
                    </a>
                  ),
                },
                number('done', 'Done'),
                number('running', 'In hand'),
                number('pending', 'To come'),
                number('dead', 'Failed'),
                number('cancelled', 'Cancelled'),
              ]}
            />
          </Section>
        </>
      )}
    </Page>
  )
}

function StateOf({ correlation: { completed_at, failed_at, done_at } }: { correlation: Found }) {
  if (failed_at && !done_at) return <Badge tone="bad">A task failed</Badge>
  if (done_at) return <Badge tone="good">All done</Badge>
  return completed_at ? <Badge>Completed</Badge> : <Badge tone="hand">Under way</Badge>
}
