import assert from 'node:assert/strict'
import fc from 'fast-check'
import type { Queue } from 'tidings/internal/bus/queue'
import { isTidingsError } from 'tidings/internal/core/errors'
import type { Message } from 'tidings/internal/messages/message'
import { describe, test } from 'vitest'
import { type Scene, scene } from './support.ts'

/** Steps that anybody may take, in any order. `pick` chooses among what is there. */
type Step =
  | { readonly do: 'send'; readonly count: number; readonly delay: number }
  | { readonly do: 'read'; readonly limit: number; readonly lease: number }
  | { readonly do: 'pop'; readonly limit: number }
  | { readonly do: 'delete' | 'archive' | 'deadLetter'; readonly pick: number }
  | { readonly do: 'release'; readonly pick: number; readonly delay: number }
  | { readonly do: 'extend'; readonly pick: number; readonly lease: number }
  | { readonly do: 'cancel'; readonly pick: number }
  | { readonly do: 'redrive' }
  | { readonly do: 'advance'; readonly ms: number }

const pick = fc.nat({ max: 1_000 })
const delay = fc.constantFrom(0, 0, 0, 500, 2_000)
const lease = fc.constantFrom(100, 1_000, 5_000)
const count = fc.integer({ min: 1, max: 4 })
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ do: fc.constant('send' as const), count, delay }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('read' as const), limit: count, lease }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('pop' as const), limit: count }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constantFrom('delete' as const, 'archive' as const), pick }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('deadLetter' as const), pick }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('release' as const), pick, delay }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('extend' as const), pick, lease }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('cancel' as const), pick }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('redrive' as const) }) },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant('advance' as const), ms: fc.constantFrom(50, 100, 500, 1_000, 3_000) }),
  },
)

/** One message of the model. The name is its data, which is in the world once. */
interface Entry {
  readonly name: number
  visibleAt: number
  /** Who has it in hand, or had it last. */
  reader: Handle | null
}

/** What a reader holds. */
interface Handle {
  readonly entry: Entry
  readonly message: Message<unknown>
  settled: boolean
}

/** Queues as one would draw them on paper: lists in which messages lie. */
class Model {
  now = 0
  sent = 0
  live: Entry[] = []
  dead: Entry[] = []
  readonly archived: Entry[] = []
  readonly ended: Entry[] = []
  readonly handles: Handle[] = []

  place(entry: Entry): 'ready' | 'leased' | 'delayed' {
    if (entry.visibleAt <= this.now) return 'ready'
    return entry.reader === null ? 'delayed' : 'leased'
  }

  in(place: 'ready' | 'leased' | 'delayed'): Entry[] {
    return this.live.filter((entry) => this.place(entry) === place)
  }

  leave(entry: Entry): void {
    this.live = this.live.filter((each) => each !== entry)
  }
}

const namesOf = (all: readonly { readonly data: unknown }[]) => all.map(({ data }) => data as number)
const names = (entries: readonly Entry[]) => entries.map(({ name }) => name)

/** What settling says, by the rules: done, done before, or lost. */
function expectSettled(handle: Handle): boolean | 'LEASE_LOST' {
  if (handle.settled) return false
  return handle.entry.reader === handle ? true : 'LEASE_LOST'
}

async function answer(call: Promise<unknown>): Promise<unknown> {
  try {
    return await call
  } catch (error) {
    assert(isTidingsError(error), `untyped: ${error}`)
    return error.code
  }
}

async function take(step: Step, model: Model, jobs: Queue, { clock }: Scene): Promise<void> {
  switch (step.do) {
    case 'send': {
      const added = Array.from({ length: step.count }, () => model.sent++)
      await Promise.all(added.map((name) => jobs.send(name, { delay: step.delay })))
      model.live.push(...added.map((name) => ({ name, visibleAt: model.now + step.delay, reader: null })))
      return
    }
    case 'read': {
      const messages = await jobs.read({ limit: step.limit, lease: step.lease })
      const expected = model.in('ready').slice(0, step.limit)
      assert.deepEqual(namesOf(messages), names(expected), 'read')
      for (const [index, entry] of expected.entries()) {
        const handle = { entry, message: messages[index]!, settled: false }
        entry.reader = handle
        entry.visibleAt = model.now + step.lease
        model.handles.push(handle)
      }
      return
    }
    case 'pop': {
      const expected = model.in('ready').slice(0, step.limit)
      assert.deepEqual(namesOf(await jobs.pop({ limit: step.limit })), names(expected), 'pop')
      for (const entry of expected) {
        entry.reader = null
        model.leave(entry)
        model.ended.push(entry)
      }
      return
    }
    case 'cancel': {
      const id = step.pick % (model.sent + 1)
      // Ids count up with what is sent; what was redriven has a new one, and is not chosen here.
      const entry = model.live.find((each) => each.name === id - 1)
      const [stored] = (await jobs.peek({ limit: 1_000 })).filter(({ data }) => data === id - 1)
      // What is in hand is only marked: test/settings/cancelling.test.ts.
      if (entry !== undefined && model.place(entry) === 'leased') return
      const { removed } = await jobs.cancel([stored?.id ?? '0'])
      assert.equal(removed.length, entry ? 1 : 0, 'cancel')
      if (!entry) return
      entry.reader = null
      model.leave(entry)
      model.ended.push(entry)
      return
    }
    case 'redrive': {
      const redriven = await jobs.deadLetters.redrive()
      assert.equal(redriven.length, model.dead.length, 'redrive')
      model.live.push(...model.dead.map(({ name }) => ({ name, visibleAt: model.now, reader: null })))
      model.dead = []
      return
    }
    case 'advance':
      await clock.advance(step.ms)
      model.now += step.ms
      return
    default: {
      const handle = model.handles[step.pick % Math.max(1, model.handles.length)]
      if (handle !== undefined) await takeInHand(step, handle, model)
    }
  }
}

