import type { ComponentChildren } from 'preact'
import { get, path } from '../api.ts'
import { useLive } from '../live.ts'
import { bytes, counted } from '../parts/format.ts'
import { JsonText } from '../parts/json.tsx'
import { Empty } from '../parts/notice.tsx'
import { Facts, Page, Section } from '../parts/page.tsx'
import { Shown } from '../parts/shown.tsx'
import { Time } from '../parts/time.tsx'
import { href, toMessage, toQueue } from '../routes.ts'
import type { Json, MessageEvent, PlacedMessage as Placed, Message as Stored } from '../wire.ts'
import { MessageActions } from './message-actions.tsx'
import { StateBadge } from './messages.tsx'
import { aboveQueue } from './queue.tsx'

export function Message({ queue, id }: { queue: string; id: string }) {
  const { data: message, error } = useLive(`message/${queue}/${id}`, (signal) =>
    get<Placed>(path`v1/queues/${queue}/messages/${id}`, { signal, exact: true }),
  )
  const isGone = error?.code === 'MESSAGE_NOT_FOUND'
  return (
    <Page
      name="message"
      title={`Message ${id}`}
      above={[...aboveQueue(queue), ['Messages', toQueue(queue, 'messages')]]}
      isLoaded={message !== null || isGone}
      error={isGone ? null : error}
      badges={message && !isGone && <StateBadge state={message.state} />}
      actions={message && !isGone && <MessageActions queue={queue} message={message} />}
    >
      {isGone && (
        <Empty command={`npx tidings peek ${queue}`}>
          The queue has no such message any more: it was handled and deleted, moved, or cancelled.
        </Empty>
      )}
      {message && !isGone && (
        <div class="message">
          <div class="message-main">
            <Section title={`Data, ${bytes(new Blob([message.data]).size)}`}>
              <JsonText text={message.data} label="Data" />
            </Section>
            {message.headers && (
              <Section title="Headers">
                <JsonText text={JSON.stringify(message.headers)} label="Headers" />
              </Section>
            )}
            <Section title="Meta">
              <Facts
                of={Object.entries(message.meta)
                  .filter(([name]) => name !== 'stack_trace')
                  .map(([name, value]) => [name, metaValue(name, value)])}
              />
            </Section>
          </div>
          <div class="message-side">
            <Timeline message={message} events={message.timeline} />
            <Section title="About">
              <Facts
                of={[
                  [
                    'Queue',
                    <a key="queue" href={toQueue(queue)}>
                      <Shown text={queue} />
                    </a>,
                  ],
                  ['Priority', message.priority],
                  ['Ordering key', message.ordering_key && <Shown text={message.ordering_key} />],
                  ['Group', message.group && <Shown text={message.group} />],
                  ['Reads', message.read_ct],
                ]}
              />
            </Section>
          </div>
        </div>
      )}
    </Page>
  )
}

const text = (value: Json | undefined) => (typeof value === 'string' ? value : null)

function metaValue(name: string, value: Json): ComponentChildren {
  if (typeof value !== 'string') return <code>{JSON.stringify(value)}</code>
  const page = { correlation_id: 'correlations', target_id: 'targets' }[name]
  if (page !== undefined)
    return (
      <a href={href([page, value])}>
        <Shown text={value} />
      </a>
    )
  if (name.endsWith('_at') || name === 'scheduled_for') return <Time at={value} />
  return <Shown text={value} />
}

const told: Readonly<Record<MessageEvent['kind'], string>> = {
  sent: 'Sent',
  replayed: 'Sent again',
  read: 'Read',
  archived: 'Archived',
  deadLettered: 'Failed for good',
  waiting: 'Ready',
  leased: 'In hand; the lease ends',
}
const tones: Readonly<Record<MessageEvent['kind'], string>> = {
  sent: 'plain',
  replayed: 'plain',
  read: 'hand',
  archived: 'plain',
  deadLettered: 'bad',
  waiting: 'ready',
  leased: 'hand',
}

const isToCome = ({ kind, at }: MessageEvent) => kind === 'waiting' && Date.parse(at) > Date.now()
export const eventName = (event: MessageEvent) => (isToCome(event) ? 'Becomes ready' : told[event.kind])

/** What is known of its life: of the attempts that failed, the last one says why. */
function Timeline({ message, events }: { message: Stored; events: readonly MessageEvent[] }) {
  const error = text(message.meta.error_message)
  const lost = text(message.meta.process_lost_at)
  const failed = events.findIndex(({ kind }) => kind === 'deadLettered')
  const last = failed === -1 ? events.findLastIndex(({ kind }) => kind === 'read') : failed
  return (
    <Section title="Timeline">
      <ol class="timeline">
        {events.map((event, index) => {
          const { at, kind, attempts, from } = event
          return (
            <li key={`${kind}/${at}`} class={`step-${isToCome(event) ? 'wait' : tones[kind]}`}>
              <span>{eventName(event)}</span> <Time at={at} past={kind !== 'waiting' && kind !== 'leased'} />
              {(kind === 'read' || kind === 'deadLettered') && attempts > 0 && (
                <span class="muted">, {kind === 'read' ? `attempt ${attempts}` : counted(attempts, 'attempt')}</span>
              )}
              {from && (
                <p>
                  from{' '}
                  <a href={toMessage(from.queue, from.id)}>
                    <Shown text={`${from.queue} · ${from.id}`} />
                  </a>
                </p>
              )}
              {index === last && error !== null && <Why error={error} stack={text(message.meta.stack_trace)} />}
            </li>
          )
        })}
        {lost && (
          <li class="step-bad">
            The process that had it in hand went away <Time at={lost} past />
          </li>
        )}
      </ol>
    </Section>
  )
}

const Why = ({ error, stack }: { error: string; stack: string | null }) => (
  <>
    <p class="bad error-text">
      <Shown text={error} />
    </p>
    {stack && (
      <details>
        <summary>Stack trace</summary>
        <pre class="stack">
          <Shown text={stack} />
        </pre>
      </details>
    )}
  </>
)
