import type { Bus } from 'tidings'

/** The occurrences that messages in the queue are for, in the order of sending. */
export async function occurrencesIn(bus: Bus, queue: string): Promise<string[]> {
  const messages = await bus.queue(queue).peek({ limit: 1_000 })
  return messages.map(({ meta }) => meta.scheduledFor!)
}

/** How many seconds lie between each of these and the next one. */
export const stepsBetween = (occurrences: readonly string[]): number[] =>
  occurrences.slice(1).map((one, index) => (Date.parse(one) - Date.parse(occurrences[index]!)) / 1_000)
