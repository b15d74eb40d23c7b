import { TidingsError } from '../core/errors.ts'
import * as option from '../core/options.ts'
import { parseMetaWhere, scan, type Wanted, type Where } from '../messages/filter.ts'
import { checkMessageId } from '../messages/options.ts'
import type { Engine } from '../port/engine.ts'

/** Which messages of a queue are to be cancelled: one by its id, several, or all whose meta has these fields. */
export type CancelWhich = string | readonly string[] | { readonly meta: Where['meta'] }

export interface CancelResult {
  /** Nobody had them in hand. */
  readonly removed: readonly string[]
  /** Their readers are told, and they end as cancelled unless their handlers succeed all the same. */
  readonly running: readonly string[]
}

const mostIds = 10_000

/** @throws TYPE, MESSAGE_ID_INVALID, BATCH_SIZE */
export function parseIds(which: unknown): string | readonly string[] {
  if (!Array.isArray(which)) {
    checkMessageId(which, 'id')
    return which as string
  }
  if (which.length > mostIds)
    throw new TidingsError('BATCH_SIZE', `${which.length} ids are given; at most ${mostIds}`, {
      details: { field: 'ids' },
    })
  for (const [index, id] of which.entries()) checkMessageId(id, `ids[${index}]`)
  return which as string[]
}

/** @throws TYPE, MESSAGE_ID_INVALID, BATCH_SIZE */
export function parseWhich(which: unknown): string | readonly string[] | Wanted {
  if (typeof which === 'string' || Array.isArray(which)) return parseIds(which)
  const { meta, ...others } = (which ?? {}) as { meta?: unknown }
  if (meta === undefined) checkMessageId(which, 'id')
  const [other] = Object.keys(others)
  if (other !== undefined) throw option.typeError(other, others, "left out: only 'meta' is looked for")
  const wanted = parseMetaWhere(meta, 'meta')
  if (Object.keys(meta as object).length === 0)
    throw new TidingsError('TYPE', 'meta has no field, and would fit every message', {
      details: { field: 'meta' },
      hint: 'Name a field, or purge the queue.',
    })
  return wanted
}

/** @throws MESSAGE_NOT_FOUND */
export async function cancelMessages(
  engine: Engine,
  queue: string,
  which: string | readonly string[] | Wanted,
): Promise<CancelResult> {
  const removed: string[] = []
  const running: string[] = []
  const cancel = async (ids: readonly string[]) => {
    const ended = ids.length > 0 ? await engine.cancel(queue, ids, { running: true }) : []
    for (const [index, one] of ended.entries())
      if (one !== null) (one === 'removed' ? removed : running).push(ids[index]!)
  }
  if (typeof which === 'string') {
    await cancel([which])
    if (removed.length + running.length === 0)
      throw new TidingsError('MESSAGE_NOT_FOUND', `queue '${queue}' has no message ${which} to be cancelled`, {
        details: { queue, id: which },
        hint: 'It has ended by now, or never was in this queue.',
      })
  } else if ('fits' in which) {
    for await (const page of scan(engine, queue, null, which)) await cancel(page.map(({ id }) => id))
  } else {
    await cancel(which)
  }
  return { removed, running }
}
