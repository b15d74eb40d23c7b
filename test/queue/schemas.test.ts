import assert from 'node:assert/strict'
import type { Queue } from 'tidings/internal/bus/queue'
import type { JsonValue } from 'tidings/internal/core/json'
import type { StandardSchemaV1 } from 'tidings/internal/core/schema'
import type { Message, StoredCopy } from 'tidings/internal/messages/message'
import type { MessageMeta } from 'tidings/internal/port/meta'
import { describe, expectTypeOf, test } from 'vitest'
import { z } from 'zod'
import { datas, refusal, scene } from './support.ts'

const hire = z.object({ name: z.string(), age: z.number().int().default(18) })
/** A date on the wire and in the hands of the application, from text. */
const dated = z.object({ at: z.iso.datetime().transform((text) => new Date(text)) })

/** zod calls an asynchronous check twice and lets the first call's failure go unhandled. */
const custom = (
  validate: (data: unknown) => Promise<StandardSchemaV1.Result<string>>,
): StandardSchemaV1<string, string> => ({ '~standard': { version: 1, vendor: 'test', validate } })

describe('types', () => {
  test('of data come from the schema, before and after it', async () => {
    const { bus } = scene()
    const hires = bus.queue('hires', { schema: hire })
    expectTypeOf(hires).toEqualTypeOf<
      Queue<{ name: string; age?: number | undefined }, { name: string; age: number }>
    >()
    expectTypeOf(hires.send).parameter(0).toEqualTypeOf<{ name: string; age?: number | undefined }>()
    expectTypeOf(hires.read).returns.resolves.toEqualTypeOf<Message<{ name: string; age: number }>[]>()
    expectTypeOf(hires.pop).returns.resolves.toEqualTypeOf<StoredCopy<{ name: string; age: number }>[]>()
    // What is looked at is as it was sent: the schema has not been applied.
    type Sent = { name: string; age?: number | undefined }
    expectTypeOf(hires.peek).returns.resolves.toEqualTypeOf<StoredCopy<Sent>[]>()
    expectTypeOf(hires.deadLetters.list).returns.resolves.toEqualTypeOf<StoredCopy<Sent>[]>()
    expectTypeOf(bus.queue('x', { schema: dated })).toEqualTypeOf<Queue<{ at: string }, { at: Date }>>()
    // @ts-expect-error the name is missing
    await refusal(() => hires.send({ age: 5 }), 'BODY_INVALID')
    // @ts-expect-error the age is no text
    await refusal(() => hires.sendBatch([{ data: { name: 'Ada', age: '5' } }]), 'BODY_INVALID')
    hires.work(async (message) => {
      expectTypeOf(message.data).toEqualTypeOf<{ name: string; age: number }>()
    })
    await bus.close()
  })

  test('are unknown without one, or what is said', () => {
    const { bus } = scene()
    expectTypeOf(bus.queue('x')).toEqualTypeOf<Queue<unknown, unknown>>()
    expectTypeOf(bus.queue('x', { create: false })).toEqualTypeOf<Queue<unknown, unknown>>()
    expectTypeOf(bus.queue<{ a: number }>('x')).toEqualTypeOf<Queue<{ a: number }, { a: number }>>()
  })

  test('of meta and headers are JSON', () => {
    expectTypeOf<Message<1>['meta']>().toEqualTypeOf<MessageMeta>()
    expectTypeOf<Message<1>['headers']>().toEqualTypeOf<{ readonly [key: string]: JsonValue }>()
  })
})

