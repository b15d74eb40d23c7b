import { useState } from 'preact/hooks'
import { get, may, path } from '../api.ts'
import { useHeld, useLive } from '../live.ts'
import { count, counted } from '../parts/format.ts'
import { Empty } from '../parts/notice.tsx'
import { Page, Section } from '../parts/page.tsx'
import { Line, Shown, visible } from '../parts/shown.tsx'
import { Chooser, type Column, Paging, Table } from '../parts/table.tsx'
import { None, Time } from '../parts/time.tsx'
import { changeQuery, place, toMessage, toQueue } from '../routes.ts'
import type { LetterGroup, Message, MessagePage, Overview } from '../wire.ts'
import { mayFollow, pageSize } from './messages.tsx'
import { aboveQueue, QueueTabs, useQueue } from './queue.tsx'
import { askToRedrive } from './redrive.tsx'

const suffix = '_dlq'

/** Those of one queue. */
export function DeadLetters({ queue }: { queue: string }) {
  const after = place.value.query.get('after')
  const figures = useQueue(queue)
  const list = `dead-letters/${queue}/${after}`
  const { data, error } = useLive(list, (signal) =>
    get<MessagePage>(path`v1/queues/${queue}/dead-letters`, {
      query: { limit: pageSize, after },
      signal,
      exact: true,
    }),
  )
  const held = useHeld(list, data?.messages ?? null, ({ id }) => id)
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set())
  const last = held.rows.at(-1)
  const letters = queue.endsWith(suffix) ? queue : `${queue}${suffix}`
  return (
    <Page
      name="dead-letters"
      title="Dead letters"
      above={aboveQueue(queue)}
      isLoaded={data !== null}
      error={error}
      actions={
        may('admin') &&
        held.rows.length > 0 && (
          <>
            {chosen.size > 0 && (
              <button
                type="button"
                onClick={() => askToRedrive(queue, { ids: [...chosen], onDone: () => setChosen(new Set()) })}
              >
                Redrive {counted(chosen.size, 'message')}…
              </button>
            )}
            <button type="button" class="filled" onClick={() => askToRedrive(queue)}>
              Redrive all…
            </button>
          </>
        )
      }
    >
      <QueueTabs queue={queue} figures={figures.data} />
      {held.rows.length === 0 ? (
        <Empty command={`npx tidings dead-letters list ${queue}`}>No message of this queue failed for good.</Empty>
      ) : (
        <>
          <Groups queue={queue} letters={letters} />
          <Section title="Messages">
            <Table
              label="Dead letters"
              rows={held}
              keyOf={({ id }) => id}
              columns={[...(may('admin') ? [Chooser(held.rows, chosen, setChosen)] : []), ...letterColumns(letters)]}
            />
            <Paging
              shown={held.rows.length}
              noun="dead letter"
              first={after === null ? null : () => changeQuery({ after: null })}
              next={mayFollow(data) && last ? () => changeQuery({ after: last.id }) : null}
            />
          </Section>
        </>
      )}
    </Page>
  )
}

function Groups({ queue, letters }: { queue: string; letters: string }) {
  const { data } = useLive(`letter-groups/${queue}`, (signal) =>
    get<{ groups: LetterGroup[]; scanned: number; more: boolean }>(path`v1/queues/${queue}/dead-letters/groups`, {
      query: { limit: 20 },
      signal,
    }),
  )
  const held = useHeld(queue, data?.groups ?? null, ({ error }) => error)
  if (!data || data.groups.length === 0) return null
  return (
    <Section title="By error">
      <Table
        label="Errors"
        rows={held}
        keyOf={({ error }) => error}
        columns={[
          {
            name: 'error',
            label: 'Error',
            grows: true,
            cell: ({ error, example_id }) => (
              <a class="preview bad" href={toMessage(letters, example_id)} title={error}>
                <Line text={error} />
              </a>
            ),
          },
          { name: 'count', label: 'Messages', isNumber: true, cell: (one) => count(one.count) },
          {
            name: 'first',
            label: 'First',
            isNumber: true,
            goes: 1,
            cell: ({ first_at }) => (first_at ? <Time at={first_at} past /> : <None />),
          },
          {
            name: 'last',
            label: 'Last',
            isNumber: true,
            goes: 3,
            cell: ({ last_at }) => (last_at ? <Time at={last_at} past /> : <None />),
          },
          {
            name: 'do',
            label: <span class="unseen">Actions</span>,
            cell: ({ error }) =>
              may('admin') && (
                <button
                  type="button"
                  class="quiet"
                  aria-label={`Redrive those with: ${visible(error)}`}
                  onClick={() => askToRedrive(queue, { error })}
                >
                  Redrive…
                </button>
              ),
          },
        ]}
      />
      {data.more && <p class="muted">Of the first {counted(data.scanned, 'dead letter')}.</p>}
    </Section>
  )
}

const letterColumns = (letters: string): Column<Message>[] => [
  {
    name: 'id',
    label: 'Message',
    cell: ({ id }) => (
      <a class="id" href={toMessage(letters, id)} title={id}>
        {id}
      </a>
    ),
  },
  {
    name: 'error',
    label: 'Error',
    grows: true,
    cell: ({ data, meta }) => (
      <>
        <span class="preview bad">
          <Line text={String(meta.error_message ?? 'no reason given')} />
        </span>
        <code class="preview muted">
          <Line text={data} />
        </code>
      </>
    ),
  },
  {
    name: 'attempts',
    label: 'Attempts',
    isNumber: true,
    goes: 2,
    cell: ({ meta }) => (typeof meta.attempts === 'number' ? meta.attempts : <None />),
  },
  {
    name: 'at',
    label: 'Failed',
    isNumber: true,
    cell: ({ meta, enqueued_at }) => (
      <Time at={typeof meta.dead_lettered_at === 'string' ? meta.dead_lettered_at : enqueued_at} past />
    ),
  },
]

/** Of all queues: where to look. The server has queues with dead letters first. */
export function AllDeadLetters() {
  const { data, error } = useLive('overview/dead', (signal) =>
    get<Overview>('v1/overview', { query: { limit: 100 }, signal }),
  )
  const found = data?.queues.filter(({ dead }) => (dead ?? 0) > 0)
  const held = useHeld('all', found ?? null, ({ queue_name }) => queue_name)
  return (
    <Page name="all-dead-letters" title="Dead letters" isLoaded={data !== null} error={error}>
      {held.rows.length === 0 ? (
        <Empty command="npx tidings queue list">No message failed for good, in any queue.</Empty>
      ) : (
        <Table
          label="Queues with dead letters"
          rows={held}
          keyOf={({ queue_name }) => queue_name}
          columns={[
            {
              name: 'queue',
              label: 'Queue',
              grows: true,
              cell: ({ queue_name }) => (
                <a href={toQueue(queue_name, 'dead-letters')}>
                  <Shown text={queue_name} />
                </a>
              ),
            },
            {
              name: 'dead',
              label: 'Failed',
              isNumber: true,
              cell: ({ dead }) => <span class="bad">{counted(dead ?? 0, 'message')}</span>,
            },
          ]}
        />
      )}
    </Page>
  )
}
