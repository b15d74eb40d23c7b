import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { folder, Tidings, tidings } from './support.ts'

async function start(...args: string[]) {
  const command = new Tidings(['dashboard', '--url', 'memory:', '--port', '0', ...args])
  onTestFinished(() => void command.child.kill('SIGKILL'))
  let printed = ''
  command.child.stdout?.on('data', (chunk) => {
    printed += String(chunk)
  })
  await command.until(/http\S+\n/)
  return { command, url: new URL(/http\S+/.exec(printed)![0]) }
}

const get = (url: URL, path: string, headers: Record<string, string> = {}) => fetch(new URL(path, url), { headers })

describe('tidings dashboard', () => {
  test('says where it is, shows its pages and the storage, logs what is done, and ends by SIGTERM', async () => {
    const { command, url } = await start()
    expect(url.href).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/$/)
    expect((await get(url, '/')).headers.get('content-type')).toContain('text/html')
    expect(await (await get(url, 'api/session')).json()).toMatchObject({ who: 'this machine', readOnly: false })
    const headers = { 'x-tidings-dashboard': '1' }
    expect((await fetch(new URL('api/v1/queues/orders', url), { method: 'PUT', headers })).status).toBe(201)
    // It is the dashboard alone.
    expect((await get(url, 'v1/queues')).status).toBe(404)
    expect((await get(url, 'metrics')).status).toBe(404)
    command.child.kill('SIGTERM')
    const { code, stdout, stderr } = await command.ended
    expect({ code, stdout }).toEqual({ code: 0, stdout: `the dashboard is at ${url.href}\n` })
    expect(JSON.parse(stderr.trim())).toMatchObject({ who: 'this machine', action: 'createQueue', queue: 'orders' })
  })

  test('--read-only changes nothing', async () => {
    const { url } = await start('--read-only')
    expect(await (await get(url, 'api/session')).json()).toMatchObject({ readOnly: true })
    const headers = { 'x-tidings-dashboard': '1' }
    expect((await fetch(new URL('api/v1/queues/orders', url), { method: 'PUT', headers })).status).toBe(403)
  })

  test('beyond this machine it makes a token, which stands behind the # of the URL', async () => {
    const { url } = await start('--host', '0.0.0.0', '--behind-proxy')
    const token = /^#token=(tdg_.+)$/.exec(url.hash)![1]!
    url.hostname = '127.0.0.1'
    expect(await (await get(url, 'api/session')).json()).toMatchObject({ needsToken: true })
    expect((await get(url, 'api/v1/queues')).status).toBe(401)
    expect((await get(url, 'api/v1/queues', { authorization: `Bearer ${token}` })).status).toBe(200)
  })

  test('beyond this machine it wants TLS', async () => {
    const run = await tidings(['dashboard', '--url', 'memory:', '--host', '0.0.0.0'], { cwd: join(folder) })
    expect(run).toMatchObject({ code: 2, stderr: expect.stringContaining('TLS') })
  })
})
