import { TidingsError } from '../../../core/errors.ts'
import { pairsOf } from '../calling.ts'
import type { TaskEvent } from '../correlations.ts'
import type { Options } from '../messages.ts'
import type { Copies } from './copies.ts'

/** An entry as it is stored, which older versions read too: kinds and fields keep their names. */
export type OutboxEntry =
  | { readonly kind: 'event'; readonly correlation: string; readonly event: TaskEvent }
  | Move
  | Copies
  /** A removed queue, whose tasks have to be told. */
  | { readonly kind: 'gone'; readonly grave: string }
  /** Tasks that are about to be sent. */
  | { readonly kind: 'intent'; readonly tasks: readonly (readonly [correlation: string, task: string])[] }

export interface Move {
  readonly kind: 'move'
  readonly to: string
  readonly body: string
  readonly options: Options
  readonly event?: TaskEvent
}

const kinds: Readonly<Record<OutboxEntry['kind'], true>> = {
  event: true,
  move: true,
  copies: true,
  gone: true,
  intent: true,
}

/**
 * @param list ids and texts in turn, as the scripts return them
 * @throws STORAGE_FAILED for an entry that only another version can read
 */
export const readEntries = (list: readonly string[]): [id: string, entry: OutboxEntry][] =>
  pairsOf(list).map(([id, text]) => [id, readEntry(id, text)])

function readEntry(id: string, text: string): OutboxEntry {
  try {
    const entry: OutboxEntry = JSON.parse(text)
    if (Object.hasOwn(kinds, entry.kind)) return entry
  } catch {
    // Not JSON, or no object.
  }
  throw new TidingsError('STORAGE_FAILED', `this version cannot read the outbox entry ${id}`)
}

/**
 * What an inbox keeps: an entry, or one of the messages in it, and whose outbox it is from. It begins with the time at which
 * the entry was made, as ids do.
 */
export const deliveryId = (entry: string, origin: string, index?: number) =>
  `${entry}${index === undefined ? '' : `/${index}`}@${origin}`

export function readDeliveryId(delivery: string): { readonly entry: string; readonly origin: string } {
  const [, entry = '', origin = ''] = /^([^/@]*)(?:\/\d+)?@(.*)$/s.exec(delivery) ?? []
  return { entry, origin }
}
