import { isTidingsError, TidingsError } from '../core/errors.ts'
import { naming } from '../messages/missing-queue.ts'
import type { Engine } from '../port/engine.ts'
import type { TopicStore } from '../port/topic-store.ts'

/** @throws UNSUPPORTED for an engine without topics */
export function topicsOf(engine: Engine): TopicStore {
  if (engine.topics !== undefined) return engine.topics
  const details = { feature: 'topics' }
  throw new TidingsError('UNSUPPORTED', `the ${engine.name} engine has no topics`, { details })
}

/** Makes the call. The error about a missing topic or subscription suggests the nearest name. */
export async function withNearestTopic<T>(
  store: TopicStore,
  { topic, subscription }: { topic: string; subscription?: string },
  call: () => Promise<T>,
): Promise<T> {
  try {
    return await call()
  } catch (error) {
    if (isTidingsError(error, 'TOPIC_NOT_FOUND'))
      throw await naming(error, topic, async () => (await store.listTopics(null)).map((one) => one.topic))
    if (subscription === undefined || !isTidingsError(error, 'SUBSCRIPTION_NOT_FOUND')) throw error
    const list = async () => (await store.subscriptions(topic, null)).map((one) => one.subscription)
    throw await naming(error, subscription, list)
  }
}
