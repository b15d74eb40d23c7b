import { counted, duration } from '../parts/format.ts'
import { toQueue } from '../routes.ts'
import type { QueueMetrics, QueueOverview } from '../wire.ts'

type Kind = QueueOverview['problems'][number]

interface Problem {
  readonly kind: Kind
  readonly tone: 'bad' | 'wait'
  readonly text: string
  readonly to: string
}

type Told = Pick<Problem, 'tone' | 'text'> & { readonly view?: string }

const tell: Readonly<Record<Kind, (metrics: QueueMetrics, dead: number) => Told>> = {
  dead_letters: (_, dead) => ({
    tone: 'bad',
    text: `${counted(dead, 'message')} failed for good`,
    view: 'dead-letters',
  }),
  waiting({ ready, leased, oldest_ready_ms }) {
    const since = duration(oldest_ready_ms ?? 0)
    if (leased === 0)
      return { tone: 'bad', text: `nobody reads ${counted(ready, 'ready message')}, for ${since}`, view: 'messages' }
    return { tone: 'wait', text: `${counted(ready, 'message')} ready, the oldest for ${since}`, view: 'messages' }
  },
  held_back: ({ held_back }) => ({ tone: 'wait', text: `limits hold back ${counted(held_back, 'message')}` }),
  paused({ ready, pause }) {
    const why = [pause?.reason, pause?.by && `by ${pause.by}`].filter(Boolean).join(', ')
    const waiting = ready > 0 ? `; ${counted(ready, 'message')} wait` : ''
    return { tone: 'wait', text: `paused${why && `: ${why}`}${waiting}` }
  },
}

/** What the server thinks that somebody should look at, in words. */
export function problemsIn({ queue_name, metrics, dead, problems }: QueueOverview): Problem[] {
  if (metrics === null) return []
  return problems.map((kind) => {
    const { view, ...told } = tell[kind](metrics, dead ?? 0)
    return { kind, ...told, to: view === undefined ? toQueue(queue_name) : toQueue(queue_name, view) }
  })
}
