import type { Command } from 'commander'
import { version } from '../version.ts'
import { bind, bindings, unbind } from './bindings.ts'
import { addGlobalFlags, exampleText, group } from './command.ts'
import { correlation } from './correlation.ts'
import { deadLetters } from './dead-letters.ts'
import { doctor } from './doctor.ts'
import { enqueue } from './enqueue.ts'
import { whereTheUrlComesFrom } from './environment.ts'
import { events } from './events.ts'
import { generateMigration } from './generate-migration.ts'
import { init } from './init.ts'
import { local } from './local.ts'
import { migrate } from './migrate.ts'
import { peek } from './peek.ts'
import { pop } from './pop.ts'
import { processQueues } from './process.ts'
import { publish } from './publish.ts'
import { queue } from './queue.ts'
import { read } from './read.ts'
import { replay } from './replay.ts'
import { sentinel } from './sentinel.ts'
import { serve } from './serve.ts'
import { status } from './status.ts'
import { stress } from './stress.ts'
import { subscribe } from './subscribe.ts'
import { token } from './token.ts'
import { topic } from './topic.ts'
import { trace } from './trace.ts'
import { validateConfig } from './validate-config.ts'

const examples = [
  `tidings enqueue hires '{"name":"Ada"}'`,
  'tidings process --handlers handlers',
  'tidings status --watch',
]

/** The whole command line. Made anew for every run, since commander keeps what it parsed. */
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
    publish,
    bind,
    unbind,
    bindings,
    topic,
    subscribe,
    deadLetters,
    replay,
    trace,
    events,
    generateMigration,
    correlation,
    sentinel,
    init,
    validateConfig,
    serve,
    token,
    local,
    migrate,
    doctor,
    stress,
  ])
    root.addCommand(make())
  return addGlobalFlags(root)
    .version(version, '-V, --version', 'Prints the version.')
    .enablePositionalOptions()
    .helpCommand('help [command]', 'Shows the help of a command.')
    .addHelpText('after', `${exampleText(examples)}\n\n${whereTheUrlComesFrom}`)
}
