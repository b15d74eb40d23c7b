import type { Engine, PublishedCopy } from './engine.ts'
import type { Sending } from './schedule-store.ts'
import type { AppendResult } from './topic-store.ts'
import type { Transaction } from './types.ts'

/** Sends to a queue, into a topic, or under a routing key. @returns how many messages were stored, duplicates left out */
export async function sendTo(
  engine: Pick<Engine, 'send' | 'publish' | 'topics'>,
  { target, messages }: Sending,
  transaction: Transaction | null,
): Promise<number> {
  const results = await sendAll(engine, target, messages, transaction)
  return results.filter(({ duplicate }) => !duplicate).length
}

async function sendAll(
  engine: Pick<Engine, 'send' | 'publish' | 'topics'>,
  target: Sending['target'],
  messages: Sending['messages'],
  transaction: Transaction | null,
): Promise<readonly (AppendResult | PublishedCopy | { readonly duplicate: boolean })[]> {
  if ('queue' in target) return engine.send(target.queue, messages, transaction)
  if ('topic' in target) return engine.topics!.append(target.topic, messages, transaction)
  const { routingKey } = target
  const routed = messages.map((message) => ({ ...message, routingKey }))
  return (await engine.publish(routed, transaction)).flat()
}
