import { isTidingsError, TidingsError } from '../core/errors.ts'
import { errorMeta } from '../core/message-error.ts'
import type { QueueAccess } from '../messages/access.ts'
import { expiryError } from '../messages/expiry.ts'
import { Message } from '../messages/message.ts'
import type { Ending } from '../port/engine.ts'
import { delayAfter } from './backoff.ts'
import { CallContext } from './context.ts'
import type { Delivery } from './delivery.ts'
import type { Journal, WorkerEvent } from './events.ts'
import type { ParsedWorkOptions } from './options.ts'
import { failed, type Outcome, toOutcome, toOutcomes } from './outcome.ts'
import { callInTransaction, notDone } from './transactional.ts'
import { isDone, type Verdict } from './verdict.ts'

/** The user's function; a single message is a batch of one. */
export type Invoke = (messages: Message<unknown>[], context: CallContext) => unknown

const remove: Ending = { kind: 'delete' }
const keep: Ending = { kind: 'archive', meta: {} }
/** The delay after no transaction could begin: the storage is away or has too many connections. */
const notBegunMs = 1_000

/** For a message whose lease this worker has lost. */
const dropped = (delivery: Delivery): Verdict => ({ delivery, ending: null, events: [], returnsMs: 0 })

/** The steps of a message in a worker: admit, decode, handle, judge. No step throws; a failure is a verdict. */
export class Process {
  readonly #access: QueueAccess<unknown>
  readonly #options: ParsedWorkOptions
  readonly #invoke: Invoke
  readonly #isBatch: boolean
  readonly #journal: Journal
  #complained = false

  constructor(
    access: QueueAccess<unknown>,
    options: ParsedWorkOptions,
    invoke: Invoke,
    isBatch: boolean,
    journal: Journal,
  ) {
    this.#access = access
    this.#options = options
    this.#invoke = invoke
    this.#isBatch = isBatch
    this.#journal = journal
  }

  /** @returns a verdict for each delivery, in any order; never rejects */
  async run(deliveries: readonly Delivery[]): Promise<Verdict[]> {
    const verdicts: Verdict[] = []
    const admitted: Delivery[] = []
    const messages: Message<unknown>[] = []
    for (const delivery of deliveries) {
      const admission = this.#admit(delivery)
      const entry = admission instanceof Promise ? await admission : admission
      if (delivery.lost) verdicts.push(dropped(delivery))
      else if (!(entry instanceof Message)) verdicts.push(entry)
      else {
        admitted.push(delivery)
        messages.push(entry)
      }
    }
    if (messages.length === 0) return verdicts

    const context = new CallContext(this.#access.name, this.#options.maxAttempts, this.#access.logger, admitted)
    const call = () => this.#call(admitted, messages, context)
    verdicts.push(...(await (this.#options.transactional ? this.#callInTransaction(admitted, context, call) : call())))
    return verdicts
  }

  async #call(deliveries: Delivery[], messages: Message<unknown>[], context: CallContext): Promise<Verdict[]> {
    const { clock, name } = this.#access
    const startedAt = clock.now()
    for (const { message } of deliveries) this.#journal.tell({ type: 'started', queue: name, message })
    const outcomes = await this.#handle(messages, context)
    const durationMs = clock.now() - startedAt
    return deliveries.map((delivery, index) => this.#judge(delivery, outcomes[index] as Outcome, context, durationMs))
  }

  async #callInTransaction(
    deliveries: Delivery[],
    context: CallContext,
    call: () => Promise<Verdict[]>,
  ): Promise<Verdict[]> {
    const queue = this.#access.name
    for (const delivery of deliveries) delivery.transactional = true
    const { verdicts, failure } = await callInTransaction(this.#access, context, call, (delivery) => {
      delivery.lost = true
      this.#journal.tell({ type: 'leaseLost', queue, message: delivery.message })
    })
    if (verdicts === null) {
      this.#journal.warn(queue, failure, 'no transaction could be begun; the messages are given back')
      return deliveries.map((delivery) => this.#snooze(delivery, notBegunMs))
    }
    if (failure === null) return verdicts.map((verdict) => ({ ...verdict, ending: null }))
    return verdicts.map((verdict) => this.#afterRollback(verdict, failure, context))
  }

  /** The handler's work was rolled back. */
  #afterRollback(verdict: Verdict, failure: unknown, context: CallContext): Verdict {
    const { delivery, events } = verdict
    if (delivery.lost) return dropped(delivery)
    if (!isDone(verdict)) return verdict
    const [event] = events
    const durationMs = event?.type === 'succeeded' ? event.durationMs : 0
    if (CallContext.isAborted(context)) return this.#interrupted(delivery, context, null, durationMs)
    // Another message of the call was the reason: this one comes again without a counted attempt.
    if (failure === notDone || isTidingsError(failure, 'LEASE_LOST')) return this.#snooze(delivery, 0)
    return this.#retry(delivery, failure, null, durationMs)
  }

  /**
   * Refuses a message above the maximum, whose earlier readers died or lost it, and a message whose time to live is over.
   */
  #admit(delivery: Delivery): Message<unknown> | Verdict | Promise<Message<unknown> | Verdict> {
    const { readCount } = delivery.message
    const { maxAttempts } = this.#options
    if (readCount <= maxAttempts) {
      const expired = expiryError(delivery.message, delivery.heldMs)
      return expired ? this.#expire(delivery, expired) : this.#decode(delivery)
    }
    const text = `read ${readCount} times; of its ${maxAttempts} attempts the last ended without a report: the process died, or its lease was lost`
    return this.#deadLetter(delivery, new TidingsError('HANDLER_FAILED', text, { details: { readCount, maxAttempts } }))
  }

  #decode(delivery: Delivery): Message<unknown> | Verdict | Promise<Message<unknown> | Verdict> {
    const { message } = delivery
    const { name } = this.#access
    try {
      const data = this.#access.decode(message)
      if (!(data instanceof Promise)) return new Message(name, message, data, delivery)
      return data.then(
        (decoded) => new Message(name, message, decoded, delivery),
        (error: unknown) => this.#refuse(delivery, error),
      )
    } catch (error) {
      return this.#refuse(delivery, error)
    }
  }

  /** Invalid data stays invalid, so no other attempt is made. A schema that failed for other reasons may succeed later. */
  #refuse(delivery: Delivery, error: unknown): Verdict {
    return isTidingsError(error, 'BODY_INVALID')
      ? this.#deadLetter(delivery, error)
      : this.#retry(delivery, error, null, 0)
  }

