import { count } from '../parts/format.ts'
import { visible } from '../parts/shown.tsx'
import type { Correlation, CorrelationQueue } from '../wire.ts'

const width = 860
const rowHeight = 62
const box = { left: 300, width: 300, height: 46 }
const end = { left: 700, width: 150 }
const kinds = ['done', 'running', 'pending', 'dead', 'cancelled'] as const

/** What came of the event: a box a queue, with a bar of how far its tasks are. The table below says the same. */
export function FanOut({ id, correlation }: { id: string; correlation: Correlation }) {
  const { queues, completed_at, failed_at, done_at } = correlation
  const height = Math.max(1, queues.length) * rowHeight
  const middle = height / 2
  const total = queues.reduce((sum, one) => sum + totalOf(one), 0)
  const over = queues.reduce((sum, one) => sum + one.done + one.dead + one.cancelled, 0)
  const [ending, tone] = done_at ? ['all done', 'good'] : failed_at ? ['a task failed', 'bad'] : ['under way', 'hand']
  return (
    <div class="graph">
      <svg
        viewBox={`0 0 ${width} ${height}`}
        width={width}
        height={height}
        role="img"
        aria-label={`${visible(id)} led to ${total} tasks in ${queues.length} queues; ${over} have ended; ${ending}`}
      >
        {queues.map((one, index) => {
          const y = index * rowHeight + rowHeight / 2
          return (
            <g key={one.queue}>
              <path class="edge" d={curve(160, middle, box.left, y)} />
              <path
                class={`edge ${one.pending + one.running > 0 ? 'open' : ''}`}
                d={curve(box.left + box.width, y, end.left, middle)}
              />
              <QueueBox of={one} y={y} />
            </g>
          )
        })}
        <Node left={10} width={150} y={middle} text={id} below={`${count(total)} tasks`} tone="plain" />
        <Node
          left={end.left}
          width={end.width}
          y={middle}
          text={completed_at ? 'Completed' : `${count(over)} of ${count(total)}`}
          below={ending}
          tone={tone}
        />
      </svg>
    </div>
  )
}

const curve = (x1: number, y1: number, x2: number, y2: number) => {
  const bend = (x2 - x1) / 2
  return `M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}`
}

const totalOf = (one: CorrelationQueue) => kinds.reduce((sum, kind) => sum + one[kind], 0)

function QueueBox({ of, y }: { of: CorrelationQueue; y: number }) {
  const total = totalOf(of)
  const room = box.width - 24
  let x = box.left + 12
  return (
    <g>
      <rect class="node" x={box.left} y={y - box.height / 2} width={box.width} height={box.height} rx="6" />
      <text x={box.left + 12} y={y - 3}>
        {shortened(of.queue, 30)}
      </text>
      <text class="end" x={box.left + box.width - 12} y={y - 3}>
        {count(of.done)} / {count(total)}
      </text>
      {kinds.map((kind) => {
        const length = total === 0 ? 0 : (of[kind] / total) * room
        const part = <rect key={kind} class={`part-${kind}`} x={x} y={y + 8} width={length} height="5" />
        x += length
        return part
      })}
    </g>
  )
}

interface NodeProps {
  readonly left: number
  readonly width: number
  readonly y: number
  readonly text: string
  readonly below: string
  readonly tone?: string | undefined
}

const Node = ({ left, width: wide, y, text, below, tone }: NodeProps) => (
  <g class={`node-${tone}`}>
    <rect class="node" x={left} y={y - box.height / 2} width={wide} height={box.height} rx="6" />
    <text class="strong" x={left + 12} y={y - 3}>
      {shortened(text, 17)}
    </text>
    <text class="small" x={left + 12} y={y + 14}>
      {below}
    </text>
  </g>
)

const shortened = (text: string, most: number) => visible(text.length > most ? `${text.slice(0, most - 1)}…` : text)