describe('a schema', () => {
  test('judges what is sent; nothing is stored of what it refuses', async () => {
    const { bus, memory } = scene()
    const hires = bus.queue('hires', { schema: hire })
    const error = await refusal(() => hires.send({ name: 5 as unknown as string }), 'BODY_INVALID')
    assert.match(error.message, /^data for queue 'hires' is invalid at name: /)
    assert.equal((error.details.issues as { path: string }[])[0]?.path, 'name')
    const bad = [{ data: { name: 'Ada' } }, { data: { name: 5 as unknown as string } }]
    assert.match((await refusal(() => hires.sendBatch(bad), 'BODY_INVALID')).message, /^entry 1 of the batch: data for/)
    assert.deepEqual(await memory.describe(null), [])
  })

  test('is applied when a message is read: stored is what was given', async () => {
    const { bus } = scene()
    const hires = bus.queue('hires', { schema: hire })
    const [at] = [bus.queue('dates', { schema: dated })]
    await hires.send({ name: 'Ada' })
    await at.send({ at: '2026-01-01T00:00:00Z' })
    assert.deepEqual(datas(await hires.peek()), [{ name: 'Ada' }])
    assert.deepEqual(datas(await hires.read()), [{ name: 'Ada', age: 18 }])
    assert.deepEqual(datas(await at.pop()), [{ at: new Date('2026-01-01T00:00:00Z') }])
  })

  test('judges what is sent as it will be read: an instance is a plain object by then, and what is undefined is gone', async () => {
    class Hire {
      readonly name = 'Ada'
    }
    const { bus } = scene()
    await refusal(() => bus.queue('hires', { schema: z.instanceof(Hire) }).send(new Hire()), 'BODY_INVALID')
    const seen: unknown[] = []
    const noting = custom(async (data) => ({ value: String(seen.push(data)) }))
    const notes = bus.queue('notes', { schema: noting as unknown as StandardSchemaV1<unknown, string> })
    for (const data of [{ a: 1 }, { a: undefined }, new Hire(), 2n ** 70n]) await notes.send(data)
    assert.deepStrictEqual(seen, [{ a: 1 }, {}, { name: 'Ada' }, 2n ** 70n])
  })

  test('that changes what it judges changes nothing of what is stored', async () => {
    const { bus } = scene()
    const careless = custom(async (data) => ({ value: delete (data as { name?: string }).name ? 'x' : 'y' }))
    const hires = bus.queue('hires', { schema: careless as unknown as StandardSchemaV1<unknown, string> })
    await hires.send({ name: 'Ada' })
    assert.deepEqual(datas(await hires.peek()), [{ name: 'Ada' }])
  })

  test('judges what is sent as it will be read: a Date is a text by then', async () => {
    const { bus } = scene()
    const wrong = bus.queue('wrong', { schema: z.object({ at: z.date() }) })
    const error = await refusal(() => wrong.send({ at: new Date() }), 'BODY_INVALID')
    assert.match(error.message, /at at: .*date/)
    const right = bus.queue('right', { schema: z.object({ at: z.coerce.date() }) })
    await right.send({ at: new Date(0) })
    assert.deepEqual((await right.read())[0]?.data, { at: new Date(0) })
  })

  test('may be asynchronous', async () => {
    const { bus } = scene()
    const schema = z.string().refine(async (text) => text !== 'no')
    const jobs = bus.queue('jobs', { schema })
    await refusal(() => jobs.send('no'), 'BODY_INVALID')
    await jobs.send('yes')
    await jobs.sendBatch([{ data: 'and' }, { data: 'again' }])
    assert.deepEqual(datas(await jobs.read({ limit: 2 })), ['yes', 'and'])
    assert.deepEqual(datas(await jobs.pop()), ['again'])
  })

  test('of another version of the program: what it refuses is dead-lettered, the rest is read', async () => {
    for (const verb of ['read', 'pop'] as const) {
      const { bus } = scene()
      const old = bus.queue('jobs')
      await old.send({ name: 'Ada' }, { headers: { h: 1 }, meta: { version: '1' } })
      await old.send({ nom: 'Bob' }, { headers: { h: 2 }, meta: { version: '0' } })
      await old.send({ name: 'Cid' })
      const jobs = bus.queue('jobs', { schema: hire })
      assert.deepEqual(datas(await jobs[verb]({ limit: 10 })), [
        { name: 'Ada', age: 18 },
        { name: 'Cid', age: 18 },
      ])
      const [dead] = await jobs.deadLetters.list()
      assert(dead)
      assert.deepEqual([dead.data, dead.headers, dead.meta.version], [{ nom: 'Bob' }, { h: 2 }, '0'], verb)
      assert.match(dead.meta.errorMessage ?? '', /^data of message 2 in queue 'jobs' is invalid at name/)
      assert.deepEqual([dead.meta.originQueue, dead.meta.originId, dead.meta.attempts], ['jobs', '2', 1])
      const { ready, leased } = await jobs.stats()
      assert.deepEqual([ready, leased], [0, verb === 'read' ? 2 : 0])
    }
  })

  test('where there is no dead-letter queue, what it refuses is archived once', async () => {
    for (const verb of ['read', 'pop'] as const) {
      const { bus, clock } = scene()
      await bus.queue('jobs').send('bad')
      const jobs = bus.queue('jobs', { schema: hire, deadLetter: false })
      const reading = jobs[verb]({ wait: '10s' })
      await clock.advance(10_000)
      assert.deepEqual(await reading, [])
      const [archived] = await jobs.peek({ place: 'archived' })
      assert.match(archived?.meta.errorMessage ?? '', /is invalid/, verb)
      const { ready, totalSent } = await jobs.stats()
      assert.deepEqual([ready, totalSent], [0, 1], verb)
    }
  })

  test('by id: what it refuses is no message', async () => {
    const { bus } = scene()
    await bus.queue('jobs').send('bad')
    const jobs = bus.queue('jobs', { schema: hire })
    assert.equal(await jobs.readById('1'), null)
    assert.equal((await jobs.deadLetters.list()).length, 1)
  })

  test('that fails for another reason gives back what it has not seen, and loses nothing', async () => {
    for (const verb of ['read', 'pop'] as const) {
      const { bus, clock } = scene()
      let isAway = true
      const schema = custom(async (data) => {
        if (data === 'b' && isAway) throw new Error('database is away')
        return { value: String(data) }
      })
      const jobs = bus.queue('jobs', { schema })
      for (const data of ['a', 'c']) await jobs.send(data)
      await bus.queue('jobs').send('b')
      await assert.rejects(jobs[verb]({ limit: 10 }), /database is away/)
      assert.deepEqual(await jobs.stats().then(({ ready, leased }) => [ready, leased]), [2, 1], verb)
      const [first] = await jobs.read()
      assert.deepEqual([first?.data, first?.readCount], ['a', 1], 'that reading did not count')
      isAway = false
      await clock.advance(30_000)
      assert.deepEqual(datas(await jobs.read({ limit: 10 })), ['a', 'c', 'b'], verb)
    }
  })

  test('that takes longer than the lease: what another reader has is left to him', async () => {
    const { bus, clock } = scene()
    let finish = () => {}
    const schema = custom(
      (data) =>
        new Promise((resolve) => {
          finish = () => resolve({ value: String(data) })
        }),
    )
    await bus.queue('jobs').send('a')
    const popping = bus.queue('jobs', { schema }).pop()
    await clock.advance(30_000)
    const [other] = await bus.queue('jobs').read()
    assert.equal(other?.data, 'a')
    finish()
    assert.deepEqual(await popping, [])
    assert.equal(await other?.delete(), true)
  })
})
