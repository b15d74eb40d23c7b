import type { Logger } from 'tidings/internal/core/logger'
import type { MessageLease } from 'tidings/internal/messages/lease'
import { Message } from 'tidings/internal/messages/message'
import type { StoredMessage } from 'tidings/internal/port/engine'
import { type MessageMeta, toWireMeta } from 'tidings/internal/port/meta'
import type { Handler, HandlerContext } from 'tidings/internal/worker/handler'

const stored: StoredMessage = {
  id: '1',
  data: 'null',
  meta: {},
  headers: {},
  priority: 0,
  orderingKey: null,
  group: null,
  sentAt: 0,
  visibleAt: 0,
  readCount: 1,
  firstReadAt: 0,
  lastReadAt: 0,
  archivedAt: null,
  receipt: 'r',
}

interface Given {
  readonly data?: unknown
  readonly meta?: MessageMeta
  readonly signal?: AbortSignal
  readonly logger?: Logger
}

/** Calls a handler with one message, as a worker does. */
export async function call<T>(handler: Handler<T>, given: Given = {}): Promise<unknown> {
  const meta = toWireMeta(given.meta ?? {}, 'events', given.meta?.routingKey ?? null)
  // Nothing here is settled, so no lease is needed.
  const lease = { message: { ...stored, meta } } as unknown as MessageLease
  const message = new Message<T>('events', { ...stored, meta }, given.data as T, lease)
  return handler(message, new Context(given) as unknown as HandlerContext)
}

/** Like the worker's own: a class with members that are private to it. */
class Context {
  readonly queue = 'events'
  readonly attempt = 2
  readonly maxAttempts = 5
  readonly logger: Logger
  readonly #signal: AbortSignal

  constructor({ signal, logger }: Given) {
    this.#signal = signal ?? new AbortController().signal
    this.logger = logger ?? { debug() {}, info() {}, warn() {}, error() {} }
  }

  get signal(): AbortSignal {
    return this.#signal
  }
}
