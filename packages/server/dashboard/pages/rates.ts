import type { QueueMetrics } from '../wire.ts'

/** Messages a second. */
export interface Flow {
  readonly sent: number
  readonly done: number
}

interface Sample {
  readonly at: number
  readonly total: number
  readonly length: number
}

const windowMs = 15_000

/**
 * What comes and goes in each queue, from the figures of the last seconds: of what was ever sent, what is not there any
 * more has gone.
 * @returns takes the newest figures; the same ones again change nothing
 */
export function flowsOf(): (queues: readonly QueueMetrics[]) => ReadonlyMap<string, Flow> {
  const samples = new Map<string, Sample[]>()
  let last: readonly QueueMetrics[] | null = null
  let flows: Map<string, Flow> = new Map()
  return (queues) => {
    if (queues === last) return flows
    last = queues
    flows = new Map()
    for (const { queue_name, total_messages: total, queue_length: length, scrape_time } of queues) {
      const now = { at: Date.parse(scrape_time), total, length }
      const earlier = (samples.get(queue_name) ?? []).filter(({ at }) => at > now.at - windowMs && at < now.at)
      samples.set(queue_name, [...earlier, now])
      const [first] = earlier
      if (first === undefined) continue
      const seconds = (now.at - first.at) / 1_000
      const sent = Math.max(0, total - first.total)
      flows.set(queue_name, { sent: sent / seconds, done: Math.max(0, sent - (length - first.length)) / seconds })
    }
    return flows
  }
}
