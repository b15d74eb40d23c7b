import { get } from '../api.ts'
import { changed, useLive } from '../live.ts'
import { counted } from '../parts/format.ts'
import { Empty } from '../parts/notice.tsx'
import { Badge, Page } from '../parts/page.tsx'
import { Shown } from '../parts/shown.tsx'
import type { Finding } from '../wire.ts'

const levels = [
  ['problem', 'Problems', 'bad', 'Problem'],
  ['warning', 'Warnings', 'wait', 'Warning'],
  ['ok', 'In order', 'good', 'In order'],
] as const

/** Asks once, since it looks at many things. */
export function Doctor() {
  const { data, error } = useLive('doctor', (signal) => get<{ findings: Finding[] }>('v1/doctor', { signal }), {
    once: true,
  })
  const of = (level: Finding['level']) => data?.findings.filter((one) => one.level === level) ?? []
  return (
    <Page
      name="doctor"
      title="Doctor"
      isLoaded={data !== null}
      error={error}
      badges={
        data &&
        levels.map(([level, , tone, label]) => (
          <Badge key={level} tone={of(level).length > 0 ? tone : 'plain'}>
            {counted(of(level).length, label.toLowerCase(), level === 'ok' ? 'in order' : undefined)}
          </Badge>
        ))
      }
      actions={
        <button type="button" onClick={changed}>
          Look again
        </button>
      }
    >
      {data?.findings.length === 0 && <Empty command="npx tidings doctor">There was nothing to look at.</Empty>}
      {levels
        .filter(([level]) => of(level).length > 0)
        .map(([level, title, tone]) => (
          <section key={level}>
            <h2>{title}</h2>
            <ul class="findings">
              {of(level).map(({ check, message, remedy }) => (
                <li key={check + message} class={`tone-${tone}`}>
                  <h3>
                    <Shown text={check} />
                  </h3>
                  <div>
                    <p>
                      <Shown text={message} />
                    </p>
                    {remedy && (
                      <p class="muted">
                        <Shown text={remedy} />
                      </p>
                    )}
                  </div>
                </li>
              ))}
            </ul>
          </section>
        ))}
    </Page>
  )
}
