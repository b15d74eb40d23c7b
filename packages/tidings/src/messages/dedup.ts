import { TidingsError } from '../core/errors.ts'
import type * as option from '../core/options.ts'
import type { Dedup } from '../port/engine.ts'
import type { dedupOptions } from './options.ts'

const defaultWindowMs = 300_000

export type DedupWish = option.OptionsOutput<typeof dedupOptions>

/** What of a message does not go together with every wish. */
interface Beside {
  readonly orderingKey: string | null
  readonly priority: number
  readonly uniqueTarget: boolean
  readonly track: boolean
}

/** How the sender calls these, for error messages. */
export interface DedupNames {
  readonly for: string
  readonly replace: string
  readonly extend: string
  readonly atMost: string
  readonly whileActive: string
  readonly uniqueTarget: string
  readonly track: string
  readonly priority: string
}
const ownNames: DedupNames = {
  for: 'dedup.for',
  replace: 'dedup.replace',
  extend: 'dedup.extend',
  atMost: 'dedup.atMost',
  whileActive: 'dedup.whileActive',
  uniqueTarget: 'uniqueTarget',
  track: 'track',
  priority: 'priority',
}

/**
 * What the port is told. 'keepLast' is a replacement in the order of a key: what waits is not read while the one before is
 * in hand.
 * @throws OPTION_CONFLICT
 */
export function dedupOf(
  wish: DedupWish,
  beside: Beside,
  names: DedupNames = ownNames,
): { readonly dedup: Dedup; readonly orderingKey: string | null } {
  const { id, for: windowMs, replace, extend, atMost: atMostMs, whileActive } = wish
  const keepsLast = whileActive !== null
  if (extend && !replace && !keepsLast) throw lacking(names.extend, names.replace)
  if (atMostMs !== null && !extend) throw lacking(names.atMost, names.extend)
  if (keepsLast && windowMs !== null)
    throw conflict(names.for, names.whileActive, `Leave out ${names.for}: the id is held while a message waits.`)
  if (!replace && !keepsLast)
    return { dedup: { id, windowMs: windowMs ?? defaultWindowMs }, orderingKey: beside.orderingKey }

  const mode = keepsLast ? names.whileActive : names.replace
  if (beside.uniqueTarget) throw conflict(names.uniqueTarget, mode, 'Use the target as the id, and only that.')
  if (beside.track) throw conflict(names.track, mode, 'What another message may replace is no task of its own.')
  if (keepsLast && beside.priority !== 0)
    throw conflict(names.priority, mode, 'Messages of one id have an order; leave out the priority.')
  return {
    dedup: { id, windowMs, replace: { extend, atMostMs } },
    orderingKey: keepsLast ? (beside.orderingKey ?? id) : beside.orderingKey,
  }
}

const lacking = (one: string, other: string) =>
  new TidingsError('OPTION_CONFLICT', `'${one}' is set without '${other}'`, { hint: `Set ${other} too.` })

const conflict = (one: string, other: string, hint: string) =>
  new TidingsError('OPTION_CONFLICT', `'${one}' and '${other}' are both given`, { hint })
