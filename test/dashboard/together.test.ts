import { expect, test } from 'vitest'
import { newName } from '../support/engine.ts'
import { openShop } from './harness.ts'
import { type Look, soon, text } from './look.ts'

const shop = openShop()

const newQueue = async () => {
  const queue = shop.bus.queue(newName('q'))
  await queue.create()
  return queue
}

test('what one person does, another one sees', async () => {
  const queue = await newQueue()
  const [one, other] = await Promise.all([shop.look(`queues/${queue.name}`), shop.look(`?q=${queue.name}`)])
  await one.act('Pause…', { Reason: 'a look at it' }, 'Pause')
  await text(other.page.getByRole('row').nth(1)).toContain('Paused')
  await other.page.getByRole('button', { name: `Resume ${queue.name}` }).click()
  await one.page.getByRole('button', { name: 'Pause…', exact: true }).waitFor()
  expect((await queue.stats()).pause).toBeNull()
})

test('rows stay where they are while somebody reads', async () => {
  const queue = await newQueue()
  const ids = (await queue.sendBatch([1, 2, 3].map((data) => ({ data })))).map(({ id }) => id)
  const { page } = await shop.look(`queues/${queue.name}/messages`)
  const shown = () => page.getByRole('table', { name: 'Messages' }).locator('tbody').getByRole('link').allInnerTexts()
  await soon(shown).toEqual(ids)
  await page.getByRole('table', { name: 'Messages' }).getByRole('row').nth(2).hover()
  const [first] = await queue.read({ limit: 1 })
  await first!.delete()
  const fresh = await queue.send(4)
  // The new one is offered, the one that is gone keeps its place.
  await page.getByRole('button', { name: '1 new: show' }).waitFor()
  expect(await shown()).toEqual(ids)
  // Nobody reads any more: it follows by itself.
  await page.mouse.move(0, 0)
  await soon(shown).toEqual([...ids.slice(1), fresh])
  const last = await queue.send(5)
  await soon(shown).toEqual([...ids.slice(1), fresh, last])
})

test('what is typed stays while figures change', async () => {
  const queue = await newQueue()
  const look = await shop.look(`queues/${queue.name}`)
  await look.page.getByRole('button', { name: 'Send…' }).click()
  await look.fill({ 'Data (JSON)': '{"typed": true}' })
  await queue.sendBatch([{ data: 1 }, { data: 2 }])
  await text(look.page.locator('main')).toMatch(/Ready 2/i)
  await look.confirm('Send')
  expect((await queue.peek()).map(({ data }) => data)).toEqual([1, 2, { typed: true }])
})

/** Goes on with the key until the focus is on what is called so. */
async function tabTo(look: Look, name: string): Promise<void> {
  for (let count = 0; count < 60; count++) {
    await look.page.keyboard.press('Tab')
    const found = await look.page.evaluate(
      '(({ ariaLabel, labels, textContent }) => ariaLabel ?? labels?.[0]?.textContent ?? textContent)(document.activeElement)',
    )
    if (String(found).trim() === name) return
  }
  throw new Error(`the key never comes to '${name}'`)
}

test('by the keyboard alone', async () => {
  const queue = await newQueue()
  const look = await shop.look('')
  await look.page.keyboard.press('/')
  await look.page.keyboard.type(queue.name)
  await soon(() => look.page.evaluate('location.hash')).toContain(queue.name)
  await look.page.keyboard.press('Enter')
  await tabTo(look, queue.name)
  await look.page.keyboard.press('Enter')
  await look.loaded('queue')
  // Away from a dialog, nothing is done.
  await tabTo(look, 'Pause…')
  await look.page.keyboard.press('Enter')
  await look.dialog.waitFor()
  await look.page.keyboard.press('Escape')
  await look.dialog.waitFor({ state: 'hidden' })
  await soon(() => look.page.evaluate('document.activeElement.textContent')).toBe('Pause…')
  await look.page.keyboard.press('Enter')
  await look.dialog.waitFor()
  await tabTo(look, 'Reason')
  await look.page.keyboard.type('by hand')
  await tabTo(look, 'Pause')
  await look.page.keyboard.press('Enter')
  await look.dialog.waitFor({ state: 'hidden' })
  expect((await queue.stats()).pause).toMatchObject({ reason: 'by hand' })
  // Back where it began.
  await soon(() => look.page.evaluate('document.activeElement.textContent')).toBe('Resume')
})
