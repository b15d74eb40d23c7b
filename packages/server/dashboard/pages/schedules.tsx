import { get, may, path, post } from '../api.ts'
import { useHeld, useLive } from '../live.ts'
import { askFor, doNow } from '../parts/dialog.tsx'
import { count, duration } from '../parts/format.ts'
import { JsonText } from '../parts/json.tsx'
import { Empty } from '../parts/notice.tsx'
import { Badge, Facts, Page, Section } from '../parts/page.tsx'
import { Shown } from '../parts/shown.tsx'
import { Table } from '../parts/table.tsx'
import { None, Time } from '../parts/time.tsx'
import { href, toQueue } from '../routes.ts'
import type { Schedule } from '../wire.ts'

const useSchedules = (name?: string) =>
  useLive(`schedules/${name ?? ''}`, (signal) =>
    get<{ schedules: Schedule[] }>('v1/schedules', { query: { name }, signal }),
  )

const toSchedule = (name: string) => href(['schedules', name])

export function Schedules() {
  const { data, error } = useSchedules()
  const held = useHeld('schedules', data?.schedules ?? null, ({ name }) => name)
  return (
    <Page name="schedules" title="Schedules" isLoaded={data !== null} error={error}>
      {held.rows.length === 0 ? (
        <Empty command="npx tidings sentinel">
          No schedules. `bus.schedule('nightly', …)` makes one, or `schedules` of the configuration file:
        </Empty>
      ) : (
        <Table
          label="Schedules"
          rows={held}
          keyOf={({ name }) => name}
          classOf={({ enabled }) => (enabled ? '' : 'paused')}
          columns={[
            {
              name: 'name',
              label: 'Schedule',
              grows: true,
              cell: ({ name, enabled }) => (
                <>
                  <a href={toSchedule(name)}>
                    <Shown text={name} />
                  </a>{' '}
                  {!enabled && <Badge tone="wait">Disabled</Badge>}
                </>
              ),
            },
            { name: 'when', label: 'When', goes: 3, cell: (one) => <When of={one} /> },
            { name: 'to', label: 'Sends to', goes: 2, cell: (one) => <Target of={one} /> },
            { name: 'runs', label: 'Runs', isNumber: true, goes: 1, cell: ({ runs }) => count(runs) },
            {
              name: 'last',
              label: 'Last',
              isNumber: true,
              goes: 2,
              cell: ({ last_run_at }) => (last_run_at ? <Time at={last_run_at} past /> : <None />),
            },
            { name: 'next', label: 'Next', isNumber: true, cell: (one) => <Next of={one} /> },
            {
              name: 'do',
              label: <span class="unseen">Actions</span>,
              goes: 3,
              cell: (one) => <ScheduleActions schedule={one} isQuiet />,
            },
          ]}
        />
      )}
    </Page>
  )
}

const When = ({ of: { cron, every_ms, at, timezone } }: { of: Schedule }) => {
  if (cron !== null)
    return (
      <>
        <code>
          <Shown text={cron} />
        </code>{' '}
        <span class="muted">{timezone}</span>
      </>
    )
  return every_ms === null ? <>once, {at && <Time at={at} />}</> : <>every {duration(every_ms)}</>
}

const Target = ({ of: { queue, topic, routing_key } }: { of: Schedule }) => {
  if (queue !== null)
    return (
      <a href={toQueue(queue)}>
        <Shown text={queue} />
      </a>
    )
  if (topic !== null)
    return (
      <a href={href(['topics', topic])}>
        <Shown text={topic} />
      </a>
    )
  return (
    <code>
      <Shown text={routing_key ?? ''} />
    </code>
  )
}

const Next = ({ of: { enabled, next_run_at } }: { of: Schedule }) =>
  enabled && next_run_at ? <Time at={next_run_at} /> : <None />

function ScheduleActions({ schedule: { name, enabled }, isQuiet = false }: { schedule: Schedule; isQuiet?: boolean }) {
  const style = isQuiet ? 'quiet' : ''
  const label = (verb: string) => (isQuiet ? { 'aria-label': `${verb} ${name}` } : {})
  return (
    <>
      {may('send') && (
        <button type="button" class={style} {...label('Run now')} onClick={() => askToRun(name)}>
          Run now…
        </button>
      )}
      {may('admin') &&
        (enabled ? (
          <button type="button" class={style} {...label('Disable')} onClick={() => askToDisable(name)}>
            Disable…
          </button>
        ) : (
          <button type="button" class={style} {...label('Enable')} onClick={() => void enable(name)}>
            Enable
          </button>
        ))}
    </>
  )
}

const askToRun = (name: string) =>
  askFor({
    verb: 'Run now',
    title: `Run ${name} now`,
    body: 'One message is sent now, beside its times, also where it is disabled.',
    async run() {
      const { sent } = await post<{ sent: boolean }>(path`v1/schedules/${name}/run`)
      return sent
        ? `${name} has sent a message.`
        : `${name} sent nothing: the one before is not done, or nothing is bound.`
    },
  })

const askToDisable = (name: string) =>
  askFor({
    verb: 'Disable',
    title: `Disable ${name}`,
    body: 'It sends nothing until somebody enables it, whoever declares it meanwhile.',
    async run() {
      await post(path`v1/schedules/${name}/disable`)
      return `${name} is disabled.`
    },
  })

const enable = (name: string) =>
  doNow(async () => {
    await post(path`v1/schedules/${name}/enable`)
    return `${name} sends again. What would have been due meanwhile is not made up for.`
  })

export function ScheduleView({ name }: { name: string }) {
  const { data, error } = useSchedules(name)
  const schedule = data?.schedules[0]
  const next = useLive(schedule ? `next/${name}/${schedule.next_run_at}/${schedule.revision}` : null, (signal) =>
    get<{ next: string[] }>(path`v1/schedules/${name}/next`, { query: { count: 10 }, signal }),
  )
  return (
    <Page
      name="schedule"
      title={name}
      above={[['Schedules', href(['schedules'])]]}
      isLoaded={data !== null}
      error={error}
      badges={schedule && !schedule.enabled && <Badge tone="wait">Disabled</Badge>}
      actions={schedule && <ScheduleActions schedule={schedule} />}
    >
      {!schedule ? (
        <Empty command="npx tidings schedule list">There is no such schedule any more.</Empty>
      ) : (
        <div class="columns">
          <Section title="About">
            <Facts
              of={[
                ['When', <When key="when" of={schedule} />],
                ['Sends to', <Target key="to" of={schedule} />],
                ['Sent so far', count(schedule.runs)],
                ['Last', schedule.last_run_at ? <Time key="last" at={schedule.last_run_at} past /> : 'never'],
                ['Missed times', schedule.missed],
                ['While the one before is not done', schedule.overlap],
                ['Declared by', schedule.owner ?? 'hand'],
              ]}
            />
          </Section>
          <Section title="Next runs">
            {next.data?.next.length === 0 ? (
              <Empty>It has no time to come.</Empty>
            ) : (
              <ol class="plain-list">
                {next.data?.next.map((at) => (
                  <li key={at}>
                    <Time at={at} />{' '}
                    <span class="muted">
                      {new Date(at).toLocaleString('en-GB', { dateStyle: 'full', timeStyle: 'short' })}
                    </span>
                  </li>
                ))}
              </ol>
            )}
          </Section>
          <Section title="Data">
            <JsonText text={schedule.sends.data} label="Data" />
          </Section>
        </div>
      )}
    </Page>
  )
}