async function takeInHand(
  step: Extract<Step, { do: 'delete' | 'archive' | 'deadLetter' | 'release' | 'extend' }>,
  handle: Handle,
  model: Model,
): Promise<void> {
  const { entry, message } = handle
  const expected = expectSettled(handle)
  if (step.do === 'extend') {
    const isHeld = expected === true && model.place(entry) === 'leased'
    assert.equal(await answer(message.extend(step.lease)), isHeld ? undefined : 'LEASE_LOST', 'extend')
    if (isHeld) entry.visibleAt = model.now + step.lease
    return
  }
  const calls = {
    delete: () => message.delete(),
    archive: () => message.archive(),
    deadLetter: () => message.deadLetter('no'),
    release: () => message.release({ delay: step.do === 'release' ? step.delay : 0 }),
  }
  assert.equal(await answer(calls[step.do]()), expected, step.do)
  if (expected !== true) return
  handle.settled = true
  entry.reader = null
  if (step.do === 'release') {
    entry.visibleAt = model.now + step.delay
    return
  }
  model.leave(entry)
  const place = { delete: model.ended, archive: model.archived, deadLetter: model.dead }[step.do]
  place.push(entry)
}

/** That the storage is what the model says, and every message is in exactly one place. */
async function compare(model: Model, jobs: Queue): Promise<void> {
  const limit = 1_000
  for (const place of ['ready', 'leased', 'delayed'] as const)
    assert.deepEqual(namesOf(await jobs.peek({ place, limit })), names(model.in(place)), place)
  const archived = namesOf(await jobs.peek({ place: 'archived', limit }))
  assert.deepEqual(archived.sort(ascending), names(model.archived).sort(ascending), 'archived')
  assert.deepEqual(namesOf(await jobs.deadLetters.list({ limit })), names(model.dead), 'dead')
  const everywhere = [...model.live, ...model.archived, ...model.dead, ...model.ended]
  assert.deepEqual(names(everywhere).sort(ascending), [...Array(model.sent).keys()], 'each in one place')
}

const ascending = (a: number, b: number) => a - b

describe('a queue', () => {
  test('does what a list on paper does, whatever is done in whatever order', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60, size: 'max' }), async (steps) => {
        const stage = scene()
        const jobs = stage.bus.queue('jobs')
        await jobs.create()
        const model = new Model()
        for (const each of steps) {
          await take(each, model, jobs, stage)
          await compare(model, jobs)
        }
      }),
      { numRuns: 150 },
    )
  })

  test('loses nothing and gives nothing twice when many act at the same time', async () => {
    const at = fc.array(fc.array(step, { minLength: 1, maxLength: 8 }), { maxLength: 12, size: 'max' })
    await fc.assert(
      fc.asyncProperty(at, async (rounds) => {
        const { bus, clock } = scene()
        const jobs = bus.queue('jobs')
        await jobs.create()
        const ended: unknown[] = []
        /** Those who pop pass over them. */
        const marked = new Set<unknown>()
        const hands: Message<unknown>[] = []
        let sent = 0
        const cancel = async (message: Message<unknown> | undefined) => {
          const { removed, running } = await jobs.cancel([message?.id ?? '0'])
          if (removed.length > 0) ended.push(message?.data)
          if (running.length > 0) marked.add(message?.data)
        }
        const act = async (each: Step): Promise<void> => {
          const message = 'pick' in each ? hands[each.pick % Math.max(1, hands.length)] : undefined
          if (each.do === 'send') await Promise.all(Array.from({ length: each.count }, () => jobs.send(sent++)))
          else if (each.do === 'read') hands.push(...(await jobs.read({ limit: each.limit, lease: each.lease })))
          else if (each.do === 'pop') ended.push(...namesOf(await jobs.pop({ limit: each.limit })))
          else if (each.do === 'redrive') await jobs.deadLetters.redrive()
          else if (each.do === 'delete' && (await message?.delete())) ended.push(message?.data)
          else if (each.do === 'cancel') await cancel(message)
          else if (each.do === 'archive') await message?.archive()
          else if (each.do === 'deadLetter') await message?.deadLetter('no')
          else if (each.do === 'release') await message?.release({ delay: each.delay })
          else if (each.do === 'extend') await message?.extend(each.lease)
        }
        for (const round of rounds) {
          const steps = round.filter((each) => each.do !== 'advance')
          for (const failure of await Promise.all(steps.map((each) => answer(act(each)))))
            assert(failure === undefined || failure === 'LEASE_LOST' || failure === 'CANCELLED', String(failure))
          for (const each of round) if (each.do === 'advance') await clock.advance(each.ms)
        }
        const left = namesOf(await jobs.peek({ limit: 1_000 }))
        const archived = namesOf(await jobs.peek({ limit: 1_000, place: 'archived' }))
        const dead = namesOf(await jobs.deadLetters.list())
        const found = [...left, ...archived, ...dead, ...ended]
        const passedOver = [...marked].filter((name) => !found.includes(name))
        assert.deepEqual([...found, ...passedOver].sort(), [...Array(sent).keys()].sort())
      }),
      { numRuns: 150 },
    )
  })
})
