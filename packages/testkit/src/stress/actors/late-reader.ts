import { setTimeout as wait } from 'node:timers/promises'
import { isTidingsError } from 'tidings/internal/core/errors'
import { describeError } from 'tidings/internal/core/message-error'
import type { Message } from 'tidings/internal/messages/message'
import type { StressData } from '../final-state.ts'
import type { QueuePlan } from '../plan.ts'
import { leaseOf, type Scene } from './actor.ts'

const leaseMs = 200
/** About how long a message is held, which is often until another reader is at it. */
const holdMs = 450
/** About how long nothing is read. */
const pauseMs = 300

/** Reads a message now and then, holds it for longer than its lease, and then settles or abandons it. */
export async function settleLate(scene: Scene, { name, onSuccess }: QueuePlan): Promise<void> {
  const { bus, history, random, stop } = scene
  const queue = bus.queue<StressData>(name)
  while (!stop.aborted) {
    await wait(random.about(pauseMs), undefined, { signal: stop }).catch(() => {})
    try {
      const [message] = await queue.read({ lease: leaseMs })
      // Those that failed are left to the workers, which know when it was the last time.
      if (message !== undefined && message.readCount > 1) await message.release()
      else if (message !== undefined) await hold(scene, message, onSuccess)
    } catch (error) {
      history.tell({ event: 'trouble', doing: 'reading', code: codeOf(error), message: describeError(error).message })
    }
  }
}

async function hold({ history, random }: Scene, message: Message<StressData>, onSuccess: QueuePlan['onSuccess']) {
  const about = { queue: message.queue, uid: message.data.uid, id: message.id, attempt: message.readCount }
  history.tell({ event: 'started', ...leaseOf(message), ...about })
  if (random.chance(0.5)) return
  await wait(random.about(holdMs))
  history.tell({ event: 'ended', ok: true, ...about })
  try {
    await (onSuccess === 'delete' ? message.delete() : message.archive())
    history.tell({ event: 'settled', as: 'succeeded', ...about })
  } catch (error) {
    history.tell({ event: codeOf(error) === 'LEASE_LOST' ? 'leaseLost' : 'unsettled', ...about })
  }
}

const codeOf = (error: unknown) => (isTidingsError(error) ? error.code : 'unknown')
