import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, copyFileSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { connect as connectTls } from 'node:tls'
import { promisify } from 'node:util'
import { describe, expect, onTestFinished, test } from 'vitest'
import { folder, type RunSetting, Tidings, tidings, write } from '../cli/support.ts'
import { ask, bearer, head, RawClient } from './support.ts'

const run = promisify(execFile)

/** A running `tidings serve`, which ends with the test. */
async function serve(args: readonly string[] = [], setting: RunSetting = {}) {
  const given =
    args.includes('--port') || setting.env?.PORT || args.includes('--config') ? args : ['--port', '0', ...args]
  const command = new Tidings(['serve', '--url', 'memory:', ...given], setting)
  onTestFinished(() => void command.child.kill('SIGKILL'))
  let url = ''
  // It is in the output and in the log, either of which may be here first.
  for (const stream of [command.child.stdout, command.child.stderr])
    stream?.on('data', (chunk) => {
      url ||= /https?:\/\/[\w.[\]:]+/.exec(String(chunk))?.[0] ?? ''
    })
  await command.until(/https?:\/\//)
  return { command, url, stop: () => command.child.kill('SIGTERM'), ended: command.ended }
}

describe('tidings serve', () => {
  test('says where it listens, answers, and ends by SIGTERM with 0', async () => {
    const server = await serve()
    expect(server.url).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/)
    expect((await ask(server, 'PUT', '/v1/queues/orders')).status).toBe(201)
    server.stop()
    const { code, stdout, stderr } = await server.ended
    expect(code).toBe(0)
    expect(stdout).toBe(
      `listening on ${server.url} (everybody on this machine); documentation: ${server.url}/docs; dashboard: ${server.url}/dashboard/\n`,
    )
    const lines = stderr
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line).msg)
    expect(lines).toEqual(['listening', 'stopping', 'stopped'])
  })

  test('says it to programs', async () => {
    const server = await serve(['--json'])
    server.stop()
    expect(JSON.parse((await server.ended).stdout)).toEqual({ url: server.url, tokens: false })
  })

  test('ends long polls, streams and idle connections when it is to stop, and finishes what runs', async () => {
    const server = await serve()
    await ask(server, 'PUT', '/v1/queues/orders')
    const idle = new RawClient(server.url).send(head('GET /livez'))
    await idle.until(/ok/)
    const body = '{"message":1}'
    const slow = new RawClient(server.url)
    const length = `Content-Length: ${body.length}`
    slow.send(head('POST /v1/queues/orders/messages', 'Content-Type: application/json', length, 'Expect: 100-continue'))
    await slow.until(/100 Continue/)
    await ask(server, 'PUT', '/v1/queues/others')
    const streaming = new RawClient(server.url).send(head('GET /v1/queues/others/stream'))
    await streaming.until(/200 OK/)
    const poll = ask(server, 'POST', '/v1/queues/others/read-poll', { body: { max_poll_seconds: 20 } })
    // The poll is under way once a later request was answered.
    await ask(server, 'GET', '/livez')
    server.stop()
    await server.command.until(/stopping/)
    expect((await poll).body).toMatchObject({ messages: [] })
    await Promise.all([idle.closed, streaming.closed])
    slow.send(body)
    expect(await slow.all()).toMatch(/201 Created[\s\S]*"msg_id":1/)
    expect((await server.ended).code).toBe(0)
  })

  test('takes the address from flags, then the environment, then the configuration file', async () => {
    const config = write('serve.config.json', JSON.stringify({ serve: { port: 0, host: 'localhost' } }))
    const fromFile = await serve(['--config', config])
    expect(fromFile.url).toMatch(/^http:\/\/localhost:\d+$/)
    const fromEnvironment = await serve(['--config', config], { env: { HOST: '::1', PORT: '0' } })
    expect(fromEnvironment.url).toMatch(/^http:\/\/\[::1\]:\d+$/)
    expect((await ask(fromEnvironment, 'GET', '/livez')).status).toBe(200)
    const fromFlag = await serve(['--config', config, '--host', '127.0.0.1'], { env: { HOST: '::1' } })
    expect(fromFlag.url).toMatch(/^http:\/\/127/)
  })

  test('says in one line that the port is taken', async () => {
    const other = createServer().listen(0, '127.0.0.1')
    onTestFinished(() => void other.close())
    await new Promise((resolve) => other.once('listening', resolve))
    const { port } = other.address() as { port: number }
    const { code, stderr, stdout } = await tidings(['serve', '--url', 'memory:', '--port', String(port)])
    expect(code).toBe(1)
    expect(stderr).toContain(`error: cannot listen on 127.0.0.1:${port}: another program listens there\n`)
    expect(stdout).toBe('')
  })

  test.each([
    [['--host', '0.0.0.0'], {}, /no tokens and no TLS/],
    [['--port', '70000'], {}, /--port is 70000; it must be between 0 and 65535/],
    [['--port', '0'], { PORT: 'http' }, /PORT is "http"; it must be a whole number/],
    [['--port', '0'], { LOG_LEVEL: 'loud' }, /LOG_LEVEL is 'loud'/],
    [['--token-file', 'nowhere'], {}, /token file 'nowhere' cannot be read/],
    [['--tls-cert', 'a.pem'], {}, /not the other/],
    [['--tls-cert', 'a.pem', '--tls-key', 'b.pem'], {}, /certificate cannot be read/],
  ])('%j %j is refused', async (args, env, message) => {
    const { code, stderr } = await tidings(['serve', '--url', 'memory:', ...args], { env })
    expect(stderr).toMatch(message)
    expect(stderr.trim().split('\n').length).toBeLessThanOrEqual(2)
    expect(code).toBe(2)
  })

  test('says nothing of tokens and messages in its log, at any level', async () => {
    const file = join(folder, 'canary-tokens')
    const made = await tidings([
      'token',
      'create',
      '--name',
      'a',
      '--scopes',
      'send,admin',
      '--token-file',
      file,
      '--json',
    ])
    const secret = JSON.parse(made.stdout).token as string
    const server = await serve(['--token-file', file], { env: { LOG_LEVEL: 'trace' } })
    const headers = bearer(secret)
    await ask(server, 'PUT', '/v1/queues/orders', { headers })
    await ask(server, 'POST', '/v1/queues/orders/messages', {
      headers,
      body: { message: 'canary-body', meta: { x: 'canary' } },
    })
    await ask(server, 'POST', '/v1/queues/orders/messages', { headers, text: '{"message":canary' })
    await ask(server, 'GET', `/v1/queues?token=${secret}`, { headers: { 'x-api-key': `canary${secret}` } })
    server.stop()
    const { stderr, stdout } = await server.ended
    expect(stderr).toContain('/v1/queues/{queue}/messages')
    expect(stderr).toContain('"token":"a"')
    expect(stderr + stdout).not.toMatch(/canary|tdg_/)
    expect(stderr + stdout).not.toContain(secret)
  })
})

