import { gunzipSync } from 'node:zlib'
import { Hono } from 'hono'
import { dashboard } from 'tidings-server'
import type { Fetch } from 'tidings-server/internal/app/context'
import { nodeHandler } from 'tidings-server/internal/dashboard/node'
import { describe, expect, onTestFinished, test } from 'vitest'
import { askAt, listen, memoryBus, ownHeaders, startDashboard } from './dashboard-support.ts'

/** The path of a script of the document, as the document has it. */
const scriptIn = (html: string) => /src="([^"]+\.js)"/.exec(html)![1]!
const policy = "default-src 'none'; script-src 'self'; style-src 'self'"

describe('the document and its parts', () => {
  test('come with a policy that lets nothing else in', async () => {
    const { ask } = await startDashboard()
    const { status, headers, text } = await ask('/')
    expect(status).toBe(200)
    expect(headers).toMatchObject({
      'content-type': 'text/html; charset=utf-8',
      'cache-control': 'no-cache',
      'x-content-type-options': 'nosniff',
      'referrer-policy': 'no-referrer',
      'x-frame-options': 'DENY',
      'content-security-policy': expect.stringContaining(policy),
    })
    expect(headers['content-security-policy']).toContain("frame-ancestors 'none'")
    expect(headers['content-security-policy']).not.toContain('unsafe')
    // Nothing inline, and nothing from elsewhere.
    expect(text.replace(/href="data:[^"]*"/, '')).not.toMatch(
      /<script(?![^>]*\bsrc=)[^>]*>|<style|\son\w+=|https?:\/\//i,
    )
    const script = await ask(new URL(scriptIn(text), 'http://x/').pathname)
    expect(script.headers).toMatchObject({
      'content-type': 'text/javascript; charset=utf-8',
      'cache-control': 'public, max-age=31536000, immutable',
      'x-content-type-options': 'nosniff',
    })
  })

  test('are not sent again to who has them, and are compressed for who can read that', async () => {
    const { ask } = await startDashboard()
    const whole = await ask('/')
    const path = new URL(scriptIn(whole.text), 'http://x/').pathname
    for (const at of ['/', path]) {
      const plain = await ask(at)
      const etag = plain.headers.etag!
      const again = await ask(at, { headers: { 'if-none-match': `"other", W/${etag}` } })
      expect(again).toMatchObject({ status: 304, text: '' })
      expect((await ask(at, { headers: { 'if-none-match': '"other"' } })).status).toBe(200)
      const packed = await ask(at, { headers: { 'accept-encoding': 'br, gzip' } })
      expect(packed.headers).toMatchObject({ 'content-encoding': 'gzip', vary: 'Accept-Encoding' })
      expect(gunzipSync(packed.bytes).equals(plain.bytes)).toBe(true)
      expect((await ask(at, { headers: { 'accept-encoding': 'gzip;q=0' } })).headers).not.toHaveProperty(
        'content-encoding',
      )
      const head = await ask(at, { method: 'HEAD' })
      expect(head).toMatchObject({ status: 200, text: '' })
      expect(head.headers['content-type']).toBe(plain.headers['content-type'])
    }
  })

  test('are all that is served of files', async () => {
    const { ask } = await startDashboard()
    // What has no slash at its end may be the place of a document.
    for (const path of [
      '/assets/../index.html',
      '/assets/..%2findex.html',
      '/assets/%2e%2e/%2e%2e/%2e%2e/package.json',
      '/assets/..%5c..%5cpackage.json',
      '/assets//etc/passwd',
      '/assets/%2fetc%2fpasswd',
      '/assets/none.js',
      '/assets/__proto__',
      '/assets/constructor.js',
      '/package.json',
      '/dashboard.js',
    ])
      expect([308, 404], path).toContain((await ask(path)).status)
    for (const path of ['/api', '/api/v2/queues', '/api/v10', '/api/sessions', '/api/v1/nothing'])
      expect([308, 404], path).toContain((await ask(path)).status)
  })

  test('nothing of the API is kept by caches', async () => {
    const { ask } = await startDashboard()
    for (const path of ['/api/session', '/api/v1/queues', '/api/v1/queues/none'])
      expect((await ask(path)).headers).toMatchObject({
        'cache-control': 'no-store',
        'x-content-type-options': 'nosniff',
      })
  })

  test('the document takes no other method, and answers with what there is', async () => {
    const { act } = await startDashboard()
    for (const method of ['POST', 'PUT', 'DELETE']) expect((await act(method, '/')).status).toBe(404)
    expect((await act('PATCH', '/api/v1/queues')).status).toBe(405)
  })
})

/** What a browser does first: the document, its script and its session, by the addresses that these have for it. */
async function browse(port: number, path: string) {
  let at = new URL(path, `http://127.0.0.1:${port}`)
  let document = await askAt(port, at.pathname)
  if (document.status >= 300 && document.status < 400) {
    at = new URL(document.headers.location!, at)
    document = await askAt(port, at.pathname)
  }
  expect(document.headers['content-type']).toContain('text/html')
  const script = new URL(scriptIn(document.text), at)
  expect((await askAt(port, script.pathname)).headers['content-type']).toContain('javascript')
  const api = new URL('../api/', script)
  const session = await askAt(port, `${api.pathname}session`)
  expect(session).toMatchObject({ status: 200, body: { who: 'ada' } })
  const name = `q${Math.floor(Math.random() * 1e9)}`
  const created = await askAt(port, `${api.pathname}v1/queues/${name}`, { method: 'PUT', headers: ownHeaders })
  expect(created.status).toBe(201)
  const body = { message: { n: 1 } }
  const sent = await askAt(port, `${api.pathname}v1/queues/${name}/messages`, {
    method: 'POST',
    headers: ownHeaders,
    body,
  })
  expect(sent.status).toBe(201)
  return api.pathname
}

