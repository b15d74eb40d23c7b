import type { SubscribeOptions } from 'tidings/internal/subscription/options'
import type { WorkOptions } from 'tidings/internal/worker/options'
import type { onTestFinished } from 'vitest'
import { LineProcess } from './line-process.ts'

/** The data of a message: what its handler does. */
export interface Work {
  readonly number: number
  readonly takesMs?: number
  /** The handler keeps the event loop for so long. */
  readonly blocksMs?: number
  /** The handler kills its process. */
  readonly kills?: boolean
  /** So many attempts fail. */
  readonly failures?: number
  readonly pad?: string
}

/**
 * `begun` and `ended` are told by handlers, before and after anything else that they do, and `hanging`; `running` and
 * `stats` by the process. All others are events, whose names are not in use for these.
 */
export interface ConsumerLine {
  readonly type: string
  readonly at: number
  readonly number?: number
  /** The id of the message, or its offset. */
  readonly id?: string | number
  readonly attempt?: number
  /** A process that had the message was taken for gone. */
  readonly lost?: true
  readonly offset?: number
  readonly code?: string
  readonly error?: string
  readonly [field: string]: unknown
}

type ConsumerOf = { readonly queue: string; readonly options?: WorkOptions } | TopicConsumer
/** Its subscription is named `all`. */
interface TopicConsumer {
  readonly topic: string
  readonly options?: SubscribeOptions
}

/**
 * A process of its own that works on queues and topics. SIGTERM stops it in order, after which it tells its `stats`;
 * SIGUSR2 lets go on what hangs.
 */
export class ConsumerProcess extends LineProcess<ConsumerLine> {
  /** @param hangsAfter after so many handler calls, all further ones hang; default: none does */
  constructor(
    url: string,
    consumers: ConsumerOf | readonly ConsumerOf[],
    atEnd: typeof onTestFinished,
    hangsAfter = Number.MAX_SAFE_INTEGER,
  ) {
    super('storages/consumer-process.mjs', [JSON.stringify({ url, consumers: [consumers].flat(), hangsAfter })], atEnd)
  }

  of(type: string): ConsumerLine[] {
    return this.lines.filter((line) => line.type === type)
  }

  /** Waits for so many lines of a type. */
  async untilCount(type: string, count: number): Promise<void> {
    await this.until(() => this.of(type).length >= count)
  }

  /** Waits until so many handlers hang, and the storage knows of the end of all others. */
  async untilHanging(count: number): Promise<void> {
    await this.until(() => {
      const knows = this.of('succeeded').length === this.of('ended').length
      return this.of('hanging').length === count && knows
    })
  }
}

type From = 'queue' | 'topic'

/** The numbers of the messages whose handlers were called, in the order of the processes and of the calls. */
export const numbersOf = (processes: readonly ConsumerProcess[], from: From): number[] =>
  told(processes, 'begun', from).map(({ number }) => number!)

/** Which attempt each handler call of a message was, in the order of the calls. */
export function attemptsOf(processes: readonly ConsumerProcess[], from: From = 'queue'): Map<number, number[]> {
  const attempts = new Map<number, number[]>()
  for (const { number, attempt } of told(processes, 'begun', from).sort((a, b) => a.at - b.at))
    attempts.set(number!, [...(attempts.get(number!) ?? []), attempt!])
  return attempts
}

/** How many messages were handled to the end, and the attempts of those that were not handled once at the first one. */
export function summaryOf(processes: readonly ConsumerProcess[], from: From = 'queue') {
  return {
    handled: new Set(told(processes, 'ended', from).map(({ number }) => number)).size,
    others: [...attemptsOf(processes, from)].filter(([, attempts]) => attempts.join() !== '1'),
  }
}

/** The numbers of the messages of which a process that had them was taken for gone. */
export const lostNumbers = (processes: readonly ConsumerProcess[]): Set<number> =>
  new Set(told(processes, 'begun', 'queue').flatMap(({ lost, number }) => (lost ? [number!] : [])))

/** Leases that were told as lost, but for those of messages that their holder lost since it was taken for gone. */
export function leasesLost(process: ConsumerProcess): ConsumerLine[] {
  const ofTheGone = new Set(process.of('begun').flatMap(({ lost, id }) => (lost ? [id] : [])))
  return process.of('leaseLost').filter(({ id }) => !ofTheGone.has(id))
}

/** Waits until so many messages have come to an end, good or not. */
export function allEnded(processes: readonly ConsumerProcess[], count: number, from: From = 'queue'): Promise<void> {
  const dead = () => processes.flatMap((process) => process.of('deadLettered')).length
  const isSo = () => summaryOf(processes, from).handled + dead() >= count
  return Promise.race(processes.map((process) => process.until(isSo)))
}

const told = (processes: readonly ConsumerProcess[], type: string, from: From) =>
  processes.flatMap((process) => process.of(type).filter((line) => line.from === from))
