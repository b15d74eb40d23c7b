import { get } from '../api.ts'
import { useHeld, useLive } from '../live.ts'
import { bytes, compact, count, duration } from '../parts/format.ts'
import { Empty } from '../parts/notice.tsx'
import { Page } from '../parts/page.tsx'
import { Shown } from '../parts/shown.tsx'
import { Table } from '../parts/table.tsx'
import { None } from '../parts/time.tsx'
import { href } from '../routes.ts'
import type { Topic } from '../wire.ts'

const toTopic = (topic: string) => href(['topics', topic])

export function Topics() {
  const { data, error } = useLive('topics', (signal) => get<{ topics: Topic[] }>('v1/topics', { signal }))
  const held = useHeld('topics', data?.topics ?? null, ({ topic }) => topic)
  return (
    <Page name="topics" title="Topics" isLoaded={data !== null} error={error}>
      {held.rows.length === 0 ? (
        <Empty command="npx tidings topic create news">No topics yet. This makes one:</Empty>
      ) : (
        <Table
          label="Topics"
          rows={held}
          keyOf={({ topic }) => topic}
          columns={[
            {
              name: 'topic',
              label: 'Topic',
              grows: true,
              cell: ({ topic, description }) => (
                <>
                  <a href={toTopic(topic)}>
                    <Shown text={topic} />
                  </a>{' '}
                  <span class="muted">
                    <Shown text={description} />
                  </span>
                </>
              ),
            },
            {
              name: 'messages',
              label: 'Messages',
              isNumber: true,
              cell: (one) => (messagesIn(one) === 0 ? <None /> : compact(messagesIn(one))),
            },
            {
              name: 'last',
              label: 'Last offset',
              isNumber: true,
              goes: 2,
              cell: ({ last_offset }) => count(last_offset),
            },
            { name: 'bytes', label: 'Size', isNumber: true, goes: 1, cell: (one) => bytes(one.bytes) },
            {
              name: 'subscriptions',
              label: 'Subscriptions',
              isNumber: true,
              cell: (one) => one.subscriptions || <None />,
            },
            { name: 'retention', label: 'Kept', isNumber: true, goes: 2, cell: (one) => retentionOf(one) },
          ]}
        />
      )}
    </Page>
  )
}

export const messagesIn = ({ first_offset, last_offset }: Topic) => last_offset - first_offset + 1

export function retentionOf({ retention: { max_age_ms, max_bytes, when_read } }: Topic): string {
  const until = [
    max_age_ms !== null && duration(max_age_ms),
    max_bytes !== null && bytes(max_bytes),
    when_read && 'until all have read',
  ]
  return until.filter(Boolean).join(', ') || 'for ever'
}