const authorize = () => ({ who: 'ada' })

async function mounted(options = {}) {
  const pages = dashboard(await memoryBus(), { authorize, ...options })
  onTestFinished(() => pages.stop())
  return pages
}

describe('mounted', () => {
  test.each(['', '/', '/admin', '/admin/queues/', '/api', '/assets/x', '/a/assets', '/api/v1/../v2x'])(
    'on a server of Node, at %s',
    async (path) => {
      const port = await listen((await mounted()).node)
      await browse(port, path === '' ? '/' : path)
    },
  )

  test.each(['/admin', '/admin/'])('in Hono by `all`, at %s', async (path) => {
    const pages = await mounted()
    const app = new Hono().all('/admin/*', (context) => pages(context.req.raw, context.env))
    const port = await listen(nodeHandler(app.fetch as Fetch))
    expect(await browse(port, path)).toBe('/admin/api/')
  })

  test.each(['/admin', '/admin/'])(
    'in Hono by `mount`, which cuts the path off, with `basePath`, at %s',
    async (path) => {
      const pages = await mounted({ basePath: '/admin' })
      const app = new Hono()
      app.mount('/admin', pages)
      const port = await listen(nodeHandler(app.fetch as Fetch))
      expect(await browse(port, path)).toBe('/admin/api/')
    },
  )

  test.each(['/admin', '/admin/'])('as Express does it, which keeps the whole path beside, at %s', async (path) => {
    const pages = await mounted()
    const port = await listen((incoming, outgoing) => {
      Object.assign(incoming, { originalUrl: incoming.url })
      incoming.url = incoming.url!.slice('/admin'.length) || '/'
      return pages.node(incoming, outgoing)
    })
    expect(await browse(port, path)).toBe('/admin/api/')
  })

  test('behind a parser that has read the body, as in NestJS and behind `express.json()`', async () => {
    const pages = await mounted()
    const port = await listen(async (incoming, outgoing) => {
      const chunks: Buffer[] = []
      for await (const chunk of incoming) chunks.push(chunk as Buffer)
      const text = String(Buffer.concat(chunks))
      Object.assign(incoming, { originalUrl: incoming.url, body: text === '' ? {} : JSON.parse(text) })
      await pages.node(incoming, outgoing)
    })
    await browse(port, '/admin/')
  })

  test('as Next.js does it, which takes the slash from the end', async () => {
    const pages = await mounted({ basePath: '/admin/queues' })
    const port = await listen(pages.node)
    const { status, text } = await askAt(port, '/admin/queues')
    expect(status).toBe(200)
    expect(scriptIn(text)).toMatch(/^\/admin\/queues\/assets\//)
    expect(await browse(port, '/admin/queues')).toBe('/admin/queues/api/')
    for (const path of ['/admin/queuesx', '/admin/queues/more', '/other/api/session'])
      expect((await askAt(port, path)).status, path).toBe(404)
  })

  test('leaves compressing to frameworks where it has no socket in hand: Next.js takes the header away', async () => {
    const pages = await mounted({ authorize: () => ({ who: 'Ada' }) })
    const request = new Request('http://shop.example/admin/queues/', { headers: { 'accept-encoding': 'gzip' } })
    const response = await pages(request, { params: {} })
    expect(response.headers.has('content-encoding')).toBe(false)
    expect(await response.text()).toContain('<title>')
  })

  test('behind a proxy that has another path for it', async () => {
    const pages = await mounted()
    // What stands behind '/ops/' outside stands behind '/inner/dash/' inside.
    const port = await listen((incoming, outgoing) => {
      incoming.url = incoming.url!.replace(/^\/ops\//, '/inner/dash/')
      return pages.node(incoming, outgoing)
    })
    expect(await browse(port, '/ops/')).toBe('/ops/api/')
  })

  test.each(['relative', '/ends/', '/../up', '//host', '/a b', ''])('refuses the path %j', async (basePath) => {
    const bus = await memoryBus()
    expect(() => dashboard(bus, { basePath })).toThrow(expect.objectContaining({ code: 'TYPE' }))
  })

  test('refuses a log-in beside tokens, and what is none', async () => {
    const bus = await memoryBus()
    const tokens = [{ name: 'a', scopes: ['read'] as const, hash: `sha256:${'0'.repeat(64)}` }]
    expect(() => dashboard(bus, { authorize, tokens })).toThrow(expect.objectContaining({ code: 'OPTION_CONFLICT' }))
    expect(() => dashboard(bus, { authorize: 'ada' as never })).toThrow(expect.objectContaining({ code: 'TYPE' }))
    expect(() => dashboard(bus, { redact: {} as never })).toThrow(expect.objectContaining({ code: 'TYPE' }))
  })
})
