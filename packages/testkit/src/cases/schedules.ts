import assert from 'node:assert/strict'
import type { Engine } from 'tidings/internal/port/engine'
import type { ScheduleTarget, Sending, StoredSchedule } from 'tidings/internal/port/schedule-store'
import { group } from '../group.ts'
import { assertRejects, atOnce, dataOf, long, newMessage, newStart, type Scene, short, text, watch } from '../scene.ts'
import { newTopic } from '../topic-scene.ts'

const newRevision = newStart
/** Of cases that run. */
const names = new WeakMap<Scene, string[]>()

type Cases = Readonly<Record<string, (scene: Scene) => Promise<void>>>

/** The same, which remove their schedules in the end. */
const cleanedUp = (cases: Cases): Cases =>
  Object.fromEntries(
    Object.entries(cases).map(([sentence, run]) => [
      sentence,
      async (scene) => {
        try {
          await run(scene)
        } finally {
          // That of the case may be closed.
          const janitor = await scene.harness.createEngine()
          for (const name of names.get(scene) ?? []) await janitor.schedules.remove(name, null)
          await janitor.close()
        }
      },
    ]),
  )

/** Schedules of one case: those of others lie beside them. */
class Staged {
  readonly scene: Scene
  readonly name: string

  constructor(scene: Scene, start = '') {
    this.scene = scene
    this.name = `${start}${newStart().toLowerCase()}`
    names.set(scene, [...(names.get(scene) ?? []), this.name])
  }

  make(nextRunAt: number | null, target: ScheduleTarget = { queue: this.scene.queue }): StoredSchedule {
    const timing = { cron: '0 2 * * *', everyMs: null, at: null, startAt: null, endAt: 4e12, limit: 3, jitterMs: 5 }
    const message = newMessage({ ...text('scheduled'), headers: { h: 1 } })
    const policy = {
      missed: 'once',
      graceMs: long,
      maxMissed: 2,
      overlap: 'allow',
      enabled: true,
      owner: 'case',
    } as const
    return {
      name: this.name,
      revision: newRevision(),
      nextRunAt,
      definition: { timing: { ...timing, timezone: 'Europe/Berlin' }, ...policy, target, message },
      progress: {
        enabled: true,
        anchor: 1,
        occurrence: nextRunAt,
        lastOccurrence: null,
        runs: 0,
        createdAt: 2,
        changedAt: 3,
      },
    }
  }

  async now(): Promise<number> {
    return (await this.scene.engine.schedules.list({ name: this.name })).now
  }

  /** Puts it where there is none. */
  async put(dueMs: number | null, target?: ScheduleTarget, from?: number): Promise<StoredSchedule> {
    const schedule = this.make(dueMs === null ? null : (from ?? (await this.now())) + dueMs, target)
    assert.equal(await this.scene.engine.schedules.put(schedule, null), 0)
    return schedule
  }

  async found(engine: Engine = this.scene.engine): Promise<StoredSchedule | undefined> {
    return (await engine.schedules.list({ name: this.name })).schedules[0]
  }
}

const sending = ({ target, message }: StoredSchedule['definition'], label = 'sent'): Sending => ({
  target,
  messages: [{ ...message, ...text(label) }],
})

