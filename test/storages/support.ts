import type { Work } from '../support/consumers.ts'

/** Messages that are numbered, each with a handler that does the same. */
export const works = (count: number, first = 0, same: Partial<Work> = {}): { data: Work }[] =>
  Array.from({ length: count }, (_, index) => ({ data: { number: first + index, ...same } }))

/** @returns how many milliseconds it took */
export async function after(wait: Promise<unknown>): Promise<number> {
  const startedAt = performance.now()
  await wait
  return performance.now() - startedAt
}
