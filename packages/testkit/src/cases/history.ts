import assert from 'node:assert/strict'
import { randomInt } from 'node:crypto'
import {
  allQueues,
  type HistoryPoint,
  type HistoryWriter,
  latencyBoundsMs,
  minuteOf,
  repeatMinutes,
  type StoredHistory,
} from 'tidings/internal/port/history'
import { group } from '../group.ts'
import { assertRejects, atOnce, long, release, type Scene } from '../scene.ts'

const nothing = { sent: 0, done: 0, failed: 0, dead: 0 }

/** A time of its own for every case of this process, far ahead: nobody else notes anything there, and nothing is forgotten. */
let nextStart = 100_000_000 + 10_000 * randomInt(150_000)

/** Minutes of the history that belong to one case. */
class Staged {
  readonly scene: Scene
  readonly writer: HistoryWriter
  /** The first minute of it. */
  readonly start: number
  readonly #now: number

  private constructor(scene: Scene, writer: HistoryWriter, now: number) {
    this.scene = scene
    this.writer = writer
    this.#now = now
    this.start = nextStart
    nextStart += 10_000
  }

  static async of(scene: Scene): Promise<Staged> {
    const { writer } = scene.engine.history
    assert(writer, 'the engine writes its history')
    return new Staged(scene, writer, minuteOf(await scene.now()))
  }

  turn(after: number, before: number | null = this.#now - 5) {
    return { minute: this.start + after, before }
  }

  async note(after: number, queues: readonly string[] = [this.scene.queue]) {
    const total = await this.writer.note(this.turn(after), queues)
    await this.writer.end(this.turn(after), total)
    return total
  }

