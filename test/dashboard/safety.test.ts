import { request } from 'node:http'
import type { Queue } from 'tidings'
import { newToken } from 'tidings-server/internal/auth/token'
import { describe, expect, onTestFinished, test } from 'vitest'
import { newName } from '../support/engine.ts'
import { openShop } from './harness.ts'
import { hostile } from './hostile.ts'
import { closeServer, listen, urlOf } from './listening.ts'
import { type Look, text } from './look.ts'

const shop = openShop()

/** What buttons say that change something. */
const changing =
  /^(Create|Send|Pause|Resume|Purge|Drop|Add|Remove|Delay|Archive|Edit|Cancel|Delete|Redrive|Retry|Move|Run|Enable|Disable|Seek)\b/

const newQueue = async () => {
  const queue = shop.bus.queue(newName('q'), { maxMessageBytes: 4_000_000 })
  await queue.create()
  return queue
}
const isHacked = (look: Look) => look.page.evaluate('window.hacked === 1 || "hacked" in {}')
const isTooWide = (look: Look) => look.page.evaluate('document.documentElement.scrollWidth > innerWidth')

describe('a hostile message is text', () => {
  test('in the list, on its page, and among the dead letters', async () => {
    const queue = await newQueue()
    const id = await queue.send(hostile.data, hostile.options)
    await queue.send(hostile.data, hostile.options)
    const look = await shop.look(`queues/${queue.name}/messages`)
    await text(look.page.getByRole('row').nth(1)).toContain('<script>window.hacked=1</script>')
    await look.go(`queues/${queue.name}`)
    await text(look.page.getByRole('main')).toContain('onerror="window.hacked=1"')
    await look.go(`queues/${queue.name}/messages/${id}`)
    const main = look.page.getByRole('main')
    for (const part of ['"__proto__"', '<script>window.hacked=1</script>']) await text(main).toContain(part)
    // Nothing that is invisible or turns the text round is left as it is.
    const shown = await main.textContent()
    expect(shown).toContain('‹202E›gnp.exe')
    expect(shown).toContain('‹001B›[31m')
    // biome-ignore lint/suspicious/noControlCharactersInRegex: none of them may be there
    expect(shown).not.toMatch(/[\u0001\u001b\u007f\u202a-\u202e\u2066-\u2069\u200b\ufeff\u2028]/)
    await queue
      .work(
        () => {
          throw new Error(hostile.markup + hostile.marks)
        },
        { maxAttempts: 1 },
      )
      .drain()
    await look.go(`queues/${queue.name}/dead-letters`)
    await text(look.page.getByRole('main')).toContain('<script>window.hacked=1</script>')
    const [letter] = await queue.deadLetters.list({ limit: 1 })
    await look.go(`queues/${queue.name}_dlq/messages/${letter!.id}`)
    await text(look.page.getByRole('main')).toContain('<img src=x onerror')
    expect(await isHacked(look)).toBe(false)
    expect(await isTooWide(look)).toBe(false)
  })

  test('as reason of a pause and data of a schedule', async () => {
    const queue = await newQueue()
    await queue.pause({ reason: hostile.markup, by: hostile.markup })
    const schedule = newName('s')
    await shop.bus.schedule(schedule, { every: '1d', queue: queue.name, data: hostile.data })
    const look = await shop.look(`queues/${queue.name}`)
    await text(look.page.getByRole('main')).toContain('<script>window.hacked=1</script>')
    await look.go(`schedules/${schedule}`)
    await text(look.page.getByRole('main')).toContain('<script>window.hacked=1</script>')
    await look.go('')
    expect(await isHacked(look)).toBe(false)
  })

  test('as what a process says of itself', async () => {
    const since = new Date().toISOString()
    const told = { host: hostile.markup + hostile.marks, pid: 7, since, queues: ['orders'], token: hostile.markup }
    const processes = [
      { ...told, id: 'a', version: hostile.markup },
      { ...told, id: 'b', version: '1.0.0', host: 'h'.repeat(255), token: null, queues: null },
      { ...told, id: 'c', version: '1.0.0', queues: Array.from({ length: 300 }, (_, index) => `queue_${index}`) },
    ]
    const look = await shop.look('', { viewport: { width: 360, height: 740 } })
    await look.page.route('**/v1/processes', (route) => route.fulfill({ json: { processes } }))
    await look.go('processes')
    const main = look.page.getByRole('main')
    await text(main).toContain('<script>window.hacked=1</script>')
    await text(main).toMatch(/2 versions are in use at once: .* by 1, 1\.0\.0 by 2\./s)
    await text(main).toContain('queue_7 and 292 more')
    const shown = await main.textContent()
    expect(shown).toContain('‹202E›gnp.exe')
    // biome-ignore lint/suspicious/noControlCharactersInRegex: none of them may be there
    expect(shown).not.toMatch(/[\u0001\u001b\u007f\u202a-\u202e\u2066-\u2069\u200b\ufeff\u2028]/)
    expect(await isHacked(look)).toBe(false)
    expect(await isTooWide(look)).toBe(false)
  })

  test('of a megabyte', async () => {
    const queue = await newQueue()
    const id = await queue.send({ long: 'x'.repeat(500_000), words: 'word '.repeat(100_000), end: 'the end' })
    const look = await shop.look(`queues/${queue.name}/messages`)
    await look.go(`queues/${queue.name}/messages/${id}`)
    await text(look.page.getByRole('main')).toMatch(/The first .* of .*B\./)
    await look.page.getByRole('button', { name: 'Show all' }).click()
    await look.page.getByText('the end').waitFor()
    expect(await isTooWide(look)).toBe(false)
  })
})

