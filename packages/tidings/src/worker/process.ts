import { isTidingsError, type TidingsError } from '../core/errors.ts'
import type { QueueAccess } from '../messages/access.ts'
import { delayAfter } from '../messages/backoff.ts'
import { expiryError } from '../messages/expiry.ts'
import { attemptOf, attemptsError, cancelledEnding, failureMeta, isUnknown } from '../messages/lease.ts'
import { Message } from '../messages/message.ts'
import type { Ending, StoredMessage } from '../port/engine.ts'
import { CallContext } from './context.ts'
import type { Delivery } from './delivery.ts'
import type { Journal, WorkerHappening } from './events.ts'
import type { Held } from './held.ts'
import type { ParsedWorkOptions } from './options.ts'
import { failed, failureOf, type Outcome, toOutcome, toOutcomes } from './outcome.ts'
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
  readonly #held: Held
  #complained = false

  constructor(
    access: QueueAccess<unknown>,
    options: ParsedWorkOptions,
    invoke: Invoke,
    isBatch: boolean,
    journal: Journal,
    held: Held,
  ) {
    this.#access = access
    this.#options = options
    this.#invoke = invoke
    this.#isBatch = isBatch
    this.#journal = journal
    this.#held = held
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

    const context = new CallContext(this.#access, this.#options.maxAttempts, admitted)
    const call = () => this.#call(admitted, messages, context)
    const judged = await (this.#options.transactional ? this.#callInTransaction(admitted, context, call) : call())
    return verdicts.length === 0 ? judged : [...verdicts, ...judged]
  }

  async #call(admitted: Delivery[], decoded: Message<unknown>[], context: CallContext): Promise<Verdict[]> {
    const { clock, name, telemetry } = this.#access
    if (this.#held.areInDoubt(admitted)) await this.#held.confirm(admitted)
    const lost = admitted.filter((one) => one.lost)
    if (lost.length === admitted.length) return lost.map(dropped)
    // Seldom is one lost, and this is done for each message.
    const deliveries = lost.length === 0 ? admitted : admitted.filter((one) => !one.lost)
    const messages = lost.length === 0 ? decoded : decoded.filter((_, index) => !admitted[index]!.lost)
    const startedAt = clock.now()
    for (const { message, heldMs } of deliveries) {
      telemetry.handed(name, [message], heldMs)
      this.#journal.tell({ type: 'started', queue: name, message })
    }
    const stored = deliveries.map(({ message }) => message)
    const outcomes = await this.#handle(messages, stored, context)
    const durationMs = clock.now() - startedAt
    const judged = deliveries.map((one, index) => this.#judge(one, outcomes[index] as Outcome, context, durationMs))
    return lost.length === 0 ? judged : [...judged, ...lost.map(dropped)]
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
  #afterRollback(before: Verdict, failure: unknown, context: CallContext): Verdict {
    const { delivery, events } = before
    if (delivery.lost) return dropped(delivery)
    if (!isDone(before)) return before
    const [event] = events
    const durationMs = event?.type === 'succeeded' ? event.durationMs : 0
    if (CallContext.isAborted(context)) return this.#interrupted(delivery, context, null, durationMs)
    // Another message of the call was the reason: this one comes again without a counted attempt.
    if (failure === notDone || isTidingsError(failure, 'LEASE_LOST')) return this.#snooze(delivery, 0)
    const verdict = this.#retry(delivery, failure, null, durationMs)
    return isUnknown(failure) ? { ...verdict, committed: events } : verdict
  }

  /** Refuses a message that had all its attempts, and one whose time to live is over. */
  #admit(delivery: Delivery): Message<unknown> | Verdict | Promise<Message<unknown> | Verdict> {
    if (delivery.cancelled) return this.#cancel(delivery)
    const tooMany = attemptsError(delivery.message, this.#options.maxAttempts)
    if (tooMany !== null) return this.#deadLetter(delivery, tooMany, attemptOf(delivery.message) - 1)
    const expired = expiryError(delivery.message, delivery.heldMs)
    return expired ? this.#expire(delivery, expired) : this.#decode(delivery)
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

  #handle(messages: Message<unknown>[], stored: StoredMessage[], context: CallContext): Promise<readonly Outcome[]> {
    const { telemetry, name: destination } = this.#access
    return telemetry.process({ destination, messages: stored, failureOf }, () => this.#outcomes(messages, context))
  }

  async #outcomes(messages: Message<unknown>[], context: CallContext): Promise<readonly Outcome[]> {
    const count = messages.length
    try {
      const result = await this.#invoke(messages, context)
      const judge = (why: TidingsError) => this.#judgeResult(why)
      return this.#isBatch ? toOutcomes(result, count, judge) : [toOutcome(result, judge)]
    } catch (error) {
      return new Array<Outcome>(count).fill(failed(error))
    }
  }

  /** Warns once: such a handler returns a value every time. */
  #judgeResult(why: TidingsError): Outcome | undefined {
    if (this.#options.strictResults) return failed(why)
    if (!this.#complained) this.#journal.warn(this.#access.name, why, why.hint)
    this.#complained = true
    return undefined
  }

  #judge(delivery: Delivery, { decision }: Outcome, context: CallContext, durationMs: number): Verdict {
    if (delivery.lost) return dropped(delivery)
    if (delivery.ended) return this.#settledByHandler(delivery, decision, durationMs)
    const { kind } = decision
    if (delivery.cancelled && kind !== 'success' && kind !== 'delete' && kind !== 'archive')
      return this.#cancel(delivery)
    if (
      CallContext.isAborted(context) &&
      !delivery.cancelled &&
      (decision.kind === 'success' || decision.kind === 'retry')
    )
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
        return this.#snooze(delivery, decision.delayMs, decision.hold)
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
    const attempt = attemptOf(message)
    const queue = this.#access.name
    const event = { type: 'failed', queue, message, durationMs, error } as const
    if (attempt >= this.#options.maxAttempts) {
      const { ending, events } = this.#deadLetter(delivery, error)
      return { delivery, ending, events: [{ ...event, retryMs: null }, ...events], returnsMs: null }
    }
    const complain = (why: unknown) => this.#journal.warn(queue, why, 'the backoff function gave no usable delay')
    const delayMs = askedMs ?? delayAfter(this.#options.backoff, attempt, error, complain)
    const ending: Ending = { kind: 'release', delayMs, meta: failureMeta(message, error), uncount: false }
    return { delivery, ending, events: [{ ...event, retryMs: delayMs }], returnsMs: delayMs }
  }

  #snooze(delivery: Delivery, delayMs: number, hold?: 'queue' | 'group'): Verdict {
    const { message } = delivery
    const ending = { kind: 'release', delayMs, meta: {}, uncount: true } as const
    return {
      delivery,
      ending: hold === undefined ? ending : { ...ending, hold },
      events: [{ type: 'snoozed', queue: this.#access.name, message, delayMs }],
      // What is held back keeps its order in the storage.
      returnsMs: hold === undefined ? delayMs : null,
    }
  }

  #deadLetter(delivery: Delivery, error: unknown, attempts?: number): Verdict {
    const { message } = delivery
    return {
      delivery,
      ending: delivery.deadLetterEnding(error, attempts),
      events: [{ type: 'deadLettered', queue: this.#access.name, message, error }],
      returnsMs: null,
    }
  }

  #cancel(delivery: Delivery): Verdict {
    const { message } = delivery
    const event = { type: 'cancelled', queue: this.#access.name, message } as const
    return { delivery, ending: cancelledEnding(this.#access.clock.now()), events: [event], returnsMs: null }
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
    const event: WorkerHappening =
      decision.kind === 'retry'
        ? { ...of, type: 'failed', error: decision.reason, retryMs: null }
        : { ...of, type: 'succeeded' }
    return { delivery, ending: null, events: [event], returnsMs: null }
  }

  /** An aborted handler may return early, so its return does not mean success. It has not used up an attempt. */
  #interrupted(delivery: Delivery, context: CallContext, thrown: unknown, durationMs: number): Verdict {
    const { message } = delivery
    const error = thrown ?? context.signal.reason
    const event = { type: 'failed', queue: this.#access.name, message, durationMs, error, retryMs: 0 } as const
    const ending: Ending = { kind: 'release', delayMs: 0, meta: failureMeta(message, error), uncount: true }
    return { delivery, ending, events: [event], returnsMs: 0 }
  }
}
