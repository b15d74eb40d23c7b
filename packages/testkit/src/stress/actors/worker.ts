import { setTimeout as wait } from 'node:timers/promises'
import { describeError } from 'tidings/internal/core/message-error'
import type { WorkerEvent } from 'tidings/internal/worker/events'
import type { StressData } from '../final-state.ts'
import { deadLettersOf } from '../final-state.ts'
import type { Fact } from '../history.ts'
import type { QueuePlan } from '../plan.ts'
import { shareOf } from '../random.ts'
import { type Actor, leaseOf, type Scene, untilStopped } from './actor.ts'
import { dieBetweenRequests } from './death.ts'
import { settleLate } from './late-reader.ts'

/** The shares of messages that fail at every attempt, and at least at the first attempt. */
const poisoned = 0.04
const clumsy = 0.08
/** The duration of a handler; a few are slow, so that kills and late settlements hit running handlers. */
const quickMs = 5
const slowMs = 300

/** Handles the messages of all queues. The uid decides whether a message fails. */
export const worker: Actor = async (scene) => {
  const workers = scene.plan.queues.map((queue) => work(scene, queue))
  const lateReaders = scene.plan.queues.map((queue) => settleLate(scene, queue))
  await untilStopped(scene)
  await Promise.all([...workers.map((one) => one.stop()), ...lateReaders])
}

function work(scene: Scene, { name, keyed, onSuccess }: QueuePlan) {
  const { bus, history, plan, random } = scene
  const queue = bus.queue<StressData>(name, { deadLetter: deadLettersOf(name) })
  return queue.work(
    async (message) => {
      const { data, id, readCount } = message
      const { uid } = data
      const about = { queue: name, uid, id, attempt: readCount }
      history.tell({ event: 'started', ...leaseOf(message), ...about })
      await wait(random.about(random.chance(readCount > 1 ? 0.5 : 0.05) ? slowMs : quickMs))
      const share = shareOf(uid)
      const ok = share >= poisoned && (share >= clumsy || readCount > 1)
      history.tell({ event: 'ended', ok, ...about })
      if (ok) return
      if (readCount >= plan.maxAttempts && scene.isToDie()) dieBetweenRequests(scene)
      throw new Error('fails on purpose')
    },
    {
      concurrency: keyed ? 4 : 16,
      maxAttempts: plan.maxAttempts,
      backoff: 50,
      onSuccess,
      observe: (event) => {
        const fact = factOf(event)
        if (fact) history.tell(fact)
      },
    },
  )
}

function factOf(event: WorkerEvent): Fact | undefined {
  if (event.type === 'fetchFailed')
    return { event: 'trouble', doing: 'reading', code: event.type, message: describeError(event.error).message }
  if (!('message' in event)) return undefined
  const { id, readCount, data } = event.message
  const about = { queue: event.queue, uid: (data as StressData).uid, id, attempt: readCount }
  switch (event.type) {
    case 'succeeded':
    case 'deadLettered':
      return { event: 'settled', as: event.type, ...about }
    case 'failed':
      return event.retryMs === null ? undefined : { event: 'settled', as: 'retried', ...about }
    case 'leaseLost':
      return { event: 'leaseLost', ...about }
    case 'settleFailed':
      return { event: 'unsettled', ...about }
    default:
      return undefined
  }
}
