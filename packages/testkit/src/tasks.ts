import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import type { Completion, Ending, Milestone, NewMessage, TaskCounts } from 'tidings/internal/port/engine'
import { long, only, remove, type Scene, settlement } from './scene.ts'

const none = { pending: 0, running: 0, done: 0, dead: 0, cancelled: 0 }
export const counts = (queue: string, some: Partial<TaskCounts>): TaskCounts => ({ queue, ...none, ...some })

/** A correlation of the case's own, with a completion queue that does not exist. */
export class Tasks {
  readonly id = `case-${randomBytes(6).toString('hex')}`
  readonly scene: Scene
  readonly completionQueue: string
  readonly #milestones: readonly Milestone[] | undefined

  /** @param milestones of which the completion queue is told; left out: of the usual one */
  constructor(scene: Scene, ...milestones: Milestone[]) {
    this.#milestones = milestones.length > 0 ? milestones : undefined
    this.scene = scene
    this.completionQueue = scene.newName()
  }

  task(message: Partial<NewMessage> = {}): Partial<NewMessage> {
    const milestones = this.#milestones
    const tracked = {
      correlationId: this.id,
      completionQueue: this.completionQueue,
      ...(milestones ? { milestones } : {}),
    }
    return { ...message, tracked }
  }

  send(count = 1, queue = this.scene.queue): Promise<string[]> {
    return this.scene.sendTo(queue, ...Array.from({ length: count }, () => this.task()))
  }

  async state() {
    const state = await this.scene.engine.correlation(this.id)
    assert(state !== null, 'the correlation is known')
    return state
  }

  /** The counts of the queue of the case. */
  async here(): Promise<TaskCounts> {
    const found = (await this.state()).queues.filter(({ queue }) => queue === this.scene.queue)
    return only(found)
  }

  async isHere(some: Partial<TaskCounts>, what: string): Promise<void> {
    assert.deepEqual(await this.here(), counts(this.scene.queue, some), what)
  }

  async told() {
    const there = (await this.scene.engine.describe(null)).some(({ queue }) => queue === this.completionQueue)
    return there ? this.scene.peek({}, this.completionQueue) : []
  }

  /** What was told so far, in any order: the milestone, and the counts that came with it. */
  async isToldOf(expected: Partial<Record<Milestone, [done: number, dead: number, cancelled: number]>>, what: string) {
    const told = (await this.told()).map(({ data }) => JSON.parse(data) as Completion)
    const found = told.map(({ milestone, done, dead, cancelled }) => [milestone, [done, dead, cancelled]] as const)
    assert.deepEqual(Object.fromEntries(found), expected, what)
    assert.equal(found.length, Object.keys(expected).length, `${what}: each once`)
  }

  async isNotTold(what: string): Promise<void> {
    assert.equal((await this.told()).length, 0, what)
    assert.equal((await this.state()).completedAt, null, what)
  }

  async isTold(expected: { done?: number; dead?: number; cancelled?: number }): Promise<void> {
    const { data, meta, headers } = only(await this.told())
    const { startedAt, endedAt, ...rest } = JSON.parse(data)
    assert.deepEqual(rest, {
      milestone: 'allEnded',
      correlationId: this.id,
      done: 0,
      dead: 0,
      cancelled: 0,
      ...expected,
    })
    assert.deepEqual(meta, { queue_name: this.completionQueue, correlation_id: this.id })
    assert.deepEqual(headers, {})
    const state = await this.state()
    for (const [text, time] of [
      [startedAt, state.startedAt],
      [endedAt, state.completedAt],
    ] as const) {
      assert.match(text, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
      // Moments of one transaction, but not the same.
      assert(Math.abs(Date.parse(text) - (time ?? 0)) < long / 10, `${text} and ${time}`)
    }
  }

  /** Claims what is there and ends it. */
  async endAll(ending: Ending = remove, queue = this.scene.queue): Promise<void> {
    const leased = await this.scene.claimSoon({}, queue)
    const settlements = leased.map((message) => settlement(message, ending))
    for (const { settled } of await this.scene.engine.settle(queue, settlements)) assert.equal(settled, true)
  }
}
