import { Recent } from '../../core/recent.ts'
import type { Claim, ClaimRequest, Lease, SettleResult, StoredMessage } from '../../port/engine.ts'
import type { Calls } from './calls.ts'
import { Cursor } from './cursor.ts'
import type { Row } from './driver.ts'
import { HeldClaims } from './held-claims.ts'
import type { Life } from './life.ts'
import type { QueueFunctions } from './queue-functions.ts'
import { toIdList, toStoredMessage } from './rows.ts'
import { statements } from './sql.gen.ts'
import { Sweeper } from './sweeper.ts'

/** Takes messages, from where the last claim of this process ended. */
export class Claims {
  readonly #calls: Calls
  readonly #functions: QueueFunctions
  readonly #held: HeldClaims
  readonly #sweeper: Sweeper
  /** Losing one costs a sweep. */
  readonly #cursors = new Recent(() => new Cursor())

  constructor(calls: Calls, functions: QueueFunctions, life: Life) {
    this.#calls = calls
    this.#functions = functions
    this.#held = new HeldClaims(calls, life)
    this.#sweeper = new Sweeper(calls)
  }

  forget(queue: string): void {
    this.#cursors.forget(queue)
  }

  /** This process has given a message back. */
  givenBack(queue: string, id: string): void {
    this.#cursors.get(queue).lowerTo(id)
  }

  /** This process has ended the leases of messages: what waited behind them is ready. */
  ended(queue: string, leases: readonly Lease[], results: readonly SettleResult[]): void {
    const cursor = this.#cursors.get(queue)
    if (!cursor.hasKeys) return
    for (const [index, { id }] of leases.entries()) if (results[index]?.settled) cursor.noteEnd(id)
  }

  /** Something may have come up behind the marks. */
  expectSweeps(): void {
    for (const cursor of this.#cursors.values()) cursor.expectSweep()
  }

  async claim(queue: string, request: ClaimRequest): Promise<Claim> {
    const { limit, leaseMs, ids } = request
    if (ids === null) return this.#claimNext(queue, request)
    const values = [queue, limit, leaseMs, toIdList(ids)]
    const { messages, summary, pause } = toAnswer(
      await this.#held.read(queue, request, statements.claimIds, values),
      true,
    )
    const heldBack = isHeldBack(summary) ? { heldBack: true } : {}
    return pause ?? { messages: messages.sort(inOrder), nextDueMs: dueMsOf(summary), ...heldBack }
  }

  async pop(queue: string, limit: number): Promise<StoredMessage[]> {
    const cursor = this.#cursors.get(queue)
    // One statement, so that it is one step; from the mark only where a sweep would cost too much.
    const sweep = cursor.maySweep(performance.now())
    const { messages } = await this.#takeOnce(cursor, limit, sweep, false, () =>
      this.#calls.write(statements.pop, [queue, limit, cursor.mark, cursor.lastKey, sweep]),
    )
    return messages.sort(inOrder)
  }

  /** Claims from the mark on, and what lies behind it where a sweep is due or nothing else is left. */
  async #claimNext(queue: string, request: ClaimRequest): Promise<Claim> {
    const { limit, leaseMs, ahead = 0, maxBytes } = request
    const cursor = this.#cursors.get(queue)
    const endsAt = performance.now() + leaseMs
    const found = await this.#claimFound(queue, cursor, request, limit)
    // Their bounds hold for one statement. What is left comes with the next claim then.
    const isBounded = ahead > 0 || maxBytes !== undefined
    if (found.messages.length === limit || (found.messages.length > 0 && isBounded))
      return { messages: found.messages.sort(inOrder), nextDueMs: found.leftOut ? 0 : 1 }

