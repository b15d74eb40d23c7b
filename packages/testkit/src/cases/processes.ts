import assert from 'node:assert/strict'
import { setTimeout as pause } from 'node:timers/promises'
import type { Engine } from 'tidings/internal/port/engine'
import type { Listening } from 'tidings/internal/port/listening'
import { type ProcessInfo, thisProcess } from 'tidings/internal/port/processes'
import { group } from '../group.ts'
import { listen, long, type Scene } from '../scene.ts'

/** A process that the storage looks after. */
interface Process {
  readonly engine: Engine
  readonly listening: Listening
}

async function begin(scene: Scene, engine = scene.engine): Promise<Process> {
  const listening = await listen(engine, () => {})
  assert.deepEqual(await listening.listen(['life', `queue:${scene.queue}`]), new Map())
  return { engine, listening }
}

const beginAnother = async (scene: Scene): Promise<Process> =>
  begin(scene, scene.harness.secondEngine ? await scene.secondEngine() : scene.engine)

/** Claims a message from a queue of its own, whose name is returned. */
async function work(scene: Scene, { engine }: Process, held = true): Promise<string> {
  const queue = await scene.newQueue()
  await scene.sendTo(queue, {})
  const { messages } = await engine.claim(queue, { limit: 1, leaseMs: long, ids: null, held })
  assert.equal(messages.length, 1)
  return queue
}

/**
 * What is listed of the process in which the suite runs. Other cases may run in it on the same storage, so what a case has
 * begun is among what came meanwhile.
 */
async function listed(engine: Engine): Promise<ProcessInfo[]> {
  const all = await engine.processes()
  assert.equal(new Set(all.map(({ id }) => id)).size, all.length, 'each has an id of its own')
  return all.filter(({ host, pid }) => host === thisProcess.host && pid === thisProcess.pid)
}

const idsIn = (processes: readonly ProcessInfo[]) => new Set(processes.map(({ id }) => id))

/** Runs what begins processes. @returns what is listed since then */
async function arrivals(scene: Scene, start: () => Promise<unknown>): Promise<ProcessInfo[]> {
  const before = idsIn(await listed(scene.engine))
  await start()
  return (await listed(scene.engine)).filter(({ id }) => !before.has(id))
}

/** Resolves once one of them is not listed any more. */
async function departure(engine: Engine, among: readonly ProcessInfo[]): Promise<void> {
  for (;;) {
    const now = idsIn(await listed(engine))
    if (among.some(({ id }) => !now.has(id))) return
    await pause(20)
  }
}

/** Those that have claimed from the queue; undefined where the storage does not know. */
async function claimersOf(queue: string, engine: Engine): Promise<ProcessInfo[] | undefined> {
  const all = await listed(engine)
  return all.every(({ queues }) => queues === null) ? undefined : all.filter(({ queues }) => queues?.includes(queue))
}

export const processes = group('processes', {
  'one that is looked after is listed, with what it says of itself, and since when': async (scene) => {
    // An engine that was used before may be the same process still, of which storages take the word for it.
    const from = (await scene.now()) - process.uptime() * 1_000
    const found = await arrivals(scene, () => begin(scene))
    const to = await scene.now()
    const isInTime = ({ since }: ProcessInfo) => since >= from - 5 && since <= to + 5
    assert(found.some((one) => one.version === thisProcess.version && isInTime(one)))
  },

  'two are two': async (scene) => {
    const found = await arrivals(scene, async () => {
      await begin(scene)
      await beginAnother(scene)
    })
    assert(found.length >= 2, `${found.length}`)
  },

  'one whose connection is gone is not listed any more, and another one is': async (scene) => {
    const you = await begin(scene)
    const yours = await work(scene, you)
    const me = await beginAnother(scene)
    const mine = await work(scene, me)
    const found = (await claimersOf(mine, you.engine)) ?? (await listed(you.engine))
    await me.listening.close()
    await departure(you.engine, found)
    assert.notEqual((await claimersOf(yours, you.engine))?.length, 0)
    assert.notEqual((await listed(you.engine)).length, 0)
  },

  'one that wants to be looked after no more is not listed, until it does again': async (scene) => {
    const me = await begin(scene)
    const queue = await work(scene, me)
    const found = (await claimersOf(queue, me.engine)) ?? (await listed(me.engine))
    me.listening.unlisten(['life'])
    await departure(me.engine, found)
    await me.listening.listen(['life'])
    assert.notEqual((await claimersOf(await work(scene, me), me.engine))?.length, 0)
    assert.notEqual((await listed(me.engine)).length, 0)
  },

  'where it is known, each has the queues from which it has claimed what is held, by name': async (scene) => {
    const you = await beginAnother(scene)
    const me = await begin(scene)
    const queues = [await work(scene, me), await work(scene, me)].sort()
    const unheld = await work(scene, me, false)
    const claimers = await claimersOf(queues[0]!, you.engine)
    if (claimers === undefined) return
    assert.deepEqual(
      claimers.map((one) => one.queues),
      [queues],
    )
    assert.deepEqual(await claimersOf(unheld, you.engine), [])
  },
})
