import type { BusDependencies } from '../messages/access.ts'
import type { Page } from '../messages/pages.ts'
import { Poller } from '../messages/wait.ts'
import type { TopicMessage, TopicStore } from '../port/topic-store.ts'

/** How often a waiting fetch reads even without a wakeup. */
const pollMs = 2_000

/** The source of a fetch. */
interface FetchSource extends BusDependencies {
  readonly topic: string
  readonly name: string
  readonly store: TopicStore
}

/**
 * Reads the messages after the cursor, and waits for the first. The cursor stays.
 * @returns an empty page if no message comes in time. @throws SUBSCRIPTION_NOT_FOUND
 */
export async function fetchNext(
  source: FetchSource,
  { waitMs, signal }: { readonly waitMs: number; readonly signal: AbortSignal | null },
  read: (cursor: number) => Promise<Page<TopicMessage>>,
): Promise<Page<TopicMessage>> {
  const { topic, name, store } = source
  const poller = new Poller({ ...source, interest: `topic:${topic}`, pollMs })
  try {
    const found = await poller.wait({ waitMs, ...(signal ? { signal } : {}) }, async () => {
      const [state] = await store.subscriptions(topic, name)
      const page = await read(state!.cursor)
      return { found: page.messages.length > 0 ? page : null, full: false, nextDueMs: null }
    })
    return found ?? { messages: [], more: false }
  } finally {
    poller.close()
  }
}
