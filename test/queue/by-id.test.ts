import { connect, type QueueOptions } from 'tidings'
import { describe, expect, onTestFinished, test } from 'vitest'

async function makeQueue(options?: QueueOptions) {
  const bus = await connect('memory:')
  onTestFinished(() => bus.close())
  const queue = bus.queue('orders', options)
  await queue.create()
  return { bus, queue, byId: queue.stored.byId }
}

describe('one message', () => {
  test('is found wherever it is', async () => {
    const { queue, byId } = await makeQueue()
    const delayed = await queue.send(1, { delay: '1h' })
    const leased = await queue.send(2)
    const archived = await queue.send(3)
    const [message, other] = await queue.read({ limit: 2 })
    await other!.archive()
    const ready = await queue.send(4)
    expect((await byId.find(delayed)).state).toBe('delayed')
    expect((await byId.find(leased)).state).toBe('leased')
    expect((await byId.find(archived)).state).toBe('archived')
    expect((await byId.find(ready)).state).toBe('ready')
    await message!.delete()
    await expect(byId.find(leased)).rejects.toMatchObject({ code: 'MESSAGE_NOT_FOUND' })
  })

  test('has its past and what is to come', async () => {
    const { queue, byId } = await makeQueue()
    const id = await queue.send(1)
    const [message] = await queue.read()
    await message!.release()
    const placed = await byId.find(id)
    expect(byId.timeline(placed).map(({ kind }) => kind)).toEqual(['sent', 'read', 'waiting'])
  })

  test('is moved in one step, and says where it comes from', async () => {
    const { bus, queue, byId } = await makeQueue()
    const id = await queue.send({ n: 1 }, { headers: { h: 1 }, priority: 3 })
    const newId = await byId.move(id, { to: 'others', delayMs: 0 })
    const [moved] = await bus.queue('others').peek()
    expect(moved).toMatchObject({ id: newId, data: { n: 1 }, headers: { h: 1 }, priority: 3, readCount: 0 })
    expect(moved!.meta).toMatchObject({ queueName: 'others', moved_from_queue: 'orders', moved_from_id: id })
    await expect(byId.find(id)).rejects.toMatchObject({ code: 'MESSAGE_NOT_FOUND' })
  })

  test('is not had from the hands of a reader, and stays there', async () => {
    const { queue, byId } = await makeQueue()
    const id = await queue.send(1)
    const [message] = await queue.read()
    await expect(byId.move(id, { to: 'others', delayMs: 0 })).rejects.toMatchObject({ code: 'MESSAGE_NOT_FOUND' })
    await expect(byId.deadLetter(id, 'x')).rejects.toMatchObject({ code: 'MESSAGE_NOT_FOUND' })
    expect(await message!.delete()).toBe(true)
  })

  test('ends as dead, and looking after it was no attempt', async () => {
    const { queue, byId } = await makeQueue()
    const id = await queue.send(1)
    expect(await byId.deadLetter(id, 'the customer is gone')).toMatchObject({ queue: 'orders_dlq' })
    const [letter] = await queue.deadLetters.list()
    expect(letter!.meta).toMatchObject({
      errorMessage: 'the customer is gone',
      originQueue: 'orders',
      originId: id,
      attempts: 0,
    })
    expect(await queue.deadLetters.redrive()).toHaveLength(1)
  })

  test('ends as dead in the archive where there is no queue for it', async () => {
    const { queue, byId } = await makeQueue({ deadLetter: false })
    const id = await queue.send(1)
    expect(await byId.deadLetter(id, 'gone')).toEqual({ queue: null, id: null })
    expect((await byId.find(id)).state).toBe('archived')
  })

  test('is sent once more with what is changed, and stays', async () => {
    const { bus, queue } = await makeQueue()
    await queue.send({ n: 1 }, { headers: { h: 1 }, meta: { targetId: 't' }, priority: 3 })
    const [message] = await queue.read()
    await message!.deadLetter('broken')
    const [letter] = await queue.deadLetters.list()
    const letters = 'orders_dlq'
    const copy = await bus.queue(letters).stored.byId.copy(letter!.id, 'orders', { data: '{"n":2}' })
    await queue.stored.send([copy], {})
    const [sent] = await queue.peek()
    expect(sent).toMatchObject({ data: { n: 2 }, headers: { h: 1 }, priority: 3, readCount: 0 })
    expect(sent!.meta).toMatchObject({
      targetId: 't',
      replayedFromQueue: letters,
      replayedFromId: letter!.id,
      queueName: 'orders',
    })
    expect(sent!.meta).not.toHaveProperty('errorMessage')
    expect(await queue.deadLetters.list()).toHaveLength(1)
  })
})

describe('dead letters', () => {
  async function withLetters() {
    const made = await makeQueue()
    const errors = [
      'timeout after 5012 ms',
      'timeout after 7 ms',
      'order 9f86d081884c is gone',
      'timeout after 12 ms\n at x',
    ]
    for (const error of errors) {
      await made.queue.send(error)
      const [message] = await made.queue.read()
      await message!.deadLetter(new Error(error))
    }
    return made
  }

  test('are counted by their errors, whatever numbers stand in these', async () => {
    const { queue } = await withLetters()
    const { groups, scanned, more } = await queue.deadLetters.groups()
    expect(groups).toMatchObject([
      { error: 'timeout after # ms', count: 3 },
      { error: 'order # is gone', count: 1 },
    ])
    expect({ scanned, more }).toEqual({ scanned: 4, more: false })
    expect(groups[0]!.firstAt!.getTime()).toBeLessThanOrEqual(groups[0]!.lastAt!.getTime())
    expect((await queue.deadLetters.list({ ids: [groups[1]!.exampleId] }))[0]!.data).toContain('is gone')
  })

  test('of one error are sent again, one after the other', async () => {
    const { queue } = await withLetters()
    const again = { error: 'timeout after 1 ms', rate: 1 }
    expect(await queue.deadLetters.redrive({ ...again, dryRun: true })).toHaveLength(3)
    expect(await queue.deadLetters.redrive(again)).toHaveLength(3)
    expect(await queue.deadLetters.list()).toHaveLength(1)
    const times = (await queue.peek()).map(({ visibleAt }) => visibleAt.getTime())
    expect(Math.max(...times) - Math.min(...times)).toBeGreaterThanOrEqual(1_900)
  })
})
