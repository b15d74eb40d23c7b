import { isTidingsError, TidingsError } from '../core/errors.ts'
import * as option from '../core/options.ts'
import { StoredCopy } from '../messages/message.ts'
import { checkMessageId } from '../messages/options.ts'
import { type Page, readPage } from '../messages/pages.ts'
import { ReadAhead } from '../messages/read-ahead.ts'
import type { Engine, PeekRequest, StoredMessage } from '../port/engine.ts'
import { errorGroupOf, type LetterGroup, LetterGroups } from './letter-groups.ts'
import type { QueueRules } from './queue-rules.ts'

const pageSize = 500
const firstPageSize = 25
const redriveLeaseMs = 30_000

const limit = option.integer('The largest number of messages.', {
  default: 100,
  min: 1,
  max: 1_000_000,
  rangeCode: 'LIMIT_RANGE',
})

const ids = option.value<readonly string[], readonly string[] | null>(
  'Only these messages, by their ids in the dead-letter queue.',
  {
    default: null,
    defaultText: 'all',
    typeText: 'array of ids',
    parse: parseIds,
  },
)

export const listOptions = { limit, ids } as const
export const redriveOptions = {
  limit: { ...limit, defaultValue: 1_000_000, defaultText: 'all' },
  ids,
  dryRun: option.boolean('Returns what would be sent again and changes nothing.', { default: false }),
  delay: option.duration('The messages become ready after this time.', {
    default: 0,
    min: 0,
    max: 315_360_000_000,
    rangeCode: 'DELAY_RANGE',
  }),
  error: {
    ...option.text('Only those that failed with this error, or one that differs in numbers and ids alone.', {
      default: null,
    }),
    defaultText: 'any',
  },
  rate: option.integer('So many of them become ready in a second, the rest after them.', {
    default: null,
    defaultText: 'all at once',
    min: 1,
    max: 1_000_000,
  }),
} as const

export const letterGroupsOptions = {
  scan: option.integer('Looks at about so many dead letters at most.', {
    default: 10_000,
    min: 1,
    max: 1_000_000,
    rangeCode: 'LIMIT_RANGE',
  }),
  limit: option.integer('The largest number of groups.', {
    default: 100,
    min: 1,
    max: 1_000,
    rangeCode: 'LIMIT_RANGE',
  }),
} as const

/** What redriving takes away again: the traces of the failure, and the end of a time to live. */
export const clearedMeta = {
  ttl_ms: null,
  process_lost_at: null,
  read_ahead_lost: null,
  error_message: null,
  stack_trace: null,
  origin_queue: null,
  origin_id: null,
  attempts: null,
  dead_lettered_at: null,
}

interface Part {
  readonly letters: StoredMessage[]
  /** How many messages of the dead-letter queue were looked at. */
  readonly looked: number
}

interface LettersRequest {
  readonly ids: readonly string[] | null
  /** Only messages after this id. */
  readonly after: string | null
}

/** When what is redriven becomes ready. */
interface Pace {
  readonly delay: number
  readonly rate: number | null
  /** How many went before. */
  readonly moved: number
}

export interface LetterGroupsFound {
  readonly groups: LetterGroup[]
  /** How many messages of the dead-letter queue were looked at. */
  readonly scanned: number
  readonly more: boolean
}

export interface Redriven {
  /** The id in the dead-letter queue. */
  readonly deadLetterId: string
  /** The new id in the queue; null in a dry run. */
  readonly id: string | null
}

export type ListDeadLettersOptions = option.OptionsInput<typeof listOptions>
export type LetterGroupsOptions = option.OptionsInput<typeof letterGroupsOptions>
export type RedriveOptions = option.OptionsInput<typeof redriveOptions>

/** The dead letters of one queue: those in its dead-letter queue that came from it. */
export class DeadLetters<T = unknown> {
  readonly #origin: string
  readonly #engine: Engine
  readonly #rules: Pick<QueueRules, 'ready' | 'deadLetterQueue'>
  readonly #show: (stored: StoredMessage) => unknown

  /** @param show the data of a message, for who looks at it */
  constructor(
    origin: string,
    rules: Pick<QueueRules, 'ready' | 'deadLetterQueue'>,
    engine: Engine,
    show: (stored: StoredMessage) => unknown,
  ) {
    this.#origin = origin
    this.#rules = rules
    this.#engine = engine
    this.#show = show
  }

  /** The dead-letter queue, as `Queue.deadLetterQueue`; null where the queue keeps dead letters in its archive. */
  get queue(): string | null {
    return this.#rules.deadLetterQueue
  }

