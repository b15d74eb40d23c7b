import { Argument } from 'commander'
import type { Binding } from '../engine.ts'
import { checkQueueName } from '../name.ts'
import { checkPattern } from '../pattern.ts'
import { command, queueArgument } from './command.ts'
import { withContext } from './context.ts'
import { table } from './output.ts'

const patternArgument = () =>
  new Argument('<pattern>', "a routing key where '*' is any one segment and '#' any number of them").argParser((text) =>
    checkPattern(text),
  )

export const bind = () =>
  command(
    'bind',
    'From now on, what is published and matches the pattern goes into the queue.',
    `tidings bind 'Orders.*.Paid' invoices`,
    `tidings bind 'Orders.#' audit`,
  )
    .addArgument(patternArgument())
    .addArgument(queueArgument())
    .action(
      withContext(async ({ out, connect }, pattern, queue) => {
        const bound = await (await connect()).bind(pattern!, queue!)
        out.result({ pattern, queue, bound }, () =>
          bound ? `bound ${pattern} to ${queue}` : `${pattern} was bound to ${queue} already`,
        )
      }),
    )

export const unbind = () =>
  command('unbind', 'Takes back what `bind` did.', `tidings unbind 'Orders.*.Paid' invoices`)
    .addArgument(patternArgument())
    .addArgument(queueArgument())
    .action(
      withContext(async ({ out, connect }, pattern, queue) => {
        const unbound = await (await connect()).unbind(pattern!, queue!)
        out.result({ pattern, queue, unbound }, () =>
          unbound ? `unbound ${pattern} from ${queue}` : `${pattern} was not bound to ${queue}`,
        )
      }),
    )

export const bindings = () =>
  command(
    'bindings',
    'Lists which patterns are bound to which queues.',
    'tidings bindings',
    'tidings bindings invoices',
  )
    .addArgument(new Argument('[queue]', 'only those of this queue').argParser((name) => checkQueueName(name)))
    .action(
      withContext(async ({ out, connect }, queue) => {
        const found = (await (await connect()).bindings(queue)).map(toPlain)
        out.result(found, () => (found.length > 0 ? table(found, columns) : 'no bindings yet'))
      }),
    )

const toPlain = ({ pattern, queue, boundAt }: Binding) => ({ pattern, queue, boundAt: new Date(boundAt).toISOString() })

const columns = [
  ['PATTERN', (row: { pattern: string }) => row.pattern],
  ['QUEUE', (row: { queue: string }) => row.queue],
  ['BOUND', (row: { boundAt: string }) => row.boundAt],
] as const
