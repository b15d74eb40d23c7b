import type { Command } from 'commander'
import { version } from 'tidings/internal/core/version'
import { addGlobalFlags, exampleText, group } from './command.ts'
import { bind, bindings, unbind } from './commands/bindings.ts'
import { cancel } from './commands/cancel.ts'
import { completion } from './commands/completion.ts'
import { correlation } from './commands/correlation.ts'
import { dashboard } from './commands/dashboard.ts'
import { deadLetters } from './commands/dead-letters.ts'
import { doctor } from './commands/doctor.ts'
import { enqueue } from './commands/enqueue.ts'
import { events } from './commands/events.ts'
import { generateMigration } from './commands/generate-migration.ts'
import { init } from './commands/init.ts'
import { local } from './commands/local.ts'
import { message } from './commands/message.ts'
import { migrate } from './commands/migrate.ts'
import { peek } from './commands/peek.ts'
import { pop } from './commands/pop.ts'
import { processQueues } from './commands/process.ts'
import { processes } from './commands/processes.ts'
import { publish } from './commands/publish.ts'
import { queue } from './commands/queue.ts'
import { read } from './commands/read.ts'
import { replay } from './commands/replay.ts'
import { schedule } from './commands/schedule.ts'
import { sentinel } from './commands/sentinel.ts'
import { serve } from './commands/serve.ts'
import { status } from './commands/status.ts'
import { stress } from './commands/stress.ts'
import { subscribe } from './commands/subscribe.ts'
import { token } from './commands/token.ts'
import { topic } from './commands/topic.ts'
import { trace } from './commands/trace.ts'
import { validateConfig } from './commands/validate-config.ts'
import { whereTheUrlComesFrom } from './environment.ts'

const examples = [
  `tidings enqueue hires '{"name":"Ada"}'`,
  'tidings process --handlers handlers',
  'tidings status --watch',
]

/** The whole command line. Made anew for every run, because commander keeps parsed values. */
export function program(): Command {
  const root = group('tidings', 'Durable message queues and topics on the storage you have.')
  for (const make of [
    enqueue,
    processQueues,
    status,
    queue,
    read,
    pop,
    peek,
    message,
    cancel,
    publish,
    bind,
    unbind,
    bindings,
    topic,
    schedule,
    subscribe,
    deadLetters,
    replay,
    trace,
    events,
    generateMigration,
    correlation,
    processes,
    sentinel,
    init,
    validateConfig,
    dashboard,
    serve,
    token,
    local,
    migrate,
    doctor,
    stress,
    completion,
  ])
    root.addCommand(make())
  return addGlobalFlags(root)
    .version(version, '-V, --version', 'Prints the version.')
    .enablePositionalOptions()
    .helpCommand('help [command]', 'Shows the help of a command.')
    .addHelpText('after', `${exampleText(examples)}\n\n${whereTheUrlComesFrom}`)
}
