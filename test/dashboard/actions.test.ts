import { beforeEach, describe, expect, test } from 'vitest'
import { newName } from '../support/engine.ts'
import { openShop } from './harness.ts'
import { type Look, soon, text } from './look.ts'

const button = (look: Look, label: string) => look.page.getByRole('button', { name: label, exact: true })

/** The page may look for it once more before it goes on. */
const mayBeGone = (look: Look) => look.expected.add(404)

describe.each(['PostgreSQL', 'Redis'] as const)('on %s', (storage) => {
  const shop = openShop(storage)

  /** A queue of the test's own. */
  let name: string
  beforeEach(async () => {
    name = newName('q')
    await shop.bus.queue(name).create()
  })
  const queue = () => shop.bus.queue(name)

  /** What is the same for every storage: the others are tried where their scripts do what no other page asks for. */
  const once = (name: string, run: () => Promise<void>) => {
    if (storage === 'PostgreSQL') test(name, run)
  }

  describe('of a queue', () => {
    once('create', async () => {
      const look = await shop.look()
      await look.act('Create queue…', { Name: `${name}_more` }, 'Create')
      expect((await shop.bus.queues()).map((one) => one.queue)).toContain(`${name}_more`)
    })

    once('pause with a reason and an end, and resume', async () => {
      const look = await shop.look(`queues/${name}`)
      await look.act('Pause…', { Reason: 'the bank is closed', Until: '2099-12-31T23:30:00' }, 'Pause')
      const { pause } = await queue().stats()
      expect(pause).toMatchObject({ reason: 'the bank is closed', by: 'this machine' })
      expect(pause?.until).toEqual(new Date('2099-12-31T23:30:00Z'))
      await button(look, 'Resume').click()
      await soon(() => queue().stats()).toMatchObject({ pause: null })
    })

    once('pause and resume from the overview', async () => {
      const look = await shop.look(`?q=${name}`)
      await look.act(`Pause ${name}`, {}, 'Pause')
      expect((await queue().stats()).pause).not.toBeNull()
      await button(look, `Resume ${name}`).click()
      await soon(() => queue().stats()).toMatchObject({ pause: null })
    })

    test('send a message, with data as typed', async () => {
      const look = await shop.look(`queues/${name}`)
      const fields = { 'Data (JSON)': '{"n": 12345678901234567890}', 'Headers (JSON)': '{"tenant": "acme"}' }
      await look.act('Send…', { ...fields, 'Ordering key': 'k', Priority: '3' }, 'Send')
      const [message] = await queue().peek()
      expect(message).toMatchObject({ headers: { tenant: 'acme' }, orderingKey: 'k', priority: 3 })
      const { messages } = await queue().stored.peekPage({ place: null, limit: 1, afterId: null, ids: null })
      expect(messages[0]?.data).toContain('12345678901234567890')
    })

    once('data that are no JSON are not sent, and the dialog says why', async () => {
      const look = await shop.look(`queues/${name}`)
      await button(look, 'Send…').click()
      await look.fill({ 'Data (JSON)': '{"n": ' })
      await look.dialog.getByRole('button', { name: 'Send', exact: true }).click()
      await look.dialog.getByRole('alert').filter({ hasText: 'is not JSON' }).waitFor()
      expect(await queue().peek()).toEqual([])
    })

    once('purge, once its name is typed in', async () => {
      await queue().sendBatch([{ data: 1 }, { data: 2 }])
      const look = await shop.look(`queues/${name}`)
      await button(look, 'Purge…').click()
      const confirm = look.dialog.getByRole('button', { name: 'Purge', exact: true })
      expect(await confirm.isDisabled()).toBe(true)
      await look.fill({ [`Type “${name}” to confirm`]: name })
      await look.confirm('Purge')
      expect(await queue().peek()).toEqual([])
    })

    test('drop, once its name is typed in', async () => {
      const look = await shop.look(`queues/${name}`)
      mayBeGone(look)
      await look.act('Drop…', { [`Type “${name}” to confirm`]: name }, 'Drop')
      await look.loaded('overview')
      expect((await shop.bus.queues()).map((one) => one.queue)).not.toContain(name)
    })

    once('limits: add two, remove one, whatever the page showed', async () => {
      const look = await shop.look(`queues/${name}`)
      await button(look, 'Add limit…').click()
      // Meanwhile, by somebody else.
      await queue().configure({ limits: [{ per: 'queue', concurrency: 5 }] })
      await look.fill({ 'Holds for': 'each group', 'Begun in a time, at most': '100/min' })
      await look.confirm('Add')
      const limits = async () => (await queue().settings()).limits
      await soon(limits).toMatchObject([{ concurrency: 5 }, { per: 'group', rate: { count: 100, periodMs: 60_000 } }])
      const row = look.page.getByRole('table', { name: 'Limits' }).getByRole('row').filter({ hasText: 'the queue' })
      await row.getByRole('button', { name: 'Remove…' }).click()
      await look.confirm('Remove')
      await soon(limits).toMatchObject([{ per: 'group' }])
    })
  })

  describe('of a message', () => {
    once('delay', async () => {
      const id = await queue().send({ a: 1 })
      const look = await shop.look(`queues/${name}/messages/${id}`)
      await look.act('Delay…', { For: '2h' }, 'Delay')
      const [message] = await queue().peek()
      expect(message!.visibleAt.getTime() - Date.now()).toBeGreaterThan(7_000_000)
    })

    test('retry now, one that waits and several of a list', async () => {
      const [one, ...others] = [
        await queue().send(1, { delay: '1h' }),
        await queue().send(2, { delay: '1h' }),
        await queue().send(3, { delay: '1h' }),
      ]
      const look = await shop.look(`queues/${name}/messages/${one}`)
      await button(look, 'Retry now').click()
      await soon(async () => (await queue().peek({ place: 'ready' })).map(({ id }) => id)).toEqual([one])
      await look.go(`queues/${name}/messages?state=delayed`)
      for (const id of others)
        await look.page.getByRole('checkbox', { name: `Choose message ${id}`, exact: true }).check()
      await button(look, 'Retry now').click()
      await soon(async () => (await queue().stats()).ready).toBe(3)
    })

    once('archive', async () => {
      const id = await queue().send({ a: 1 })
      const look = await shop.look(`queues/${name}/messages/${id}`)
      await button(look, 'Archive').click()
      await soon(async () => (await queue().peek({ place: 'archived' })).map((one) => one.id)).toEqual([id])
    })

    once('delete', async () => {
      const id = await queue().send({ a: 1 })
      const look = await shop.look(`queues/${name}/messages/${id}`)
      mayBeGone(look)
      await look.act('Delete…', {}, 'Delete')
      expect(await queue().peek()).toEqual([])
      await look.loaded('messages')
    })

    once('edit and send a copy to another queue', async () => {
      const id = await queue().send({ a: 1 }, { headers: { tenant: 'acme' }, meta: { targetId: 't-1' }, priority: 2 })
      const look = await shop.look(`queues/${name}/messages/${id}`)
      await shop.bus.queue(`${name}_to`).create()
      await look.act('Edit and send a copy…', { Queue: `${name}_to`, 'Data (JSON)': '{"a": 2}' }, 'Send copy')
      const copy = { data: { a: 2 }, headers: { tenant: 'acme' }, priority: 2 }
      const [sent] = await shop.bus.queue(`${name}_to`).peek()
      expect(sent).toMatchObject(copy)
      expect(sent!.meta.targetId).toBe('t-1')
      expect(await queue().peek()).toHaveLength(1)
    })

    once('cancel what a worker has in hand', async () => {
      const id = await queue().send({ a: 1 })
      let begin = () => {}
      const begun = new Promise<void>((resolve) => {
        begin = resolve
      })
      const worker = queue().work((_, { signal }) => {
        begin()
        return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason), { once: true }))
      })
      try {
        await begun
        const look = await shop.look(`queues/${name}/messages/${id}`)
        mayBeGone(look)
        await look.act('Cancel…', {}, 'Cancel message')
        await soon(() => queue().stats()).toMatchObject({ ready: 0, leased: 0, delayed: 0, archived: 1 })
        const [cancelled] = await queue().peek({ place: 'archived' })
        expect(cancelled!.meta).toHaveProperty('cancelled_at')
      } finally {
        await worker.stop()
      }
    })

    test('cancel those that are chosen', async () => {
      const [first, , third] = await queue().sendBatch([{ data: 1 }, { data: 2 }, { data: 3 }])
      const look = await shop.look(`queues/${name}/messages`)
      for (const { id } of [first!, third!]) await look.page.getByLabel(`Choose message ${id}`).check()
      await look.act('Cancel…', {}, 'Cancel messages')
      expect((await queue().peek()).map(({ data }) => data)).toEqual([2])
    })

    test('move to another queue', async () => {
      const id = await queue().send({ a: 1 }, { headers: { tenant: 'acme' } })
      await shop.bus.queue(`${name}_to`).create()
      const look = await shop.look(`queues/${name}/messages/${id}`)
      mayBeGone(look)
      await look.act('Move…', { 'To queue': `${name}_to` }, 'Move')
      expect(await queue().peek()).toEqual([])
      expect(await shop.bus.queue(`${name}_to`).peek()).toMatchObject([{ data: { a: 1 }, headers: { tenant: 'acme' } }])
    })

    test('dead-letter, with the reason', async () => {
      const id = await queue().send({ a: 1 })
      const look = await shop.look(`queues/${name}/messages/${id}`)
      mayBeGone(look)
      await look.act('Dead-letter…', { Reason: 'it is a test order' }, 'Dead-letter')
      expect(await queue().peek()).toEqual([])
      const [letter] = await queue().deadLetters.list()
      expect(letter).toMatchObject({ data: { a: 1 }, meta: { errorMessage: 'it is a test order' } })
    })
  })

  describe('of dead letters', () => {
    beforeEach(async () => {
      await queue().sendBatch([1, 2, 3].map((data) => ({ data })))
      await queue()
        .work(
          ({ data }) => {
            throw new Error(data === 2 ? 'no such order' : 'the bank is closed')
          },
          { maxAttempts: 1 },
        )
        .drain()
    })
    const dataOf = (messages: readonly { data: unknown }[]) => messages.map(({ data }) => data).sort()

    once('redrive all, after a look at how many', async () => {
      const look = await shop.look(`queues/${name}/dead-letters`)
      await button(look, 'Redrive all…').click()
      await look.dialog.getByText('3 messages will be sent again').waitFor()
      expect(await queue().peek()).toEqual([])
      await look.confirm('Redrive')
      expect(dataOf(await queue().peek())).toEqual([1, 2, 3])
      expect(await queue().deadLetters.list()).toEqual([])
    })

    test('redrive those of one error, so many a second', async () => {
      const look = await shop.look(`queues/${name}/dead-letters`)
      const row = look.page
        .getByRole('table', { name: 'Errors' })
        .getByRole('row')
        .filter({ hasText: 'the bank is closed' })
      await text(row).toMatch(/ 2 /)
      await row.getByRole('button', { name: /Redrive/ }).click()
      await look.dialog.getByText('2 messages will be sent again').waitFor()
      await look.fill({ 'Ready a second': '1', 'Ready after': '1h' })
      await look.confirm('Redrive')
      const again = await queue().peek()
      expect(dataOf(again)).toEqual([1, 3])
      const [first, second] = again.map(({ visibleAt }) => visibleAt.getTime()).sort()
      expect(second! - first!).toBeGreaterThanOrEqual(900)
      expect(dataOf(await queue().deadLetters.list())).toEqual([2])
    })

    once('redrive those that are chosen', async () => {
      const [, letter] = await queue().deadLetters.list()
      const look = await shop.look(`queues/${name}/dead-letters`)
      await look.page.getByLabel(`Choose message ${letter!.id}`).check()
      await look.act('Redrive 1 message…', {}, 'Redrive')
      expect(dataOf(await queue().peek())).toEqual([letter!.data])
    })
  })

  describe('of a schedule', () => {
    beforeEach(() => shop.bus.schedule(name, { every: '7d', queue: name, data: { report: 1 } }))

    test('run now', async () => {
      const look = await shop.look(`schedules/${name}`)
      await look.act('Run now…', {}, 'Run now')
      expect((await queue().peek()).map(({ data }) => data)).toEqual([{ report: 1 }])
    })

    once('disable and enable', async () => {
      const look = await shop.look(`schedules/${name}`)
      await look.act('Disable…', {}, 'Disable')
      expect((await shop.bus.schedules.get(name)).enabled).toBe(false)
      await button(look, 'Enable').click()
      await soon(async () => (await shop.bus.schedules.get(name)).enabled).toBe(true)
    })
  })

  describe('of a topic', () => {
    const topic = () => shop.bus.topic(name)
    beforeEach(async () => {
      for (const data of [1, 2, 3, 4]) await topic().publish(data)
      for (const subscription of ['one', 'two']) await topic().subscription(subscription).create({ from: 'latest' })
    })
    const cursors = async () => (await topic().subscriptions()).map(({ cursor }) => cursor)

    test('seek one subscription, and all', async () => {
      const look = await shop.look(`topics/${name}`)
      await button(look, 'Seek one').click()
      await look.fill({ Where: 'Before a time', Time: '2000-01-01T00:00:00' })
      await look.dialog.getByText('one: from 4 to 0: 4 messages will be handled again').waitFor()
      expect(await cursors(), 'a preview').toEqual([4, 4])
      await look.fill({ Where: 'So many messages back', Number: '3' })
      await look.dialog.getByText('one: from 4 to 1').waitFor()
      await look.confirm('Seek')
      expect(await cursors()).toEqual([1, 4])
      await look.act('Seek all…', { Where: 'To the beginning' }, 'Seek')
      expect(await cursors()).toEqual([0, 0])
    })

    test('remove a subscription, and drop the topic', async () => {
      const look = await shop.look(`topics/${name}`)
      mayBeGone(look)
      await look.act('Remove one', { 'Type “one” to confirm': 'one' }, 'Remove')
      expect((await topic().subscriptions()).map(({ subscription }) => subscription)).toEqual(['two'])
      await look.act('Drop…', { [`Type “${name}” to confirm`]: name }, 'Drop')
      await look.loaded('topics')
      expect((await shop.bus.topics()).map((one) => one.topic)).not.toContain(name)
    })
  })
})
