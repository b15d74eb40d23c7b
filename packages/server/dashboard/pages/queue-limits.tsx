import { get, path, post } from '../api.ts'
import { askFor } from '../parts/dialog.tsx'
import { count, duration } from '../parts/format.ts'
import { Empty } from '../parts/notice.tsx'
import { Section } from '../parts/page.tsx'
import { Shown, visible } from '../parts/shown.tsx'
import { Table } from '../parts/table.tsx'
import type { Queue, QueueLimit, QueueSettings } from '../wire.ts'
import { orNull } from './queue-actions.tsx'

const perNames = { queue: 'the queue', group: 'each group', orderingKey: 'each ordering key' } as const

const rateText = ({ count: number, periodMs }: NonNullable<QueueLimit['rate']>) =>
  `${count(number)} in ${duration(periodMs)}`

/**
 * Changes lists of settings as they are stored now, not as the page shows them: it may be seconds behind, and somebody
 * else may have changed them. An empty list takes the setting away.
 */
async function change(queue: string, to: (settings: QueueSettings) => Partial<QueueSettings>): Promise<void> {
  const { settings = {} } = await get<Queue>(path`v1/queues/${queue}`)
  const changed = Object.entries(to(settings)).map(([name, list]) => [name, Object.keys(list).length > 0 ? list : null])
  await post(path`v1/queues/${queue}/configure`, { settings: Object.fromEntries(changed) })
}

export function Limits({ queue, settings, mayChange }: { queue: string; settings: QueueSettings; mayChange: boolean }) {
  const limits = settings.limits ?? []
  const add = () =>
    askFor({
      verb: 'Add',
      title: `Add a limit to ${queue}`,
      body: 'It holds for all processes together, from the next read on.',
      fields: [
        { name: 'per', label: 'Holds for', kind: 'choice', value: 'queue', choices: Object.entries(perNames) },
        { name: 'concurrency', label: 'In hand at once, at most', kind: 'number', min: 1 },
        { name: 'rate', label: 'Begun in a time, at most', kind: 'text', hint: 'Like 100/min, 5/s or 10/30s.' },
        { name: 'burst', label: 'Burst', kind: 'number', min: 1, hint: 'How many may begin at once after a rest.' },
      ],
      async run({ per, concurrency, rate, burst }) {
        const limit = {
          per,
          ...(concurrency ? { concurrency: Number(concurrency) } : {}),
          ...(orNull(rate) ? { rate: orNull(rate) } : {}),
          ...(burst ? { burst: Number(burst) } : {}),
        }
        await change(queue, ({ limits = [] }) => ({ limits: [...limits, limit as QueueLimit] }))
        return `${queue} has a further limit.`
      },
    })
  const remove = (limit: QueueLimit) =>
    askFor({
      verb: 'Remove',
      title: `Remove the limit for ${perNames[limit.per]}`,
      body: 'What it held back is handed out from now on.',
      async run() {
        const gone = JSON.stringify(limit)
        await change(queue, ({ limits = [] }) => ({ limits: limits.filter((one) => JSON.stringify(one) !== gone) }))
        return 'The limit is gone.'
      },
    })
  return (
    <Section
      title="Limits"
      actions={
        mayChange && (
          <button type="button" onClick={add}>
            Add limit…
          </button>
        )
      }
    >
      {limits.length === 0 ? (
        <Empty command={`npx tidings queue set ${queue} --limit concurrency=10`}>
          No limits: workers take what they can.
        </Empty>
      ) : (
        <Table
          label="Limits"
          rows={limits}
          keyOf={(limit) => JSON.stringify(limit)}
          columns={[
            { name: 'per', label: 'Holds for', grows: true, cell: ({ per }) => perNames[per] },
            {
              name: 'concurrency',
              label: 'In hand at once',
              isNumber: true,
              cell: ({ concurrency }) => (concurrency === undefined ? '' : count(concurrency)),
            },
            { name: 'rate', label: 'Begun', isNumber: true, cell: ({ rate }) => rate && rateText(rate) },
            { name: 'burst', label: 'Burst', isNumber: true, cell: ({ burst }) => burst },
            {
              name: 'do',
              label: <span class="unseen">Actions</span>,
              cell: (limit) =>
                mayChange && (
                  <button type="button" class="quiet" onClick={() => remove(limit)}>
                    Remove…
                  </button>
                ),
            },
          ]}
        />
      )}
    </Section>
  )
}

/** Of groups: one of weight 3 gets three turns where others get one. */
export function Weights({
  queue,
  settings,
  mayChange,
}: {
  queue: string
  settings: QueueSettings
  mayChange: boolean
}) {
  const weights = settings.weights ?? {}
  const set = (group = '') =>
    askFor({
      verb: 'Set',
      title: group === '' ? 'Set the weight of a group' : `Set the weight of ${visible(group)}`,
      body: 'How many turns a group gets where others get one, when messages of several groups are ready.',
      fields: [
        ...(group === '' ? [{ name: 'group', label: 'Group', kind: 'text', required: true } as const] : []),
        {
          name: 'weight',
          label: 'Weight',
          kind: 'number',
          min: 1,
          value: String(weights[group] ?? ''),
          hint: 'Left out: as all others, 1.',
        },
      ],
      async run({ group: named, weight }) {
        const name = group || (named ?? '')
        await change(queue, ({ weights: { [name]: _, ...others } = {} }) => ({
          weights: weight ? { ...others, [name]: Number(weight) } : others,
        }))
        return weight ? `${name} has the weight ${weight}.` : `${name} has no weight of its own.`
      },
    })
  const rows = Object.entries(weights)
  return (
    <Section
      title="Weights"
      actions={
        mayChange && (
          <button type="button" onClick={() => set()}>
            Set weight…
          </button>
        )
      }
    >
      {rows.length === 0 ? (
        <Empty command={`npx tidings queue set ${queue} --weight gold=3`}>All groups have their turn alike.</Empty>
      ) : (
        <Table
          label="Weights"
          rows={rows}
          keyOf={([group]) => group}
          columns={[
            { name: 'group', label: 'Group', grows: true, cell: ([group]) => <Shown text={group} /> },
            { name: 'weight', label: 'Weight', isNumber: true, cell: ([, weight]) => count(weight) },
            {
              name: 'do',
              label: <span class="unseen">Actions</span>,
              cell: ([group]) =>
                mayChange && (
                  <button
                    type="button"
                    class="quiet"
                    aria-label={`Change the weight of ${visible(group)}`}
                    onClick={() => set(group)}
                  >
                    Change…
                  </button>
                ),
            },
          ]}
        />
      )}
    </Section>
  )
}
