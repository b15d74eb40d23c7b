import assert from 'node:assert/strict'
import type { Engine, Place } from 'tidings/internal/port/engine'
import { type ConformanceCase, group } from '../group.ts'
import {
  archive,
  assertRejects,
  type Leased,
  long,
  move,
  newMessage,
  only,
  release,
  remove,
  type Scene,
  settlement,
  short,
  watch,
} from '../scene.ts'

/** A state that a message can be in, and what each operation must answer then. */
interface State {
  /** Brings a message there. @returns it with the newest receipt that anybody got, if there is one */
  reach(scene: Scene): Promise<Pick<Leased, 'id'> & { receipt: string | null }>
  place: Place | 'gone'
  claimable: boolean
  settleable: boolean
  extendable: boolean
  cancellable: boolean
}

const waiting = { claimable: false, settleable: false, extendable: false, cancellable: true }
const ready = { ...waiting, place: 'ready', claimable: true } as const
const delayed = { ...waiting, place: 'delayed' } as const
const leased = { claimable: false, settleable: true, extendable: true, cancellable: false, place: 'leased' } as const
const ended = { claimable: false, settleable: false, extendable: false, cancellable: false, place: 'gone' } as const

async function sent(scene: Scene, delayMs: number) {
  const [id] = await scene.send({ delayMs })
  return { id, receipt: null }
}

async function settled(scene: Scene, ending: Parameters<Scene['settle']>[1]) {
  const message = await scene.lease()
  await scene.settle(message, ending)
  return message
}

const states: Record<string, State> = {
  'just sent': { reach: (scene) => sent(scene, 0), ...ready },
  delayed: { reach: (scene) => sent(scene, long), ...delayed },
  'delayed for long': { reach: (scene) => sent(scene, 100 * long), ...delayed },
  'delayed and due': {
    reach: async (scene) => {
      const message = await sent(scene, short)
      await scene.passTime(short)
      return message
    },
    ...ready,
  },
  leased: { reach: (scene) => scene.lease(), ...leased },
  'leased again': {
    reach: async (scene) => {
      const { id } = await scene.leaseRunOut()
      return await scene.claimOne({ ids: [id] })
    },
    ...leased,
  },
  'leased and extended': {
    reach: async (scene) => {
      const message = await scene.lease()
      return { ...message, receipt: await scene.extend(message) }
    },
    ...leased,
  },
  'leased, and the lease ran out': { reach: (scene) => scene.leaseRunOut(), ...ready, settleable: true },
  'given back': { reach: (scene) => settled(scene, release()), ...ready },
  'given back with a delay': { reach: (scene) => settled(scene, release({ delayMs: long })), ...delayed },
  deleted: { reach: (scene) => settled(scene, remove), ...ended },
  archived: { reach: (scene) => settled(scene, archive()), ...ended, place: 'archived' },
  moved: { reach: async (scene) => settled(scene, move(await scene.newQueue())), ...ended },
  popped: {
    reach: async (scene) => {
      await scene.send({ priority: 9 })
      return only(await scene.pop(1))
    },
    ...ended,
  },
  cancelled: {
    reach: async (scene) => {
      const message = await scene.leaseRunOut()
      await scene.engine.cancel(scene.queue, [message.id])
      return message
    },
    ...ended,
  },
  purged: {
    reach: async (scene) => {
      const message = await scene.lease()
      await scene.engine.purgeQueue(scene.queue)
      return message
    },
    ...ended,
  },
}

/** Tries every operation on a message of its own in this state. What is refused must leave no trace. */
async function tryAll(scene: Scene, state: State): Promise<void> {
  const other = await scene.newQueue()
  const endings = [remove, archive(), release(), move(other)]
  const operations: [string, boolean, (message: Leased) => Promise<boolean>][] = [
    ['claim', state.claimable, async ({ id }) => (await scene.claim({ ids: [id] })).length === 1],
    ...endings.map((ending): [string, boolean, (message: Leased) => Promise<boolean>] => [
      ending.kind,
      state.settleable,
      async (message) => (await scene.settle(message, ending)).settled,
    ]),
    ['extend', state.extendable, async (message) => (await scene.extend(message)) !== null],
    ['cancel', state.cancellable, async ({ id }) => only(await scene.engine.cancel(scene.queue, [id])) === 'removed'],
    ['makeReady', state.cancellable, async ({ id }) => only(await scene.engine.makeReady(scene.queue, [id]))],
  ]
  for (const [name, expected, operate] of operations) {
    const message = await state.reach(scene)
    assert.equal(await scene.placeOf(message.id), state.place, `place before ${name}`)
    const before = state.place === 'gone' ? null : await scene.look(message.id)
    assert.equal(await operate({ ...message, receipt: message.receipt ?? 'none' } as Leased), expected, name)
    if (!expected && before !== null) assert.deepEqual(await scene.look(message.id), before, `after ${name}`)
    if (!expected && before === null) assert.equal(await scene.placeOf(message.id), 'gone', `after ${name}`)
  }
}

