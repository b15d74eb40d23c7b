import { TidingsError } from '../core/errors.ts'
import type { QueueAccess } from '../messages/access.ts'
import { isUnknown } from '../messages/lease.ts'
import type { Engine, Settlement, Transaction } from '../port/engine.ts'
import { CallContext } from './context.ts'
import type { Delivery } from './delivery.ts'
import { isDone, type Verdict } from './verdict.ts'

/** The result of a call in a transaction. */
export interface TransactionalCall {
  /** The handler's verdicts; null if no transaction could begin and the handler was not called. */
  readonly verdicts: readonly Verdict[] | null
  /** Why the transaction was rolled back; null if it was committed, with all settlements. */
  readonly failure: unknown
}

/** @throws UNSUPPORTED */
export function requireTransactions({ name, supports }: Engine): void {
  if (supports.has('transactions')) return
  const details = { feature: 'transactions' }
  throw new TidingsError('UNSUPPORTED', `transactional is set, but the ${name} engine has no transactions`, { details })
}

/** The reason for the rollback of a call in which not every message is done. */
export const notDone = new TidingsError('HANDLER_FAILED', 'a message of the call is not done')

/**
 * One transaction for one call of the handler. It commits if all messages are done and still leased; otherwise the
 * handler's writes and sends are rolled back. An aborted call is rolled back at once, so that its locks do not block the
 * next reader.
 * @param call calls the handler and judges; never rejects
 * @param lose called for messages whose lease was lost
 */
export async function callInTransaction(
  { engine, name }: QueueAccess<unknown>,
  context: CallContext,
  call: () => Promise<Verdict[]>,
  lose: (delivery: Delivery) => void,
): Promise<TransactionalCall> {
  let calling: Promise<Verdict[]> | undefined
  const handedOver: Delivery[] = []

  const work = async (transaction: Transaction) => {
    CallContext.begin(context, transaction)
    calling = call()
    const verdicts = await Promise.race([calling, CallContext.untilAborted(context)])
    if (!verdicts.every(isDone)) throw notDone
    const settlements: Settlement[] = []
    for (const { delivery, ending } of verdicts) {
      delivery.phase = 'settling'
      handedOver.push(delivery)
      if (ending) settlements.push(await delivery.handOver(ending))
    }
    const results = await engine.settle(name, settlements, transaction)
    const lost = handedOver.filter((_, index) => results[index]?.settled !== true)
    if (lost.length === 0) return
    for (const delivery of lost) lose(delivery)
    throw new TidingsError('LEASE_LOST', `the lease of message ${lost[0]?.message.id} was lost before the commit`)
  }

  try {
    await engine.transaction(work)
    return { verdicts: (await calling) ?? null, failure: null }
  } catch (failure) {
    for (const delivery of handedOver) if (!delivery.lost) delivery.takeBack(isUnknown(failure))
    return { verdicts: (await calling) ?? null, failure }
  }
}
