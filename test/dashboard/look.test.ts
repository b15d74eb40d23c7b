import type { Browser } from 'playwright-core'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { launchChromium } from '../support/chromium.ts'
import { closeServer, listen, urlOf } from './listening.ts'
import { Look } from './look.ts'

let browser: Browser
beforeAll(async () => {
  browser = await launchChromium()
})
afterAll(() => browser.close())

const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'"

/** Looks at a page with this body, after its own script. */
async function lookAt(body: string, script = ''): Promise<Look> {
  const server = await listen(({ url }, response) => {
    if (url === '/script.js') return response.setHeader('content-type', 'text/javascript').end(script)
    if (url !== '/') return response.writeHead(404).end()
    response.setHeader('content-security-policy', policy).setHeader('content-type', 'text/html')
    response.end(
      `<!doctype html><link rel="icon" href="data:,"><main data-loaded><h1>Page</h1>${body}</main><script src="script.js"></script>`,
    )
  })
  onTestFinished(() => closeServer(server))
  const context = await browser.newContext()
  onTestFinished(() => context.close())
  const look = new Look(await context.newPage(), `${urlOf(server)}/`)
  await look.watch(context)
  await look.go('')
  return look
}

test('notices nothing where nothing is wrong', async () => {
  expect((await lookAt('<p>fine</p>', "document.title = 'fine'")).faults).toEqual([])
})

test.each([
  ['a script in the document', '<script>window.hacked = 1</script>', '', /^error: policy: script-src-elem inline/],
  [
    'a handler in markup',
    '<button onclick="window.hacked = 1">x</button>',
    // Looked at when it is called for.
    "document.querySelector('button').click()",
    /^error: policy: script-src-attr inline/,
  ],
  ['a style in markup', '<p style="color: red">x</p>', '', /^error: policy: style-src-attr inline/],
  [
    'something from elsewhere',
    '<img src="http://127.0.0.1:9/x.png">',
    '',
    /^error: policy: img-src http:\/\/127.0.0.1:9/,
  ],
  ['text that became code', '', "setTimeout('1')", /^error: policy: script-src eval/],
  ['a script that fails', '', 'throw new Error("broken")', /^script: Error: broken/],
  ['what a script complains of', '', 'console.warn("odd")', /^warning: odd/],
  ['what is missing', '', "fetch('./nothing')", /^404 of .*\/nothing$/],
])('notices %s', async (_, body, script, fault) => {
  const { faults } = await lookAt(body, script)
  await expect.poll(() => faults, { timeout: 45_000 }).toContainEqual(expect.stringMatching(fault))
})
