import { useEffect, useRef, useState } from 'preact/hooks'
import type uPlot from 'uplot'
import { session } from '../api.ts'

export interface Line {
  readonly label: string
  readonly tone: 'ready' | 'hand' | 'wait' | 'bad' | 'good'
  /** Null where nobody looked: a gap. */
  readonly values: readonly (number | null)[]
}

interface Props {
  readonly label: string
  /** In seconds since 1970. */
  readonly times: readonly number[]
  readonly lines: readonly Line[]
  readonly show: (value: number) => string
  /** The scale reaches at least so far: small figures are not blown up. */
  readonly least: number
}

const height = 150

/** Lines over time. What drawing takes is loaded when the first plot is shown. */
export function Plot({ label, times, lines, show, least }: Props) {
  const frame = useRef<HTMLDivElement>(null)
  const legend = useRef<HTMLUListElement>(null)
  const plot = useRef<uPlot | null>(null)
  const [at, setAt] = useState<number | null>(null)
  const data = [times, ...lines.map(({ values }) => values)] as unknown as uPlot.AlignedData
  const latest = useRef(data)
  latest.current = data
  const labels = lines.map((line) => line.label).join()

  useEffect(() => {
    let isGone = false
    let observer: ResizeObserver | undefined
    const again = () => plot.current?.redraw()
    const scheme = matchMedia('(prefers-color-scheme: dark)')
    const theme = new MutationObserver(again)
    void import('uplot').then(({ default: Drawn }) => {
      const { current } = frame
      if (isGone || current === null || legend.current === null) return
      const options = optionsOf(legend.current, current.clientWidth, { show, least }, setAt)
      plot.current = new Drawn(options, latest.current, current)
      observer = new ResizeObserver(() => plot.current?.setSize({ width: current.clientWidth, height }))
      observer.observe(current)
      scheme.addEventListener('change', again)
      theme.observe(document.documentElement, { attributeFilter: ['data-theme'] })
    })
    return () => {
      isGone = true
      observer?.disconnect()
      scheme.removeEventListener('change', again)
      theme.disconnect()
      plot.current?.destroy()
      plot.current = null
    }
  }, [labels, show, least])

  useEffect(() => plot.current?.setData(data), [times])

  const when = at === null ? undefined : times[at]
  // Where nobody points at a time, the newest figure.
  const figureOf = ({ values }: Line) => (at === null ? values.findLast((value) => value !== null) : values[at])
  const told = lines.map((line) => `${line.label} ${shown(figureOf(line), show)}`)
  return (
    <figure class="plot">
      <figcaption>
        <strong>{label}</strong>
        <span class="muted">{when !== undefined && clock(when)}</span>
        <ul ref={legend}>
          {lines.map((line) => (
            <li key={line.label} class={`line-${line.tone}`}>
              {line.label} <b>{shown(figureOf(line), show)}</b>
            </li>
          ))}
        </ul>
      </figcaption>
      <div ref={frame} class="plot-frame" role="img" aria-label={`${label}: ${told.join(', ')}`} />
    </figure>
  )
}

const shown = (value: number | null | undefined, show: (value: number) => string) =>
  value === null || value === undefined ? '–' : show(value)

function clock(seconds: number): string {
  const timeZone = session.value?.timezone
  return new Date(seconds * 1_000).toLocaleTimeString('en-GB', {
    hour: '2-digit',
    minute: '2-digit',
    ...(timeZone ? { timeZone } : {}),
  })
}

/** Colours are those of the legend and of the frame, so that the styles alone have them. */
function optionsOf(
  legend: HTMLElement,
  width: number,
  { show, least }: Pick<Props, 'show' | 'least'>,
  onMove: (index: number | null) => void,
): uPlot.Options {
  const colour = (element: Element | null | undefined) => (element ? getComputedStyle(element).color : 'gray')
  const muted = () => colour(legend.previousElementSibling)
  const line = () => getComputedStyle(legend).borderTopColor
  const axis = { stroke: muted, font: '11px system-ui, sans-serif', ticks: { show: false } }
  const grid = { stroke: line, width: 1 }
  return {
    width,
    height,
    padding: [8, 14, 0, 0],
    legend: { show: false },
    cursor: { y: false, sync: { key: 'history' }, points: { size: 6 } },
    scales: { y: { range: (_, __, most) => [0, Math.max(least, (most ?? 0) * 1.08)] } },
    axes: [
      { ...axis, grid: { show: false }, size: 24, space: 60, values: (_, splits) => splits.map(clock) },
      { ...axis, grid, size: 48, space: 36, values: (_, splits) => splits.map(show) },
    ],
    series: [
      {},
      ...[...legend.children].map(
        (item): uPlot.Series => ({
          stroke: () => colour(item),
          width: 1.75,
          spanGaps: false,
          points: { show: false },
        }),
      ),
    ],
    hooks: {
      setCursor: [({ cursor }) => onMove(cursor.idx ?? null)],
    },
  }
}
