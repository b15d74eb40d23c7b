/**
 * What can be listened to: new messages in a queue or a topic, what comes through a channel, or that a schedule was put,
 * which is due then.
 *
 * 'cancels' of a queue: somebody asked for messages of it that are in hand. The queue may be missing, and senders do not
 * announce anything because of it. Where no connection lasts, nothing is told.
 *
 * 'life' asks the storage to look after this process. While it is in force, claims and holds with `held` belong to the
 * process: once the connection that listens is gone and does not come back at once, whoever else listens gives back what
 * the process had in hand, and announces it. A message given back is ready; its meta has `process_lost_at`, the time. One
 * that was read ahead also has `read_ahead_lost: true`, and its read is taken back, since most probably no handler saw it.
 * When the connection came back, woken tells that the leases may have been given to others meanwhile. Where no connection
 * lasts, as behind a pooler, it has no effect, and leases end with their time.
 */
export type Interest =
  | `queue:${string}`
  | `topic:${string}`
  | `channel:${string}`
  | `cancels:${string}`
  | 'schedules'
  | 'life'

/** Whether there is something in it to be looked for, which may be ready though nobody announced it. */
export const isPlace = (interest: Interest) => interest.startsWith('queue:') || interest.startsWith('topic:')
export const isCancels = (interest: Interest) => interest.startsWith('cancels:')
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
  /** Settings of the queue were changed. Those who only poll are not told. */
  changed?(interest: Interest): void
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
   * So often, in milliseconds, the storage itself looks into the queues and topics that are in force, and tells of what is
   * ready though nobody announced it: nobody else has to poll for that. Infinity: nobody is to look without a cause, so that
   * the storage may sleep. Left out: it does not look.
   */
  readonly lookMs?: number
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
