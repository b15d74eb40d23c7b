import type { Calls } from './calls.ts'
import type { Cursor } from './cursor.ts'
import { statements } from './sql.gen.ts'

/** A walk ends when it has found so many, as many as one step tells at most. */
const enough = 1_000

/** Sweeps beside the claims, on another connection: a walk in steps, one at a time for a queue. */
export class Sweeper {
  readonly #calls: Calls
  readonly #underWay = new Map<Cursor, Promise<void>>()

  constructor(calls: Calls) {
    this.#calls = calls
  }

  /**
   * Joins a walk that is under way.
   * @param isEmpty there is nothing in front of the mark, so that the walk goes on to the end
   */
  sweep(queue: string, cursor: Cursor, isEmpty: boolean): Promise<void> {
    const walk =
      this.#underWay.get(cursor) ??
      this.#walk(queue, cursor, isEmpty ? null : cursor.mark).finally(() => this.#underWay.delete(cursor))
    this.#underWay.set(cursor, walk)
    return walk
  }

  async #walk(queue: string, cursor: Cursor, upTo: string | null): Promise<void> {
    const ids: string[] = []
    let costMs = 0
    let nextDueMs: number | null = null
    let reached: string | null = null
    let since: unknown = null
    for (;;) {
      const [row] = await this.#calls.read(statements.sweepStep, [queue, reached ?? '0', upTo, since])
      ids.push(...(JSON.parse((row?.ids as string | null) ?? '[]') as string[]))
      costMs += row?.ms as number
      const dueMs = (row?.next_due_ms as number | null) ?? Number.POSITIVE_INFINITY
      if (dueMs <= (nextDueMs ?? dueMs)) nextDueMs = Number.isFinite(dueMs) ? dueMs : null
      since = row?.began_us
      reached = (row?.reached as string | null) ?? reached
      const ended = row?.ended === true
      if (!ended && ids.length < enough) continue
      const sorted = row?.sorted === true
      cursor.noteWalk({ ids, sorted, reached, ended, costMs, nextDueMs }, upTo, performance.now())
      return
    }
  }
}
