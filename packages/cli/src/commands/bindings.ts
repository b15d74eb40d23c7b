import { Argument, Option as Flag } from 'commander'
import type { Bus } from 'tidings/internal/bus/bus'
import type { Topic } from 'tidings/internal/bus/topic'
import { TidingsError } from 'tidings/internal/core/errors'
import { checkQueueName, checkTopicName } from 'tidings/internal/core/names'
import { checkPattern } from 'tidings/internal/core/pattern'
import { command, type FlagValues } from '../command.ts'
import { withContext } from '../context.ts'
import { table } from '../output.ts'

const patternArgument = () =>
  new Argument('<pattern>', "a routing key where '*' is any one segment and '#' any number of them").argParser((text) =>
    checkPattern(text),
  )

const topicFlag = () =>
  new Flag('--topic <topic>', 'A topic instead of a queue.').argParser((name) => checkTopicName(name))

export const bind = () =>
  command(
    'bind',
    'From now on, what is published and matches the pattern goes into the queue, or the topic.',
    `tidings bind 'Orders.*.Paid' invoices`,
    `tidings bind 'Orders.#' --topic orders`,
  )
    .addArgument(patternArgument())
    .addArgument(destinationArgument())
    .addOption(topicFlag())
    .action(
      withContext(async ({ flagValues, out, connect }, pattern, queue) => {
        const destination = destinationOf(flagValues, queue)
        const bound = await boundTo(await connect(), destination, (bus, target) => bus.bind(pattern!, target))
        const { name } = destination
        out.result({ pattern, [destination.kind]: name, bound }, () =>
          bound ? `bound ${pattern} to ${name}` : `${pattern} was bound to ${name} already`,
        )
      }),
    )

export const unbind = () =>
  command('unbind', 'Takes back what `bind` did.', `tidings unbind 'Orders.*.Paid' invoices`)
    .addArgument(patternArgument())
    .addArgument(destinationArgument())
    .addOption(topicFlag())
    .action(
      withContext(async ({ flagValues, out, connect }, pattern, queue) => {
        const destination = destinationOf(flagValues, queue)
        const unbound = await boundTo(await connect(), destination, (bus, target) => bus.unbind(pattern!, target))
        const { name } = destination
        out.result({ pattern, [destination.kind]: name, unbound }, () =>
          unbound ? `unbound ${pattern} from ${name}` : `${pattern} was not bound to ${name}`,
        )
      }),
    )

const destinationArgument = () => new Argument('[queue]', 'name of the queue').argParser((name) => checkQueueName(name))

interface Destination {
  readonly kind: 'queue' | 'topic'
  readonly name: string
}

function destinationOf({ topic }: FlagValues, queue: string | undefined): Destination {
  if (topic !== undefined && queue !== undefined)
    throw new TidingsError('OPTION_CONFLICT', 'a queue and --topic are both given')
  if (topic !== undefined) return { kind: 'topic', name: topic as string }
  if (queue !== undefined) return { kind: 'queue', name: queue }
  throw new TidingsError('USAGE', 'neither a queue nor --topic is given')
}

function boundTo<T>(
  bus: Bus,
  { kind, name }: Destination,
  call: (bus: Bus, target: string | Topic) => Promise<T>,
): Promise<T> {
  return call(bus, kind === 'topic' ? bus.topic(name) : name)
}

export const bindings = () =>
  command(
    'bindings',
    'Lists which patterns are bound to which queues. (`topic info` shows those of a topic.)',
    'tidings bindings',
    'tidings bindings invoices',
  )
    .addArgument(new Argument('[queue]', 'only those of this queue').argParser((name) => checkQueueName(name)))
    .action(
      withContext(async ({ out, connect }, queue) => {
        const found = await (await connect()).bindings(queue)
        out.result(found, () => (found.length > 0 ? table(found, columns) : 'no bindings yet'))
      }),
    )

const columns = [
  ['PATTERN', (row: { pattern: string }) => row.pattern],
  ['QUEUE', (row: { queue: string }) => row.queue],
  ['BOUND', (row: { boundAt: Date }) => row.boundAt],
] as const
