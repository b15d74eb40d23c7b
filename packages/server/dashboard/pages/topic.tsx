import { call, get, may, path } from '../api.ts'
import { useHeld, useLive } from '../live.ts'
import { askFor } from '../parts/dialog.tsx'
import { bytes, compact, count, counted } from '../parts/format.ts'
import { Empty, Failure } from '../parts/notice.tsx'
import { Badge, Facts, Figures, Page, Section } from '../parts/page.tsx'
import { Line, Shown } from '../parts/shown.tsx'
import { Table } from '../parts/table.tsx'
import { None, Time } from '../parts/time.tsx'
import { changeQuery, go, href, place, toQueue } from '../routes.ts'
import type { Topic as Info, Subscription, TopicMessage } from '../wire.ts'
import { askToSeek } from './seek.tsx'
import { messagesIn, retentionOf } from './topics.tsx'

export function Topic({ topic }: { topic: string }) {
  const { data, error } = useLive(`topic/${topic}`, (signal) => get<Info>(path`v1/topics/${topic}`, { signal }))
  return (
    <Page
      name="topic"
      title={topic}
      above={[['Topics', href(['topics'])]]}
      isLoaded={data !== null}
      error={error}
      actions={
        data &&
        may('admin') && (
          <>
            <button type="button" onClick={() => askToSeek(topic, data, null)}>
              Seek all…
            </button>
            <button type="button" class="danger" onClick={() => askToDrop(topic, data)}>
              Drop…
            </button>
          </>
        )
      }
    >
      {data && (
        <>
          {data.description && (
            <p class="muted">
              <Shown text={data.description} />
            </p>
          )}
          <Figures
            of={[
              { label: 'Messages', value: compact(messagesIn(data)), tone: 'ready' },
              { label: 'First offset', value: count(data.first_offset) },
              { label: 'Last offset', value: count(data.last_offset) },
              { label: 'Size', value: bytes(data.bytes) },
              { label: 'Subscriptions', value: count(data.subscriptions) },
            ]}
          />
          <Subscriptions topic={topic} info={data} />
          <Messages topic={topic} last={data.last_offset} first={data.first_offset} />
          <Section title="About">
            <Facts
              of={[
                ['Created', <Time key="created" at={data.created_at} past />],
                ['Messages are kept', retentionOf(data)],
                ['Takes what is published as', data.patterns.length === 0 ? <None /> : data.patterns.join(', ')],
                [
                  'Leads into',
                  data.queues.length === 0 ? (
                    <None />
                  ) : (
                    data.queues.map((queue) => (
                      <a key={queue} class="one-of" href={toQueue(queue)}>
                        {queue}
                      </a>
                    ))
                  ),
                ],
              ]}
            />
          </Section>
        </>
      )}
    </Page>
  )
}

function askToDrop(topic: string, info: Info): void {
  askFor({
    verb: 'Drop',
    title: `Drop ${topic}`,
    danger: true,
    typed: topic,
    body: (
      <>
        Removes the topic, its <strong>{counted(messagesIn(info), 'message')}</strong> and its{' '}
        <strong>{counted(info.subscriptions, 'subscription')}</strong> for good.
      </>
    ),
    async run() {
      await call('DELETE', path`v1/topics/${topic}`)
      go(href(['topics']))
      return `${topic} is gone.`
    },
  })
}

