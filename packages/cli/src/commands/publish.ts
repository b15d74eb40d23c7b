import { Argument } from 'commander'
import { checkRoutingKey } from 'tidings/internal/core/pattern'
import { publishBatchOptions } from 'tidings/internal/messages/options'
import type { PublishedCopy } from 'tidings/internal/port/engine'
import { command } from '../command.ts'
import { withContext } from '../context.ts'
import { Flags } from '../flags.ts'
import { count } from '../output.ts'
import { addMessageFlags, dataFrom, messageOptions } from '../sending.ts'

const flags = new Flags(publishBatchOptions)

export const publish = () => {
  const made = command(
    'publish',
    'Sends a message to every queue and topic that is bound to a pattern of its routing key, all or none.',
    `tidings publish Orders.Events.Paid '{"id":7}'`,
    `tidings publish Orders.Events.Paid '{"id":7}' --mandatory --dedup-id paid-7`,
    'cat order.json | tidings publish Orders.Events.Paid',
  )
    .addArgument(
      new Argument('<routing-key>', "segments with dots between them: 'Orders.Events.Paid'").argParser((key) =>
        checkRoutingKey(key),
      ),
    )
    .argument('[data]', 'JSON; - for standard input, which is also read if no data are given')
  return addMessageFlags(flags.addTo(made)).action(
    withContext(async ({ flagValues, out, connect }, routingKey, text) => {
      const options = { ...messageOptions(flagValues), ...flags.read(flagValues) }
      const data = await dataFrom(text)
      const copies = await (await connect()).publish(routingKey!, data, options)
      out.result({ routingKey, copies }, () => describe(routingKey!, copies))
    }),
  )
}

function describe(routingKey: string, copies: readonly PublishedCopy[]): string {
  if (copies.length === 0) return `no queue or topic is bound for ${routingKey}; nothing was stored`
  return [`published ${routingKey} to ${count(copies.length, 'place')}`, ...copies.map(describeCopy)].join('\n')
}

function describeCopy(copy: PublishedCopy): string {
  const [destination, detail] =
    'queue' in copy ? [copy.queue, `message ${copy.id}`] : [`topic ${copy.topic}`, `offset ${copy.offset}`]
  const how = copy.duplicate ? 'duplicate of ' : 'replaced' in copy ? 'replaced the data of ' : ''
  return `  ${destination}: ${how}${detail}`
}
