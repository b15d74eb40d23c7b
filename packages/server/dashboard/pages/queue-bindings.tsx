import { call, get, may, path } from '../api.ts'
import { useLive } from '../live.ts'
import { askFor } from '../parts/dialog.tsx'
import { Empty } from '../parts/notice.tsx'
import { Section } from '../parts/page.tsx'
import { Shown, visible } from '../parts/shown.tsx'
import { Table } from '../parts/table.tsx'
import { Time } from '../parts/time.tsx'
import type { Binding } from '../wire.ts'

/** What of all that is published goes into the queue. */
export function Bindings({ queue }: { queue: string }) {
  const { data } = useLive(`bindings/${queue}`, (signal) =>
    get<{ bindings: Binding[] }>(path`v1/queues/${queue}/bindings`, { signal }),
  )
  if (!data) return null
  return (
    <Section
      title="Bindings"
      actions={
        may('admin') && (
          <button type="button" onClick={() => askToBind(queue)}>
            Bind…
          </button>
        )
      }
    >
      {data.bindings.length === 0 ? (
        <Empty command={`npx tidings bind 'Orders.*' ${queue}`}>Nothing that is published goes here.</Empty>
      ) : (
        <Table
          label="Bindings"
          rows={data.bindings}
          keyOf={({ pattern }) => pattern}
          columns={[
            {
              name: 'pattern',
              label: 'Pattern',
              grows: true,
              cell: ({ pattern }) => (
                <code>
                  <Shown text={pattern} />
                </code>
              ),
            },
            { name: 'since', label: 'Since', isNumber: true, cell: ({ bound_at }) => <Time at={bound_at} past /> },
            {
              name: 'do',
              label: <span class="unseen">Actions</span>,
              cell: ({ pattern }) =>
                may('admin') && (
                  <button
                    type="button"
                    class="quiet"
                    aria-label={`Unbind ${visible(pattern)}`}
                    onClick={() => askToUnbind(queue, pattern)}
                  >
                    Unbind…
                  </button>
                ),
            },
          ]}
        />
      )}
    </Section>
  )
}

const askToBind = (queue: string) =>
  askFor({
    verb: 'Bind',
    title: `Bind ${queue} to a pattern`,
    body: 'From then on, what is published under a key that matches it goes into the queue too.',
    fields: [
      {
        name: 'pattern',
        label: 'Pattern',
        kind: 'text',
        required: true,
        hint: 'Segments with dots: * stands for one, # for any number. Like Orders.*.Paid.',
      },
    ],
    async run({ pattern = '' }) {
      const { bound } = await call<{ bound: boolean }>('PUT', path`v1/queues/${queue}/bindings/${pattern.trim()}`)
      return bound ? `${queue} is bound to ${pattern}.` : `${queue} was bound to ${pattern} already.`
    },
  })

const askToUnbind = (queue: string, pattern: string) =>
  askFor({
    verb: 'Unbind',
    title: `Unbind ${queue} from ${visible(pattern)}`,
    danger: true,
    body: 'What is published under a key that matches it goes into the queue no more. Messages that are there stay.',
    async run() {
      await call('DELETE', path`v1/queues/${queue}/bindings/${pattern}`)
      return `${queue} is not bound to ${pattern} any more.`
    },
  })
