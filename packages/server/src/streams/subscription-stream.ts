import { randomUUID } from 'node:crypto'
import type { StoredSubscription } from 'tidings/internal/bus/stored-topic'
import { sleep, systemClock } from 'tidings/internal/core/clock'
import type { TopicMessage } from 'tidings/internal/port/topic-store'
import type { Wakeups } from 'tidings/internal/port/wakeups'
import type { AckBoard } from '../http/ack-board.ts'
import type { EventSink } from '../http/route.ts'

export interface StreamSettings {
  /** How many messages may be unacknowledged at once. */
  readonly prefetch: number
  readonly leaseMs: number
  readonly toText: (message: TopicMessage) => string
  readonly signal: AbortSignal
}

/** How often it looks even if nothing woke it. */
const pollMs = 2_000

/** Sends the messages of a subscription that it holds, until the signal is aborted; then it leaves the subscription. */
export async function streamSubscription(
  subscription: StoredSubscription,
  wakeups: Wakeups,
  settings: StreamSettings,
  acks: AckBoard,
  events: EventSink,
): Promise<void> {
  const { topic, name } = subscription
  const stream = new SubscriptionStream(subscription, settings, events)
  const watch = await wakeups.watch(topic.interest, () => stream.wake())
  const unfollow = acks.follow(topic.name, name, (offset) => stream.acked(offset))
  settings.signal.addEventListener('abort', stream.wake, { once: true })
  try {
    while (!settings.signal.aborted) await stream.step()
  } finally {
    settings.signal.removeEventListener('abort', stream.wake)
    watch.close()
    unfollow()
    await stream.leave()
  }
}

class SubscriptionStream {
  readonly #subscription: StoredSubscription
  readonly #settings: StreamSettings
  readonly #events: EventSink
  readonly #consumer = randomUUID()
  #receipt: string | null = null
  /** Sent up to here. */
  #sent = 0
  /** Offsets of messages that were sent and not acknowledged. */
  #unacked: number[] = []
  #woken = new AbortController()

  constructor(subscription: StoredSubscription, settings: StreamSettings, events: EventSink) {
    this.#subscription = subscription
    this.#settings = settings
    this.#events = events
  }

  readonly wake = (): void => this.#woken.abort()

  acked(offset: number): void {
    this.#note(offset)
    this.wake()
  }

  /** Makes sure of the hold, sends what there is room for, and rests if there is nothing to do. */
  async step(): Promise<void> {
    this.#woken = new AbortController()
    const retryMs = await this.#hold()
    if (retryMs !== null) return this.#rest(Math.min(retryMs, pollMs))
    if (!(await this.#sendSome())) await this.#rest(Math.min(pollMs, this.#settings.leaseMs / 3))
  }

  async leave(): Promise<void> {
    // It runs out in any case.
    if (this.#receipt !== null) await this.#subscription.leave(this.#receipt).catch(() => {})
  }

  /** @returns null if the subscription is held, else when to try again */
  async #hold(): Promise<number | null> {
    const hold = await this.#subscription.hold(this.#consumer, this.#settings.leaseMs)
    if (!hold.held) {
      this.#receipt = null
      return hold.retryMs
    }
    if (hold.receipt === this.#receipt) this.#note(hold.cursor)
    else {
      this.#receipt = hold.receipt
      this.#sent = hold.cursor
      this.#unacked = []
      await this.#events.send('holding', { receipt: hold.receipt, cursor: hold.cursor })
    }
    return null
  }

  /** @returns whether there may be more */
  async #sendSome(): Promise<boolean> {
    const { prefetch, toText } = this.#settings
    const room = prefetch - this.#unacked.length
    if (room <= 0) return false
    const { messages } = await this.#subscription.topic.readPage(this.#sent, room)
    for (const message of messages) {
      this.#sent = message.offset
      this.#unacked.push(message.offset)
      await this.#events.send('message', toText(message))
    }
    return messages.length > 0
  }

  #note(cursor: number): void {
    this.#unacked = this.#unacked.filter((offset) => offset > cursor)
  }

  #rest(milliseconds: number): Promise<void> {
    if (this.#settings.signal.aborted) return Promise.resolve()
    return sleep(systemClock, milliseconds, this.#woken.signal)
  }
}
