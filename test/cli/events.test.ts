import { mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import pg from 'pg'
import { connect } from 'tidings'
import { eventsMigration } from 'tidings/internal/engines/postgres/events-migration'
import { describe, expect, it, onTestFinished } from 'vitest'
import { makeToken } from '../server/support.ts'
import { startHttpServer } from '../support/http-server.ts'
import { folder, ownDatabase, Tidings, tidings, useDatabase, write } from './support.ts'

let env: Record<string, string>
useDatabase((url) => {
  env = { DATABASE_URL: url }
})

describe('generate-migration', () => {
  it('writes one file where that is wanted, which can be applied, and what undoes it or not', async () => {
    const generate = async (...args: string[]) => {
      const { code, stdout } = await tidings(['generate-migration', '--output-dir', 'single', '--json', ...args])
      expect(code).toBe(0)
      return JSON.parse(stdout)
    }
    const { up, down } = await generate('--single-file', '--name', 'first')
    expect([up, down]).toEqual([expect.stringMatching(/single\/\d{14}_first\.sql$/), null])
    const text = readFileSync(join(folder, up), 'utf8')
    expect(text).toMatch(/^-- UP\n[\s\S]*\n-- DOWN: what undoes it\.\n(-- ?.*\n)*$/)
    expect(text).toContain('-- DROP SCHEMA tidings_events')
    // A second one holds only what it changes.
    const second = await generate('--no-with-data', '--include-rollback', 'false', '--name', 'second')
    expect(second).toEqual({ up: expect.stringMatching(/_second\.up\.sql$/), down: null, changes: ['with_data'] })
  })

  it('writes one file up and one down, which nothing overwrites', async () => {
    const { code, stdout } = await tidings(['generate-migration', '--output-dir', 'deep/below', '--json'])
    expect(code).toBe(0)
    const files = JSON.parse(stdout)
    expect(files.up).toMatch(/^deep\/below\/\d{14}_add_queue_events\.up\.sql$/)
    expect(readFileSync(join(folder, files.up), 'utf8')).toContain('CREATE SCHEMA tidings_events')
    expect(readFileSync(join(folder, files.down), 'utf8')).toContain('DROP SCHEMA tidings_events CASCADE')
  })

  it('writes only what has changed, behind what was generated before', async () => {
    const url = await ownDatabase()
    await (await connect(url)).close()
    const client = new pg.Client({ connectionString: url })
    await client.connect()
    onTestFinished(() => client.end())
    const settings = async () =>
      (await client.query('SELECT tidings_events.channel_prefix() AS prefix, tidings_events.max_bytes() AS bytes'))
        .rows[0]
    const generate = async (name: string, ...flags: string[]) => {
      const args = ['generate-migration', '--output-dir', 'twice', '--name', name, '--json', ...flags]
      const { up, down, changes } = JSON.parse((await tidings(args)).stdout)
      const read = (file: string | null) => (file === null ? null : readFileSync(join(folder, file), 'utf8'))
      return { up: read(up)!, down: read(down)!, changes }
    }
    write('twice/20200101000000_other.up.sql', 'CREATE TABLE other ();')

    const first = await generate('a', '--channel-prefix', 'app')
    await client.query(first.up)
    await client.query("INSERT INTO tidings_events.due (due, queue_name, msg_ids) VALUES (now(), 'orders', '{1}')")
    expect(await generate('b', '--channel-prefix', 'app')).toEqual({ up: null, down: null, changes: [] })

    const second = await generate('c', '--channel-prefix', 'shop', '--max-payload-size', '1000')
    expect(second.changes).toEqual(['channel_prefix', 'max_bytes'])
    expect(second.up).not.toContain('CREATE SCHEMA')
    await client.query(second.up)
    expect(await settings()).toEqual({ prefix: 'shop.', bytes: 1000 })

    const third = await generate('d', '--channel-prefix', 'shop')
    expect(third.changes).toEqual(['max_bytes'])
    await client.query(third.up)
    expect(await settings()).toEqual({ prefix: 'shop.', bytes: 7800 })
    await client.query(third.down)
    expect(await settings()).toEqual({ prefix: 'shop.', bytes: 1000 })
    await client.query(second.down)
    expect(await settings()).toEqual({ prefix: 'app.', bytes: 7800 })
    expect((await client.query('SELECT FROM tidings_events.due')).rowCount).toBe(1)
    await client.query(first.down)
  })

  it('makes all anew behind what another release made', async () => {
    const { up, down } = eventsMigration({ channelPrefix: 'app' })
    const older = up.replace('CREATE INDEX ON tidings_events.due (due);', '')
    write('older/20200101000000_events.up.sql', older)
    const { stdout } = await tidings([
      'generate-migration',
      '--output-dir',
      'older',
      '--channel-prefix',
      'app',
      '--json',
    ])
    const files = JSON.parse(stdout)
    expect(readFileSync(join(folder, files.up), 'utf8')).toBe(`${down}\n${up}`)
    expect(readFileSync(join(folder, files.down), 'utf8')).toBe(`${down}\n${older}`)
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

  it('says which queues announce nothing, and so does doctor, directly and through a server', async () => {
    const url = await ownDatabase()
    for (const queue of ['heard', 'silent', 'mute']) await tidings(['queue', 'create', queue, '--url', url])
    const client = new pg.Client({ connectionString: url })
    await client.connect()
    onTestFinished(() => client.end())
    await client.query(eventsMigration().up)
    const findings = async () => {
      const { stdout } = await tidings(['doctor', '--url', url, '--json'])
      return JSON.parse(stdout).findings.filter(({ check }: { check: string }) => check === 'events')
    }
    expect(await findings()).toEqual([])

    await client.query('DROP TRIGGER tidings_events ON pgmq.q_silent')
    await client.query('ALTER TABLE pgmq.q_mute DISABLE TRIGGER tidings_events')
    const said = "nothing announces messages of 'mute', 'silent'"
    expect(await findings()).toMatchObject([{ level: 'warning', message: expect.stringContaining(said) }])
    const server = await startHttpServer(url)
    onTestFinished(() => server.stop())
    for (const at of [url, server.url]) {
      const running = new Tidings(['events', '--url', at])
      await running.until(new RegExp(`${said}\n.*tidings_events.install\\('mute'\\).*\nlistening to `))
      running.child.kill('SIGINT')
      await running.ended
    }

    await client.query("SELECT tidings_events.install('silent')")
    await client.query('ALTER TABLE pgmq.q_mute ENABLE TRIGGER tidings_events')
    await client.query('ALTER TABLE pgmq.meta DISABLE TRIGGER tidings_events')
    expect(await findings()).toMatchObject([{ message: expect.stringMatching(/^new queues will not announce/) }])
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
