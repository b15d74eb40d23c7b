import { Argument } from 'commander'
import { showDuration } from 'tidings/internal/core/duration'
import type { Retention } from 'tidings/internal/port/topic-store'
import type { PublishedMessage } from 'tidings/internal/topics/message'
import {
  type PositionInput,
  parsePosition,
  retentionOptions,
  seekOptions,
  topicOptions,
  topicReadOptions,
} from 'tidings/internal/topics/options'
import type { TopicInfo } from 'tidings/internal/topics/states'
import { command, group, queueArgument, topicArgument } from '../command.ts'
import { confirm, declined, yesFlag } from '../confirm.ts'
import { withContext } from '../context.ts'
import { Flags } from '../flags.ts'
import { bold, count, dim, printable, roughly, table, toText } from '../output.ts'
import { addMessageFlags, dataFrom, messageOptions } from '../sending.ts'

export const topic = () =>
  group('topic', 'Creates, lists, shows, fills, moves and removes topics.')
    .addCommand(create())
    .addCommand(list())
    .addCommand(info())
    .addCommand(publish())
    .addCommand(read())
    .addCommand(subscriptions())
    .addCommand(seek())
    .addCommand(bind())
    .addCommand(unbind())
    .addCommand(drop())

const descriptionFlag = new Flags({ description: topicOptions.description })
const retentionFlags = new Flags(retentionOptions)

const create = () => {
  const made = command(
    'create',
    'Creates a topic; one that is there gets the settings that are given.',
    'tidings topic create news',
    'tidings topic create news --description "what happened" --max-age 7d',
  ).addArgument(topicArgument())
  return retentionFlags.addTo(descriptionFlag.addTo(made)).action(
    withContext(async ({ flagValues, out, connect }, name) => {
      const retention = retentionFlags.read(flagValues)
      const settings = Object.keys(retention).length > 0 ? { retention } : {}
      const bus = await connect()
      const created = await bus.topic(name!, { ...descriptionFlag.read(flagValues), ...settings }).create()
      out.result({ topic: name, created }, () =>
        created ? `created topic ${name}` : `topic ${name} was there already`,
      )
    }),
  )
}

const list = () =>
  command('list', 'Lists all topics.', 'tidings topic list').action(
    withContext(async ({ out, connect }) => {
      const topics = await (await connect()).topics()
      out.result(topics, () => (topics.length > 0 ? table(topics, columns) : 'no topics yet'))
    }),
  )

const info = () =>
  command('info', 'Shows a topic.', 'tidings topic info news')
    .addArgument(topicArgument())
    .action(
      withContext(async ({ out, connect }, name) => {
        const found = await (await connect()).topic(name!).info()
        out.result(found, () => describe(found))
      }),
    )

const publish = () => {
  const made = command(
    'publish',
    'Puts a message at the end of a topic, which is created if it is missing.',
    `tidings topic publish news '{"id":7}'`,
    'cat news.json | tidings topic publish news --dedup-id news-7',
  )
    .addArgument(topicArgument())
    .argument('[data]', 'JSON; - for standard input, which is also read if no data are given')
  return addMessageFlags(made).action(
    withContext(async ({ flagValues, out, connect }, name, text) => {
      const options = messageOptions(flagValues)
      const data = await dataFrom(text)
      const { offset, duplicate } = await (await connect()).topic(name!).publish(data, options)
      const what = duplicate ? `not published: a duplicate of offset ${offset}` : `published offset ${offset}`
      out.result({ topic: name, offset, duplicate }, () => `${what} in ${name}`)
    }),
  )
}

const readFlags = new Flags(topicReadOptions)

const read = () =>
  readFlags
    .addTo(
      command(
        'read',
        'Shows messages of a topic, and changes nothing.',
        'tidings topic read news --after 120 --limit 50',
      ),
    )
    .addArgument(topicArgument())
    .action(
      withContext(async ({ flagValues, out, connect }, name) => {
        const options = readFlags.read(flagValues)
        const messages = await (await connect()).topic(name!).read(options)
        out.result(messages, () => messages.map(describeMessage).join('\n') || 'no messages')
      }),
    )

const subscriptions = () =>
  command('subscriptions', 'Shows how far the subscriptions of a topic are.', 'tidings topic subscriptions news')
    .addArgument(topicArgument())
    .action(
      withContext(async ({ out, connect }, name) => {
        const found = await (await connect()).topic(name!).subscriptions()
        out.result(found, () => (found.length > 0 ? table(found, stateColumns) : 'no subscriptions yet'))
      }),
    )

const seekFlags = new Flags(seekOptions)

const dryRunFlag = ['--dry-run', 'Only shows what would be moved.'] as const

const seek = () =>
  seekFlags
    .addTo(
      command(
        'seek',
        'Moves the subscriptions of a topic, so that they go on from there.',
        'tidings topic seek news earliest',
        'tidings topic seek news 120 --subscription payroll --dry-run',
        'tidings topic seek news 2026-07-01T00:00:00Z',
      ),
    )
    .addArgument(topicArgument())
    .addArgument(
      new Argument('<position>', "offset of the next message, 'earliest', 'latest' or a time in ISO 8601").argParser(
        readPosition,
      ),
    )
    .option(...dryRunFlag)
    .action(
      withContext(async ({ flagValues, out, connect }, name, position) => {
        if (flagValues.dryRun) {
          const moves = await (await connect()).topic(name!).planSeek(position!, seekFlags.read(flagValues))
          return out.result(moves, () => (moves.length > 0 ? table(moves, moveColumns) : 'no subscriptions yet'))
        }
        const moved = await (await connect()).topic(name!).seek(position!, seekFlags.read(flagValues))
        out.result({ topic: name, moved }, () => `moved ${count(moved, 'subscription')} of ${name}`)
      }),
    )

