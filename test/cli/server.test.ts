import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { connect } from 'tidings'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { makeToken } from '../server/support.ts'
import { startHttpServer, type TestHttpServer } from '../support/http-server.ts'
import { folder, type RunSetting, spawned, tidings, write } from './support.ts'

const run = promisify(execFile)
const good = makeToken({ name: 'ci', scopes: ['read', 'admin', 'send', 'receive'] })
const wrong = makeToken({ name: 'other', scopes: ['read'] })

let server: TestHttpServer
beforeAll(async () => {
  server = await startHttpServer('memory:', '--token-file', write('tokens', `${JSON.stringify(good.entry)}\n`))
})
afterAll(() => server?.stop())

/** A command that asks a server. @returns also its error, if it has one */
async function list(url: string, { env = {}, ...setting }: RunSetting = {}) {
  const { code, stdout, stderr } = await spawned(['queue', 'list', '--json'], {
    ...setting,
    env: { TIDINGS_URL: url, ...env },
  })
  for (const { secret } of [good, wrong]) expect(stdout + stderr).not.toContain(secret)
  return { code, stdout, error: code === 0 ? null : JSON.parse(stderr.trim().split('\n').at(-1)!) }
}

describe('a token from the environment', () => {
  it.each([
    ['TIDINGS_TOKEN', () => ({ TIDINGS_TOKEN: good.secret })],
    ['TIDINGS_TOKEN_FILE', () => ({ TIDINGS_TOKEN_FILE: write('token', `${good.secret}\n`) })],
  ])('%s', async (_, env) => {
    expect(await list(server.url, { env: env() })).toMatchObject({ code: 0, error: null })
  })

  it('may stand in .env; the environment goes before it', async () => {
    const cwd = join(write('with-token/.env', `TIDINGS_TOKEN=${good.secret}\n`), '..')
    expect(await list(server.url, { cwd })).toMatchObject({ code: 0 })
    const env = { TIDINGS_TOKEN: wrong.secret }
    expect(await list(server.url, { cwd, env })).toMatchObject({ code: 1, error: { code: 'UNAUTHORIZED' } })
  })

  it.each([
    ['is missing', () => ({}), 1, 'UNAUTHORIZED', /the request has no token/],
    ['is wrong', () => ({ TIDINGS_TOKEN: wrong.secret }), 1, 'UNAUTHORIZED', /unknown or has expired/],
    [
      'is wrong in its file',
      () => ({ TIDINGS_TOKEN_FILE: write('token', wrong.secret) }),
      1,
      'UNAUTHORIZED',
      /unknown/,
    ],
    ['is empty', () => ({ TIDINGS_TOKEN: '' }), 2, 'CONFIG_INVALID', /TIDINGS_TOKEN is set, but empty/],
    [
      'is empty in its file',
      () => ({ TIDINGS_TOKEN_FILE: write('token', '\n') }),
      2,
      'CONFIG_INVALID',
      /_FILE is set, but empty/,
    ],
    [
      'is in no file',
      () => ({ TIDINGS_TOKEN_FILE: '/nowhere' }),
      2,
      'CONFIG_INVALID',
      /TIDINGS_TOKEN_FILE names cannot be read/,
    ],
    [
      'is given twice',
      () => ({ TIDINGS_TOKEN: good.secret, TIDINGS_TOKEN_FILE: '/x' }),
      2,
      'CONFIG_INVALID',
      /both set/,
    ],
    ['is two words', () => ({ TIDINGS_TOKEN: `Bearer ${good.secret}` }), 2, 'TYPE', /has characters that no token has/],
  ])('that %s is refused', async (_, env, exitCode, code, message) => {
    const { error, ...found } = await list(server.url, { env: env() })
    expect(found).toEqual({ code: exitCode, stdout: '' })
    expect(error).toMatchObject({ code, message: expect.stringMatching(message) })
    if (code === 'UNAUTHORIZED') expect(error.hint).toMatch(/\{ token \}.*TIDINGS_TOKEN.*TIDINGS_TOKEN_FILE/)
  })

  it('is for servers only', async () => {
    expect(await list('memory:', { env: { TIDINGS_TOKEN: good.secret } })).toMatchObject({ code: 0 })
  })

  it('does not get into connect(), which takes its own', async () => {
    process.env.TIDINGS_TOKEN = good.secret
    try {
      await expect(connect(server.url)).rejects.toMatchObject({ code: 'UNAUTHORIZED' })
      await (await connect(server.url, { token: good.secret })).close()
    } finally {
      delete process.env.TIDINGS_TOKEN
    }
  })
})

it('takes a file that is larger than one request of it may be', async () => {
  const lines = Array.from({ length: 9 }, (_, n) => JSON.stringify(n + '"'.repeat(500_000)))
  const file = write('large.jsonl', lines.join('\n'))
  const env = { TIDINGS_URL: server.url, TIDINGS_TOKEN: good.secret }
  const { code, stdout, stderr } = await tidings(['enqueue', 'large', '--file', file], { env })
  expect({ code, stdout, stderr }).toEqual({ code: 0, stdout: 'enqueued 9 messages in large\n', stderr: '' })
})

