import { get } from '../api.ts'
import { useHeld, useLive } from '../live.ts'
import { Empty } from '../parts/notice.tsx'
import { Page } from '../parts/page.tsx'
import { Line, Shown } from '../parts/shown.tsx'
import { Table } from '../parts/table.tsx'
import { None, Time } from '../parts/time.tsx'
import { href, toMessage, toQueue } from '../routes.ts'
import type { MessageEvent } from '../wire.ts'
import { eventName } from './message.tsx'

/** What happened to one thing in all queues. It reads them through, so it asks once. */
export function Target({ target }: { target: string }) {
  const { data, error } = useLive(
    `target/${target}`,
    (signal) => get<{ events: MessageEvent[] }>('v1/trace', { query: { target }, signal }),
    { once: true },
  )
  const held = useHeld(target, data?.events ?? null, ({ at, kind, queue, id }) => [at, kind, queue, id].join())
  return (
    <Page name="target" title={target} above={[['Overview', href([])]]} isLoaded={data !== null} error={error}>
      <p class="muted">What messages with this target_id tell, in the order of time. Deleted ones leave nothing.</p>
      {held.rows.length === 0 ? (
        <Empty command={`npx tidings trace ${target}`}>No message of this target is there any more.</Empty>
      ) : (
        <Table
          label="Events"
          rows={held}
          keyOf={({ at, kind, queue, id }) => [at, kind, queue, id].join()}
          columns={[
            { name: 'at', label: 'When', cell: ({ at }) => <Time at={at} /> },
            { name: 'what', label: 'What', cell: (event) => eventName(event) },
            {
              name: 'queue',
              label: 'Queue',
              cell: ({ queue }) => (
                <a href={toQueue(queue)}>
                  <Shown text={queue} />
                </a>
              ),
            },
            { name: 'id', label: 'Message', cell: ({ queue, id }) => <a href={toMessage(queue, id)}>{id}</a> },
            {
              name: 'attempts',
              label: 'Attempts',
              isNumber: true,
              goes: 3,
              cell: ({ attempts }) => (attempts === 0 ? <None /> : attempts),
            },
            {
              name: 'error',
              label: 'Error',
              grows: true,
              goes: 2,
              cell: ({ error: why }) =>
                why && (
                  <span class="bad">
                    <Line text={why} />
                  </span>
                ),
            },
          ]}
        />
      )}
    </Page>
  )
}
