import { useEffect, useState } from 'preact/hooks'
import { ApiError, path, post } from '../api.ts'
import { askFor } from '../parts/dialog.tsx'
import type { Values } from '../parts/field.tsx'
import { count, counted } from '../parts/format.ts'
import { Failure } from '../parts/notice.tsx'
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

/** @param only null: all subscriptions of the topic */
export function askToSeek(topic: string, info: Topic, only: Subscription | null): void {
  const to =
    only === null ? path`v1/topics/${topic}/seek` : path`v1/topics/${topic}/subscriptions/${only.subscription}/seek`
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
    preview: (values) => <Preview values={values} to={to} />,
    async run(values) {
      const { moved } = await post<{ moved: number }>(to, { position: positionIn(values) })
      return `Moved ${counted(moved, 'subscription')}.`
    },
  })
}

const mostShown = 8

interface Move {
  readonly subscription: string
  readonly from: number
  readonly to: number
}

/** What it would do, asked of the server: it alone knows which message was the last one before a time. */
function Preview({ values, to }: { values: Values; to: string }) {
  const [moves, setMoves] = useState<readonly Move[] | ApiError | null>(null)
  const position = positionOrNull(values)
  const asked = position === null ? null : JSON.stringify({ position, dry_run: true })
  useEffect(() => {
    if (asked === null) return
    const stop = new AbortController()
    const timer = setTimeout(() => {
      post<{ moves: readonly Move[] }>(to, JSON.parse(asked), { signal: stop.signal }).then(
        (answer) => setMoves(answer.moves),
        (error: unknown) => {
          if (!stop.signal.aborted && error instanceof ApiError) setMoves(error)
        },
      )
    }, 200)
    return () => {
      clearTimeout(timer)
      stop.abort()
      setMoves(null)
    }
  }, [to, asked])
  if (asked === null || moves === null) return null
  if (moves instanceof ApiError) return <Failure error={moves} />
  return (
    <ul class="preview-of" aria-live="polite">
      {moves.slice(0, mostShown).map((move) => (
        <li key={move.subscription}>
          <Shown text={move.subscription} />: {effectOf(move)}
        </li>
      ))}
      {moves.length > mostShown && <li>and {count(moves.length - mostShown)} more</li>}
    </ul>
  )
}

function positionOrNull(values: Values): Position | null {
  try {
    return positionIn(values)
  } catch {
    return null
  }
}

function effectOf({ from, to }: Move): string {
  const way = `from ${count(from)} to ${count(to)}`
  if (to === from) return `${way}, where it is`
  return to < from
    ? `${way}: ${counted(from - to, 'message')} will be handled again`
    : `${way}: ${counted(to - from, 'message')} will be left out`
}