  /** Counts in the middle of ten minutes: the clock may go on by one meanwhile. */
  tally(after: number, counts: Partial<HistoryPoint>, latency: readonly number[] = [], queue = this.scene.queue) {
    return { ...nothing, ...counts, queue, minutesAgo: this.#now - this.start - after - 5, latency }
  }

  /** In steps of ten minutes. */
  read(after: number, until: number, queue: string | null = this.scene.queue): Promise<StoredHistory> {
    const range = { since: this.start + after, until: this.start + until, step: 10 }
    return this.scene.engine.history.read(queue, range)
  }
}

/** Without ages. */
const gaugesIn = ({ points }: StoredHistory) =>
  points.map(({ gauges }) => gauges && [gauges.ready, gauges.leased, gauges.delayed])

const countsIn = ({ points }: StoredHistory) => points.map(({ at: _at, gauges: _gauges, ...counts }) => counts)

export const historyReading = group('history', {
  'where nothing was noted there is every step, and nothing in it': async (scene) => {
    const { engine, queue } = scene
    const since = 15 * Math.floor((minuteOf(await scene.now()) - 5 * 1_440) / 15)
    const range = { since, until: since + 120, step: 15 }
    for (const whose of [queue, null]) {
      const { points, latency } = await engine.history.read(whose, range)
      const at = (index: number) => (range.since + index * range.step) * 60_000
      assert.deepEqual(
        points,
        Array.from({ length: 8 }, (_, index) => ({ at: at(index), gauges: null, ...nothing })),
      )
      assert.deepEqual(latency, new Array(latencyBoundsMs.length + 1).fill(0))
    }
  },

  'a queue that is not there has none': async (scene) => {
    const minute = minuteOf(await scene.now())
    const range = { since: minute - 60, until: minute, step: 1 }
    await assertRejects(scene.engine.history.read(scene.newName(), range), 'QUEUE_NOT_FOUND', 'read')
  },
})

/** Who may send what is due writes the history too. */
const needs = { needs: ['schedules'] } as const

export const historyWriting = group(
  'history',
  {
    'what lies in a queue is noted, and what it was sent': async (scene) => {
      const staged = await Staged.of(scene)
      await scene.lease()
      await scene.lease()
      await scene.settle(await scene.lease(), release({ delayMs: long }))
      const other = await scene.newQueue()
      await scene.sendTo(other, {})
      await scene.send(
        { delayMs: 200 * long },
        { delayMs: 200 * long },
        { orderingKey: 'k' },
        { orderingKey: 'k' },
        {},
        {},
      )
      const total = await staged.note(0, [scene.queue, other])
      const { readySince, ...counts } = total
      assert.deepEqual(counts, { ready: 5, leased: 2, delayed: 3, sent: 10 })
      assert(readySince !== null && readySince <= (await scene.now()), 'since when the oldest is ready')
      const read = await staged.read(0, 10)
      assert.deepEqual(gaugesIn(read), [[4, 2, 3]])
      assert.deepEqual(countsIn(read), [{ ...nothing, sent: 9 }])
      const age = read.points[0]!.gauges!.oldestReadyMs
      assert(age !== null && age >= 0 && age <= 10 * long, `ready for ${age} ms`)
      const all = await staged.read(0, 10, null)
      assert.deepEqual(gaugesIn(all), [[5, 2, 3]])
      assert.deepEqual(countsIn(all), [{ ...nothing, sent: 10 }])
    },

    'what stays as it is holds as long as somebody looks': async (scene) => {
      const staged = await Staged.of(scene)
      await scene.send({}, {})
      await staged.note(5)
      await staged.note(25)
      const [first] = await scene.claim({ limit: 1 })
      await scene.delete(first!)
      await staged.note(35)
      const read = await staged.read(0, 50)
      assert.deepEqual(gaugesIn(read), [[2, 0, 0], null, [2, 0, 0], [1, 0, 0], null])
      assert.deepEqual(
        countsIn(read).map(({ sent }) => sent),
        [2, 0, 0, 0, 0],
      )
    },

    'the last look of a step counts': async (scene) => {
      const staged = await Staged.of(scene)
      for (const after of [1, 2, 3]) {
        await scene.send({})
        await staged.note(after)
      }
      await scene.send({})
      await staged.note(10)
      const read = await staged.read(0, 20)
      assert.deepEqual(gaugesIn(read), [
        [3, 0, 0],
        [4, 0, 0],
      ])
      assert.deepEqual(
        countsIn(read).map(({ sent }) => sent),
        [3, 1],
      )
    },

    'a minute that is noted twice is as it was at last': async (scene) => {
      const staged = await Staged.of(scene)
      await scene.send({})
      await staged.note(0)
      await scene.send({}, {})
      await staged.note(0)
      const read = await staged.read(0, 10)
      assert.deepEqual(gaugesIn(read), [[3, 0, 0]])
      assert.deepEqual(countsIn(read), [{ ...nothing, sent: 3 }])
    },

    'what stays as it is for days is found behind them': async (scene) => {
      const staged = await Staged.of(scene)
      await scene.send({})
      for (let after = 0; after <= 3 * repeatMinutes; after += repeatMinutes / 2) await staged.note(after)
      const last = 3 * repeatMinutes
      assert.deepEqual(gaugesIn(await staged.read(last, last + 10)), [[1, 0, 0]])
    },

    'what an older queue was sent before somebody looked counts nowhere': async (scene) => {
      const staged = await Staged.of(scene)
      await scene.send({}, {})
      const { minute } = staged.turn(0)
      await staged.writer.note({ minute, before: minute - 1 }, [scene.queue])
      await scene.send({})
      await staged.note(10)
      assert.deepEqual(
        countsIn(await staged.read(0, 20)).map(({ sent }) => sent),
        [0, 1],
      )
    },

    'what is emptied was sent all the same': async (scene) => {
      const staged = await Staged.of(scene)
      await scene.send({}, {})
      await staged.note(0)
      await scene.send({})
      await scene.engine.purgeQueue(scene.queue)
      await staged.note(10)
      const read = await staged.read(0, 20)
      assert.deepEqual(gaugesIn(read), [
        [2, 0, 0],
        [0, 0, 0],
      ])
      assert.deepEqual(
        countsIn(read).map(({ sent }) => sent),
        [2, 1],
      )
      assert.equal(read.points[1]!.gauges!.oldestReadyMs, null)
    },

    'counts of processes add up, by queue and for all': async (scene) => {
      const staged = await Staged.of(scene)
      const other = await scene.newQueue()
      const second = [0, 0, 4]
      await atOnce(5, () =>
        staged.writer.add([
          staged.tally(0, { done: 3, failed: 2, dead: 1 }, [1, 2]),
          staged.tally(10, { done: 10 }, second),
          staged.tally(0, { done: 100 }, [], other),
          staged.tally(0, { done: 103, failed: 2, dead: 1 }, [1, 2], allQueues),
          staged.tally(10, { done: 10 }, second, allQueues),
        ]),
      )
      const read = await staged.read(0, 20)
      assert.deepEqual(countsIn(read), [
        { sent: 0, done: 15, failed: 10, dead: 5 },
        { ...nothing, done: 50 },
      ])
      assert.deepEqual(read.latency.slice(0, 4), [5, 10, 20, 0])
      assert.deepEqual(gaugesIn(read), [null, null])
      const all = await staged.read(0, 20, null)
      assert.deepEqual(countsIn(all), [
        { sent: 0, done: 515, failed: 10, dead: 5 },
        { ...nothing, done: 50 },
      ])
      assert.deepEqual(all.latency.slice(0, 4), [5, 10, 20, 0])
    },

    'counts and notes of a minute stand beside each other': async (scene) => {
      const staged = await Staged.of(scene)
      await scene.send({})
      const open = new Array(latencyBoundsMs.length).fill(0)
      const add = (done: number, latency: readonly number[]) =>
        staged.writer.add([scene.queue, allQueues].map((name) => staged.tally(0, { done }, latency, name)))
      await add(1, [...open, 7])
      await staged.note(5)
      assert.deepEqual(await add(2, []), [])
      await staged.note(6)
      for (const whose of [scene.queue, null]) {
        const read = await staged.read(0, 10, whose)
        assert.deepEqual(gaugesIn(read), [[1, 0, 0]])
        assert.deepEqual(countsIn(read), [{ ...nothing, sent: 1, done: 3 }])
        assert.deepEqual(read.latency, [...open, 7])
      }
    },

    'a queue that is not there is left out': async (scene) => {
      const staged = await Staged.of(scene)
      const missing = scene.newName()
      await scene.send({})
      const { ready } = await staged.note(0, [missing, scene.queue])
      assert.equal(ready, 1)
      await staged.writer.add([staged.tally(0, { done: 2 }, [], missing), staged.tally(0, { done: 1 })])
      await scene.engine.createQueue(missing)
      assert.deepEqual(countsIn(await staged.read(0, 10, missing)), [nothing])
      assert.deepEqual(countsIn(await staged.read(0, 10)), [{ ...nothing, sent: 1, done: 1 }])
    },

    'the history of a queue is gone with it': async (scene) => {
      const staged = await Staged.of(scene)
      await scene.send({})
      await staged.note(0)
      await staged.writer.add([staged.tally(0, { done: 1 }, [1])])
      await scene.engine.dropQueue(scene.queue)
      await scene.engine.createQueue(scene.queue)
      const read = await staged.read(0, 10)
      assert.deepEqual(gaugesIn(read), [null])
      assert.deepEqual(countsIn(read), [nothing])
      assert.equal(read.latency[0], 0)
      await scene.send({}, {})
      await staged.note(10)
      assert.deepEqual(countsIn(await staged.read(10, 20)), [{ ...nothing, sent: 2 }])
    },

    'no minute is begun by two': async (scene) => {
      const { writer } = await Staged.of(scene)
      const turns = await atOnce(10, () => writer.begin())
      const minutes = turns.flatMap((turn) => turn?.minute ?? [])
      assert.equal(new Set(minutes).size, minutes.length, minutes.join())
      for (const turn of turns) assert(turn === null || turn.before === null || turn.before < turn.minute)
    },

    'a closed engine has none': async (scene) => {
      const staged = await Staged.of(scene)
      await scene.engine.close()
      const { writer } = staged
      await assertRejects(staged.read(0, 10), 'CLOSED', 'read')
      await assertRejects(staged.read(0, 10, null), 'CLOSED', 'read of all')
      await assertRejects(writer.begin(), 'CLOSED', 'begin')
      await assertRejects(writer.note(staged.turn(0), [scene.queue]), 'CLOSED', 'note')
      await assertRejects(writer.add([staged.tally(0, { done: 1 })]), 'CLOSED', 'add')
    },
  },
  needs,
)

export const historyDurability = group(
  'durability',
  {
    'the history is the same for all engines, and outlives them': async (scene) => {
      const staged = await Staged.of(scene)
      const second = await scene.secondEngine()
      await scene.send({})
      await staged.note(0)
      await staged.writer.add([staged.tally(0, { done: 1 })])
      await scene.engine.close()
      const range = { since: staged.start, until: staged.start + 10, step: 10 }
      const read = await second.history.read(scene.queue, range)
      assert.deepEqual(gaugesIn(read), [[1, 0, 0]])
      assert.deepEqual(countsIn(read), [{ ...nothing, sent: 1, done: 1 }])
    },
  },
  { needs: ['durable', 'schedules'] },
)
