import { ReadAhead } from './read-ahead.ts'

/** From how much data on a page is not made longer, in characters: the page is in memory as a whole. */
export const pageBytes = 16 * 1024 * 1024
const firstCount = 25
const mostCount = 1_000

export interface Page<M> {
  readonly messages: M[]
  /** Whether the page ends before the limit because it is large. */
  readonly more: boolean
  /** Where to go on if a part has said so. */
  readonly after?: string
}

/**
 * Reads messages in parts, so that no limit that is asked for fills the memory.
 * @param read the next messages, those after `last`
 */
export async function readPage<M extends { readonly data: string }>(
  limit: number,
  read: (limit: number, last: M | undefined) => Promise<M[] & { readonly after?: string }>,
): Promise<Page<M>> {
  const ahead = new ReadAhead(mostCount, firstCount)
  const messages: M[] = []
  let characters = 0
  while (messages.length < limit) {
    if (characters >= pageBytes) return { messages, more: true }
    const count = Math.min(ahead.count, limit - messages.length)
    const part = await read(count, messages.at(-1))
    messages.push(...part)
    if (part.after !== undefined) return { messages, more: false, after: part.after }
    if (part.length < count) break
    ahead.learn(part)
    characters += part.reduce((sum, { data }) => sum + data.length, 0)
  }
  return { messages, more: false }
}

/** How many of the first messages make a page that is large enough; at least one, if there is any. */
export function fittingPage(messages: readonly { readonly data: string }[]): number {
  let left = pageBytes
  const end = messages.findIndex(({ data }) => {
    left -= data.length
    return left < 0
  })
  return end === -1 ? messages.length : Math.max(1, end)
}
