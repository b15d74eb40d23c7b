/** What can be listened to: new messages in a queue or a topic, or what comes through a channel. */
export type Interest = `queue:${string}` | `topic:${string}` | `channel:${string}`

export const isChannel = (interest: Interest) => interest.startsWith('channel:')
export const nameIn = (interest: Interest) => interest.slice(interest.indexOf(':') + 1)

/** What is told by a storage that is listened to. */
export interface Listener {
  /**
   * Messages may have become ready in the queue: after a send, a release, a move into it, or the end of a message that
   * others of its key wait for. Or the topic has taken messages, a subscription of it was moved, or a hold was left. May
   * come too often, and after a failure one may be missing.
   * @param dueMs above 0 where a message was stored that becomes ready only after that time
   */
  woken(interest: Interest, dueMs: number): void
  notified(channel: string, text: string): void
  /** These are not listened to any more, because something broke. Told once, and not after `close`. */
  lost(interests: readonly Interest[], error: unknown): void
  /** What announces messages through channels. Told before the first channel is in force. */
  announcing(by: Announcing): void
  /** What is due could not be announced; it is tried again. */
  troubled(error: unknown): void
  /** The storage cannot announce anything to this process: new messages are asked for again and again. */
  polling(why: unknown): void
}

export interface Announcing {
  readonly installed: boolean
  /** What the names of the channels start with, where that is known: 'shop.', ''. */
  readonly prefix: string | null
}

/** Where the storage tells of what is new; connects when it is asked for something. Nothing is asked for again by itself. */
export interface Listening {
  /**
   * Also listens to these. Those that it listens to already stay as they are.
   * @returns once they are in force, so that what was committed before is for the caller to look for; those that are
   *   refused, with the reason
   */
  listen(interests: readonly Interest[]): Promise<ReadonlyMap<Interest, unknown>>
  /** From now on nothing is told of these. */
  unlisten(interests: readonly Interest[]): void
  /** From now on nothing is told at all. */
  close(): Promise<void>
}
