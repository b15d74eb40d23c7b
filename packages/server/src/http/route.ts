import type { Bus } from 'tidings/internal/bus/bus'
import { checkQueueName, checkScheduleName, checkSubscriptionName, checkTopicName } from 'tidings/internal/core/names'
import * as option from 'tidings/internal/core/options'
import { checkPattern } from 'tidings/internal/core/pattern'
import { checkKey, checkMessageId } from 'tidings/internal/messages/options'
import type { ProcessDescription } from 'tidings/internal/port/processes'
import type { AckBoard } from './ack-board.ts'
import type { Claims } from './claims.ts'
import type { HoldBook } from './hold-book.ts'
import type { Holders } from './holders.ts'
import type { LeaseBook } from './lease-book.ts'
import type { QueueBoard } from './queue-board.ts'
import type { Redacted } from './redaction.ts'
import type { Repeats } from './repeats.ts'
import type { StreamLimit } from './stream-limit.ts'

/** What a token may be good for. Every scope but 'read' is for one kind of work; 'read' changes nothing. */
export const scopes = ['send', 'receive', 'admin', 'read'] as const
export type Scope = (typeof scopes)[number]

/** What the caller of a request may do. */
export interface Access {
  /** Whose it is; null for a caller without a name. */
  readonly name: string | null
  has(scope: Scope): boolean
  /** Whether this scope holds for the queue, or the topic, of this name. What is not allowed is as if it were missing. */
  allows(scope: Scope, name: string): boolean
  /** Whether there is no name that it does not see. */
  readonly seesAll: boolean
  /** Whether it may publish under this key or, of a pattern, under every key that matches it. */
  publishes(keyOrPattern: string): boolean
  /** When it ends, in milliseconds since 1970; Infinity for never. */
  readonly expires: number
  /** Aborted when it was taken away before; null: it never is. */
  readonly withdrawn: AbortSignal | null
}

/** What stands in a path in braces, by its name. */
export const pathParameters = {
  queue: option.text('The name of a queue.', { default: null, check: (value) => void checkQueueName(value) }),
  topic: option.text('The name of a topic.', {
    default: null,
    check: (value) => void checkTopicName(value),
  }),
  subscription: option.text('The name of a subscription of the topic.', {
    default: null,
    check: (value) => void checkSubscriptionName(value),
  }),
  schedule: option.text('The name of a schedule.', {
    default: null,
    check: (value) => void checkScheduleName(value),
  }),
  id: option.text('The id of a message.', { default: null, check: checkMessageId }),
  pattern: option.text('A pattern for routing keys; `#` is written %23.', {
    default: null,
    check: (value) => void checkPattern(value),
  }),
  correlation: option.text('The id of a correlation.', {
    default: null,
    check: (value, path) => checkKey(value, path),
  }),
} as const
export type PathParameter = keyof typeof pathParameters

/** What documentation shows in their place. */
export const pathExamples: Readonly<Record<PathParameter, string>> = {
  queue: 'orders',
  topic: 'news',
  subscription: 'payroll',
  schedule: 'nightly',
  id: '42',
  pattern: 'Orders.*',
  correlation: 'c-1',
}

type ParametersOf<P extends string> = P extends `${string}{${infer Name}}${infer Rest}`
  ? Name | ParametersOf<Rest>
  : never

/** One request on its way to a handler: everything in it is checked. */
export interface Call<
  P extends string = string,
  Q extends option.OptionSchema = option.OptionSchema,
  B extends option.OptionSchema = option.OptionSchema,
> {
  readonly bus: Bus
  readonly access: Access
  readonly leases: LeaseBook
  readonly holds: HoldBook
  readonly holders: Holders
  readonly claims: Claims
  readonly extensions: Repeats<(string | null)[]>
  readonly acks: AckBoard
  readonly board: QueueBoard
  /** For streams of events. */
  readonly streamLimit: StreamLimit
  readonly params: { readonly [K in ParametersOf<P>]: string }
  readonly query: option.OptionsOutput<Q>
  readonly body: option.OptionsOutput<B>
  /** Who the client says that its process is; null: it does not. */
  readonly about: ProcessDescription | null
  /** Data travels as text in `data`, meta is taken and given as it is: for clients that must not round integers. */
  readonly exact: boolean
  /** A message of a queue or topic as it may be shown; what shows messages shows no others. */
  readonly redacted: Redacted
  /** How large the data of a message may be. */
  readonly maxMessageBytes: number
  /** How large a body may be. */
  readonly maxBodyBytes: number
  /** Aborted when the client has gone, with the reason `clientLeft`, may not go on, or the server stops. */
  readonly signal: AbortSignal
}

/** What a handler answers. */
export type Reply =
  | {
      readonly status: number
      /** Left out: no body. */
      readonly body?: unknown
      /** Called once where the client went before it had the answer. */
      readonly undelivered?: () => Promise<void>
    }
  | {
      /** Something else than JSON. */
      readonly status: number
      readonly text: string
      /** Its Content-Type. */
      readonly type: string
      readonly headers?: Readonly<Record<string, string>>
    }
  | {
      /** Server-sent events. Ends when `run` does; `signal` of the call ends it. */
      readonly run: (events: EventSink) => Promise<void>
    }

export interface EventSink {
  /**
   * @param data JSON text as it is, anything else made JSON
   * @returns once the client takes more; false if it has gone
   */
  send(event: string, data: unknown): Promise<boolean>
}

export interface Answer {
  readonly description: string
  /** The fields of a JSON body. Left out: no body, or something else. */
  readonly fields?: option.OptionSchema
  /** The Content-Type of a body that is not JSON. */
  readonly type?: string
  /** The events of a stream, by name: what their data is. */
  readonly events?: Readonly<Record<string, { readonly description: string; readonly fields?: option.OptionSchema }>>
}

/** One route, declared once: registration, authorisation, OpenAPI and the tests of it are derived from it. */
export interface Route {
  /** What clients made from the OpenAPI document call it: 'sendMessage'. */
  readonly name: string
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE'
  /** With parameters in braces: '/v1/queues/{queue}'. */
  readonly path: string
  readonly tag: string
  readonly summary: string
  /** Further explanation; Markdown. */
  readonly description?: string
  /** What a token must be good for; null: every token will do. */
  readonly scope: Scope | null
  /** Answers without a token. */
  readonly isPublic?: boolean
  readonly query: option.OptionSchema
  /** Null: it takes no body. */
  readonly body: option.OptionSchema | null
  /** A body, in the scene of `pathExamples`. */
  readonly example?: object
  /** By status; those of errors that any route may give are left out. */
  readonly answers: Readonly<Record<number, Answer>>
  handle(call: Call): Promise<Reply>
}

/** Declares a route; the types of the call follow from what is declared. */
export function route<
  const P extends string,
  Q extends option.OptionSchema = Record<never, never>,
  B extends option.OptionSchema = Record<never, never>,
>(declared: {
  name: string
  method: Route['method']
  path: P
  tag: string
  summary: string
  description?: string
  scope: Scope | null
  isPublic?: boolean
  query?: Q
  body?: B
  example?: object
  answers: Readonly<Record<number, Answer>>
  handle(call: Call<P, Q, B>): Promise<Reply>
}): Route {
  return {
    ...declared,
    query: declared.query ?? {},
    body: declared.body ?? null,
    // Its own types are those that it declared.
    handle: declared.handle as (call: Call) => Promise<Reply>,
  }
}

/** The names of the parameters in a path. */
export const parametersOf = (path: string) => [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name as PathParameter)
