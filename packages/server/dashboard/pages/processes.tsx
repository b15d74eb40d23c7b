import { Fragment } from 'preact'
import { get } from '../api.ts'
import { useHeld, useLive } from '../live.ts'
import { count, counted } from '../parts/format.ts'
import { Empty } from '../parts/notice.tsx'
import { Badge, Page } from '../parts/page.tsx'
import { Shown } from '../parts/shown.tsx'
import { type Column, Table } from '../parts/table.tsx'
import { None, Time } from '../parts/time.tsx'
import { toQueue } from '../routes.ts'
import type { Process } from '../wire.ts'

const mostQueues = 8

export function Processes() {
  const { data, error } = useLive('processes', (signal) => get<{ processes: Process[] }>('v1/processes', { signal }))
  const held = useHeld('processes', data?.processes ?? null, ({ id }) => id)
  const all = data?.processes ?? []
  const versions = [...new Set(all.map(({ version }) => version))].sort()
  return (
    <Page
      name="processes"
      title="Processes"
      isLoaded={data !== null}
      error={error}
      badges={
        all.length > 0 && (
          <>
            <Badge tone="good">{counted(all.length, 'process', 'processes')}</Badge>
            <Badge>{counted(new Set(all.map(({ host }) => host)).size, 'host')}</Badge>
          </>
        )
      }
    >
      {versions.length > 1 && (
        <p class="muted" role="note">
          {count(versions.length)} versions are in use at once:{' '}
          {versions.map((version, index) => (
            <Fragment key={version}>
              {index > 0 && ', '}
              <Shown text={version} /> by {count(all.filter((one) => one.version === version).length)}
            </Fragment>
          ))}
          .
        </p>
      )}
      {held.rows.length === 0 ? (
        <Empty command="npx tidings process --handlers handlers">
          No process works on this storage, as far as it can be seen. This starts one:
        </Empty>
      ) : (
        <Table label="Processes" rows={held} keyOf={({ id }) => id} columns={columnsFor(all)} />
      )}
    </Page>
  )
}

const columns: Record<'host' | 'pid' | 'version' | 'since' | 'queues' | 'token', Column<Process>> = {
  host: { name: 'host', label: 'Host', cell: ({ host }) => <Shown text={host} /> },
  // A name, not a quantity.
  pid: { name: 'pid', label: 'Process', cell: ({ pid }) => String(pid) },
  version: { name: 'version', label: 'Version', goes: 2, cell: ({ version }) => <Shown text={version} /> },
  since: { name: 'since', label: 'Since', goes: 3, cell: ({ since }) => <Time at={since} past /> },
  queues: { name: 'queues', label: 'Queues', grows: true, cell: ({ queues }) => <Queues of={queues ?? []} /> },
  token: {
    name: 'token',
    label: 'Token',
    goes: 1,
    cell: ({ token }) => (token === null ? <None /> : <Shown text={token} />),
  },
}

/** Some storages know of no queues; only a server over HTTP knows of tokens. */
function columnsFor(all: readonly Process[]): Column<Process>[] {
  const { queues, token, ...always } = columns
  return [
    ...Object.values(always),
    ...(all.some((one) => one.queues !== null) ? [queues] : []),
    ...(all.some((one) => one.token !== null) ? [token] : []),
  ]
}

function Queues({ of }: { of: readonly string[] }) {
  if (of.length === 0) return <None />
  const more = of.length - mostQueues
  return (
    <>
      {of.slice(0, mostQueues).map((queue, index) => (
        <Fragment key={queue}>
          {index > 0 && ', '}
          <a href={toQueue(queue)}>
            <Shown text={queue} />
          </a>
        </Fragment>
      ))}
      {more > 0 && <span class="muted"> and {count(more)} more</span>}
    </>
  )
}
