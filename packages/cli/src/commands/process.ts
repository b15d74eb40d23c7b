import { checkQueueName } from 'tidings/internal/core/names'
import * as option from 'tidings/internal/core/options'
import { queueOptions } from 'tidings/internal/messages/options'
import { stopOptions, workOptions } from 'tidings/internal/worker/options'
import { command, type FlagValues } from '../command.ts'
import { workerPart } from '../config/settings.ts'
import { type Context, withContext } from '../context.ts'
import { asText, Flags } from '../flags.ts'
import type { HandlerModule } from '../handlers/load.ts'
import type { Health } from '../health.ts'
import { declareSchedules } from '../schedules.ts'
import { Report } from './process-report.ts'
import { validateReady } from './process-validate.ts'
import { work } from './process-work.ts'

const { onSuccess: _, ...expressible } = workOptions
const workFlags = new Flags(expressible, {
  backoff: asText('duration', { doc: 'How long to wait after a failed attempt.' }),
})
const queueFlags = new Flags(
  { deadLetter: queueOptions.deadLetter },
  { deadLetter: asText('queue', { doc: 'Where messages go that failed too often.' }) },
)
const runFlags = new Flags(
  {
    maxRuntime: option.duration('Stops after this time.', { default: null, min: 1, max: 31_536_000_000 }),
    deadline: stopOptions.deadline,
  },
  { deadline: asText('duration', { flag: 'stop-deadline' }) },
)

const healthFlags = new Flags(
  {
    healthPort: option.integer('Answers probes on this port: /livez, /readyz and /metrics; 0 for any that is free.', {
      default: null,
      min: 0,
      max: 65_535,
    }),
    healthHost: option.text('The address for that. Probes need no token.', { default: '127.0.0.1' }),
  },
  { healthPort: { flag: 'health-port', alias: 'metrics-port' } },
)

export const processQueues = () => {
  const made = command(
    'process',
    'Handles messages with the modules of folders: orders.ts handles the queue orders.',
    'tidings process --handlers handlers',
    'tidings process --handlers handlers --queue hires --queue invoices --concurrency 20 --delete',
    'tidings process --handlers handlers --once',
    'tidings process --handlers billing/handlers --handlers shipping/handlers',
  )
    .option(
      '--handlers <folders...>',
      'Folders with the handler modules; may be repeated. (default: that of the configuration file, else handlers)',
    )
    .option('--handlers-path <folders...>', 'Further such folders, by another name.')
    .option('--queue <names...>', 'Only these queues. (default: all that have a module)', collectQueues)
    .option('--once', 'Ends when the queues have nothing more that is ready.')
    .option('--validate-only', 'Only calls validate(message) for every ready message; exits with 1 if one is invalid.')
    .option('--delete', 'Deletes messages that were handled, instead of archiving them.')
    .option('--skip-broken', 'Goes on without handler modules that cannot be used.')
  for (const flags of [runFlags, healthFlags, workFlags, queueFlags]) flags.addTo(made)
  return made.addHelpText('after', moduleHelp).action(
    withContext(async (context) => {
      const { flagValues } = context
      const flags = { ...workFlags.read(flagValues), ...(flagValues.delete ? { onSuccess: 'delete' as const } : {}) }
      const checked = await context.config()
      const { config } = checked
      const { stopDeadline: deadline, ...workers } = config.process ?? {}
      const run = {
        deadline,
        ...runFlags.read(flagValues),
        once: flagValues.once === true,
        queue: queueFlags.read(flagValues),
      }
      const modules = await load(context, handlerFolders(flagValues) ?? [config.handlers ?? 'handlers'])
      if (flagValues.validateOnly) return validateReady(context, modules)
      const report = new Report(context.out)
      const configured = modules.map((module) => {
        const queues = new Map(Object.entries(config.queues ?? {}))
        const own = workerPart(queues.get(module.queue) ?? {})
        const options = { onSuccess: 'archive' as const, ...workers, ...workerPart(module.options), ...own, ...flags }
        return { ...module, options }
      })
      await using health = await startHealth(context)
      const bus = await context.connect()
      const handled = modules.map(({ queue }) => queue)
      await declareSchedules(bus, checked, (text) => report.note(text), handled)
      await work(bus, configured, { ...run, health }, report)
    }),
  )
}

async function startHealth({ flagValues, out }: Context): Promise<Health | undefined> {
  const { healthPort, healthHost = '127.0.0.1' } = healthFlags.read(flagValues)
  if (healthPort === undefined || healthPort === null) return undefined
  const { Health } = await import('../health.ts')
  const health = new Health(healthHost, healthPort)
  await health.start()
  out.note(`health: ${health.url}`)
  return health
}

const moduleHelp = `
A handler module exports handle(message, context), and if it wants validate(message), which throws if the message is
invalid (it becomes a dead letter then), and options (concurrency, maxAttempts, lease, ...); or a class Handler with these
as members, which is constructed once. Of an option counts the
first of: the flag, queues.NAME of the configuration file, the module, process of the configuration file, the default.`

function collectQueues(name: string, before: readonly string[] | undefined): readonly string[] {
  return [...(before ?? []), checkQueueName(name, '--queue')]
}

function handlerFolders({ handlers, handlersPath }: FlagValues): readonly string[] | undefined {
  const given = [handlers, handlersPath].filter((one) => one !== undefined).flat() as string[]
  return given.length > 0 ? given : undefined
}

async function load({ flagValues, out }: Context, folders: readonly string[]): Promise<HandlerModule[]> {
  const { loadHandlers } = await import('../handlers/load.ts')
  const queues = flagValues.queue as readonly string[] | undefined
  const skipBroken = flagValues.skipBroken === true
  const { handlers, broken } = await loadHandlers(folders, { queues, skipBroken })
  for (const one of broken) out.note(`left out: ${one}`)
  return handlers
}