describe('a server with a certificate of an authority of its own', () => {
  /** An authority, by the name of its files. */
  async function makeAuthority(name: string): Promise<{ ca: string; issue: typeof issue }> {
    const [ca, key] = [join(folder, `${name}.pem`), join(folder, `${name}-key.pem`)]
    await run('openssl', [...request, '-x509', '-days', '2', '-keyout', key, '-out', ca, '-subj', `/CN=${name}`])

    /** @param subject what the certificate is for: 'IP:127.0.0.1' */
    async function issue(subject: string, days = '2'): Promise<string[]> {
      const at = (kind: string) => join(folder, `${name}-${subject.replace(/\W/g, '_')}${days}.${kind}`)
      await run('openssl', [...request, '-keyout', at('key'), '-out', at('csr'), '-subj', '/CN=server'])
      const extensions = write(`${name}.ext`, `subjectAltName=${subject}\n`)
      const signing = ['-CA', ca, '-CAkey', key, '-CAcreateserial', '-extfile', extensions, '-days', days]
      await run('openssl', ['x509', '-req', '-in', at('csr'), '-out', at('crt'), ...signing])
      return ['--tls-cert', at('crt'), '--tls-key', at('key')]
    }
    return { ca, issue }
  }
  const request = ['req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']

  let secure: TestHttpServer
  let elsewhere: TestHttpServer
  let expired: TestHttpServer
  let ca: string
  let otherCa: string
  beforeAll(async () => {
    const [own, other] = [await makeAuthority('own'), await makeAuthority('other')]
    ca = own.ca
    otherCa = other.ca
    secure = await startHttpServer('memory:', ...(await own.issue('IP:127.0.0.1')))
    elsewhere = await startHttpServer('memory:', ...(await own.issue('DNS:queues.example.org')))
    expired = await startHttpServer('memory:', ...(await own.issue('IP:127.0.0.1', '0')))
  })
  afterAll(() => Promise.all([secure, elsewhere, expired].map((one) => one?.stop())))

  it('is trusted with NODE_EXTRA_CA_CERTS', async () => {
    expect(secure.url).toMatch(/^https:/)
    const env = { NODE_EXTRA_CA_CERTS: ca }
    expect(await list(secure.url, { env })).toMatchObject({ code: 0, error: null })
  })

  it('is trusted by connect(), which is woken over a stream of its own', async () => {
    const index = fileURLToPath(new URL('../../packages/tidings/dist/index.js', import.meta.url))
    const script = `
      const { connect } = await import(${JSON.stringify(index)})
      const bus = await connect(${JSON.stringify(secure.url)})
      const queue = bus.queue('orders')
      await queue.create()
      const reading = queue.read({ wait: '20s' })
      await queue.send('woken')
      const [message] = await reading
      console.log(message.data)
      await bus.close()`
    const env = { PATH: process.env.PATH, NODE_EXTRA_CA_CERTS: ca }
    const { stdout } = await run(process.execPath, ['--input-type=module', '--eval', script], { env })
    expect(stdout).toBe('woken\n')
  })

  it('is trusted with the option tls, and with no other', async () => {
    const [tls, wrong] = [{ ca: readFileSync(ca) }, { ca: readFileSync(otherCa) }]
    const bus = await connect(secure.url, { tls })
    const queue = bus.queue('by_option')
    await queue.create()
    const watch = await bus.wakeups.watch('queue:by_option', () => {})
    watch.close()
    await bus.close()
    await expect(connect(secure.url, { tls: wrong })).rejects.toMatchObject({ code: 'CONNECTION_FAILED' })
    await expect(connect(elsewhere.url, { tls })).rejects.toMatchObject({ code: 'CONNECTION_FAILED' })
    await (await connect(elsewhere.url, { tls: { ...tls, servername: 'queues.example.org' } })).close()
    await expect(connect(server.url, { tls })).rejects.toMatchObject({ code: 'OPTION_CONFLICT' })
  })

  it.each([
    ['without it', () => ({})],
    ['with that of another', () => ({ NODE_EXTRA_CA_CERTS: otherCa })],
  ])('is not trusted %s, and the way out is said', async (_, env) => {
    const { code, error } = await list(secure.url, { env: env() })
    expect(code).toBe(1)
    expect(error).toMatchObject({
      code: 'CONNECTION_FAILED',
      message: expect.stringMatching(/^cannot connect to the server at 127\.0\.0\.1:\d+: .*certificate/),
      hint: expect.stringMatching(/\{ tls: \{ ca \} \}.*NODE_EXTRA_CA_CERTS=<file>/),
    })
    await expect(connect(secure.url)).rejects.toMatchObject({ code: error.code, hint: expect.stringMatching(/_CA_/) })
  })

  it.each([
    ['under another name', () => elsewhere, /a name that the certificate bears.*servername/],
    ['once it has expired', () => expired, /Renew the certificate/],
  ])('is not trusted %s', async (_, at, hint) => {
    const { code, error } = await list(at().url, { env: { NODE_EXTRA_CA_CERTS: ca } })
    expect(code).toBe(1)
    expect(error).toMatchObject({ code: 'CONNECTION_FAILED', hint: expect.stringMatching(hint) })
  })

  it('may be none that does TLS', async () => {
    const plain: Server = createServer((_, response) => response.end())
    await new Promise<void>((resolve) => plain.listen(0, '127.0.0.1', resolve))
    const { error } = await list(`https://127.0.0.1:${(plain.address() as AddressInfo).port}`)
    plain.close()
    expect(error).toMatchObject({ code: 'CONNECTION_FAILED', hint: expect.stringContaining('http://') })
  })
})
