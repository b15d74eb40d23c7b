import { Argument, type Command } from 'commander'
import { searchOptions } from 'tidings/internal/bus/search'
import { toJson } from 'tidings/internal/core/json'
import { checkQueueName } from 'tidings/internal/core/names'
import * as option from 'tidings/internal/core/options'
import { StoredCopy } from 'tidings/internal/messages/message'
import { checkMessageId, publishOptions, queueOptions, sendOptions } from 'tidings/internal/messages/options'
import { command, group, queueArgument } from '../command.ts'
import { type Context, withContext } from '../context.ts'
import { asJson, asText, Flags } from '../flags.ts'
import { describeMessage, printMessages, toPlain } from '../messages.ts'
import { count } from '../output.ts'
import { eventTable } from './trace.ts'

export const message = () =>
  group('message', 'Shows single messages, and moves, copies, ends and hastens them.')
    .addCommand(show())
    .addCommand(find())
    .addCommand(retry())
    .addCommand(move())
    .addCommand(copy())
    .addCommand(deadLetter())

const checkedId = (id: string) => {
  checkMessageId(id, 'id')
  return id
}
const idArgument = () => new Argument('<id>', 'id of the message').argParser(checkedId)
const of = (made: Command) => made.addArgument(queueArgument()).addArgument(idArgument())
const byId = async ({ connect }: Context, queue: string) => (await connect()).queue(queue).stored.byId

const show = () =>
  of(command('show', 'Shows a message, wherever it is, and its past.', 'tidings message show hires 17')).action(
    withContext(async (context, queue, id) => {
      const { stored } = (await context.connect()).queue(queue!)
      const messages = stored.byId
      const placed = await messages.find(id!)
      const shown = new StoredCopy(queue!, placed.message, stored.show(placed.message))
      const timeline = messages.timeline(placed)
      context.out.result({ ...toPlain(shown), state: placed.state, timeline }, () =>
        [describeMessage(shown), '', eventTable(timeline)].join('\n'),
      )
    }),
  )

const searchFlags = new Flags(searchOptions, {
  where: { ...asJson, doc: 'Only messages that have these parts: {"data": …, "headers": …, "meta": …}.' },
  sentAfter: asText('time'),
  sentBefore: asText('time'),
  place: asText('ready|delayed|leased|archived'),
})

const find = () =>
  searchFlags
    .addTo(
      command(
        'search',
        'Looks for messages by what is in them, a part of the queue at a time.',
        'tidings message search hires --text ada --place archived',
        `tidings message search hires --where '{"data":{"order":{"id":7}}}' --sent-after 2026-05-01`,
      ),
    )
    .addArgument(queueArgument())
    .action(
      withContext(async ({ flagValues, out, connect }, name) => {
        const asked = option.parseOptions(searchOptions, searchFlags.read(flagValues), 'search')
        const queue = (await connect()).queue(name!).stored
        const { messages, after, scanned } = await queue.search(asked, (one) => one)
        const found = messages.map((one) => new StoredCopy(name!, one, queue.show(one)))
        printMessages(out, found, 'no such messages')
        out.note(`looked at ${count(scanned, 'message')}${after === null ? '' : `; go on with --after ${after}`}`)
      }),
    )

const retry = () =>
  command(
    'retry',
    'Makes messages ready that wait for their time, and ends what holds back the queue and their groups.',
    'tidings message retry hires 17 18',
  )
    .addArgument(queueArgument())
    .addArgument(new Argument('<ids...>', 'ids of messages'))
    .action(
      withContext(async ({ out, connect }, name, given) => {
        const ids = given as unknown as readonly string[]
        const ready = await (await connect()).queue(name!).retryNow(ids.length === 1 ? ids[0]! : ids)
        out.result({ queue: name, ready }, () => `${ready.length} of ${count(ids.length, 'message')} ready`)
      }),
    )

const toFlag = asText('queue', { doc: 'The other queue.' })
const moveOptions = { to: option.required(queueOption('The other queue.')), delay: publishOptions.delay } as const
const moveFlags = new Flags(moveOptions, { to: toFlag })

const move = () =>
  of(
    moveFlags.addTo(
      command('move', 'Moves a message that is ready, in one step.', 'tidings message move hires 17 --to others'),
    ),
  ).action(
    withContext(async (context, queue, id) => {
      const { to, delay: delayMs } = option.parseOptions(moveOptions, moveFlags.read(context.flagValues), 'move')
      const newId = await (await byId(context, queue!)).move(id!, { to: to!, delayMs })
      context.out.result(
        { queue: to, id: newId },
        () => `moved to ${to}${newId === null ? '' : ` as message ${newId}`}`,
      )
    }),
  )

const copyOptions = {
  to: queueOption('The queue to send it to.'),
  data: option.json('In place of its data.'),
  headers: { ...sendOptions.headers, defaultValue: null, defaultText: 'as they are' },
  priority: { ...sendOptions.priority, defaultValue: null, defaultText: 'as it is' },
  delay: publishOptions.delay,
} as const
const copyFlags = new Flags(copyOptions, { to: asText('queue'), data: asJson, headers: asJson })

const copy = () =>
  of(
    copyFlags.addTo(
      command(
        'copy',
        'Sends a copy of a message, which stays itself.',
        'tidings message copy hires 17',
        `tidings message copy hires 17 --to others --data '{"name":"Ada"}'`,
      ),
    ),
  ).action(
    withContext(async ({ flagValues, out, connect }, queue, id) => {
      const changes = option.parseOptions(copyOptions, copyFlags.read(flagValues), 'copy')
      const { to, data, headers, priority, delay: delayMs } = changes
      const bus = await connect()
      const target = to ?? queue!
      const composed = await bus.queue(queue!).stored.byId.copy(id!, target, {
        ...(data === undefined ? {} : { data: toJson(data, '--data') }),
        ...(headers === null ? {} : { headers }),
        ...(priority === null ? {} : { priority }),
        delayMs,
      })
      const [sent] = await bus.queue(target).stored.send([composed], {})
      out.result({ queue: target, id: sent!.id }, () => `sent to ${target} as message ${sent!.id}`)
    }),
  )

const endOptions = {
  reason: option.text('Stands as its error.', { default: 'ended by hand' }),
  deadLetter: queueOptions.deadLetter,
} as const
const endFlags = new Flags(endOptions, { deadLetter: asText('queue', { doc: 'Where it goes.' }) })

const deadLetter = () =>
  of(
    endFlags.addTo(
      command(
        'dead-letter',
        'Ends a message that is ready as if it had failed too often.',
        `tidings message dead-letter hires 17 --reason 'the customer is gone'`,
      ),
    ),
  ).action(
    withContext(async ({ flagValues, out, connect }, name, id) => {
      const { reason = 'ended by hand', ...options } = endFlags.read(flagValues)
      const queue = (await connect()).queue(name!, options)
      const letter = await queue.stored.byId.deadLetter(id!, reason)
      out.result(letter, () =>
        letter.queue === null ? 'it is in the archive' : `it is in ${letter.queue} as message ${letter.id}`,
      )
    }),
  )

function queueOption(doc: string) {
  return option.text(doc, { default: null, check: (name, path) => void checkQueueName(name, path) })
}
