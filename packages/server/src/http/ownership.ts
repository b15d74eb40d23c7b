import { TidingsError } from 'tidings/internal/core/errors'
import * as option from 'tidings/internal/core/options'
import type { Claiming } from './claims.ts'
import { checkHasHolder, holder } from './fields.ts'
import { holderName } from './holders.ts'
import type { KnownLease, Owner } from './lease-book.ts'
import type { Call } from './route.ts'

/** What a read says of the process that asks. */
export const ownerFields = {
  holder,
  held: option.boolean('The leases end with the holder.', { default: false }),
  ahead: option.integer(
    'Of `qty` messages that are held, so many are read ahead: handlers begin the first `qty - ahead` at once, and not yet what comes after them.',
    { default: 0, min: 0, max: 10_000 },
  ),
  claim: option.integer(
    'Numbers this request among those of the holder. Sent again with the same number, it first gives back what the answer that was lost had leased.',
    { default: null, defaultText: 'none', min: 0, max: Number.MAX_SAFE_INTEGER },
  ),
  lost_claims: option.list(
    'Numbers of earlier requests of the holder for this queue whose answers never came. What they leased is given back first, and those reads do not count.',
    option.required(option.integer('', { default: null, min: 0, max: Number.MAX_SAFE_INTEGER })),
    { default: [], min: 0, max: 1_000 },
  ),
} as const

/** Whose the messages of a read become. */
export interface OwnerOfRead {
  /** That of the message at this place. */
  readonly ownerOf: (index: number) => Owner
  readonly claiming: Claiming
  /** It has got some. */
  readonly claimed: () => void
  /** What earlier reads leased, whose answers never came. */
  readonly lost: readonly KnownLease[]
}

type OwnedCall = Pick<Call<'{queue}'>, 'access' | 'params' | 'holders' | 'leases' | 'claims'> & {
  readonly body: option.OptionsOutput<typeof ownerFields> & { readonly qty: number }
}

/** @returns null where the request names no holder. @throws OPTION_CONFLICT */
export function ownerIn({ access, params, body, holders, leases, claims }: OwnedCall): OwnerOfRead | null {
  const { holder: given, held, ahead, claim, lost_claims, qty } = body
  checkHasHolder(given, { held, claim: claim !== null, lost_claims: lost_claims.length > 0 })
  if (ahead > 0 && !held) throw new TidingsError('OPTION_CONFLICT', "'ahead' is given, but 'held' is not")
  if (given === null) return null
  const name = holderName(access, given)
  holders.heard(name)
  const lost = new Set(claim === null ? lost_claims : [...lost_claims, claim])
  for (const number of lost) claims.lost(name, number)
  return {
    ownerOf: (index) => ({ holder: name, held, ahead: held && index >= qty - ahead, claim }),
    claiming: claims.begin(name, claim),
    claimed: () => {
      if (held) holders.claimed(name, params.queue)
    },
    lost:
      lost.size === 0
        ? []
        : leases.of(name).filter(({ queue, owner }) => queue === params.queue && lost.has(owner?.claim ?? -1)),
  }
}
