import { hostname } from 'node:os'
import { describe, expect, test } from 'vitest'
import { newName } from '../support/engine.ts'
import { LineProcess } from '../support/line-process.ts'
import { openShop } from './harness.ts'
import { soon, text } from './look.ts'

describe.each(['PostgreSQL', 'Redis'] as const)('the pages on %s', (storage) => {
  const shop = openShop(storage)

  test('overview: problems first, sums, a row for each queue', async () => {
    const { page } = await shop.look()
    const problems = page.getByRole('region', { name: 'Problems' })
    await text(problems.getByRole('listitem').first()).toMatch(/emails.*9 messages failed/)
    await text(problems).toMatch(/invoices.*the bank is closed.*Grace/)
    const queues = page.getByRole('table', { name: 'Queues' })
    await text(queues.getByRole('row').filter({ hasText: 'orders' })).toMatch(/orders 120 8 12/)
    await queues.getByRole('link', { name: 'orders' }).click()
    await text(page.getByRole('heading', { level: 1 })).toBe('orders')
  })

  test('a queue: figures, groups, limits', async () => {
    const { page } = await shop.look('queues/orders')
    const main = page.getByRole('main')
    await text(main).toMatch(/Ready 120 In hand 8 Delayed 12 Archived 20/i)
    await text(main).toMatch(/acme 30 globex 30 initech 30 umbrella 30/)
    await text(page.getByRole('table', { name: 'Limits' })).toMatch(/the queue 20.*each group 4 600 in 1 min/)
  })

  test('messages by state', async () => {
    const look = await shop.look('queues/orders/messages')
    const rows = look.page.getByRole('table', { name: 'Messages' }).locator('tbody tr')
    const states = look.page.getByRole('navigation', { name: 'States' })
    for (const [state, count] of [
      ['In hand', 8],
      ['Delayed', 12],
      ['Archived', 20],
    ] as const) {
      await states.getByRole('link', { name: state }).click()
      await soon(() => rows.count()).toBe(count)
    }
  })

  test('messages, one page after the other', async () => {
    const { page } = await shop.look('queues/orders/messages')
    const rows = page.getByRole('table', { name: 'Messages' }).locator('tbody tr')
    const next = page.getByRole('button', { name: 'Next' })
    const seen = new Set<string>()
    const shown = async () => (await rows.getByRole('link').allInnerTexts()).filter((id) => !seen.has(id))
    for (const size of [50, 50, 40]) {
      await soon(async () => (await shown()).length).toBe(size)
      for (const id of await shown()) seen.add(id)
      if (size === 50) await next.click()
    }
    expect(await next.isDisabled()).toBe(true)
  })

  test('a message: data, headers, meta, what became of it', async () => {
    const [message] = await shop.bus.queue('orders').peek({ limit: 1 })
    const { page } = await shop.look(`queues/orders/messages/${message!.id}`)
    await text(page.getByRole('region', { name: 'Data' })).toContain('"customer": { "name":')
    await text(page.getByRole('region', { name: 'Headers' })).toContain('"traceparent": "00-aaaa')
    await text(page.getByRole('main')).toMatch(/target_id order-10\d\d/)
    await text(page.getByRole('main')).toMatch(/Timeline Sent/)
  })

  test('dead letters: of all queues, by their errors, and each', async () => {
    const look = await shop.look('dead-letters')
    const { page } = look
    await text(page.getByRole('table', { name: 'Queues with dead letters' })).toMatch(
      /emails 9 messages.*badges 1 message/,
    )
    await page.getByRole('link', { name: 'emails' }).click()
    await look.loaded('dead-letters')
    const errors = page.getByRole('table', { name: 'Errors' }).getByRole('row')
    await text(errors.nth(1)).toMatch(/connect ECONNREFUSED .* 6 /)
    await text(errors.nth(2)).toMatch(/no template named welcome 3 /)
    const letters = page.getByRole('table', { name: 'Dead letters' }).locator('tbody tr')
    await soon(() => letters.count()).toBe(9)
    await letters.first().getByRole('link').click()
    await look.loaded('message')
    await text(page.getByRole('main')).toMatch(/Timeline.*ECONNREFUSED/)
  })

  test('schedules: all, and one with its times', async () => {
    const look = await shop.look('schedules')
    const { page } = look
    const rows = page.getByRole('table', { name: 'Schedules' }).locator('tbody tr')
    await text(rows.nth(0)).toMatch(/nightly 30 2 \* \* \* Europe\/Berlin reports/)
    await text(rows.nth(1)).toMatch(/weekly Disabled every 7 d/)
    await page.getByRole('link', { name: 'nightly' }).click()
    await look.loaded('schedule')
    await soon(() =>
      page
        .getByRole('listitem')
        .filter({ hasText: /\d\d:30/ })
        .count(),
    ).toBe(10)
    await text(page.getByRole('region', { name: 'Data' })).toContain('"report": "daily"')
  })

  test('topics: all, and one with its subscriptions and messages', async () => {
    const look = await shop.look('topics')
    const { page } = look
    await text(page.getByRole('table', { name: 'Topics' }).locator('tbody tr')).toMatch(/hired 10 10 .* 3 30 d/)
    await page.getByRole('link', { name: 'hired' }).click()
    await look.loaded('topic')
    const subscriptions = page.getByRole('table', { name: 'Subscriptions' }).locator('tbody tr')
    await text(subscriptions.nth(0)).toMatch(/^access 0 10/)
    await text(subscriptions.nth(1)).toMatch(/^audit 4 6/)
    await text(subscriptions.nth(2)).toMatch(/^payroll 10 · none/)
    await text(page.getByRole('table', { name: 'Messages' }).locator('tbody tr').first()).toMatch(
      /^10 \{"name": ?"Alan Turing"/,
    )
  })

  test('a correlation: how far each queue is', async () => {
    const look = await shop.look('correlations')
    const { page } = look
    await page.getByLabel('Id of a correlation').fill('hired-17')
    await page.getByRole('button', { name: 'Show' }).click()
    await look.loaded('correlation')
    await text(page.getByRole('main')).toMatch(/Done 2 In hand 0 To come 1 Failed 1 Cancelled 0/i)
    await page.getByRole('img', { name: 'hired-17 led to 4 tasks in 4 queues; 3 have ended' }).waitFor()
    const rows = page.getByRole('table', { name: 'Tasks by queue' })
    await text(rows.getByRole('row').filter({ hasText: 'badges' })).toMatch(/badges( · none){3} 1 · none/)
  })

  test('processes: who works on the storage now, until it is gone', async () => {
    const { page } = await shop.look('processes')
    const main = page.getByRole('main')
    await text(main).toMatch(/No process works on this storage.*npx tidings process/)
    const queue = shop.bus.queue(newName('q'))
    await queue.send({})
    const worker = new LineProcess<{ pid: number }>('dashboard/worker-process.mjs', [shop.storageUrl, queue.name])
    await worker.until((lines) => lines.length > 0)
    const [{ pid }] = worker.lines as [{ pid: number }]
    const row = page.getByRole('table', { name: 'Processes' }).locator('tbody tr')
    const queues = storage === 'Redis' ? '' : ` ${queue.name}`
    await text(row).toMatch(new RegExp(`^${hostname()} ${pid} \\d+\\.\\d+\\.\\d+ (now|.* ago)${queues}$`))
    await text(main).toMatch(/1 process 1 host/)
    if (storage !== 'Redis') expect(await row.getByRole('link').getAttribute('href')).toBe(`#/queues/${queue.name}`)
    await worker.kill()
    // The pointer lies where it was, and somebody who reads the table would keep the row.
    await page.mouse.move(0, 0)
    await text(main).toMatch(/No process works on this storage/)
    await queue.drop()
  })

  test('doctor: what could hurt', async () => {
    const { page } = await shop.look('doctor')
    await text(page.getByRole('main')).toMatch(/version/)
    await page.getByRole('heading', { level: 2 }).first().waitFor()
    await page.getByRole('button', { name: 'Look again' }).click()
  })

  test('times in the zone of the viewer, exact ones on hover', async () => {
    const look = await shop.look('schedules/nightly', { timezoneId: 'America/New_York' })
    const next = look.page
      .getByRole('listitem')
      .filter({ hasText: /\d\d:\d\d/ })
      .first()
    const [time] = await shop.bus.schedules.next('nightly', 1)
    const there = time!.toLocaleTimeString('en-GB', {
      timeZone: 'America/New_York',
      hour: '2-digit',
      minute: '2-digit',
    })
    await text(next).toContain(there)
    const title = await next.locator('time').getAttribute('title')
    expect(title).toContain('America/New_York')
    expect(title).toContain(time!.toISOString())
  })

  test('an address that leads nowhere says so', async () => {
    const look = await shop.look('nothing/here')
    await text(look.page.getByRole('heading', { level: 1 })).toBe('Nothing here')
    look.expected.add(404)
    await look.go('queues/no_such_queue')
    await text(look.page.getByRole('alert').first()).toMatch(/no_such_queue/)
  })
})
