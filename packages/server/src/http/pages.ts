import { ReadAhead } from 'tidings/internal/subscription/read-ahead'
import { shape } from './fields.ts'

/** From how much data on an answer is not made longer, in characters: it is in memory as a whole. */
const enough = 16 * 1024 * 1024
const firstCount = 25
const mostCount = 1_000

export const moreField = {
  more: shape.flag('Whether the answer ends before `limit` because it is large: ask on after the last message.'),
} as const

export interface Pages<M> {
  readonly messages: M[]
  /** Whether it ends before the limit because it is large. */
  readonly more: boolean
}

/**
 * Reads messages in parts, so that no limit that is asked for fills the memory.
 * @param read the next messages after `last`
 */
export async function readPages<M extends { readonly data: string }>(
  limit: number,
  read: (limit: number, last: M | undefined) => Promise<M[]>,
): Promise<Pages<M>> {
  const ahead = new ReadAhead(mostCount, firstCount)
  const messages: M[] = []
  let characters = 0
  while (messages.length < limit) {
    if (characters >= enough) return { messages, more: true }
    const count = Math.min(ahead.count, limit - messages.length)
    const page = await read(count, messages.at(-1))
    messages.push(...page)
    if (page.length < count) break
    ahead.learn(page)
    characters += page.reduce((sum, { data }) => sum + data.length, 0)
  }
  return { messages, more: false }
}