const bind = () =>
  command('bind', 'From now on, what the topic takes goes into the queue too.', 'tidings topic bind news invoices')
    .addArgument(topicArgument())
    .addArgument(queueArgument())
    .action(
      withContext(async ({ out, connect }, name, queue) => {
        const bound = await (await connect()).topic(name!).bind(queue!)
        const text = bound ? `bound ${queue} to ${name}` : `${queue} was bound to ${name} already`
        out.result({ topic: name, queue, bound }, () => text)
      }),
    )

const unbind = () =>
  command('unbind', 'Takes back what `topic bind` did.', 'tidings topic unbind news invoices')
    .addArgument(topicArgument())
    .addArgument(queueArgument())
    .action(
      withContext(async ({ out, connect }, name, queue) => {
        const unbound = await (await connect()).topic(name!).unbind(queue!)
        const text = unbound ? `unbound ${queue} from ${name}` : `${queue} was not bound to ${name}`
        out.result({ topic: name, queue, unbound }, () => text)
      }),
    )

const drop = () =>
  command('drop', 'Removes a topic, its messages and its subscriptions.', 'tidings topic drop news --yes')
    .addArgument(topicArgument())
    .option(...yesFlag)
    .action(
      withContext(async ({ flagValues, out, connect }, name) => {
        const topic = (await connect()).topic(name!)
        const { firstOffset, lastOffset, subscriptions } = await topic.info()
        const messages = count(lastOffset - firstOffset + 1, 'message')
        const question = `Remove topic ${name} with ${messages} and ${count(subscriptions, 'subscription')}?`
        if (!(await confirm(flagValues, question))) return declined(out)
        const dropped = await topic.drop()
        out.result({ topic: name, dropped }, () => `removed topic ${name}`)
      }),
    )

/** A text of digits is an offset. @throws TYPE, RANGE */
export function readPosition(text: string): PositionInput {
  const position = /^\d+$/.test(text) ? Number(text) : text
  parsePosition(position, 'the position')
  return position
}

const columns = [
  ['TOPIC', (row: { topic: string }) => row.topic],
  ['FIRST', (row: { firstOffset: number }) => row.firstOffset],
  ['LAST', (row: { lastOffset: number }) => row.lastOffset],
  ['BYTES', (row: { bytes: number }) => row.bytes],
  ['SUBSCRIPTIONS', (row: { subscriptions: number }) => row.subscriptions],
  ['CREATED', (row: { createdAt: Date }) => row.createdAt],
] as const

const moveColumns = [
  ['SUBSCRIPTION', (row: { subscription: string }) => row.subscription],
  ['FROM', (row: { from: number }) => row.from],
  ['TO', (row: { to: number }) => row.to],
] as const

const stateColumns = [
  ['SUBSCRIPTION', (row: { subscription: string }) => row.subscription],
  ['CURSOR', (row: { cursor: number }) => row.cursor],
  ['LAG', (row: { lag: number }) => row.lag],
  ['MISSED', (row: { missed: number }) => row.missed],
  ['CONSUMER', (row: { consumer: string | null }) => row.consumer],
  ['MOVED', (row: { movedAt: Date | null }) => row.movedAt],
] as const

function describe(found: TopicInfo): string {
  const { topic, description, firstOffset, lastOffset, bytes, patterns, queues, retention, createdAt } = found
  const lines: [string, string][] = [
    ['messages', `${(lastOffset - firstOffset + 1).toLocaleString('en-US')}, offsets ${firstOffset} to ${lastOffset}`],
    ['bytes', bytes.toLocaleString('en-US')],
    ['kept', describeRetention(retention)],
    ['subscriptions', String(found.subscriptions)],
    ['patterns', patterns.join(', ') || '-'],
    ['queues', queues.join(', ') || '-'],
    ['created', createdAt.toISOString()],
  ]
  const head = `${bold(topic)}${description ? `  ${printable(description)}` : ''}`
  return [head, ...lines.map(([name, text]) => `  ${dim(name.padEnd(13))}  ${text}`)].join('\n')
}

function describeRetention({ maxAgeMs, maxBytes, whenRead }: Retention): string {
  const rules = [
    ...(maxAgeMs === null ? [] : [showDuration(maxAgeMs)]),
    ...(maxBytes === null ? [] : [`${maxBytes.toLocaleString('en-US')} bytes`]),
    ...(whenRead ? ['until all have read it'] : []),
  ]
  return rules.join(', ') || 'for ever'
}

function describeMessage({ offset, publishedAt, data, meta, headers }: PublishedMessage<unknown>): string {
  const details = [
    `  ${dim('data')} ${printable(toText(data))}`,
    ...(Object.keys(meta).length > 0 ? [`  ${dim('meta')} ${printable(toText(meta))}`] : []),
    ...(Object.keys(headers).length > 0 ? [`  ${dim('headers')} ${printable(toText(headers))}`] : []),
  ]
  return [`${bold(String(offset))}  published ${roughly(Date.now() - publishedAt.getTime())} ago`, ...details].join(
    '\n',
  )
}
