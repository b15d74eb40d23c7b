import { mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import pg from 'pg'
import { beforeAll, describe, expect, it } from 'vitest'
import { folder, ownDatabase, Tidings, tidings } from './support.ts'

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
  it('says so where nothing announces messages, and that it does once something does', async () => {
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

    const programs = new Tidings(['events', '--prefix', 'app', '--namespace', 'mail', '--json'], { env })
    await programs.until(/listening to app\.pgmq_queue_created, app\.pgmq_message_ready\.mail\n/)
    await tidings(['enqueue', 'mail_jobs', '{"to":"Ada"}'], { env })
    await tidings(['enqueue', 'other', '1'], { env })
    await running.until(/message_with_payload {2}other/)
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

  it('is refused where the storage has no events', async () => {
    const { code, stderr } = await tidings(['events', '--url', 'memory:', '--json'])
    expect({ code, error: JSON.parse(stderr) }).toMatchObject({ code: 2, error: { code: 'UNSUPPORTED' } })
  })
})
