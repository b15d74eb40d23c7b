import { TidingsError } from '../core/errors.ts'
import { checkQueueName } from '../core/names.ts'
import * as option from '../core/options.ts'
import { anything, type Predicate, parseWhere, scan, type Wanted, type Where } from '../messages/filter.ts'
import type { StoredCopy } from '../messages/message.ts'
import { moment } from '../messages/options.ts'
import type { Engine, NewMessage, SendResult, SendTerms, StoredMessage } from '../port/engine.ts'
import { parts, sizeOf } from '../port/limits.ts'
import { clearedMeta } from './dead-letters.ts'

const pageSize = 200

export const replayOptions = {
  since: moment('Only messages from this time on.', 'the beginning'),
  until: moment('Only messages before this time.', 'the end'),
  by: option.choice(
    "The time that counts: when a message was 'archived', or when it was 'sent'.",
    ['archived', 'sent'],
    {
      default: 'archived',
    },
  ),
  where: option.value<Where | Predicate, Wanted>(
    'Only messages that have these parts of meta, headers and data, or for which a function returns true.',
    { default: anything, defaultText: 'all', typeText: '{ meta, headers, data } or function', parse: parseWhere },
  ),
  limit: option.integer('The largest number of messages; the oldest come first.', {
    default: 1_000_000,
    defaultText: 'all',
    min: 1,
    max: 1_000_000,
    rangeCode: 'LIMIT_RANGE',
  }),
  dryRun: option.boolean('Returns what would be sent again and changes nothing.', { default: false }),
  to: option.value<string, string | null>('The queue to send them to.', {
    default: null,
    defaultText: 'the queue itself',
    typeText: 'queue name',
    parse: checkQueueName,
  }),
  dedupWindow: option.duration('For how long a message that was replayed into a queue is not replayed into it again.', {
    default: 86_400_000,
    min: 1,
    max: 2_592_000_000,
  }),
  again: option.boolean('Also sends what was replayed before.', { default: false }),
} as const
export type ReplayOptions = option.OptionsInput<typeof replayOptions>
type Parsed = option.OptionsOutput<typeof replayOptions>

export interface Replayed {
  /** The id in the archive. */
  readonly archivedId: string
  /** The id of the copy; null in a dry run. */
  readonly id: string | null
  /** True if the copy is one of an earlier replay, and nothing was sent. */
  readonly duplicate: boolean
}

/** How the copies are stored. */
interface Storing {
  /** Whether the queue that they go to may be created. */
  readonly create: boolean
  readonly bare: boolean
  readonly terms: SendTerms
}

/** The archive of one queue, sent again. */
export class Replay {
  readonly #engine: Engine
  readonly #queue: string
  readonly #options: Parsed

  constructor(engine: Engine, queue: string, options?: ReplayOptions) {
    this.#engine = engine
    this.#queue = queue
    this.#options = option.parseOptions(replayOptions, options, 'replay')
    const { since, until } = this.#options
    if (since !== null && until !== null && since >= until)
      throw new TidingsError('OPTION_CONFLICT', "'since' is not before 'until'", { hint: 'Exchange the two.' })
  }

  get dryRun(): boolean {
    return this.#options.dryRun
  }

  /**
   * Ids of what is to be sent, oldest first. All are found before the first is sent: copies that are handled and
   * archived meanwhile would be found too, and the replay would never end.
   */
  async find(): Promise<string[]> {
    const { where, limit } = this.#options
    const found: string[] = []
    for await (const page of scan(this.#engine, this.#queue, 'archived', where)) {
      found.push(...page.filter((message) => this.#isInRange(message)).map(({ id }) => id))
      if (found.length >= limit) break
    }
    return found.slice(0, limit)
  }

  #isInRange({ archivedAt, sentAt }: StoredCopy<unknown>): boolean {
    const { since, until, by } = this.#options
    const at = (by === 'sent' ? sentAt : (archivedAt ?? sentAt)).getTime()
    return (since === null || at >= since) && (until === null || at < until)
  }

  async send(ids: readonly string[], { create, bare, terms }: Storing): Promise<Replayed[]> {
    const to = this.#options.to ?? this.#queue
    if (create && ids.length > 0) await this.#engine.createQueue(to)
    const replayed: Replayed[] = []
    for (let start = 0; start < ids.length; start += pageSize) {
      const page = ids.slice(start, start + pageSize)
      const archived = await this.#engine.peek(this.#queue, {
        place: 'archived',
        limit: pageSize,
        afterId: null,
        ids: page,
      })
      const copies = archived.map((one) => this.#copyOf(one, to, bare))
      const results: SendResult[] = []
      for (const part of parts(copies, this.#engine.limits, sizeOf))
        results.push(...(await this.#engine.send(to, part, null, terms)))
      for (const [index, { id, duplicate }] of results.entries())
        replayed.push({ archivedId: archived[index]!.id, id, duplicate })
    }
    return replayed
  }

  #copyOf(
    { id, data, meta, headers, priority, orderingKey, group, sentAt }: StoredMessage,
    to: string,
    bare: boolean,
  ): NewMessage {
    const { again, dedupWindow } = this.#options
    const kept = Object.entries(meta).filter(([field]) => !Object.hasOwn(clearedMeta, field))
    const added = { queue_name: to, replayed_from_queue: this.#queue, replayed_from_id: id }
    return {
      data,
      meta: Object.fromEntries([...kept, ...Object.entries(added)]),
      headers,
      delayMs: 0,
      notBefore: null,
      priority,
      orderingKey,
      group,
      // A queue that was dropped and made anew counts its ids from 1 again; the time tells them apart.
      dedup: again ? null : { id: `replay/${this.#queue}/${id}/${sentAt}`, windowMs: dedupWindow },
      uniqueTarget: null,
      bare,
    }
  }
}
