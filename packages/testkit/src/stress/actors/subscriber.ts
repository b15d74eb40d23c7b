import { setTimeout as wait } from 'node:timers/promises'
import type { SubscriptionEvent } from 'tidings/internal/subscription/events'
import type { StressData } from '../final-state.ts'
import type { Fact } from '../history.ts'
import { shareOf } from '../random.ts'
import { type Actor, type Scene, untilStopped } from './actor.ts'

/** The shares of messages that fail at every attempt, and at least at the first attempt. */
const poisoned = 0.01
const clumsy = 0.02
/** About how long a handler takes; a few take long, so that kills meet them. */
const quickMs = 1
const slowMs = 100

/** Reads all subscriptions of all topics, or stands by for them. The uid decides whether a message fails. */
export const subscriber: Actor = async (scene) => {
  const subscribers = scene.plan.topics.flatMap(({ name, subscriptions }) =>
    subscriptions.map((subscription) => subscribe(scene, name, subscription)),
  )
  await untilStopped(scene)
  await Promise.all(subscribers.map((one) => one.stop()))
}

function subscribe(scene: Scene, topic: string, subscription: string) {
  const { bus, history, plan, random } = scene
  return bus.topic<StressData>(topic).subscribe(
    subscription,
    async ({ offset, data: { uid } }, { attempt }) => {
      const about = { topic, subscription, offset, uid }
      history.tell({ event: 'received', ...about })
      await wait(random.about(random.chance(0.03) ? slowMs : quickMs))
      const share = shareOf(uid)
      if (share < poisoned || (share < clumsy && attempt === 1)) throw new Error('fails on purpose')
      history.tell({ event: 'handled', ...about })
    },
    {
      maxAttempts: plan.maxAttempts,
      backoff: 20,
      observe: (event) => {
        const fact = factOf(event)
        if (fact) history.tell(fact)
      },
    },
  )
}

function factOf(event: SubscriptionEvent): Fact | undefined {
  const { topic, subscription } = event
  switch (event.type) {
    case 'holdLost':
      return { event: 'superseded', topic, subscription }
    case 'deadLettered': {
      const { offset, data } = event.message
      return { event: 'handled', topic, subscription, offset, uid: (data as StressData).uid }
    }
    case 'interrupted':
      return { event: 'trouble', doing: 'reading a topic', code: event.type, message: String(event.error) }
    default:
      return undefined
  }
}
