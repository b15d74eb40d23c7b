import { checkQueueName } from 'tidings/internal/core/names'
import * as option from 'tidings/internal/core/options'
import { queueOptions } from 'tidings/internal/messages/options'
import { stopOptions, workOptions } from 'tidings/internal/worker/options'
import { command } from '../command.ts'
import { workerPart } from '../config/settings.ts'
import { type Context, withContext } from '../context.ts'
import { asText, Flags } from '../flags.ts'
import type { HandlerModule } from '../handlers/load.ts'
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

export const processQueues = () => {
  const made = command(
    'process',
    'Handles messages with the modules of a folder: orders.ts handles the queue orders.',
    'tidings process --handlers handlers',
    'tidings process --handlers handlers --queue hires --queue invoices --concurrency 20 --delete',
    'tidings process --handlers handlers --once',
  )
    .option(
      '--handlers <folder>',
      'The folder with the handler modules. (default: that of the configuration file, else handlers)',
    )
    .option('--queue <names...>', 'Only these queues. (default: all that have a module)', collectQueues)
    .option('--once', 'Ends when the queues have nothing more that is ready.')
    .option('--validate-only', 'Only calls validate(message) for every ready message; exits with 1 if one is invalid.')
    .option('--delete', 'Deletes messages that were handled, instead of archiving them.')
    .option('--skip-broken', 'Goes on without handler modules that cannot be used.')
  for (const flags of [runFlags, workFlags, queueFlags]) flags.addTo(made)
  return made.addHelpText('after', moduleHelp).action(
    withContext(async (context) => {
      const { flagValues } = context
      const flags = { ...workFlags.read(flagValues), ...(flagValues.delete ? { onSuccess: 'delete' as const } : {}) }
      const { config } = await context.config()
      const { stopDeadline: deadline, ...workers } = config.process ?? {}
      const run = {
        deadline,
        ...runFlags.read(flagValues),
        once: flagValues.once === true,
        queue: queueFlags.read(flagValues),
      }
      const modules = await load(context, (flagValues.handlers as string | undefined) ?? config.handlers ?? 'handlers')
      if (flagValues.validateOnly) return validateReady(context, modules)
      const report = new Report(context.out)
      const configured = modules.map((module) => {
        const queues = new Map(Object.entries(config.queues ?? {}))
        const own = workerPart(queues.get(module.queue) ?? {})
        const options = { onSuccess: 'archive' as const, ...workers, ...workerPart(module.options), ...own, ...flags }
        return { ...module, options }
      })
      await work(await context.connect(), configured, run, report)
    }),
  )
}

const moduleHelp = `
A handler module exports handle(message, context), and if it wants validate(message), which throws if the message is
invalid (it becomes a dead letter then), and options (concurrency, maxAttempts, lease, ...). Of an option counts the
first of: the flag, queues.NAME of the configuration file, the module, process of the configuration file, the default.`

function collectQueues(name: string, before: readonly string[] | undefined): readonly string[] {
  return [...(before ?? []), checkQueueName(name, '--queue')]
}

async function load({ flagValues, out }: Context, folder: string): Promise<HandlerModule[]> {
  const { loadHandlers } = await import('../handlers/load.ts')
  const queues = flagValues.queue as readonly string[] | undefined
  const skipBroken = flagValues.skipBroken === true
  const { handlers, broken } = await loadHandlers(folder, { queues, skipBroken })
  for (const one of broken) out.note(`left out: ${one}`)
  return handlers
}
