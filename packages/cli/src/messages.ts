import { Message, type StoredCopy } from 'tidings/internal/messages/message'
import { bold, count, dim, type Output, printable, roughly, toText } from './output.ts'

/** Prints messages with their details. */
export function printMessages(out: Output, messages: readonly StoredCopy<unknown>[], none: string): void {
  out.result(messages.map(toPlain), () => messages.map(describeMessage).join('\n') || none)
}

export function toPlain(message: StoredCopy<unknown>): object {
  const data = printableData(message)
  return message instanceof Message ? { ...message, data, receipt: message.receipt } : { ...message, data }
}

/** Bytes are shown as they are stored. */
const printableData = ({ data }: StoredCopy<unknown>) =>
  data instanceof Uint8Array ? Buffer.from(data).toString('base64') : data

export function describeMessage(message: StoredCopy<unknown>): string {
  const { id, meta, headers, priority, orderingKey, group } = message
  const { queueName: _, ...ownMeta } = meta
  const details: [string, string | undefined][] = [
    ['data', toText(printableData(message))],
    ['meta', isEmpty(ownMeta) ? undefined : toText(ownMeta)],
    ['headers', isEmpty(headers) ? undefined : toText(headers)],
    ['priority', priority === 0 ? undefined : String(priority)],
    ['ordering key', orderingKey ?? undefined],
    ['group', group ?? undefined],
    ['receipt', message instanceof Message ? message.receipt : undefined],
  ]
  const lines = details.flatMap(([name, text]) => (text === undefined ? [] : [`  ${dim(name)} ${printable(text)}`]))
  return [`${bold(id)}  ${timesOf(message)}`, ...lines].join('\n')
}

/** 'sent 3m ago, read 2 times, hidden for 25s' */
function timesOf({ sentAt, visibleAt, readCount, archivedAt }: StoredCopy<unknown>): string {
  const now = Date.now()
  const parts = [`sent ${roughly(now - sentAt.getTime())} ago`]
  if (readCount > 0) parts.push(`read ${count(readCount, 'time')}`)
  if (archivedAt) parts.push(`archived ${roughly(now - archivedAt.getTime())} ago`)
  else if (visibleAt.getTime() > now) parts.push(`hidden for ${roughly(visibleAt.getTime() - now)}`)
  return parts.join(', ')
}

const isEmpty = (object: object) => Object.keys(object).length === 0