describe('tidings serve --sentinel', () => {
  test('watches, and shows what it found among the metrics', async () => {
    const rules = [{ queues: 'orders', maxReady: 0 }]
    const config = write(
      'sentinel.config.json',
      JSON.stringify({ sentinel: { every: '1s', rules }, serve: { port: 0 } }),
    )
    const server = await serve(['--config', config, '--sentinel'])
    await ask(server, 'PUT', '/v1/queues/orders')
    await ask(server, 'POST', '/v1/queues/orders/messages', { body: { message: 1 } })
    await server.command.until(/orders has 1 ready message/)
    const { body } = await ask(server, 'GET', '/metrics')
    expect(body).toMatch(/^tidings_sentinel_active 1$/m)
    expect(body).toMatch(/^tidings_alert\{limit="maxReady",queue="orders",topic="",subscription=""\} 1$/m)
    server.stop()
    expect((await server.ended).code).toBe(0)
  })
})

describe('tidings token create', () => {
  test('prints the token once, and the line for the file', async () => {
    const { stdout, code } = await tidings([
      'token',
      'create',
      '--name',
      'billing',
      '--scopes',
      'send',
      'read',
      '--queues',
      'a*,b',
    ])
    expect(code).toBe(0)
    expect(stdout.match(/tdg_[\w-]{43}/g)).toHaveLength(1)
    const line = JSON.parse(stdout.trim().split('\n').at(-1)!)
    expect(line).toEqual({ name: 'billing', scopes: ['send', 'read'], queues: ['a*', 'b'], hash: expect.any(String) })
  })

  test('makes a file that only its user can read', async () => {
    const file = join(folder, 'new-tokens')
    await tidings(['token', 'create', '--name', 'a', '--scopes', 'send', '--token-file', file])
    await tidings(['token', 'create', '--name', 'b', '--scopes', 'read', '--token-file', file])
    expect(statSync(file).mode & 0o777).toBe(0o600)
    expect(readFileSync(file, 'utf8').trim().split('\n')).toHaveLength(2)
  })

  test.each([
    [['--scopes', 'send'], /has no name/],
    [['--name', 'a'], /has no scopes/],
    [['--name', 'a', '--scopes', 'write'], /--scopes is "write"; it must be an array of 'send'/],
    [['--name', 'a', '--scopes', 'send', '--queues', 'Orders'], /it must be a name of a queue/],
    [['--name', 'a', '--scopes', 'send', '--expires', 'soon'], /ISO 8601/],
    [['--name', 'a', '--scopes', 'send', '--token-file', '/nowhere/tokens'], /cannot be written/],
  ])('%j is refused', async (args, message) => {
    const { code, stderr } = await tidings(['token', 'create', ...args])
    expect([code, stderr]).toEqual([2, expect.stringMatching(message)])
  })

  test('one token follows another without a restart', async () => {
    const file = join(folder, 'rotated')
    const make = async (name: string) => {
      const { stdout } = await tidings([
        'token',
        'create',
        '--name',
        name,
        '--scopes',
        'read',
        '--token-file',
        file,
        '--json',
      ])
      return JSON.parse(stdout).token as string
    }
    const old = await make('old')
    const server = await serve(['--token-file', file])
    const statusOf = async (secret: string) =>
      (await ask(server, 'GET', '/v1/queues', { headers: bearer(secret) })).status
    const untilStatus = async (secret: string, status: number) => {
      while ((await statusOf(secret)) !== status) await delay(20)
    }
    // In one step, since the server may look at any time.
    const replaceBy = (text: string) => {
      writeFileSync(`${file}.new`, text, { mode: 0o600 })
      renameSync(`${file}.new`, file)
      server.command.child.kill('SIGHUP')
    }
    const oldLine = readFileSync(file, 'utf8')
    const next = await make('next')
    // By itself: the file has changed.
    await server.command.until(/read the tokens again/)
    expect([await statusOf(old), await statusOf(next)]).toEqual([200, 200])
    replaceBy(readFileSync(file, 'utf8').replace(oldLine, ''))
    await untilStatus(old, 401)
    expect(await statusOf(next)).toBe(200)
    replaceBy('nonsense\n')
    await server.command.until(/the old tokens stay: .*:1 is not JSON/)
    expect(await statusOf(next)).toBe(200)
    replaceBy('')
    await untilStatus(next, 401)
    expect((await ask(server, 'GET', '/v1/queues')).status, 'an empty file opens nothing').toBe(401)
  })

  test('a file that everybody may change is refused', async () => {
    const file = write('open-tokens', '')
    chmodSync(file, 0o666)
    const { code, stderr } = await tidings(['serve', '--url', 'memory:', '--token-file', file])
    expect([code, stderr]).toEqual([2, expect.stringMatching(/can be changed by everybody/)])
  })
})

