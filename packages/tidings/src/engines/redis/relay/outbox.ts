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

/** @param list ids and texts in turn, as the scripts return them */
export const readEntries = (list: readonly string[]): [id: string, entry: OutboxEntry][] =>
  pairsOf(list).map(([id, text]) => [id, JSON.parse(text)])

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
