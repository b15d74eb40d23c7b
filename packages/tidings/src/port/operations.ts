import type { StoredMessage } from './engine.ts'
import type { TopicMessage } from './topic-store.ts'
import type { NewMessage } from './types.ts'

/** One call of the port, or of a handler. */
export interface Operation {
  /** In the words of OpenTelemetry where there is one for it, else the member's name. */
  readonly name: string
  readonly type: 'send' | 'receive' | 'process' | 'settle' | 'manage'
  /** The queue or topic; null where there is none, or not one that is known at the beginning. */
  readonly destination: string | null
  /** Of a handler's call for a topic. */
  readonly subscription?: string
}

/** How a call ended. */
export interface Outcome {
  readonly durationMs: number
  /** Undefined: it succeeded. */
  readonly error: unknown
  /** Messages that were stored, given to a reader, handled or settled. */
  readonly count: number
  /** How many messages were stored, by queue or topic; duplicates are not. */
  readonly stored: ReadonlyMap<string, number>
}

/** Called at the beginning of a call; what it returns is called at its end. */
export type Observer = (operation: Operation) => ((outcome: Outcome) => void) | undefined

/** A message that is handed to the application. */
export type Received = Pick<TopicMessage | StoredMessage, 'headers' | 'meta'> & { readonly id?: string }

/** Where a message that is sent, or a settlement, comes from: in the words of the tracer. */
export type Origin = object

/** Follows messages through the calls in which they are sent, received, handled and settled. */
export interface Tracer {
  /** Where what is sent or settled now comes from. @param message the one that is settled */
  origin(message?: Received): Origin
  /** @param run stores the messages, with what is to travel in their headers. Rejects as `run` does */
  send<R extends readonly unknown[]>(
    operation: Operation,
    messages: readonly NewMessage[],
    run: (messages: readonly NewMessage[]) => Promise<R>,
  ): Promise<R>
  settle<R>(
    operation: Operation,
    settlements: readonly { readonly origin?: Origin }[],
    run: () => Promise<R>,
  ): Promise<R>
  /** Messages were handed to the application, or could not be. @param startedAt by `performance.now()` */
  received(operation: Operation, messages: readonly Received[], startedAt: number, error?: unknown): void
  /** @param failureOf what failed according to the result; undefined: nothing */
  process<R>(
    operation: Operation,
    messages: readonly Received[],
    run: () => Promise<R>,
    failureOf: (result: R) => unknown,
  ): Promise<R>
  /** Runs a call in the context that a request brought along. */
  within<T>(headers: Readonly<Record<string, string | undefined>>, call: () => T): T
}
