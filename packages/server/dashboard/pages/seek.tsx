import { get, path, post } from '../api.ts'
import { askFor } from '../parts/dialog.tsx'
import type { Values } from '../parts/field.tsx'
import { count, counted } from '../parts/format.ts'
import { Shown } from '../parts/shown.tsx'
import type { Subscription, Topic } from '../wire.ts'
import { toIso } from './queue-actions.tsx'

const kinds = [
  ['back', 'So many messages back'],
  ['offset', 'Before an offset'],
  ['time', 'Before a time'],
  ['earliest', 'To the beginning'],
  ['latest', 'To the end'],
] as const

type Position =
  | 'earliest'
  | 'latest'
  | { readonly offset: number }
  | { readonly back: number }
  | { readonly time: string }

/** @throws with words for a person */
function positionIn({ to, number, time }: Values): Position {
  if (to === 'earliest' || to === 'latest') return to
  if (to === 'time') {
    const at = toIso(time)
    if (at === null) throw new Error('The time is missing.')
    return { time: at }
  }
  const value = Number(number)
  if (!number || !Number.isSafeInteger(value) || value < 0) throw new Error('The number is missing.')
  return to === 'offset' ? { offset: value } : { back: value }
}

/** Where the cursor would be; null: the server alone knows which message was the last one before a time. */
function cursorAt(position: Position, { first_offset, last_offset }: Topic, cursor: number): number | null {
  const within = (offset: number) => Math.min(last_offset, Math.max(first_offset - 1, offset))
  if (position === 'earliest') return first_offset - 1
  if (position === 'latest') return last_offset
  if ('offset' in position) return within(position.offset - 1)
  return 'back' in position ? within(cursor - position.back) : null
}

/** @param only null: all subscriptions of the topic */
export async function askToSeek(topic: string, info: Topic, only: Subscription | null): Promise<void> {
  const route = path`v1/topics/${topic}/subscriptions`
  const all = () => get<{ subscriptions: readonly Subscription[] }>(route).catch(() => ({ subscriptions: [] }))
  const moved = only === null ? (await all()).subscriptions : [only]
  askFor({
    verb: 'Seek',
    title: `Seek ${only?.subscription ?? 'all subscriptions'} of ${topic}`,
    danger: true,
    body: `The topic has offsets ${count(info.first_offset)} to ${count(info.last_offset)}. Whoever reads goes on from the new place.`,
    fields: [
      { name: 'to', label: 'Where', kind: 'choice', value: 'back', choices: kinds },
      { name: 'number', label: 'Number', kind: 'number', min: 0, hint: 'Of messages, or the offset.' },
      { name: 'time', label: 'Time', kind: 'time' },
    ],
    preview: (values) => <Preview values={values} info={info} subscriptions={moved} />,
    async run(values) {
      const body = { position: positionIn(values) }
      const to =
        only === null ? path`v1/topics/${topic}/seek` : `${route}/${encodeURIComponent(only.subscription)}/seek`
      const { moved: number } = await post<{ moved: number }>(to, body)
      return `Moved ${counted(number, 'subscription')}.`
    },
  })
}

const mostShown = 8

interface PreviewProps {
  readonly values: Values
  readonly info: Topic
  readonly subscriptions: readonly Subscription[]
}

function Preview({ values, info, subscriptions }: PreviewProps) {
  let position: Position
  try {
    position = positionIn(values)
  } catch {
    return null
  }
  return (
    <ul class="preview-of" aria-live="polite">
      {subscriptions.slice(0, mostShown).map(({ subscription, cursor }) => (
        <li key={subscription}>
          <Shown text={subscription} />: {effectOf(cursorAt(position, info, cursor), cursor)}
        </li>
      ))}
      {subscriptions.length > mostShown && <li>and {count(subscriptions.length - mostShown)} more</li>}
    </ul>
  )
}

function effectOf(to: number | null, cursor: number): string {
  if (to === null) return `from ${count(cursor)}, to the last message before that time`
  const way = `from ${count(cursor)} to ${count(to)}`
  if (to === cursor) return `${way}, where it is`
  return to < cursor
    ? `${way}: ${counted(cursor - to, 'message')} will be handled again`
    : `${way}: ${counted(to - cursor, 'message')} will be left out`
}
