import { mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import pg from 'pg'
import { connect } from 'tidings'
import { eventsMigration } from 'tidings/internal/engines/postgres/events-migration'
import { beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { makeToken } from '../server/support.ts'
import { startHttpServer } from '../support/http-server.ts'
import { folder, ownDatabase, Tidings, tidings, write } from './support.ts'

let env: Record<string, string>
beforeAll(async () => {
  env = { DATABASE_URL: await ownDatabase() }
})

describe('generate-migration', () => {
  it('writes one file up and one down, which nothing overwrites', async () => {
    const { code, stdout } = await tidings(['generate-migration', '--output-dir', 'deep/below', '--json'])
    expect(code).toBe(0)
    const files = JSON.parse(stdout)
    expect(files.up).toMatch(/^deep\/below\/\d{14}_add_queue_events\.up\.sql$/)
    expect(readFileSync(join(folder, files.up), 'utf8')).toContain('CREATE SCHEMA tidings_events')
    expect(readFileSync(join(folder, files.down), 'utf8')).toContain('DROP SCHEMA tidings_events CASCADE')
  })

  it.each([
    [['--queue-pattern', '(.*)_queue'], 'CONFIG_INVALID', '--queue-pattern'],
    [['--channel-prefix', "a'; DROP TABLE x"], 'CONFIG_INVALID', '--channel-prefix'],
    [['--max-payload-size', '8000'], 'RANGE', '--max-payload-size'],
    [['--name', '../x'], 'USAGE', '--name'],
  ])('refuses %j and writes nothing', async (args, errorCode, named) => {
    mkdirSync(join(folder, 'none'), { recursive: true })
    const { code, stderr } = await tidings(['generate-migration', '--output-dir', 'none', '--json', ...args])
    expect(code).toBe(2)
    expect(JSON.parse(stderr)).toMatchObject({ code: errorCode, message: expect.stringContaining(named) })
    expect(readdirSync(join(folder, 'none'))).toEqual([])
  })
})

describe('events', () => {
  it('says that messages are not announced, and after the migration that they are', async () => {
    const running = new Tidings(['events', '--prefix', 'app'], { env })
    await running.until(
      /nothing here announces messages yet.*\nlistening to app\.pgmq_queue_created, app\.pgmq_message_ready\n/,
    )

    const pattern = '(?<namespace>[a-z]+)_jobs'
    const flags = ['--channel-prefix', 'app', '--queue-pattern', pattern, '--output-dir', 'app', '--json']
    const { up } = JSON.parse((await tidings(['generate-migration', ...flags])).stdout)
    const client = new pg.Client({ connectionString: env.DATABASE_URL! })
    await client.connect()
    await client.query(readFileSync(join(folder, up), 'utf8'))
    await client.end()

    for (const prefix of [['--prefix', 'wrong'], []]) {
      const { code, stderr } = await tidings(['events', ...prefix], { env })
      expect({ code, stderr }).toEqual({
        code: 2,
        stderr:
          'error: no queue announces anything with this prefix\n' +
          'hint: Use --prefix app, as it was given to `tidings generate-migration`.\n',
      })
    }

    const programs = new Tidings(['events', '--prefix', 'app', '--namespace', 'mail', '--json'], { env })
    await programs.until(/listening to app\.pgmq_queue_created, app\.pgmq_message_ready\.mail\n/)
    await tidings(['enqueue', 'mail_jobs', '{"to":"Ada"}'], { env })
    await tidings(['enqueue', 'other', '1'], { env })
    await running.until(/message_with_payload {2}other/)
    await programs.until(/message_with_payload.*\n/)
    for (const { child } of [running, programs]) child.kill('SIGINT')

    const { code, stdout, stderr } = await running.ended
    expect(code).toBe(0)
    expect(stdout.replaceAll(/^\S+Z/gm, 'TIME')).toBe(
      `TIME  queue_created         mail_jobs
TIME  message_with_payload  mail_jobs  message 1: {"to":"Ada"}
TIME  queue_created         other
TIME  message_with_payload  other  message 1: 1
`,
    )
    expect(stderr).toMatch(/\n4 events\n$/)
    const lines = (await programs.ended).stdout.trimEnd().split('\n')
    expect(lines.map((line) => JSON.parse(line))).toMatchObject([
      { type: 'queue_created', queue: 'mail_jobs', namespace: 'mail' },
      { type: 'message_with_payload', queue: 'mail_jobs', namespace: 'mail', id: '1', data: { to: 'Ada' } },
    ])
  })

  it('shows events through a server, with a token', async () => {
    const database = await ownDatabase()
    await (await connect(database)).close()
    const client = new pg.Client({ connectionString: database })
    await client.connect()
    await client.query(eventsMigration().up)
    await client.end()
    const { secret, entry } = makeToken({ name: 'me', scopes: ['read', 'send', 'admin'], queues: ['mine*'] })
    const server = await startHttpServer(database, '--token-file', write('tokens', `${JSON.stringify(entry)}\n`))
    onTestFinished(() => server.stop())
    const env = { TIDINGS_URL: server.url, TIDINGS_TOKEN: secret }
    const running = new Tidings(['events', '--json'], { env })
    await running.until(/listening to pgmq_queue_created, pgmq_message_ready\n/)
    await tidings(['enqueue', 'others', '1', '--url', database])
    await tidings(['enqueue', 'mine', '{"to":"Ada"}'], { env })
    await running.until(/message_with_payload/)
    running.child.kill('SIGINT')
    const { code, stdout, stderr } = await running.ended
    expect({
      code,
      lines: stdout
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line)),
    }).toMatchObject({
      code: 0,
      lines: [
        { type: 'queue_created', queue: 'mine' },
        { type: 'message_with_payload', queue: 'mine', data: { to: 'Ada' } },
      ],
    })
    expect(stderr).toMatch(/\n2 events\n$/)
  })

  it('is refused where the storage has no events', async () => {
    const server = await startHttpServer('memory:')
    onTestFinished(() => server.stop())
    for (const url of ['memory:', server.url]) {
      const { code, stderr } = await tidings(['events', '--url', url, '--json'])
      expect({ code, error: JSON.parse(stderr) }).toMatchObject({ code: 2, error: { code: 'UNSUPPORTED' } })
    }
  })
})
