import { Option } from 'commander'
import type { Queue } from 'tidings/internal/bus/queue'
import { queueListOptions } from 'tidings/internal/bus/queue-list'
import { TidingsError } from 'tidings/internal/core/errors'
import { command, group, queueArgument } from '../command.ts'
import { confirm, declined, yesFlag } from '../confirm.ts'
import { withContext } from '../context.ts'
import { figuresOf, figuresTable } from '../figures.ts'
import { Flags } from '../flags.ts'
import { count, table } from '../output.ts'
import { history } from './history.ts'
import { apply } from './queue-apply.ts'
import { pause, resume, set, show } from './queue-settings.ts'

export const queue = () =>
  group('queue', 'Creates, lists, empties and removes queues.')
    .addCommand(create())
    .addCommand(list())
    .addCommand(status())
    .addCommand(history())
    .addCommand(set())
    .addCommand(show())
    .addCommand(apply())
    .addCommand(pause())
    .addCommand(resume())
    .addCommand(purge())
    .addCommand(drop())
    .addCommand(grant())

const create = () =>
  command('create', 'Creates a queue if it is missing.', 'tidings queue create hires')
    .addArgument(queueArgument())
    .action(
      withContext(async (context, name) => {
        const bus = await context.connect()
        const created = await bus.queue(name!).create()
        context.out.result({ queue: name, created }, () =>
          created ? `created queue ${name}` : `queue ${name} was there already`,
        )
      }),
    )

const listFlags = new Flags(queueListOptions)

const list = () =>
  listFlags.addTo(command('list', 'Lists all queues.', 'tidings queue list')).action(
    withContext(async ({ flagValues, out, connect }) => {
      const queues = await (await connect()).queues(listFlags.read(flagValues))
      out.result(queues, () => (queues.length > 0 ? table(queues, columns) : 'no queues yet'))
    }),
  )

const columns = [
  ['QUEUE', (row: { queue: string }) => row.queue],
  ['CREATED', (row: { createdAt: Date }) => row.createdAt],
  ['', (row: { unusable?: string }) => (row.unusable ? `not for Tidings: ${row.unusable}` : '')],
] as const

const status = () =>
  command('status', 'Shows the figures of one queue.', 'tidings queue status hires')
    .addArgument(queueArgument())
    .action(
      withContext(async (context, name) => {
        const [figures] = await figuresOf(await context.connect(), [name!])
        context.out.result(figures, () => figuresTable([figures!]))
      }),
    )

const purge = () =>
  command('purge', 'Removes all messages that are not archived, those in hand too.', 'tidings queue purge hires --yes')
    .addArgument(queueArgument())
    .option(...yesFlag)
    .action(
      withContext(async ({ flagValues, out, connect }, name) => {
        const queue = (await connect()).queue(name!)
        const question = `Remove ${count((await figures(queue)).waiting, 'message')} of queue ${name}?`
        if (!(await confirm(flagValues, question))) return declined(out)
        const purged = await queue.purge()
        out.result({ queue: name, purged }, () => `removed ${count(purged, 'message')} of queue ${name}`)
      }),
    )

const drop = () =>
  command('drop', 'Removes a queue, its messages and its archive.', 'tidings queue drop hires --yes')
    .addArgument(queueArgument())
    .option(...yesFlag)
    .action(
      withContext(async ({ flagValues, out, connect }, name) => {
        const queue = (await connect()).queue(name!)
        const { waiting, archived } = await figures(queue)
        const question = `Remove queue ${name} with ${count(waiting, 'message')} and ${count(archived, 'archived one')}?`
        if (!(await confirm(flagValues, question))) return declined(out)
        const dropped = await queue.drop()
        out.result({ queue: name, dropped }, () => `removed queue ${name}`)
      }),
    )

async function figures(queue: Queue): Promise<{ waiting: number; archived: number }> {
  const { ready, delayed, leased, archived } = await queue.stats()
  return { waiting: ready + delayed + leased, archived }
}

const grant = () =>
  command(
    'grant',
    'Lets a role of PostgreSQL do one thing with one queue, in a database with roles (`tidings migrate --roles`).',
    'tidings queue grant orders --role web --may send',
    'tidings queue grant orders --role billing --may receive --revoke',
  )
    .addArgument(queueArgument())
    .requiredOption('--role <role>', 'Who.')
    .addOption(new Option('--may <right>', 'What.').choices(rights).makeOptionMandatory())
    .option('--revoke', 'Takes it back.')
    .action(
      withContext(async ({ flagValues, out, target }, name) => {
        const { migrationsOf } = await import('tidings/internal/connect')
        const grant = {
          queue: name!,
          role: String(flagValues.role),
          may: flagValues.may as Right,
          revoke: flagValues.revoke === true,
        }
        const migrations = await migrationsOf((await target()).url)
        if (!migrations) throw new TidingsError('UNSUPPORTED', 'this storage has no roles')
        await migrations.open()
        try {
          await migrations.grant(grant)
        } finally {
          await migrations.close()
        }
        const verb = grant.revoke ? 'may no longer' : 'may'
        out.result(grant, () => `role ${grant.role} ${verb} ${grant.may} on queue ${name}`)
      }),
    )

const rights = ['send', 'receive', 'measure'] as const
type Right = (typeof rights)[number]