describe('who may what', () => {
  const tokens = { reader: newToken(), admin: newToken() }
  const settings = {
    tokens: [
      { name: 'reader', hash: tokens.reader.hash, scopes: ['read'] },
      { name: 'admin', hash: tokens.admin.hash, scopes: ['read', 'admin'] },
    ],
  } as const

  async function signIn(url: string, token: string, expected: readonly number[] = []): Promise<Look> {
    const look = await shop.look('', { url })
    for (const status of expected) look.expected.add(status)
    await look.page.getByLabel('Token').fill(token)
    await look.page.getByRole('button', { name: 'Sign in' }).click()
    return look
  }

  /** By the API of the page, as a person with the tools of a browser would. @returns the status */
  const pause = (look: Look, queue: string, headers: object = {}) =>
    look.page.evaluate(
      `fetch('api/v1/queues/${queue}/configure', ${JSON.stringify({
        method: 'POST',
        body: JSON.stringify({ settings: { pause: {} } }),
        headers: { 'x-tidings-dashboard': '1', 'content-type': 'application/json', ...headers },
      })}).then(({ status }) => status)`,
    )
  const isPaused = async (queue: Queue) => (await queue.stats()).pause !== null

  test('nobody anything with a wrong token', async () => {
    const queue = await newQueue()
    const look = await signIn(await shop.serve(settings), 'wrong'.repeat(10), [401])
    await look.page.getByRole('alert').waitFor()
    expect(await pause(look, queue.name)).toBe(401)
    expect(await isPaused(queue)).toBe(false)
  })

  test('a reader looks, and is offered nothing else', async () => {
    const queue = await newQueue()
    const id = await queue.send({ a: 1 })
    const look = await signIn(await shop.serve(settings), tokens.reader.token, [403])
    await look.loaded('overview')
    await text(look.page.getByRole('banner')).toMatch(/reader/)
    for (const view of ['', `queues/${queue.name}`, `queues/${queue.name}/messages/${id}`]) {
      await look.go(view)
      await text(look.page.getByRole('main')).toContain(queue.name)
      expect(await look.page.getByRole('button', { name: changing }).allInnerTexts()).toEqual([])
    }
    expect(await pause(look, queue.name, { authorization: `Bearer ${tokens.reader.token}` })).toBe(403)
    expect(await isPaused(queue)).toBe(false)
  })

  test('an administrator acts, by the name of the token', async () => {
    const queue = await newQueue()
    const look = await signIn(await shop.serve(settings), tokens.admin.token)
    await look.loaded('overview')
    await look.go(`queues/${queue.name}`)
    await look.act('Pause…', {}, 'Pause')
    expect((await queue.stats()).pause).toMatchObject({ by: 'admin' })
    // The token ends with the tab, or before.
    await look.page.getByRole('button', { name: 'Sign out' }).click()
    await look.loaded('sign-in')
  })

  test('nobody changes anything where it is read-only', async () => {
    const queue = await newQueue()
    const look = await shop.look(`queues/${queue.name}`, { url: await shop.serve({ readOnly: true }) })
    look.expected.add(403)
    await text(look.page.getByRole('banner')).toMatch(/Read-only/)
    expect(await look.page.getByRole('button', { name: changing }).allInnerTexts()).toEqual([])
    expect(await pause(look, queue.name)).toBe(403)
    expect(await isPaused(queue)).toBe(false)
  })

  test('a page of another site changes nothing', async () => {
    const queue = await newQueue()
    const site = await listen((_, response) =>
      response.setHeader('content-type', 'text/html').end('<main data-loaded>x</main>'),
    )
    onTestFinished(() => closeServer(site))
    const context = await shop.browser.newContext()
    onTestFinished(() => context.close())
    const page = await context.newPage()
    await page.goto(urlOf(site))
    const address = JSON.stringify(`${shop.url}api/v1/queues/${queue.name}/purge`)
    await queue.send({ a: 1 })
    for (const options of [
      "{ method: 'POST', mode: 'no-cors' }",
      "{ method: 'POST', headers: { 'x-tidings-dashboard': '1' } }",
    ])
      await page.evaluate(`fetch(${address}, ${options}).catch(() => {})`)
    await page.evaluate(`(() => {
      const form = Object.assign(document.createElement('form'), { method: 'post', action: ${address} })
      document.body.append(form)
      form.submit()
    })()`)
    await page.waitForURL(/purge$/)
    expect(await queue.peek()).toHaveLength(1)
  })
})

test('behind a proxy that has it under another path', async () => {
  const queue = await newQueue()
  const inner = new URL(await shop.serve({ authorize: () => ({ who: 'Ada' }) }))
  const proxy = await listen((incoming, outgoing) => {
    const path = incoming.url!.replace(/^\/tools\/of\/ours\//, inner.pathname)
    const headers = { ...incoming.headers, 'x-forwarded-for': '10.0.0.1', 'x-forwarded-proto': 'https' }
    const passed = request(
      { port: inner.port, host: inner.hostname, method: incoming.method, path, headers },
      (answer) => {
        outgoing.writeHead(answer.statusCode!, answer.headers)
        answer.pipe(outgoing)
      },
    )
    passed.on('error', () => outgoing.destroy())
    outgoing.on('close', () => passed.destroy())
    incoming.pipe(passed)
  })
  onTestFinished(() => closeServer(proxy))
  const look = await shop.look(`queues/${queue.name}`, { url: `${urlOf(proxy)}/tools/of/ours/` })
  await look.act('Pause…', {}, 'Pause')
  expect((await queue.stats()).pause).toMatchObject({ by: 'Ada' })
  await look.page.reload()
  await look.loaded('queue')
})
