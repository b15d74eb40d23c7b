import { connect, type QueueOptions } from 'tidings'
import { searchOptions } from 'tidings/internal/bus/search'
import { parseOptions } from 'tidings/internal/core/options'
import { describe, expect, onTestFinished, test } from 'vitest'

async function makeQueue(options?: QueueOptions) {
  const bus = await connect('memory:')
  onTestFinished(() => bus.close())
  const queue = bus.queue('orders', options)
  await queue.create()
  const find = (asked: object, shown = <M>(message: M) => message) =>
    queue.stored.search(parseOptions(searchOptions, asked, 'search'), shown)
  const dataOf = async (asked: object) => (await find(asked)).messages.map(({ data }) => JSON.parse(data))
  return { bus, queue, find, dataOf }
}

describe('a search', () => {
  test('finds text in data, headers and meta, in capitals or not, and as it stands in JSON', async () => {
    const { queue, dataOf } = await makeQueue()
    await queue.send({ name: 'Ada "the first"' })
    await queue.send(2, { headers: { from: 'ada' } })
    await queue.send(3, { meta: { targetId: 'ADA-1' } })
    await queue.send({ name: 'Bob' })
    expect(await dataOf({ text: 'ada' })).toHaveLength(3)
    expect(await dataOf({ text: 'Ada "the' })).toHaveLength(1)
    expect(await dataOf({ text: 'queue_name' })).toHaveLength(4)
    expect(await dataOf({ text: 'eve' })).toEqual([])
  })

  test('finds by a dedup id, and looks at no other', async () => {
    const { queue, find } = await makeQueue()
    await queue.sendBatch([{ data: 1 }, { data: 2, dedupId: 'two' }, { data: 3 }])
    const found = async (asked: object = {}) => {
      const { messages, scanned } = await find({ dedupId: 'two', ...asked })
      return [messages.map(({ data }) => data), scanned]
    }
    expect(await found()).toEqual([['2'], 1])
    expect(await found({ group: 'g' })).toEqual([[], 1])
    await (await queue.readById('2'))!.archive()
    expect(await found()).toEqual([[], 0])
    expect(await found({ place: 'archived' })).toEqual([['2'], 1])
    expect(await found({ dedupId: 'three' })).toEqual([[], 0])
  })

  test('finds by parts, key, group, time and error', async () => {
    const { queue, dataOf } = await makeQueue({ deadLetter: false })
    await queue.send({ order: { id: 7, total: 1 } }, { orderingKey: 'k' })
    await queue.send({ order: { id: 8 } }, { group: 'g', meta: { targetId: 't' } })
    const [first] = await queue.read()
    await first!.deadLetter('the printer is out of paper')
    expect(await dataOf({ where: { data: { order: { id: 8 } } } })).toHaveLength(1)
    expect(await dataOf({ where: { meta: { target_id: 't' } } })).toHaveLength(1)
    expect(await dataOf({ where: { meta: { target_id: 'u' } } })).toEqual([])
    expect(await dataOf({ group: 'g' })).toHaveLength(1)
    expect(await dataOf({ orderingKey: 'k' })).toEqual([])
    expect(await dataOf({ orderingKey: 'k', place: 'archived' })).toHaveLength(1)
    expect(await dataOf({ error: 'Printer', place: 'archived' })).toHaveLength(1)
    expect(await dataOf({ error: 'paper' })).toEqual([])
    expect(await dataOf({ sentBefore: new Date(Date.now() + 60_000) })).toHaveLength(1)
    expect(await dataOf({ sentAfter: new Date(Date.now() + 60_000) })).toEqual([])
  })

  test('ends where it may look no further, and goes on from there', async () => {
    const { queue, find } = await makeQueue()
    await queue.sendBatch(Array.from({ length: 250 }, (_, n) => ({ data: n % 100 === 99 ? 'needle' : n })))
    const found: unknown[] = []
    let [after, rounds] = [null as string | null, 0]
    do {
      const part = await find({ text: 'needle', scan: 60, ...(after === null ? {} : { after }) })
      expect(part.scanned).toBeLessThanOrEqual(60)
      found.push(...part.messages)
      after = part.after
      rounds++
    } while (after !== null)
    expect(found).toHaveLength(2)
    expect(rounds).toBeGreaterThanOrEqual(5)
  })

  test('goes on right behind the last one where there are more than asked for', async () => {
    const { queue, find } = await makeQueue()
    await queue.sendBatch(Array.from({ length: 7 }, (_, n) => ({ data: n })))
    const first = await find({ limit: 3 })
    const rest = await find({ limit: 10, after: first.after! })
    expect([...first.messages, ...rest.messages].map(({ data }) => Number(data))).toEqual([0, 1, 2, 3, 4, 5, 6])
    expect(rest.after).toBeNull()
  })

  test('does not find what may not be seen', async () => {
    const { queue, find } = await makeQueue()
    await queue.send({ name: 'ada', card: '4711' }, { meta: { targetId: 'secret' } })
    const shown = <M>(message: M) => ({ ...message, data: '{"name":"ada"}', meta: {} })
    expect((await find({ text: '4711' }, shown)).messages).toEqual([])
    expect((await find({ where: { data: { card: '4711' } } }, shown)).messages).toEqual([])
    expect((await find({ where: { meta: { target_id: 'secret' } } }, shown)).messages).toEqual([])
    expect((await find({ text: 'ada' }, shown)).messages).toHaveLength(1)
  })
})