function Subscriptions({ topic, info }: { topic: string; info: Info }) {
  const { data } = useLive(`subscriptions/${topic}`, (signal) =>
    get<{ subscriptions: Subscription[] }>(path`v1/topics/${topic}/subscriptions`, { signal }),
  )
  const held = useHeld(topic, data?.subscriptions ?? null, (one) => one.subscription)
  if (!data) return null
  return (
    <Section title="Subscriptions">
      {held.rows.length === 0 ? (
        <Empty command={`npx tidings subscribe ${topic} --name payroll`}>
          Nobody reads this topic. This makes a subscription:
        </Empty>
      ) : (
        <Table
          label="Subscriptions"
          rows={held}
          keyOf={(one) => one.subscription}
          columns={[
            {
              name: 'name',
              label: 'Subscription',
              grows: true,
              cell: ({ subscription, missed }) => (
                <>
                  <Shown text={subscription} />{' '}
                  {missed > 0 && <Badge tone="bad">{counted(missed, 'message')} missed</Badge>}
                </>
              ),
            },
            {
              name: 'behind',
              label: 'Read',
              goes: 2,
              cell: ({ cursor, subscription }) => (
                <meter
                  min={0}
                  max={Math.max(1, messagesIn(info))}
                  value={Math.max(0, cursor - info.first_offset + 1)}
                  aria-label={`${subscription}: how much is read`}
                />
              ),
            },
            { name: 'cursor', label: 'Cursor', isNumber: true, goes: 3, cell: ({ cursor }) => count(cursor) },
            {
              name: 'lag',
              label: 'Lag',
              isNumber: true,
              cell: ({ lag }) => (lag === 0 ? <None /> : <strong>{compact(lag)}</strong>),
            },
            {
              name: 'consumer',
              label: 'Read by',
              goes: 1,
              cell: ({ consumer }) =>
                consumer ? (
                  <span class="key">
                    <Shown text={consumer} />
                  </span>
                ) : (
                  <None />
                ),
            },
            {
              name: 'do',
              label: <span class="unseen">Actions</span>,
              cell: (one) =>
                may('receive') && (
                  <>
                    <button
                      type="button"
                      class="quiet"
                      aria-label={`Seek ${one.subscription}`}
                      onClick={() => askToSeek(topic, info, one)}
                    >
                      Seek…
                    </button>
                    <button
                      type="button"
                      class="quiet"
                      aria-label={`Remove ${one.subscription}`}
                      onClick={() => askToRemove(topic, one)}
                    >
                      Remove…
                    </button>
                  </>
                ),
            },
          ]}
        />
      )}
    </Section>
  )
}

const askToRemove = (topic: string, { subscription, lag }: Subscription) =>
  askFor({
    verb: 'Remove',
    title: `Remove ${subscription}`,
    danger: true,
    typed: subscription,
    body: `The subscription forgets how far it is. ${counted(lag, 'message')} that it has not read stay in the topic.`,
    async run() {
      await call('DELETE', path`v1/topics/${topic}/subscriptions/${subscription}`)
      return `${subscription} is gone.`
    },
  })

const pageSize = 25

/** The newest first, as one looks at a log. */
function Messages({ topic, first, last }: { topic: string; first: number; last: number }) {
  const asked = Number(place.value.query.get('until') ?? Number.NaN)
  const until = Number.isFinite(asked) ? asked : null
  const end = until ?? last
  const after = Math.max(first - 1, end - pageSize)
  const list = `topic-messages/${topic}/${until ?? 'newest'}`
  const { data, error } = useLive(`${list}/${end}`, (signal) =>
    get<{ messages: TopicMessage[] }>(path`v1/topics/${topic}/messages`, {
      query: { after: Math.max(0, after), limit: pageSize },
      signal,
      exact: true,
    }),
  )
  const newest = data?.messages.filter(({ offset }) => offset <= end).toReversed() ?? null
  const held = useHeld(list, newest, ({ offset }) => String(offset))
  return (
    <Section title="Messages">
      {error && <Failure error={error} />}
      {error || data === null ? null : held.rows.length === 0 ? (
        <Empty command={`npx tidings topic read ${topic}`}>No messages here.</Empty>
      ) : (
        <>
          <Table
            label="Messages"
            rows={held}
            keyOf={({ offset }) => String(offset)}
            columns={[
              { name: 'offset', label: 'Offset', isNumber: true, cell: ({ offset }) => count(offset) },
              {
                name: 'data',
                label: 'Data',
                grows: true,
                cell: ({ data: text }) => (
                  <code class="preview">
                    <Line text={text} most={400} />
                  </code>
                ),
              },
              {
                name: 'at',
                label: 'Published',
                isNumber: true,
                cell: ({ published_at }) => <Time at={published_at} past />,
              },
            ]}
          />
          <nav class="paging" aria-label="Further messages">
            <button type="button" disabled={until === null} onClick={() => changeQuery({ until: null })}>
              Newest
            </button>
            <button type="button" disabled={after < first} onClick={() => changeQuery({ until: after })}>
              Older
            </button>
          </nav>
        </>
      )}
    </Section>
  )
}
