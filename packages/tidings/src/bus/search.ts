import { fromJson, type JsonObject } from '../core/json.ts'
import * as option from '../core/options.ts'
import { parseWhere, type Wanted, type Where } from '../messages/filter.ts'
import { StoredCopy } from '../messages/message.ts'
import { checkDedupId, checkMessageId, moment, peekOptions } from '../messages/options.ts'
import { ReadAhead } from '../messages/read-ahead.ts'
import type { Engine, StoredMessage } from '../port/engine.ts'

/** From how long on a search answers with what it has found. */
const mostMs = 500
const firstCount = 50
const mostCount = 1_000

const textOption = (doc: string) => option.text(doc, { default: null })

export const searchOptions = {
  text: { ...textOption('What data, headers or meta contain as JSON text, in capitals or not.'), defaultText: 'any' },
  where: option.value<Where, Wanted>('Only messages that have these parts of meta, headers and data.', {
    default: { meta: {}, fits: () => true },
    defaultText: 'all',
    typeText: '{ meta, headers, data }',
    parse: parseParts,
  }),
  error: { ...textOption('What the error of the last attempt contains.'), defaultText: 'any' },
  dedupId: {
    ...option.text('Only the message that was sent with this dedup id, while that is taken.', {
      default: null,
      check: checkDedupId,
    }),
    defaultText: 'any',
  },
  orderingKey: { ...textOption('Only messages of this ordering key.'), defaultText: 'any' },
  group: { ...textOption('Only messages of this group.'), defaultText: 'any' },
  sentAfter: moment('Only messages that were sent at this time or later.', 'any time'),
  sentBefore: moment('Only messages that were sent before this time.', 'any time'),
  place: peekOptions.place,
  after: option.text('Goes on after this id: `after` of the search before.', { default: null, check: checkMessageId }),
  limit: option.integer('The largest number of messages.', {
    default: 50,
    min: 1,
    max: 1_000,
    rangeCode: 'LIMIT_RANGE',
  }),
  scan: option.integer('Looks at so many messages at most.', {
    default: 10_000,
    min: 1,
    max: 100_000,
    rangeCode: 'LIMIT_RANGE',
  }),
} as const
export type SearchOptions = option.OptionsInput<typeof searchOptions>
export type Search = option.OptionsOutput<typeof searchOptions>

/** What of the search was found, and where it goes on. */
export interface Found<M> {
  readonly messages: M[]
  /** For a search that goes on; null: that was all. Not null where nothing was found so far, too. */
  readonly after: string | null
  /** How many messages were looked at. */
  readonly scanned: number
}

/**
 * Looks for messages by id, a part of them at a time: for no longer than half a second, once it has looked at some.
 * @param shown a message as it is looked for and answered: what may not be seen must not be found either
 */
export async function search(
  engine: Engine,
  queue: string,
  { after, limit, scan, place, where, dedupId, ...wanted }: Search,
  shown: (message: StoredMessage) => StoredMessage = (message) => message,
): Promise<Found<StoredMessage>> {
  const ahead = new ReadAhead(mostCount, firstCount)
  const messages: StoredMessage[] = []
  const startedAt = performance.now()
  let [last, scanned] = [after, 0]
  do {
    const count = Math.min(ahead.count, scan - scanned)
    const look = dedupId === null ? { scan: scan - scanned } : { dedupId }
    const request = { place, limit: count, afterId: last, ids: null, meta: where.meta, ...look }
    const part = await engine.peek(queue, request)
    for (const message of part) {
      const one = shown(message)
      last = message.id
      scanned++
      if (fits(queue, one, where, wanted)) messages.push(one)
      if (messages.length === limit) return { messages, after: last, scanned }
    }
    if (part.after !== undefined) return { messages, after: part.after, scanned: scan }
    if (part.length < count) return { messages, after: null, scanned }
    ahead.learn(part)
  } while (scanned < scan && performance.now() - startedAt < mostMs)
  return { messages, after: last, scanned }
}

function fits(
  queue: string,
  message: StoredMessage,
  where: Wanted,
  {
    text,
    error,
    orderingKey,
    group,
    sentAfter,
    sentBefore,
  }: Omit<Search, 'after' | 'limit' | 'scan' | 'place' | 'where' | 'dedupId'>,
): boolean {
  const { meta, sentAt } = message
  if (sentAfter !== null && sentAt < sentAfter) return false
  if (sentBefore !== null && sentAt >= sentBefore) return false
  if (orderingKey !== null && message.orderingKey !== orderingKey) return false
  if (group !== null && message.group !== group) return false
  if (error !== null && !has(typeof meta.error_message === 'string' ? meta.error_message : '', error)) return false
  if (text !== null && !hasText(message, text)) return false
  return where.fits(new StoredCopy(queue, message, fromJson(message.data))) === true
}

/** What was typed may stand in JSON with escapes. */
function hasText({ data, headers, meta }: StoredMessage, text: string): boolean {
  const asJson = JSON.stringify(text).slice(1, -1)
  const isIn = (json: string) => has(json, text) || has(json, asJson)
  return isIn(data) || isIn(textOf(headers)) || isIn(textOf(meta))
}

const textOf = (fields: JsonObject) => (Object.keys(fields).length === 0 ? '' : JSON.stringify(fields))
const has = (whole: string, part: string) => whole.toLowerCase().includes(part.toLowerCase())

function parseParts(value: unknown, path: string): Wanted {
  if (typeof value === 'function') throw option.typeError(path, value, 'an object')
  return parseWhere(value, path)
}
