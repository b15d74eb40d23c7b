import type { JsonObject } from '../core/json.ts'

/**
 * The settings `limits` and `weights` of a queue, and what they mean to every engine that has 'limits'.
 *
 * A slot is a lease in force: nothing is counted that somebody has to give back. What ends the lease, or lets it run out,
 * frees the slot, also where its reader still works. A claim takes no more than all limits have room for, whoever claims
 * at the same time.
 *
 * A rate is one number a key, see `Rate`: charged for each message that is leased or popped, again too when it is read again.
 * What was charged is not given back.
 *
 * A group with messages that can be claimed is a lane; messages without a group are a lane of their own, which no limit
 * of groups concerns. Lanes are served by their `pass`, the smallest first; a message that is taken adds 1 / weight.
 * A lane that appears starts at the pass at which the last message was taken, or at its own if that is higher. Within a
 * lane messages go by priority, then oldest first. A claim by ids takes no notice of lanes.
 */
export interface QueueLimit {
  readonly per: 'queue' | 'group' | 'orderingKey'
  /** At most so many leases in force. Not of an ordering key, of which only one message is leased at a time. */
  readonly concurrency?: number
  readonly rate?: Rate
  /** How many messages may begin at once after a rest; left out: 1, so that they come evenly. Only with a rate. */
  readonly burst?: number
}

/** So many messages in any such time, and `burst` - 1 more after a rest. */
export interface Rate {
  readonly count: number
  readonly periodMs: number
}

/** What of the settings a claim asks for. */
export interface Sharing {
  readonly limits: readonly QueueLimit[]
  /** By group; 1 for others. */
  readonly weights: Readonly<Record<string, number>>
}

/** Settings are stored as they were checked. */
export const sharingOf = ({ limits, weights }: JsonObject): Sharing =>
  ({ limits: limits ?? [], weights: weights ?? {} }) as unknown as Sharing
