import { Argument } from 'commander'
import { TidingsError } from 'tidings/internal/core/errors'
import { parseJson } from 'tidings/internal/core/json'
import type { MessageMeta } from 'tidings/internal/port/meta'
import { command, queueArgument } from '../command.ts'
import { withContext } from '../context.ts'
import { count } from '../output.ts'

export const cancel = () =>
  command(
    'cancel',
    'Removes messages that wait, and tells whoever has one of them in hand, in any process, to stop.',
    'tidings cancel reports 17 18',
    'tidings cancel reports --correlation import-7',
    'tidings cancel reports --target person-7',
  )
    .addArgument(queueArgument())
    .addArgument(new Argument('[ids...]', 'ids of messages'))
    .option('--correlation <id>', 'All messages of this correlation.')
    .option('--target <id>', 'All messages about this target.')
    .option('--meta <json>', 'All messages whose meta has these fields.')
    .action(
      withContext(async ({ flagValues, out, connect }, name, given) => {
        const ids = (given ?? []) as unknown as readonly string[]
        const { correlation, target, meta } = flagValues
        const fields: MessageMeta = {
          ...(meta === undefined ? {} : (parseJson(meta as string, '--meta') as MessageMeta)),
          ...(correlation === undefined ? {} : { correlationId: String(correlation) }),
          ...(target === undefined ? {} : { targetId: String(target) }),
        }
        const isByMeta = Object.keys(fields).length > 0
        if (isByMeta === ids.length > 0)
          throw new TidingsError('USAGE', isByMeta ? 'both ids and a filter are given' : 'nothing to cancel is given', {
            hint: 'Name ids, or one of --correlation, --target and --meta.',
          })
        const queue = (await connect()).queue(name!)
        const only = ids.length === 1 ? ids[0] : undefined
        const { removed, running } = await queue.cancel(isByMeta ? { meta: fields } : (only ?? ids))
        out.result({ queue: name, removed, running }, () =>
          removed.length + running.length === 0
            ? `queue ${name} has no such message`
            : `removed ${count(removed.length, 'message')}, told the readers of ${running.length}`,
        )
      }),
    )
