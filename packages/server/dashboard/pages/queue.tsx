import { useRef } from 'preact/hooks'
import { ask, get, may, path } from '../api.ts'
import { useLive } from '../live.ts'
import { about, compact, count, counted, duration, rate } from '../parts/format.ts'
import { Badge, Facts, Figures, Page, Section, Tabs } from '../parts/page.tsx'
import { Shown, visible } from '../parts/shown.tsx'
import { Age, Time } from '../parts/time.tsx'
import { href, pathText, toQueue } from '../routes.ts'
import type { MessagePage, Queue as QueueInfo, QueueMetrics } from '../wire.ts'
import { History } from './history.tsx'
import { askToDrop, askToPause, askToPurge, askToSend, resume } from './queue-actions.tsx'
import { Bindings } from './queue-bindings.tsx'
import { Limits, Weights } from './queue-limits.tsx'
import { flowsOf } from './rates.ts'

/** So many messages are looked at for the figures of a page. */
const countedUpTo = 10_000

export const useQueue = (queue: string) =>
  useLive(`metrics/${queue}`, (signal) =>
    get<QueueMetrics>(path`v1/queues/${queue}/metrics`, { query: { up_to: countedUpTo }, signal }),
  )

export const aboveQueue = (queue: string) =>
  [
    ['Overview', href([])],
    [queue, toQueue(queue)],
  ] as const

/** The views of one queue. */
export const QueueTabs = ({ queue, figures }: { queue: string; figures: QueueMetrics | null }) => {
  const here = pathText.value
  const tab = (label: string, rest: readonly string[], number?: string) => ({
    label,
    to: toQueue(queue, ...rest),
    isHere: here === ['queues', queue, ...rest].join('/'),
    count: number,
  })
  return (
    <Tabs
      label={`Views of ${queue}`}
      of={[
        tab('Queue', []),
        tab('Messages', ['messages'], figures ? about(figures.queue_length, figures) : undefined),
        tab('Dead letters', ['dead-letters']),
      ]}
    />
  )
}

export function Queue({ queue }: { queue: string }) {
  const { data, error } = useQueue(queue)
  const info = useLive(`queue/${queue}`, (signal) => get<QueueInfo>(path`v1/queues/${queue}`, { signal }))
  const flow = useRef(flowsOf())
  const rates = data && flow.current([data]).get(queue)
  const settings = info.data?.settings ?? {}
  return (
    <Page
      name="queue"
      title={queue}
      above={[['Overview', href([])]]}
      isLoaded={data !== null}
      error={error}
      badges={data?.pause && <Badge tone="wait">Paused</Badge>}
      actions={data && <QueueActions queue={queue} figures={data} />}
    >
      {data && (
        <>
          <QueueTabs queue={queue} figures={data} />
          {data.pause && <PauseNote pause={data.pause} />}
          <Figures
            of={[
              { label: 'Ready', value: about(data.ready, data), tone: 'ready', to: toQueue(queue, 'messages') },
              ...(data.held_back > 0
                ? [
                    {
                      label: 'Held back',
                      value: compact(data.held_back),
                      hint: 'Ready, but limits let nothing be read now',
                    },
                  ]
                : []),
              { label: 'In hand', value: compact(data.leased), tone: 'hand' },
              { label: 'Delayed', value: compact(data.delayed), tone: 'wait' },
              { label: 'Archived', value: compact(data.archived) },
              { label: 'Sent a second', value: rates ? rate(rates.sent) : '…' },
              { label: 'Done a second', value: rates ? rate(rates.done) : '…' },
              { label: 'Oldest ready', value: <Age ms={data.oldest_ready_ms} /> },
            ]}
          />
          {data.is_estimate && (
            <p class="muted">
              Of the first {count(countedUpTo)} messages; those behind them are estimated, and count as ready.
            </p>
          )}
          <History queue={queue} />
          <div class="columns">
            <Groups queue={queue} ready={data.ready} />
            <Limits queue={queue} settings={settings} mayChange={may('admin')} />
            <Weights queue={queue} settings={settings} mayChange={may('admin')} />
            <Bindings queue={queue} />
            <Section title="About">
              <Facts
                of={[
                  ['Created', <Time at={data.created_at} key="created" />],
                  ['Messages ever sent', count(data.total_messages)],
                  [
                    'Next becomes ready',
                    data.next_due_ms === null ? 'nothing waits' : `in ${duration(data.next_due_ms)}`,
                  ],
                ]}
              />
            </Section>
          </div>
        </>
      )}
    </Page>
  )
}

function QueueActions({ queue, figures }: { queue: string; figures: QueueMetrics }) {
  return (
    <>
      {may('send') && (
        <button type="button" onClick={() => askToSend(queue)}>
          Send…
        </button>
      )}
      {may('admin') && (
        <>
          <button type="button" onClick={() => (figures.pause ? void resume(queue) : askToPause(queue))}>
            {figures.pause ? 'Resume' : 'Pause…'}
          </button>
          <button type="button" class="danger" onClick={() => askToPurge(queue, figures)}>
            Purge…
          </button>
          <button type="button" class="danger" onClick={() => askToDrop(queue, figures)}>
            Drop…
          </button>
        </>
      )}
    </>
  )
}

const PauseNote = ({ pause: { since, until, reason, by } }: { pause: NonNullable<QueueMetrics['pause']> }) => (
  <p class="note tone-wait">
    Paused{' '}
    {since && (
      <>
        since <Time at={since} past />
      </>
    )}
    {by && (
      <>
        {' '}
        by <Shown text={by} />
      </>
    )}
    {reason && (
      <>
        : <Shown text={reason} />
      </>
    )}
    {until && (
      <>
        . It goes on <Time at={until} />
      </>
    )}
  </p>
)

const sampled = 500

/** Of the ready messages that come next: whose they are. */
function Groups({ queue, ready }: { queue: string; ready: number }) {
  const { data } = useLive(`groups/${queue}`, (signal) =>
    ask<MessagePage>(path`v1/queues/${queue}/peek`, { place: 'ready', limit: sampled, scan: countedUpTo }, signal),
  )
  if (!data) return null
  const byGroup = new Map<string, number>()
  for (const { group, ordering_key } of data.messages) {
    const name = group ?? ordering_key
    if (name !== null) byGroup.set(name, (byGroup.get(name) ?? 0) + 1)
  }
  if (byGroup.size === 0) return null
  const rows = [...byGroup].sort(([, a], [, b]) => b - a).slice(0, 12)
  const most = rows[0]![1]
  return (
    <Section title="Groups and keys">
      <p class="muted">
        {byGroup.size > rows.length ? `The largest ${rows.length} of ${counted(byGroup.size, 'group')}, ` : ''}
        {ready > data.messages.length
          ? `of the first ${count(data.messages.length)} ready messages`
          : 'of the ready messages'}
      </p>
      <ul class="bars">
        {rows.map(([name, number]) => (
          <li key={name}>
            <span class="bar-name">
              <Shown text={name} />
            </span>
            <meter min={0} max={most} value={number} aria-label={`${visible(name)}: ${number}`} />
            <span class="number">{count(number)}</span>
          </li>
        ))}
      </ul>
    </Section>
  )
}
