import type { Entry } from './history.ts'

export interface Spread {
  readonly median: number
  readonly p95: number
  readonly p99: number
  readonly max: number
}

/** The figures of a run. Times are in milliseconds. */
export interface Figures {
  readonly sent: number
  readonly handled: number
  readonly read: number
  /** Messages handled per second, while there were producers. */
  readonly handledPerSecond: number
  /** Messages of topics read per second, while there were producers. */
  readonly readPerSecond: number
  /** From before the send to the start of the first handler; null without messages. */
  readonly latency: Spread | null
  readonly kills: number
  readonly seeks: number
  /** Deliveries of a message after its first, because of failures and kills. */
  readonly redeliveries: number
  readonly leasesLost: number
  /** Messages that were sent again, by the same process or another one. */
  readonly duplicates: number
  readonly deadLettered: number
  /** From the kill of a process until its message was in a handler, or its subscription was read, again. */
  readonly recovery: Spread | null
  readonly troubles: number
}

/** @param seconds how long there were producers */
export function figuresOf(entries: readonly Entry[], seconds: number): Figures {
  const count = (is: (entry: Entry) => boolean) => entries.filter(is).length
  const answers = entries.flatMap((one) => (one.event === 'sent' ? [`${one.uid} ${JSON.stringify(one.place)}`] : []))
  const sent = new Set(answers).size
  const handled = count((one) => one.event === 'settled' && one.as === 'succeeded')
  const read = count((one) => one.event === 'handled')
  return {
    sent,
    handled,
    read,
    handledPerSecond: Math.round(handled / seconds),
    readPerSecond: Math.round(read / seconds),
    latency: spreadOf(latencies(entries)),
    kills: new Set(entries.flatMap((one) => (one.event === 'killing' ? [one.target] : []))).size,
    seeks: count((one) => one.event === 'sought'),
    redeliveries: count((one) => one.event === 'started' && one.attempt > 1),
    leasesLost: count((one) => one.event === 'leaseLost'),
    duplicates: answers.length - sent,
    deadLettered: count((one) => one.event === 'settled' && one.as === 'deadLettered'),
    recovery: spreadOf(recoveries(entries)),
    troubles: count((one) => one.event === 'trouble'),
  }
}

function latencies(entries: readonly Entry[]): number[] {
  const begun = new Map<string, number>()
  const found: number[] = []
  for (const entry of entries) {
    if (entry.event === 'sending') for (const uid of entry.uids) if (!begun.has(uid)) begun.set(uid, entry.time)
    if (entry.event === 'started' && entry.attempt === 1 && begun.has(entry.uid))
      found.push(entry.time - begun.get(entry.uid)!)
  }
  return found
}

/** The identity of a message or subscription that one process takes over from another. */
function handOf(entry: Entry): string | undefined {
  if (entry.event === 'started' || entry.event === 'ended') return `${entry.queue} ${entry.id}`
  if (entry.event === 'received' || entry.event === 'handled') return `${entry.topic}/${entry.subscription}`
  return undefined
}

function recoveries(entries: readonly Entry[]): number[] {
  const inHand = new Map<string, Map<string, Entry>>()
  const orphans = new Map<string, number>()
  const found: number[] = []
  for (const entry of entries) {
    if (entry.event === 'killing') {
      for (const hand of inHand.get(entry.target)?.keys() ?? []) orphans.set(hand, entry.time)
      continue
    }
    const hand = handOf(entry)
    if (hand === undefined) continue
    const own = inHand.get(entry.process) ?? new Map<string, Entry>()
    inHand.set(entry.process, own)
    if (entry.event === 'ended' || entry.event === 'handled') own.delete(hand)
    else {
      own.set(hand, entry)
      const since = orphans.get(hand)
      if (since !== undefined) found.push(entry.time - since)
      orphans.delete(hand)
    }
  }
  return found
}

function spreadOf(values: readonly number[]): Spread | null {
  if (values.length === 0) return null
  const sorted = [...values].sort((a, b) => a - b)
  const at = (share: number) =>
    Math.round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]! * 10) / 10
  return { median: at(0.5), p95: at(0.95), p99: at(0.99), max: at(1) }
}
