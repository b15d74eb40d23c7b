import { Argument } from 'commander'
import type { ScheduleInfo } from 'tidings'
import { showDuration } from 'tidings/internal/core/duration'
import { TidingsError } from 'tidings/internal/core/errors'
import { checkScheduleName } from 'tidings/internal/core/names'
import * as option from 'tidings/internal/core/options'
import { scheduleOptions } from 'tidings/internal/schedules/options'
import { command, group } from '../command.ts'
import { withContext } from '../context.ts'
import { asJson, asText, Flags } from '../flags.ts'
import { bold, dim, printable, roughly, table, toText } from '../output.ts'
import { dataFrom } from '../sending.ts'

export const schedule = () =>
  group('schedule', 'Makes, lists, previews, switches, runs and removes schedules.')
    .addCommand(add())
    .addCommand(list())
    .addCommand(next())
    .addCommand(run())
    .addCommand(enable())
    .addCommand(disable())
    .addCommand(remove())

const nameArgument = () => new Argument('<name>', 'name of the schedule').argParser((name) => checkScheduleName(name))

const { cron: _, data: __, ...flagged } = scheduleOptions
const addFlags = new Flags(flagged, {
  at: asText('time', { doc: 'Once, at this time, in ISO 8601.' }),
  startAt: asText('time', { doc: 'Nothing before this time, in ISO 8601.' }),
  endAt: asText('time', { doc: 'Nothing after this time, in ISO 8601.' }),
  queue: asText('queue'),
  topic: asText('topic'),
  headers: asJson,
})

const add = () => {
  const made = command(
    'add',
    'Makes a schedule, or changes the one of this name.',
    `tidings schedule add nightly '0 2 * * *' --timezone Europe/Berlin --queue reports '{}'`,
    `tidings schedule add poll --every 30s --queue polls '{"url":"https://example.org"}' --overlap skip`,
    `tidings schedule add launch --at 2027-01-01T09:00:00Z --topic news '"now"'`,
  )
    .addArgument(nameArgument())
    .argument(
      '[cron]',
      'minute, hour, day, month, weekday, and seconds before them if they matter; not with --every or --at',
    )
    .argument('[data]', 'JSON; - for standard input (default: null)')
  return addFlags.addTo(made).action(
    withContext(async ({ flagValues, out, connect }, name, first, second) => {
      const options = addFlags.read(flagValues)
      const isCron = options.every === undefined && options.at === undefined
      const [cron, text, extra] = isCron ? [first, second] : [undefined, first, second]
      if (extra !== undefined)
        throw new TidingsError('USAGE', `${extra} is one argument too many`, {
          hint: 'A pattern is given alone, or --every, or --at.',
        })
      const data = text === undefined ? null : await dataFrom(text)
      const info = await (await connect()).schedule(name!, { ...options, ...(cron ? { cron } : {}), data })
      out.result(info, () => `schedule ${name}: ${whenNext(info)}`)
    }),
  )
}

const list = () =>
  command('list', 'Lists all schedules.', 'tidings schedule list').action(
    withContext(async ({ out, connect }) => {
      const found = await (await connect()).schedules.list()
      out.result(found, () => (found.length > 0 ? table(found, columns) : 'no schedules yet'))
    }),
  )

const nextFlags = new Flags({
  count: option.integer('How many times to show.', { default: 5, min: 1, max: 1_000 }),
})

const next = () =>
  nextFlags
    .addTo(
      command(
        'next',
        'Shows when a schedule will send.',
        'tidings schedule next nightly',
        'tidings schedule next nightly --count 20',
      ),
    )
    .addArgument(nameArgument())
    .action(
      withContext(async ({ flagValues, out, connect }, name) => {
        const { schedules } = await connect()
        const info = await schedules.get(name!)
        const times = await schedules.next(name!, nextFlags.read(flagValues).count ?? 5)
        const plain = { schedule: name, timezone: info.timezone, next: times.map((time) => time.toISOString()) }
        out.result(plain, () => [describe(info), ...times.map((time) => `  ${shown(time, info.timezone)}`)].join('\n'))
      }),
    )

const run = () =>
  command('run', 'Sends a message of a schedule now, beside its times.', 'tidings schedule run nightly')
    .addArgument(nameArgument())
    .action(
      withContext(async ({ out, connect }, name) => {
        const sent = await (await connect()).schedules.runNow(name!)
        const text = sent
          ? `sent a message of ${name}`
          : `nothing sent: a message of ${name} is still there, or it leads nowhere`
        out.result({ schedule: name, sent }, () => text)
      }),
    )

const enable = () =>
  command('enable', 'Lets a schedule send again.', 'tidings schedule enable nightly')
    .addArgument(nameArgument())
    .action(
      withContext(async ({ out, connect }, name) => {
        const changed = await (await connect()).schedules.enable(name!)
        out.result({ schedule: name, enabled: true, changed }, () =>
          changed ? `enabled ${name}` : `${name} was enabled already`,
        )
      }),
    )

const disable = () =>
  command(
    'disable',
    'Keeps a schedule from sending until it is enabled, whoever declares it meanwhile.',
    'tidings schedule disable nightly',
  )
    .addArgument(nameArgument())
    .action(
      withContext(async ({ out, connect }, name) => {
        const changed = await (await connect()).schedules.disable(name!)
        out.result({ schedule: name, enabled: false, changed }, () =>
          changed ? `disabled ${name}` : `${name} was disabled already`,
        )
      }),
    )

const remove = () =>
  command('remove', 'Removes a schedule; what it has sent stays.', 'tidings schedule remove nightly')
    .addArgument(nameArgument())
    .action(
      withContext(async ({ out, connect }, name) => {
        const { schedules } = await connect()
        // Tells of one that is not there.
        await schedules.get(name!)
        const removed = await schedules.remove(name!)
        out.result({ schedule: name, removed }, () => `removed schedule ${name}`)
      }),
    )

const columns = [
  ['SCHEDULE', (row: ScheduleInfo) => row.name],
  ['WHEN', (row: ScheduleInfo) => whenOf(row)],
  ['TO', (row: ScheduleInfo) => row.queue ?? row.topic ?? row.routingKey ?? ''],
  ['NEXT', (row: ScheduleInfo) => row.nextRunAt ?? (row.enabled ? 'over' : 'disabled')],
  ['LAST', (row: ScheduleInfo) => row.lastRunAt],
  ['OWNER', (row: ScheduleInfo) => row.owner],
] as const

const whenOf = ({ cron, every, at, timezone }: ScheduleInfo) =>
  cron !== null ? `${cron} ${timezone}` : every !== null ? `every ${showDuration(every)}` : `at ${at!.toISOString()}`

function whenNext({ enabled, nextRunAt, timezone }: ScheduleInfo): string {
  if (!enabled) return 'disabled'
  return nextRunAt === null ? 'over' : `next at ${shown(nextRunAt, timezone)}`
}

/** In UTC, and in the zone of the schedule where that is another one. */
function shown(time: Date, timezone: string): string {
  const inZone = timezone === 'UTC' ? '' : ` (${time.toLocaleString('sv-SE', { timeZone: timezone })} ${timezone})`
  return `${time.toISOString()}${inZone}, in ${roughly(Math.max(0, time.getTime() - Date.now()))}`
}

function describe(info: ScheduleInfo): string {
  const to = info.queue ?? info.topic ?? info.routingKey
  return `${bold(info.name)}  ${whenOf(info)} to ${to}  ${dim(printable(toText(info.data)))}${info.enabled ? '' : '  disabled'}`
}
