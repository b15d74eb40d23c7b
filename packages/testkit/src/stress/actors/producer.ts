import { setTimeout as wait } from 'node:timers/promises'
import { isTidingsError } from 'tidings/internal/core/errors'
import { describeError } from 'tidings/internal/core/message-error'
import type { StressData } from '../final-state.ts'
import { type Destination, monotonicMs } from '../history.ts'
import type { QueuePlan, TopicPlan } from '../plan.ts'
import { shareOf } from '../random.ts'
import type { Actor, Scene } from './actor.ts'

/** How many calls a producer makes at a time. */
const lanes = 4
/** Keys of one lane; few enough that messages of one key meet. */
const keys = 5
const maxBatch = 10
/** The shares of sends that are repeated as if the answer had been lost, and that all producers send. */
const repeated = 0.05
const shared = 0.05
/** The shared messages of all producers change this often. */
const sharedMs = 100
const dedup = { dedupWindow: '1h' } as const

/** Sends to queues and publishes to topics and routing keys, until it is stopped. Failed calls are repeated. */
export const producer: Actor = async (scene) => {
  await Promise.all(Array.from({ length: lanes }, (_, index) => lane(scene, `${scene.name}.${index + 1}`)))
}

/** Makes one call after the other, so the messages of a lane are ordered. */
async function lane(scene: Scene, name: string): Promise<void> {
  const { plan, random, stop } = scene
  const deeds = [...plan.queues.map(sendTo), ...plan.topics.map(publishTo), publishRouted]
  const pauseMs = (1_000 * lanes) / plan.rate
  let count = 0
  let next = monotonicMs()
  while (!stop.aborted) {
    const size = random.chance(0.3) ? 1 + random.below(maxBatch) : 1
    if (random.chance(shared)) {
      const uids = Array.from({ length: size }, (_, index) => `shared/${Math.floor(monotonicMs() / sharedMs)}/${index}`)
      await deeds[Math.floor(shareOf(uids[0]!) * deeds.length)]!(scene, { lane: name, uids, isShared: true })
    } else {
      const uids = Array.from({ length: size }, () => `${name}/${++count}`)
      await random.pick(deeds)(scene, { lane: name, uids, isShared: false })
    }
    // Catches up after slow answers, within a limit.
    next = Math.max(next + random.about(pauseMs) * size, monotonicMs() - 1_000)
    await wait(Math.max(0, next - monotonicMs()), undefined, { signal: stop }).catch(() => {})
  }
}

interface Batch {
  readonly lane: string
  readonly uids: readonly string[]
  /** Other producers send the same messages. */
  readonly isShared: boolean
}

type Deed = (scene: Scene, batch: Batch) => Promise<void>

const sendTo =
  ({ name, keyed }: QueuePlan): Deed =>
  async (scene, { lane, uids, isShared }) => {
    const key = keyed && !isShared ? `${lane}/${scene.random.below(keys)}` : null
    const entries = uids.map((uid) => ({
      data: { uid },
      dedupId: uid,
      ...dedup,
      ...(key === null ? {} : { orderingKey: key }),
    }))
    const queue = scene.bus.queue<StressData>(name)
    await untilStored(scene, { lane, places: [{ queue: name }], uids, key }, async () => {
      const results = await queue.sendBatch(entries)
      for (const [index, { id }] of results.entries()) tellSent(scene, uids[index]!, { queue: name }, id)
    })
  }

const publishTo =
  ({ name }: TopicPlan): Deed =>
  async (scene, { lane, uids }) => {
    const entries = uids.map((uid) => ({ data: { uid }, dedupId: uid, ...dedup }))
    await untilStored(scene, { lane, places: [{ topic: name }], uids, key: null }, async () => {
      const results = await scene.bus.topic(name).publishBatch(entries)
      for (const [index, { offset }] of results.entries())
        tellSent(scene, uids[index]!, { topic: name }, String(offset))
    })
  }

const publishRouted: Deed = async (scene, { lane, uids }) => {
  const { routingKey, queues, topics } = scene.plan.route
  const places = [...queues.map((queue) => ({ queue })), ...topics.map((topic) => ({ topic }))]
  const entries = uids.map((uid) => ({ data: { uid }, dedupId: uid, ...dedup }))
  await untilStored(scene, { lane, places, uids, key: null }, async () => {
    const results = await scene.bus.publishBatch(routingKey, entries)
    for (const [index, copies] of results.entries())
      for (const copy of copies) {
        const isInQueue = 'queue' in copy
        const destination = isInQueue ? { queue: copy.queue } : { topic: copy.topic }
        tellSent(scene, uids[index]!, destination, isInQueue ? copy.id : String(copy.offset))
      }
  })
}

interface Sending {
  readonly lane: string
  readonly places: readonly Destination[]
  readonly uids: readonly string[]
  readonly key: string | null
}

/** Stores messages, some of them twice, which is safe because of the dedup ids. */
async function untilStored(scene: Scene, sending: Sending, store: () => Promise<void>): Promise<void> {
  const { history, random } = scene
  history.tell({ event: 'sending', ...sending })
  const again = random.chance(repeated)
  // A retry may meet the first try on its way, or come after it.
  const meanwhile = again && random.chance(0.5) ? stored(scene, store) : undefined
  await Promise.all([stored(scene, store), meanwhile])
  if (again && !meanwhile) await stored(scene, store)
}

/** Repeats a call until it is answered. */
async function stored({ history }: Scene, store: () => Promise<void>): Promise<void> {
  for (;;) {
    try {
      return await store()
    } catch (error) {
      const code = isTidingsError(error) ? error.code : 'unknown'
      history.tell({ event: 'trouble', doing: 'sending', code, message: describeError(error).message })
      if (!isTidingsError(error) || !error.retryable) throw error
      await wait(200)
    }
  }
}

const tellSent = ({ history }: Scene, uid: string, destination: Destination, at: string) =>
  history.tell({ event: 'sent', uid, place: destination, at })
