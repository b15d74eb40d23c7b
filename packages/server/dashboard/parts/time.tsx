import { signal } from '@preact/signals'
import { clockSkew, session } from '../api.ts'
import { duration } from './format.ts'

/** By the clock of the server, every second. */
const now = signal(Date.now())
setInterval(() => {
  if (document.visibilityState === 'visible') now.value = Date.now() + clockSkew.value
}, 1_000)

const young = 86_400_000

function exact(at: number): string {
  const timeZone = session.value?.timezone
  const format = new Intl.DateTimeFormat('en-GB', {
    dateStyle: 'medium',
    timeStyle: 'medium',
    ...(timeZone ? { timeZone } : {}),
  })
  return format.format(at)
}

/** In the zone of the viewer; relative where it is young. The title has the exact one, with its zone and in UTC. */
export function Time({ at, past = false }: { at: string | number; past?: boolean }) {
  const time = typeof at === 'number' ? at : Date.parse(at)
  if (!Number.isFinite(time)) return <span>{at}</span>
  const away = now.value - time
  const zone = session.value?.timezone ?? Intl.DateTimeFormat().resolvedOptions().timeZone
  const iso = new Date(time).toISOString()
  return (
    <time dateTime={iso} title={`${exact(time)} ${zone} · ${iso}`} class="time">
      {Math.abs(away) >= young ? exact(time) : relative(away, past)}
    </time>
  )
}

function relative(away: number, past: boolean): string {
  // Clocks differ a little: what has happened is not shown as if it were to come.
  if (away >= 0 || (past && away > -5_000)) return away < 1_000 ? 'now' : `${duration(away)} ago`
  return `in ${duration(-away)}`
}

/** How long ago, as a length: for ages. */
export const Age = ({ ms }: { ms: number | null }) => <>{ms === null ? <None /> : duration(ms)}</>

export const None = () => (
  <span class="none">
    <span aria-hidden="true">·</span>
    <span class="unseen">none</span>
  </span>
)