describe('TLS', () => {
  async function makeCertificate(name: string): Promise<{ cert: string; key: string }> {
    const [cert, key] = [join(folder, `${name}.pem`), join(folder, `${name}-key.pem`)]
    const subject = ['-subj', `/CN=${name}`, '-addext', 'subjectAltName=IP:127.0.0.1']
    const kind = ['-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2']
    await run('openssl', ['req', ...kind, '-keyout', key, '-out', cert, ...subject])
    return { cert, key }
  }

  /** The name in the certificate that the server shows. */
  const shownBy = (url: string, options: { maxVersion?: 'TLSv1.1' } = {}) =>
    new Promise<string>((resolve, reject) => {
      const { hostname, port } = new URL(url)
      const socket = connectTls({ host: hostname, port: Number(port), rejectUnauthorized: false, ...options }, () => {
        resolve(String(socket.getPeerCertificate().subject.CN))
        socket.destroy()
      })
      socket.on('error', reject)
    })

  test('is served, with a certificate that can be replaced while it runs', async () => {
    const [first, second] = [await makeCertificate('first'), await makeCertificate('second')]
    const server = await serve(['--tls-cert', first.cert, '--tls-key', first.key])
    expect(server.url).toMatch(/^https:/)
    expect(await shownBy(server.url)).toBe('first')
    const ca = readFileSync(first.cert, 'utf8')
    const client = new RawClient(server.url, { ca }).send(head('GET /livez', 'Connection: close'))
    expect(await client.all()).toMatch(/200 OK[\s\S]*strict-transport-security/i)
    await expect(shownBy(server.url, { maxVersion: 'TLSv1.1' })).rejects.toThrow()

    copyFileSync(second.key, first.key)
    server.command.child.kill('SIGHUP')
    await server.command.until(/the old certificate stay/)
    expect(await shownBy(server.url)).toBe('first')
    copyFileSync(second.cert, first.cert)
    server.command.child.kill('SIGHUP')
    await server.command.until(/read the certificate again/)
    expect(await shownBy(server.url)).toBe('second')
  })

  test('waits for no greeting for longer than for headers', async () => {
    const { cert, key } = await makeCertificate('silent')
    const limits = ['--header-timeout', '300ms', '--max-connections', '2']
    const server = await serve(['--tls-cert', cert, '--tls-key', key, ...limits])
    const silent = [1, 2].map(() => new RawClient(server.url.replace('https:', 'http:'), { allowHalfOpen: true }))
    await Promise.all(silent.map(({ socket }) => once(socket, 'connect')))
    while ((await shownBy(server.url).catch(() => '')) !== 'silent') await delay(20)
  })
})
