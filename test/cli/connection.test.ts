import { createServer, type Socket } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { sharedServer } from '../support/shared-servers.ts'
import { tidings } from './support.ts'

const postgres = await sharedServer('postgres18')
const hint = 'hint: Check that the server runs, and the host, port, user and password.\n'

/** Asks for a password and refuses it, as PostgreSQL does. */
function refusePassword(socket: Socket): void {
  socket.once('data', () => {
    socket.write(Buffer.from([0x52, 0, 0, 0, 8, 0, 0, 0, 3]))
    socket.once('data', () => {
      const fields = 'SFATAL\0VFATAL\0C28P01\0Mpassword authentication failed for user "ada"\0\0'
      const length = Buffer.alloc(4)
      length.writeInt32BE(fields.length + 4)
      socket.end(Buffer.concat([Buffer.from('E'), length, Buffer.from(fields)]))
    })
  })
}

describe('a storage that cannot be reached', () => {
  const refusing = createServer(refusePassword)
  const silent = createServer(() => {})
  const sockets = new Set<Socket>()
  const portOf = (server: typeof refusing) => (server.address() as { port: number }).port

  beforeAll(async () => {
    for (const server of [refusing, silent]) {
      server.on('connection', (socket) => sockets.add(socket.on('error', () => {})))
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    }
  })
  afterAll(() => {
    for (const socket of sockets) socket.destroy()
    for (const server of [refusing, silent]) server.close()
  })

  const cases: [what: string, url: () => string, where: () => string, cause: string][] = [
    ['closed port', () => 'postgres://ada:s3cret@127.0.0.1:1/db', () => '127.0.0.1:1', 'ECONNREFUSED'],
    ['unknown host', () => 'postgres://ada:s3cret@nowhere.invalid/db', () => 'nowhere.invalid:5432', 'ENOTFOUND'],
    [
      'wrong password',
      () => `postgres://ada:s3cret@127.0.0.1:${portOf(refusing)}/db`,
      () => `127.0.0.1:${portOf(refusing)}`,
      'password authentication failed for user "ada"',
    ],
    [
      'wrong database',
      () => postgres.replace(/[^/]+$/, 'nowhere'),
      () => new URL(postgres).host,
      'database "nowhere" does not exist',
    ],
    [
      'no answer',
      () => `postgres://ada:s3cret@127.0.0.1:${portOf(silent)}/db`,
      () => `127.0.0.1:${portOf(silent)}`,
      '',
    ],
  ]

  it.each(cases)('%s: says soon where and why', async (_, url, where, cause) => {
    const startedAt = Date.now()
    const { code, stdout, stderr } = await tidings(['status', '--url', url()])
    // The limit of 5 seconds is that of the engine; starting this takes what it takes.
    expect(Date.now() - startedAt).toBeLessThan(20_000)
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
    expect(stderr).toMatch(/^error: cannot connect to PostgreSQL at [^\n]+\nhint: [^\n]+\n$/)
    expect(stderr).toContain(`at ${where()}: `)
    expect(stderr).toContain(cause)
    expect(stderr.endsWith(hint)).toBe(true)
    expect(stderr).not.toContain('s3cret')
  })

  it('does not print the password of a URL that cannot be parsed', async () => {
    const { code, stderr } = await tidings(['status', '--url', 'postgres://ada:s3cret@[::1/db'])
    expect(code).toBe(2)
    expect(stderr).toMatch(/^error: /)
    expect(stderr).not.toContain('s3cret')
  })

  it('says so as JSON', async () => {
    const { code, stderr } = await tidings(['status', '--json', '--url', 'postgres://ada:s3cret@127.0.0.1:1/db'])
    expect(code).toBe(1)
    expect(JSON.parse(stderr)).toMatchObject({ code: 'CONNECTION_FAILED' })
    expect(stderr).not.toContain('s3cret')
  })
})