  async #handle(messages: Message<unknown>[], context: CallContext): Promise<Outcome[]> {
    const count = messages.length
    try {
      const result = await this.#invoke(messages, context)
      const complain = (why: TidingsError) => this.#complain(why)
      return this.#isBatch ? toOutcomes(result, count, complain) : [toOutcome(result, complain)]
    } catch (error) {
      return new Array<Outcome>(count).fill(failed(error))
    }
  }

  /** Warns once: such a handler returns a value every time. */
  #complain(why: TidingsError): void {
    if (!this.#complained) this.#journal.warn(this.#access.name, why, why.hint)
    this.#complained = true
  }

  #judge(delivery: Delivery, { decision }: Outcome, context: CallContext, durationMs: number): Verdict {
    if (delivery.lost) return dropped(delivery)
    if (delivery.ended) return this.#settledByHandler(delivery, decision, durationMs)
    if (CallContext.isAborted(context) && (decision.kind === 'success' || decision.kind === 'retry'))
      return this.#interrupted(delivery, context, decision.kind === 'retry' ? decision.reason : null, durationMs)
    switch (decision.kind) {
      case 'success':
        return this.#succeed(delivery, this.#options.onSuccess === 'delete' ? remove : keep, durationMs)
      case 'delete':
        return this.#succeed(delivery, remove, durationMs)
      case 'archive':
        return this.#succeed(delivery, keep, durationMs)
      case 'retry':
        return this.#retry(delivery, decision.reason, decision.delayMs, durationMs)
      case 'snooze':
        return this.#snooze(delivery, decision.delayMs)
      case 'deadLetter':
        return this.#deadLetter(delivery, decision.reason)
    }
  }

  #succeed(delivery: Delivery, ending: Ending, durationMs: number): Verdict {
    const { message } = delivery
    const event = { type: 'succeeded', queue: this.#access.name, message, durationMs } as const
    return { delivery, ending, events: [event], returnsMs: null }
  }

  #retry(delivery: Delivery, error: unknown, askedMs: number | null, durationMs: number): Verdict {
    const { message } = delivery
    const attempt = message.readCount
    const queue = this.#access.name
    const event = { type: 'failed', queue, message, durationMs, error } as const
    if (attempt >= this.#options.maxAttempts) {
      const { ending, events } = this.#deadLetter(delivery, error)
      return { delivery, ending, events: [{ ...event, retryMs: null }, ...events], returnsMs: null }
    }
    const complain = (why: unknown) => this.#journal.warn(queue, why, 'the backoff function gave no usable delay')
    const delayMs = askedMs ?? delayAfter(this.#options.backoff, attempt, error, complain)
    const ending: Ending = { kind: 'release', delayMs, meta: errorMeta(error), uncount: false }
    return { delivery, ending, events: [{ ...event, retryMs: delayMs }], returnsMs: delayMs }
  }

  #snooze(delivery: Delivery, delayMs: number): Verdict {
    const { message } = delivery
    return {
      delivery,
      ending: { kind: 'release', delayMs, meta: {}, uncount: true },
      events: [{ type: 'snoozed', queue: this.#access.name, message, delayMs }],
      returnsMs: delayMs,
    }
  }

  #deadLetter(delivery: Delivery, error: unknown): Verdict {
    const { message } = delivery
    return {
      delivery,
      ending: delivery.deadLetterEnding(error),
      events: [{ type: 'deadLettered', queue: this.#access.name, message, error }],
      returnsMs: null,
    }
  }

  #expire(delivery: Delivery, error: TidingsError): Verdict {
    const { message } = delivery
    const { name: queue, expired: policy } = this.#access
    const event = { type: 'expired', queue, message, policy } as const
    if (policy === 'drop') return { delivery, ending: remove, events: [event], returnsMs: null }
    const verdict = this.#deadLetter(delivery, error)
    return { ...verdict, events: [event, ...verdict.events] }
  }

  /** The handler settled the message itself; that stands. */
  #settledByHandler(delivery: Delivery, decision: Outcome['decision'], durationMs: number): Verdict {
    const { message } = delivery
    const of = { queue: this.#access.name, message, durationMs }
    const event: WorkerEvent =
      decision.kind === 'retry'
        ? { ...of, type: 'failed', error: decision.reason, retryMs: null }
        : { ...of, type: 'succeeded' }
    return { delivery, ending: null, events: [event], returnsMs: null }
  }

  /** An aborted handler may return early, so its return does not mean success. */
  #interrupted(delivery: Delivery, context: CallContext, thrown: unknown, durationMs: number): Verdict {
    const { message } = delivery
    const error = thrown ?? context.signal.reason
    const event = { type: 'failed', queue: this.#access.name, message, durationMs, error, retryMs: 0 } as const
    const ending: Ending = { kind: 'release', delayMs: 0, meta: errorMeta(error), uncount: false }
    return { delivery, ending, events: [event], returnsMs: 0 }
  }
}