    const take = (quantity: number, sweep: boolean) =>
      this.#takeOnce(cursor, quantity, sweep, true, () => {
        const freed = cursor.takeFreed()
        const values = [quantity, leaseMs, cursor.mark, cursor.lastKey, sweep]
        if (freed.length > 0) values.push(JSON.stringify(freed))
        const name = freed.length > 0 ? 'claimFreed' : 'claim'
        return this.#functions.call(queue, name, (text) => this.#held.read(queue, request, text, values))
      })
    const isBeside = cursor.sweepsBeside
    const isDue = cursor.shouldSweep(performance.now())
    // Nobody waits for it; if it fails, so does the claim that does.
    if (isBeside && isDue) this.#sweeper.sweep(queue, cursor, false).catch(() => {})
    const first = await take(limit - found.messages.length, isDue && !isBeside)
    if (first.heldBack) {
      // A sweep would find nothing that limits let through.
      const messages = [...found.messages, ...first.messages].sort(inOrder)
      return { messages, nextDueMs: first.leftOut ? 0 : first.nextDueMs, heldBack: true }
    }
    const messages = [...found.messages, ...first.messages]
    if (first.pause) return { ...first.pause, messages }
    const left = limit - messages.length
    const now = performance.now()
    // On a slow line the first ones may have been on their way for longer than their lease, and would come twice.
    const goesOn = left > 0 && !(messages.length > 0 && isBounded) && cursor.maySweep(now) && now < endsAt
    if (!goesOn || first.swept)
      return {
        messages: messages.sort(inOrder),
        nextDueMs: first.leftOut ? 0 : cursor.nextDueMs(now, first.swept),
      }

    const { mark } = cursor
    if (isBeside) await this.#sweeper.sweep(queue, cursor, first.messages.length === 0)
    const rest =
      !isBeside || BigInt(cursor.mark) < BigInt(mark)
        ? await take(left, !isBeside)
        : await this.#claimFound(queue, cursor, request, left)
    return {
      messages: [...messages, ...rest.messages].sort(inOrder),
      nextDueMs: first.leftOut || rest.leftOut ? 0 : cursor.nextDueMs(performance.now(), true),
      ...(rest.heldBack ? { heldBack: true } : {}),
    }
  }

  /** Claims what a walk beside the claims has found. */
  async #claimFound(
    queue: string,
    cursor: Cursor,
    request: ClaimRequest,
    limit: number,
  ): Promise<{ messages: StoredMessage[]; leftOut: boolean; heldBack: boolean }> {
    const ids = cursor.takeFound(limit)
    if (ids.length === 0) return { messages: [], leftOut: false, heldBack: false }
    const values = [queue, limit, request.leaseMs, toIdList(ids)]
    const { messages, summary } = toAnswer(await this.#held.read(queue, request, statements.claimIds, values), true)
    const claimed = new Set(messages.map(({ id }) => id))
    if (isLeftOut(summary)) cursor.putBack(ids.filter((id) => !claimed.has(id)))
    return { messages, leftOut: isLeftOut(summary), heldBack: isHeldBack(summary) }
  }

  async #takeOnce(
    cursor: Cursor,
    quantity: number,
    sweep: boolean,
    leased: boolean,
    take: () => Promise<Row[]>,
  ): Promise<Taken> {
    const { messages, summary, pause } = toAnswer(await take(), leased)
    if (pause) {
      // What the claim was told of is looked for when the pause is over.
      cursor.expectSweep()
      return { messages, swept: false, leftOut: false, heldBack: false, nextDueMs: null, pause }
    }
    const leftOut = isLeftOut(summary)
    const heldBack = isHeldBack(summary)
    const nextDueMs = dueMsOf(summary)
    const full = leftOut || messages.length === quantity
    if (sweep)
      cursor.noteSweep(messages, {
        full,
        endedAt: performance.now(),
        costMs: (summary?.sweep_ms as number | undefined) ?? 0,
        nextDueMs: leftOut ? null : nextDueMs,
      })
    else cursor.noteClaim(messages, full)
    return { messages, swept: sweep, leftOut, heldBack, nextDueMs }
  }
}

interface Taken {
  readonly messages: StoredMessage[]
  readonly swept: boolean
  readonly leftOut: boolean
  readonly heldBack: boolean
  readonly nextDueMs: number | null
  readonly pause?: Claim | undefined
}

/** The row that follows the messages of a sweep, and of what was not all that was found. */
function toAnswer(rows: Row[], leased: boolean) {
  const summary = rows.at(-1)?.id === null ? rows.pop() : undefined
  const messages = rows.map((row) => toStoredMessage(row, leased))
  const isPaused = summary?.read_ct === 4
  const pause: Claim | undefined = isPaused
    ? { messages, nextDueMs: (summary.next_due_ms as number | null) ?? null }
    : undefined
  return { messages, summary, pause }
}

/** What the row says: whether bytes, and whether limits have left ready messages, and when to come again. */
const isLeftOut = (summary: Row | undefined) => ((summary?.read_ct as number | undefined) ?? 0) % 2 === 1
const isHeldBack = (summary: Row | undefined) => [2, 3].includes((summary?.read_ct as number | undefined) ?? 0)
const dueMsOf = (summary: Row | undefined) => (summary?.next_due_ms as number | null | undefined) ?? null

/** By priority, then oldest first. */
function inOrder(a: StoredMessage, b: StoredMessage): number {
  return b.priority - a.priority || compareIds(a.id, b.id)
}

/** Ids are decimal numbers without leading zeros. */
const compareIds = (a: string, b: string) => a.length - b.length || (a < b ? -1 : a > b ? 1 : 0)