export const schedules = group(
  'schedules',
  cleanedUp({
    'a schedule is there as it was put': async (scene) => {
      const [second, first] = [new Staged(scene, 'b'), new Staged(scene, 'a')]
      const put = [await second.put(null), await first.put(long)]
      assert.deepEqual(await first.found(), put[1])
      const { schedules } = await scene.engine.schedules.list('all')
      const names = schedules.map(({ name }) => name)
      assert.deepEqual(names, [...names].sort())
      for (const one of put)
        assert.deepEqual(
          schedules.find(({ name }) => name === one.name),
          one,
        )
    },

    'a schedule is put in the place of the revision that is named': async (scene) => {
      const staged = new Staged(scene)
      const { schedules } = scene.engine
      assert.equal(await schedules.put(staged.make(null), 'none'), null)
      const first = await staged.put(long)
      assert.equal(await schedules.put(staged.make(null), null), null)
      assert.equal(await schedules.put(staged.make(null), 'other'), null)
      assert.deepEqual(await staged.found(), first)
      const second = { ...staged.make(null), progress: { ...first.progress, runs: 1 } }
      assert.equal(await schedules.put(second, first.revision), 0)
      assert.notEqual(await schedules.put(second, first.revision), null, 'the same again')
      assert.deepEqual(await staged.found(), second)
    },

    'what it sends to a queue is stored with it': async (scene) => {
      const staged = new Staged(scene)
      const first = await staged.put(long)
      const second = staged.make(null)
      assert.equal(await scene.engine.schedules.put(second, 'other', sending(first.definition)), null)
      assert.deepEqual(await scene.peek(), [])
      assert.equal(await scene.engine.schedules.put(second, first.revision, sending(first.definition)), 1)
      const message = await scene.claimOne()
      assert.deepEqual([message.data, message.headers], ['"sent"', { h: 1 }])
      assert.deepEqual(await staged.found(), second)
    },

    'what it sends goes into a topic, or under a routing key': async (scene) => {
      const topic = await newTopic(scene)
      const start = newStart()
      await scene.engine.bind({ pattern: start, queue: scene.queue })
      for (const target of [{ topic: topic.name }, { routingKey: start }]) {
        const staged = new Staged(scene)
        const first = await staged.put(long, target)
        const next = staged.make(null, target)
        assert.equal(await scene.engine.schedules.put(next, first.revision, sending(first.definition)), 1)
      }
      assert.deepEqual(await topic.labels(), ['sent'])
      assert.deepEqual(dataOf(await scene.claim()), ['sent'])
    },

    'of many at once one sends': async (scene) => {
      const staged = new Staged(scene)
      const first = await staged.put(long)
      const put = (index: number) =>
        scene.engine.schedules.put(staged.make(null), first.revision, sending(first.definition, `${index}`))
      const stored = await atOnce(10, put)
      assert.equal(stored.filter((count) => count === 1).length, 1)
      assert.equal(stored.filter((count) => count === null).length, 9)
      assert.equal((await scene.peek()).length, 1)
    },

    'a duplicate counts as none': async (scene) => {
      const staged = new Staged(scene)
      const first = await staged.put(long)
      await scene.send({ uniqueTarget: 'schedule' })
      const { target, messages } = sending(first.definition)
      const held = { target, messages: [{ ...messages[0]!, uniqueTarget: 'schedule' }] }
      const second = staged.make(null)
      assert.equal(await scene.engine.schedules.put(second, first.revision, held), 0)
      assert.equal((await scene.peek()).length, 1)
      assert.deepEqual(await staged.found(), second)
    },

    'where it cannot send it stays as it was': async (scene) => {
      for (const [target, code] of [
        [{ queue: scene.newName() }, 'QUEUE_NOT_FOUND'],
        [{ topic: scene.newName() }, 'TOPIC_NOT_FOUND'],
      ] as const) {
        const staged = new Staged(scene)
        const first = await staged.put(long, target)
        const put = scene.engine.schedules.put(staged.make(null), first.revision, sending(first.definition))
        await assertRejects(put, code, 'a put that cannot send')
        assert.deepEqual(await staged.found(), first)
      }
    },

    'those are due whose time has come, the earliest first': async (scene) => {
      const [later, sooner, third, never] = ['a', 'z', 'c', 'd'].map((start) => new Staged(scene, start))
      const now = await later!.now()
      // Processes beside this one, which send what is due, cannot.
      const nowhere = { queue: scene.newName() }
      await later!.put(short / 2, nowhere, now)
      await sooner!.put(0, nowhere, now)
      await third!.put(2 * long)
      await never!.put(null)
      const { nextDueMs } = await scene.engine.schedules.list('due')
      assert(nextDueMs === null || nextDueMs <= 2 * long, `in ${nextDueMs} ms`)
      await scene.passTime(short)
      const due = await scene.engine.schedules.list('due')
      const own = due.schedules
        .map(({ name }) => name)
        .filter((name) => [later, sooner, third, never].some((one) => one!.name === name))
      assert.deepEqual(own, [sooner!.name, later!.name])
      assert(due.nextDueMs !== null && due.nextDueMs > 0 && due.nextDueMs <= 2 * long, `in ${due.nextDueMs} ms`)
    },

    'a schedule is removed once, or only a revision of it': async (scene) => {
      const staged = new Staged(scene)
      const { revision } = await staged.put(0, { queue: scene.newName() })
      const { schedules } = scene.engine
      assert.equal(await schedules.remove(staged.name, 'other'), false)
      assert.equal(await schedules.remove(staged.name, revision), true)
      assert.equal(await schedules.remove(staged.name, null), false)
      assert.equal(await staged.found(), undefined)
      const { schedules: due } = await schedules.list('due')
      assert(!due.some(({ name }) => name === staged.name))
      await staged.put(null)
      assert.equal(await schedules.remove(staged.name, null), true)
    },

    'a put wakes at its time': async (scene) => {
      const wakes = await watch(scene.engine, 'schedules')
      const staged = new Staged(scene)
      await staged.put(10 * long)
      const dueMs = await wakes.next((dueMs) => dueMs > long)
      assert(dueMs <= 10 * long, `in ${dueMs} ms`)
      await scene.engine.schedules.put(staged.make(0), (await staged.found())!.revision)
      await wakes.next((dueMs) => dueMs === 0)
    },

    'a closed engine has none': async (scene) => {
      const staged = new Staged(scene)
      const schedule = staged.make(null)
      await scene.engine.close()
      const { schedules } = scene.engine
      await assertRejects(schedules.put(schedule, null), 'CLOSED', 'put')
      await assertRejects(schedules.remove(staged.name, null), 'CLOSED', 'remove')
      await assertRejects(schedules.list('due'), 'CLOSED', 'list')
    },
  }),
  { needs: ['schedules', 'topics'] },
)

export const scheduleDurability = group(
  'durability',
  cleanedUp({
    'schedules are the same for all engines, and outlive them': async (scene) => {
      const staged = new Staged(scene)
      const put = await staged.put(long)
      const second = await scene.secondEngine()
      assert.deepEqual(await staged.found(second), put)
      await scene.engine.close()
      assert.equal(await second.schedules.put(staged.make(null), put.revision, sending(put.definition)), 1)
      assert.deepEqual(dataOf(await second.pop(scene.queue, 10)), ['sent'])
      assert.equal(await second.schedules.remove(staged.name, null), true)
    },
  }),
  { needs: ['durable', 'schedules'] },
)
