import { Bus } from 'tidings/internal/bus/bus'
import { PostgresEngine } from 'tidings/internal/engines/postgres/postgres'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { newName, query } from '../postgres/support.ts'
import { sharedServer } from '../support/shared-servers.ts'
import { libraries, type Opened } from './libraries.ts'

const servers = { 15: await sharedServer('postgres15'), 18: await sharedServer('postgres18') }

for (const [version, url] of Object.entries(servers))
  describe.each(libraries)(`$name on PostgreSQL ${version}`, ({ open }) => {
    let bus: Bus
    let library: Opened
    const table = newName('orders')

    beforeAll(async () => {
      const engine = new PostgresEngine({ url })
      await engine.open()
      bus = new Bus(engine)
      library = await open(url)
      await query(url, `CREATE TABLE ${table} (name text UNIQUE)`)
    })
    afterAll(async () => {
      await library.close()
      await bus.close()
    })

    const insert = (name: string) => `INSERT INTO ${table} VALUES ('${name}')`
    const orders = async () => (await query(url, `SELECT name FROM ${table} ORDER BY 1`)).map(({ name }) => name)
    const reason = new Error('rolled back on purpose')

    test('a message to a new queue is stored with the transaction', async () => {
      const queue = bus.queue<{ text: string }>(newName('sent'))
      const data = { text: `it's ? and :: and $1, "quoted" \\ äöü` }
      const id = await library.transaction(async (tx, run) => {
        await run(insert('sent'))
        const sent = await queue.send(data, { tx, meta: { version: '2' }, headers: { a: [1, null, true] } })
        expect(await queue.peek()).toEqual([])
        return sent
      })
      expect(await orders()).toContain('sent')
      expect(await queue.read()).toMatchObject([{ id, data, meta: { version: '2' }, headers: { a: [1, null, true] } }])
    })

    test('a rollback takes everything with it', async () => {
      const queue = bus.queue(newName('undone'))
      const outcome = library.transaction(async (tx, run) => {
        await run(insert('undone'))
        await queue.send(1, { tx, dedupId: 'd' })
        await queue.sendBatch([{ data: 2 }, { data: 3, delay: '2h' }], { tx })
        throw reason
      })
      await expect(outcome).rejects.toBe(reason)
      expect(await orders()).not.toContain('undone')
      expect(await queue.peek()).toEqual([])
      await queue.send(1, { dedupId: 'd' })
    })

    test('several sends, also at the same time, and a batch', async () => {
      const [here, there] = [bus.queue<number>(newName('here')), bus.queue<number>(newName('there'))]
      await library.transaction(async (tx) => {
        await Promise.all([here.send(1, { tx }), there.send(2, { tx }), here.send(3, { tx })])
        const results = await here.sendBatch([{ data: 4 }, { data: 5 }], { tx })
        expect(results.map(({ id, duplicate }) => [typeof id, duplicate])).toEqual([
          ['string', false],
          ['string', false],
        ])
      })
      expect((await here.peek()).map(({ data }) => data)).toEqual([1, 3, 4, 5])
      expect((await there.peek()).map(({ data }) => data)).toEqual([2])
    })

    test('a duplicate is refused and the transaction goes on', async () => {
      const queue = bus.queue(newName('twice'))
      const before = await queue.send(0, { dedupId: 'before' })
      await library.transaction(async (tx, run) => {
        const firstId = await queue.send(1, { tx, dedupId: 'within' })
        for (const [dedupId, first] of [
          ['within', firstId],
          ['before', before],
        ] as const)
          await expect(queue.send(2, { tx, dedupId })).rejects.toMatchObject({
            code: 'DUPLICATE',
            details: { firstId: first },
          })
        await run(insert('twice'))
      })
      expect(await orders()).toContain('twice')
      expect((await queue.peek()).map(({ data }) => data)).toEqual([0, 1])
    })

    test('ordering keys, priorities, delays and targets', async () => {
      const queue = bus.queue<string>(newName('special'))
      await library.transaction(async (tx) => {
        await queue.send('plain', { tx })
        await queue.send('urgent', { tx, priority: 5 })
        await queue.send('first', { tx, orderingKey: "k'?" })
        await queue.send('second', { tx, orderingKey: "k'?" })
        await queue.send('later', { tx, delay: '1h', meta: { targetId: 't' }, uniqueTarget: true })
      })
      expect((await queue.read({ limit: 10 })).map(({ data }) => data)).toEqual(['urgent', 'plain', 'first'])
      expect(await queue.stats()).toMatchObject({ delayed: 1, ready: 1 })
    })

    test('a published message goes to every queue that is bound, with the transaction', async () => {
      const [one, two] = [bus.queue(newName('one')), bus.queue(newName('two'))]
      const topic = newName('topic')
      await Promise.all([one.create(), two.create()])
      await bus.bind(`${topic}.#`, one.name)
      await bus.bind(`${topic}.*`, two.name)
      const outcome = library.transaction(async (tx) => {
        await bus.publish(`${topic}.undone`, 0, { tx })
        throw reason
      })
      await expect(outcome).rejects.toBe(reason)
      const copies = await library.transaction((tx) => bus.publish(`${topic}.paid`, 1, { tx, priority: 1 }))
      expect(copies).toHaveLength(2)
      for (const queue of [one, two]) expect(await queue.peek()).toMatchObject([{ data: 1, priority: 1 }])
    })

    test("an error of the application's own ends in a rollback", async () => {
      const queue = bus.queue(newName('failed'))
      const outcome = library.transaction(async (tx, run) => {
        await queue.send(1, { tx })
        await run(insert('same'))
        await run(insert('same'))
      })
      await expect(outcome).rejects.toThrow()
      expect(await orders()).not.toContain('same')
      expect(await queue.peek()).toEqual([])
    })

    test('a queue that is missing and must not be created is named', async () => {
      const name = newName('missing')
      let refusal: unknown
      const outcome = library.transaction(async (tx) => {
        const sent = bus.queue(name, { create: false }).send(1, { tx })
        refusal = await sent.catch((error: unknown) => error)
        throw reason
      })
      await expect(outcome).rejects.toThrow()
      expect(refusal).toMatchObject({ code: 'QUEUE_NOT_FOUND', details: { queue: name } })
    })

    test('a queue that somebody else dropped is there again for the next transaction', async () => {
      const queue = bus.queue(newName('dropped'))
      const send = () => library.transaction((tx) => queue.send(1, { tx }))
      await send()
      await bus.engine.dropQueue(queue.name)
      await expect(send()).rejects.toThrow()
      await send()
      expect(await queue.peek()).toHaveLength(1)
    })

    test('what is in no transaction is refused, and nothing is stored', async () => {
      const queue = bus.queue(newName('outside'))
      await queue.create()
      for (const tx of library.outside as never[])
        await expect(queue.send(1, { tx })).rejects.toMatchObject({ code: 'TYPE', details: { field: 'tx' } })
      expect(await queue.peek()).toEqual([])
    })
  })