/** Every member that works on one queue. */
function queueCalls(engine: Engine, queue: string, { id, receipt }: Pick<Leased, 'id' | 'receipt'>) {
  return {
    purgeQueue: () => engine.purgeQueue(queue),
    stats: () => engine.stats(queue),
    describe: () => engine.describe(queue),
    'maintain: archive': () => engine.maintain({ kind: 'archive', queue, archivedForMs: long, keep: 1, limit: 1 }),
    send: () => engine.send(queue, [newMessage({})], null),
    claim: () => engine.claim(queue, { limit: 1, leaseMs: long, ids: null }),
    'claim by ids': () => engine.claim(queue, { limit: 1, leaseMs: long, ids: [id] }),
    pop: () => engine.pop(queue, 1),
    peek: () => engine.peek(queue, { place: null, limit: 1, afterId: null, ids: null }),
    'peek into the archive': () => engine.peek(queue, { place: 'archived', limit: 1, afterId: id, ids: null }),
    ...Object.fromEntries(
      [remove, archive(), release(), move(queue)].map((ending) => [
        ending.kind,
        () => engine.settle(queue, [{ ...ending, id, receipt }]),
      ]),
    ),
    extend: () => engine.extend(queue, [{ id, receipt }], long),
    cancel: () => engine.cancel(queue, [id]),
    makeReady: () => engine.makeReady(queue, [id]),
    listen: () => watch(engine, `queue:${queue}`),
    bind: () => engine.bind({ pattern: 'case.lifecycle.#', queue }),
    unbind: () => engine.unbind({ pattern: 'case.lifecycle.#', queue }),
    bindings: () => engine.bindings(queue),
  }
}

const messageStates: ConformanceCase[] = group(
  'lifecycle',
  Object.fromEntries(
    Object.entries(states).map(([name, state]) => [
      `every operation on a message that is ${name}`,
      (scene: Scene) => tryAll(scene, state),
    ]),
  ),
)

const queueStates = group('lifecycle', {
  'every operation on an empty queue': async (scene) => {
    const leased = await scene.lease()
    await scene.delete(leased)
    const { queue, engine } = scene
    assert.deepEqual(await scene.claim({ ids: [leased.id] }), [])
    assert.deepEqual(await scene.pop(), [])
    for (const place of [null, 'ready', 'delayed', 'leased', 'archived'] as const)
      assert.deepEqual(await scene.peek({ place }), [], `${place}`)
    assert.deepEqual(await engine.settle(queue, [settlement(leased, remove)]), [{ settled: false, newId: null }])
    assert.deepEqual(await engine.extend(queue, [leased], long), [null])
    assert.deepEqual(await engine.cancel(queue, [leased.id]), [null])
    assert.equal(await engine.purgeQueue(queue), 0)
    assert.equal(await scene.nextDueMs(), null)
  },

  'every operation on a queue that never was': async (scene) => {
    const leased = await scene.lease()
    const missing = scene.newName()
    for (const [name, call] of Object.entries(queueCalls(scene.engine, missing, leased)))
      await assertRejects(call(), 'QUEUE_NOT_FOUND', name)
    assert.equal(await scene.engine.dropQueue(missing), false)
  },

  'every operation on a queue that was dropped': async (scene) => {
    const leased = await scene.lease()
    // An engine's memory of the queue must not outlive the queue.
    for (const call of Object.values(queueCalls(scene.engine, scene.queue, { id: leased.id, receipt: 'stale' })))
      await call()
    await scene.engine.dropQueue(scene.queue)
    for (const [name, call] of Object.entries(queueCalls(scene.engine, scene.queue, leased)))
      await assertRejects(call(), 'QUEUE_NOT_FOUND', name)
  },

  'every operation after the engine was closed': async (scene) => {
    const { engine, queue } = scene
    const leased = await scene.lease()
    await engine.close()
    const calls = {
      ...queueCalls(engine, queue, leased),
      open: () => engine.open(),
      createQueue: () => engine.createQueue(queue),
      dropQueue: () => engine.dropQueue(queue),
      'describe all': () => engine.describe(null),
      'all bindings': () => engine.bindings(null),
      publish: () => engine.publish([{ ...newMessage({}), routingKey: 'case.lifecycle' }], null),
      'maintain: due': () => engine.maintain({ kind: 'due' }),
      processes: () => engine.processes(),
      diagnose: () => engine.diagnose(),
    }
    for (const [name, call] of Object.entries(calls)) await assertRejects(call(), 'CLOSED', name)
  },

  'an engine can be closed twice': async (scene) => {
    await Promise.all([scene.engine.close(), scene.engine.close()])
    await scene.engine.close()
  },

  'closing waits for calls under way': async (scene) => {
    const sending = Array.from({ length: 5 }, () => scene.engine.send(scene.queue, [newMessage({})], null))
    const closing = scene.engine.close()
    // Refused or stored, but not left hanging.
    for (const outcome of await Promise.allSettled(sending))
      if (outcome.status === 'rejected') assert.equal(outcome.reason.code, 'CLOSED')
    await closing
  },
})

export const lifecycle = [...messageStates, ...queueStates]
