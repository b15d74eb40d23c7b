import * as option from 'tidings/internal/core/options'
import { pauseIn } from 'tidings/internal/messages/settings'
import type { QueueInfo } from 'tidings/internal/port/engine'
import type { QueueFigures } from 'tidings/internal/port/pause'
import { toWireStats } from 'tidings/internal/protocol/messages'
import { named, shape } from '../http/fields.ts'
import type { Counted } from '../http/queue-board.ts'
import { type Route, route } from '../http/route.ts'
import { statsFields } from './queues.ts'

/** From then on it is a problem that nobody takes what is ready. */
const waitingMs = 60_000

/** The worst first. */
const problems = ['dead_letters', 'waiting', 'held_back', 'paused'] as const
type Problem = (typeof problems)[number]

interface Row {
  readonly queue: string
  /** Null: not counted yet. */
  readonly figures: QueueFigures | null
  readonly countedAt: number
  readonly dead: number | null
  readonly problems: readonly Problem[]
}

export const overviewRoutes: readonly Route[] = [
  route({
    name: 'getOverview',
    method: 'GET',
    path: '/v1/overview',
    tag: 'Queues',
    summary: 'All queues at a glance, those with problems first',
    description:
      'It answers within a fraction of a second, whatever there is to count: figures are kept for all who look, and those that are not counted yet come with a later answer.',
    scope: 'read',
    query: {
      limit: option.integer('The largest number of queues.', {
        default: 100,
        min: 1,
        max: 1_000,
        rangeCode: 'LIMIT_RANGE',
      }),
      after: option.integer('Goes on where an answer before ended: its `after`.', {
        default: 0,
        min: 0,
        max: 10_000_000,
      }),
    },
    answers: {
      200: {
        description: 'As of now.',
        fields: {
          queues: shape.several(
            '',
            named(
              'QueueOverview',
              option.object('', {
                queue_name: shape.text('The name of the queue.'),
                metrics: shape.nullable(named('QueueMetrics', option.object('', statsFields))),
                counted_at: shape.nullable(shape.time('When the figures were counted; null: they have yet to be.')),
                dead: shape.nullable(
                  shape.number('Messages in its dead-letter queue; null: there is none, or it was not counted yet.'),
                ),
                problems: shape.several(
                  'What is the matter.',
                  shape.text("'dead_letters', 'waiting' (for a minute, ready), 'held_back' by limits, 'paused'."),
                ),
              }),
            ),
          ),
          totals: named(
            'OverviewTotals',
            option.object('Of all queues that were counted.', {
              queues: shape.number('How many there are.'),
              counted: shape.number('Of how many the figures are known.'),
              problems: shape.number('How many have a problem.'),
              ready: shape.number(''),
              delayed: shape.number(''),
              leased: shape.number(''),
            }),
          ),
          after: shape.nullable(shape.number('For the next queues; null: there are none.')),
        },
      },
    },
    async handle({ bus, access, board, query: { limit, after } }) {
      const infos = (await bus.stored.queues()).filter(
        ({ queue, unusable }) => unusable === undefined && access.allows('read', queue),
      )
      const counted = await board.look(infos.map(({ queue }) => queue))
      const lettersOf = new Map(
        infos.map(({ queue, settings = {} }) => [queue, bus.stored.queue(queue).rules.deadLetterQueueIn(settings)]),
      )
      const letters = new Set(lettersOf.values())
      const rows = infos
        .map((info) => toRow(info, counted, lettersOf.get(info.queue) ?? null, letters.has(info.queue)))
        .sort(byProblem)
      const sum = (field: 'ready' | 'delayed' | 'leased') =>
        rows.reduce((all, { figures }) => all + (figures?.[field] ?? 0), 0)
      const totals = {
        queues: rows.length,
        counted: counted.size,
        problems: rows.filter((row) => row.problems.length > 0).length,
        ready: sum('ready'),
        delayed: sum('delayed'),
        leased: sum('leased'),
      }
      const end = after + limit
      const queues = rows.slice(after, end).map(toWireRow)
      return { status: 200, body: { queues, totals, after: end < rows.length ? end : null } }
    },
  }),
]

function toRow(
  { queue, settings }: QueueInfo,
  counted: ReadonlyMap<string, Counted>,
  deadLetterQueue: string | null,
  holdsLetters: boolean,
): Row {
  const one = counted.get(queue)
  const dead = deadLetterQueue === null ? null : (counted.get(deadLetterQueue)?.figures.ready ?? null)
  const pause = pauseIn(settings, Date.now())
  const { oldestReadyMs = null, heldBack = 0 } = one?.figures ?? {}
  const has: Record<Problem, boolean> = {
    dead_letters: (dead ?? 0) > 0,
    // Nobody is to take anything from one that is paused, and dead letters wait for somebody who looks at them.
    waiting: pause === null && (oldestReadyMs ?? 0) >= waitingMs && !holdsLetters,
    held_back: heldBack > 0,
    paused: pause !== null,
  }
  const figures = one === undefined ? null : { ...one.figures, pause }
  return { queue, figures, countedAt: one?.at ?? 0, dead, problems: problems.filter((problem) => has[problem]) }
}

function byProblem(a: Row, b: Row): number {
  const rank = ({ problems: [worst] }: Row) => (worst === undefined ? problems.length : problems.indexOf(worst))
  const age = ({ figures }: Row) => figures?.oldestReadyMs ?? 0
  return rank(a) - rank(b) || (b.dead ?? 0) - (a.dead ?? 0) || byAge(a, b, age) || (a.queue < b.queue ? -1 : 1)
}

/** Only those that wait too long are in the order of their age: the others would jump about. */
const byAge = (a: Row, b: Row, age: (row: Row) => number) =>
  a.problems.includes('waiting') && b.problems.includes('waiting') ? age(b) - age(a) : 0

const toWireRow = ({ queue, figures, countedAt, dead, problems }: Row) => ({
  queue_name: queue,
  metrics: figures && toWireStats(figures, countedAt),
  counted_at: figures && new Date(countedAt).toISOString(),
  dead,
  problems,
})
