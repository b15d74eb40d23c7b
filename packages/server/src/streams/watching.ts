import { systemClock } from 'tidings/internal/core/clock'
import type { Interest } from 'tidings/internal/port/listening'
import type { Wakeups } from 'tidings/internal/port/wakeups'
import type { EventSink } from '../http/route.ts'

interface WatchSettings {
  readonly wakeups: Wakeups
  readonly interests: readonly Interest[]
  /** Aborted when the client has gone or the server stops. */
  readonly signal: AbortSignal
  /** Told of what cannot be watched; what it throws is the answer. */
  refused(interest: Interest, error: unknown): void
  /** The data of the first event, which says that the watch is in force. */
  opening?(): object
  /**
   * What the client is told when there may be something in so many milliseconds; with `changed` after a change of settings.
   */
  toEvent(interest: Interest, dueMs: number, changed: { changed?: true }): object
}

/** While the storage cannot be heard, clients look by themselves, as often as where nothing wakes them. */
const unheardMs = 2_000

/** What the client was not told of: whether something is ready, and the earliest of what will be. */
interface News {
  isReady: boolean
  isChanged: boolean
  dueAt: number | null
}

/**
 * An answer of events that tells of queues and topics. It is in force before anything is answered, so that what is wrong
 * with it has a status of its own. A client that reads slowly is told once of what became ready in one meanwhile, and
 * once of what will.
 */
export async function watching(settings: WatchSettings): Promise<{ run(events: EventSink): Promise<void> }> {
  const { wakeups, interests, signal, refused, opening = () => ({}), toEvent } = settings
  const news = new Map<Interest, News>()
  let wakeUp = () => {}
  const watch = (interest: Interest) => {
    const woken = (dueMs: number, isChanged = false) => {
      const own = news.get(interest) ?? { isReady: false, isChanged: false, dueAt: null }
      own.isChanged ||= isChanged
      if (dueMs <= 0) own.isReady = true
      else own.dueAt = Math.min(own.dueAt ?? Number.POSITIVE_INFINITY, systemClock.now() + dueMs)
      news.set(interest, own)
      wakeUp()
    }
    const interrupted = () => woken(unheardMs)
    return wakeups.subscribe({ interests: [interest], woken, changed: () => woken(0, true), interrupted })
  }
  const outcomes = await Promise.allSettled(interests.map(watch))
  const watches = outcomes.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []))
  const close = () => {
    for (const one of watches) one.close()
  }
  try {
    for (const [index, one] of outcomes.entries()) if (one.status === 'rejected') refused(interests[index]!, one.reason)
  } catch (error) {
    close()
    throw error
  }
  const takeAll = () => {
    const all = [...news].flatMap(([interest, { isReady, isChanged, dueAt }]) => [
      ...(isReady ? [toEvent(interest, 0, isChanged ? { changed: true } : {})] : []),
      ...(dueAt === null ? [] : [toEvent(interest, Math.max(0, dueAt - systemClock.now()), {})]),
    ])
    news.clear()
    return all
  }
  return {
    async run(events) {
      const ended = () => wakeUp()
      signal.addEventListener('abort', ended, { once: true })
      try {
        await events.send('watching', opening())
        while (!signal.aborted) {
          const all = takeAll()
          for (const one of all) await events.send('wake', one)
          if (all.length === 0)
            await new Promise<void>((resolve) => {
              wakeUp = resolve
            })
        }
      } finally {
        signal.removeEventListener('abort', ended)
        close()
      }
    },
  }
}

/** For a watch of one thing: the client is told why it cannot be. */
export function refuse(_: Interest, error: unknown): never {
  throw error
}
