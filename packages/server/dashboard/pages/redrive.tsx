import { useEffect, useState } from 'preact/hooks'
import { ApiError, path, post } from '../api.ts'
import { askFor } from '../parts/dialog.tsx'
import { counted } from '../parts/format.ts'
import { Failure } from '../parts/notice.tsx'
import { Shown } from '../parts/shown.tsx'
import { millisecondsIn } from './queue-actions.tsx'

interface Redriven {
  readonly redriven: readonly { readonly dead_letter_id: string; readonly id: string | null }[]
}

interface Which {
  readonly ids?: readonly string[]
  /** Of one group. */
  readonly error?: string
  readonly onDone?: () => void
}

const mostAtOnce = 100_000
const redrive = (queue: string, body: object, signal?: AbortSignal) =>
  post<Redriven>(path`v1/queues/${queue}/dead-letters/redrive`, body, signal && { signal })

export function askToRedrive(queue: string, { ids, error, onDone }: Which = {}): void {
  const which = { ...(ids === undefined ? {} : { ids }), ...(error === undefined ? {} : { error }) }
  askFor({
    verb: 'Redrive',
    title: `Redrive ${ids === undefined ? 'the dead letters' : counted(ids.length, 'dead letter')} of ${queue}`,
    body: (
      <>
        {error !== undefined && (
          <p class="bad">
            Those that failed with: <Shown text={error} />
          </p>
        )}
        Each is moved back into the queue, and its attempts start anew.
      </>
    ),
    fields: [
      ...(ids === undefined
        ? [
            {
              name: 'limit',
              label: 'At most',
              kind: 'number',
              value: String(mostAtOnce),
              min: 1,
              max: mostAtOnce,
            } as const,
          ]
        : []),
      { name: 'rate', label: 'Ready a second', kind: 'number', min: 1, hint: 'Left out: all at once.' },
      { name: 'delay', label: 'Ready after', kind: 'text', hint: 'Like 30s, 10 min or 2h. Left out: at once.' },
    ],
    preview: ({ limit }) => <Preview queue={queue} body={{ ...which, limit: Number(limit || mostAtOnce) }} />,
    async run({ limit, rate, delay }) {
      const body = {
        ...which,
        limit: Number(limit || mostAtOnce),
        delay_ms: millisecondsIn(delay),
        ...(rate ? { rate: Number(rate) } : {}),
      }
      const { redriven } = await redrive(queue, body)
      onDone?.()
      return `${counted(redriven.length, 'message')} of ${queue} will be tried again.`
    },
  })
}

/** How many it would be, asked of the server. */
function Preview({ queue, body }: { queue: string; body: object }) {
  const [found, setFound] = useState<number | ApiError | null>(null)
  const asked = JSON.stringify(body)
  useEffect(() => {
    const stop = new AbortController()
    const timer = setTimeout(() => {
      redrive(queue, { ...JSON.parse(asked), dry_run: true }, stop.signal).then(
        ({ redriven }) => setFound(redriven.length),
        (error: unknown) => {
          if (!stop.signal.aborted && error instanceof ApiError) setFound(error)
        },
      )
    }, 200)
    return () => {
      clearTimeout(timer)
      stop.abort()
    }
  }, [queue, asked])
  if (found instanceof ApiError) return <Failure error={found} />
  return (
    <p class="preview-of" role="status">
      {found === null ? 'Counting…' : `${counted(found, 'message')} will be sent again.`}
    </p>
  )
}