  /**
   * Oldest first; changes nothing. The data is as it was sent, not checked against the schema; what the serializer of the queue
   * refuses comes as its bytes.
   * @example for (const { id, meta } of await hires.deadLetters.list()) console.log(id, meta)
   */
  async list(options?: ListDeadLettersOptions): Promise<StoredCopy<T>[]> {
    const { limit, ids } = option.parseOptions(listOptions, options, 'deadLetters.list')
    const found: StoredCopy<T>[] = []
    for await (const { letters: part } of this.#parts({ ids, after: null })) {
      found.push(...part.map((stored) => new StoredCopy(this.#target(), stored, this.#show(stored) as T)))
      if (found.length >= limit) break
    }
    return found.slice(0, limit)
  }

  /**
   * The same in the form of the storage, as many as fit into one answer.
   * @internal
   */
  page({ limit, ...request }: LettersRequest & { readonly limit: number }): Promise<Page<StoredMessage>> {
    const parts = this.#parts(request)
    let found: StoredMessage[] = []
    return readPage<StoredMessage>(limit, async (count) => {
      while (found.length < count) {
        const part = await parts.next()
        if (part.done) break
        found = [...found, ...part.value.letters]
      }
      return found.splice(0, count)
    })
  }

  /**
   * Sends dead letters again: each is moved back in one step, and its attempts start anew. One that somebody has in
   * hand, or that waits behind another of its ordering key which stays, is left out.
   * @throws QUEUE_NOT_FOUND if the queue they came from is gone
   * @example await hires.deadLetters.redrive({ limit: 100 })
   */
  async redrive(options?: RedriveOptions): Promise<Redriven[]> {
    const { limit, ids, dryRun, ...asked } = option.parseOptions(redriveOptions, options, 'deadLetters.redrive')
    await this.#rules.ready()
    const target = this.#target()
    // Says so if the queue is gone, before anything is moved.
    await this.#engine.describe(this.#origin)
    const found = await this.#find(limit, ids, asked.error)
    if (dryRun) return found.map((id) => ({ deadLetterId: id, id: null }))
    const redriven: Redriven[] = []
    for (let start = 0; start < found.length; start += pageSize)
      redriven.push(
        ...(await this.#move(target, found.slice(start, start + pageSize), { ...asked, moved: redriven.length })),
      )
    return redriven
  }

  /**
   * Those of this queue by their error, the most frequent first.
   * @param options.scan looks at so many messages of the dead-letter queue at most; `more` says that there are further ones
   * @example const [worst] = (await hires.deadLetters.groups()).groups
   */
  groups(options?: LetterGroupsOptions): Promise<LetterGroupsFound> {
    return this.groupsOf((letter) => letter, options)
  }

  /**
   * The same of letters as they may be shown.
   * @internal
   */
  async groupsOf(
    shown: (letter: StoredMessage) => StoredMessage,
    options?: LetterGroupsOptions,
  ): Promise<LetterGroupsFound> {
    const { scan, limit } = option.parseOptions(letterGroupsOptions, options, 'deadLetters.groups')
    const groups = new LetterGroups()
    let scanned = 0
    for await (const part of this.#parts({ ids: null, after: null })) {
      for (const letter of part.letters) groups.add(shown(letter))
      scanned += part.looked
      if (scanned >= scan) return { groups: groups.largest(limit), scanned, more: true }
    }
    return { groups: groups.largest(limit), scanned, more: false }
  }

  /** A claim gives one message of an ordering key at a time, so it takes as many rounds as the longest line has. */
  async #move(target: string, ids: readonly string[], pace: Pace): Promise<Redriven[]> {
    const moved: Redriven[] = []
    const left = new Set(ids)
    while (left.size > 0) {
      const { messages } = await this.#engine.claim(target, {
        limit: left.size,
        leaseMs: redriveLeaseMs,
        ids: [...left],
      })
      if (messages.length === 0) break
      for (const { id } of messages) left.delete(id)
      moved.push(...(await this.#moveLeased(target, messages, { ...pace, moved: pace.moved + moved.length })))
    }
    return moved
  }

  async #moveLeased(target: string, messages: readonly StoredMessage[], pace: Pace): Promise<Redriven[]> {
    const { delay, rate, moved } = pace
    const results = await this.#engine.settle(
      target,
      messages.map(({ id, receipt }, index) => ({
        kind: 'move',
        id,
        receipt: receipt ?? '',
        to: this.#origin,
        delayMs: delay + (rate === null ? 0 : Math.floor((moved + index) / rate) * 1_000),
        meta: clearedMeta,
      })),
    )
    return messages.flatMap(({ id }, index) => {
      const newId = results[index]?.newId ?? null
      return newId === null ? [] : [{ deadLetterId: id, id: newId }]
    })
  }

  /** The ids alone: there may be many, and large ones. */
  async #find(limit: number, ids: readonly string[] | null, error: string | null): Promise<string[]> {
    const group = error === null ? null : errorGroupOf(error)
    const found: string[] = []
    for await (const { letters: part } of this.#parts({ ids, after: null })) {
      const wanted = part.filter(({ meta }) => group === null || errorGroupOf(meta.error_message) === group)
      found.push(...wanted.map(({ id }) => id))
      if (found.length >= limit) break
    }
    return found.slice(0, limit)
  }

  /** Those of this queue, in parts that fit into the memory. */
  async *#parts({ ids, after }: LettersRequest): AsyncGenerator<Part> {
    await this.#rules.ready()
    const ahead = new ReadAhead(pageSize, firstPageSize)
    for (let afterId = after; ; ) {
      const { count } = ahead
      const part = await this.#peek({ place: 'ready', limit: count, afterId, ids })
      yield { letters: part.filter(({ meta }) => meta.origin_queue === this.#origin), looked: part.length }
      if (part.length < count) return
      ahead.learn(part)
      afterId = part.at(-1)!.id
    }
  }

  /** A dead-letter queue that does not exist yet is an empty one. */
  async #peek(request: PeekRequest): Promise<StoredMessage[]> {
    try {
      return await this.#engine.peek(this.#target(), request)
    } catch (error) {
      if (isTidingsError(error, 'QUEUE_NOT_FOUND')) return []
      throw error
    }
  }

  #target(): string {
    if (this.queue !== null) return this.queue
    throw new TidingsError('DEAD_LETTER_INVALID', `queue '${this.#origin}' has no dead-letter queue`, {
      hint: "What failed too often is in its archive: peek({ place: 'archived' }).",
    })
  }
}

function parseIds(value: unknown, path: string): readonly string[] {
  if (!Array.isArray(value) || value.length === 0) throw option.typeError(path, value, 'an array of one id or more')
  for (const [index, id] of value.entries()) checkMessageId(id, `${path}[${index}]`)
  return value
}
