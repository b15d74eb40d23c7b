import { mkdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import pg from 'pg'
import { describe, expect, it } from 'vitest'
import { newDatabase } from '../postgres/support.ts'
import { sharedServer } from '../support/shared-servers.ts'
import { type Ended, folder, type RunSetting, Tidings, tidings, useDatabase, write } from './support.ts'

let env: Record<string, string>
useDatabase((url) => {
  env = { DATABASE_URL: url }
})

const emptyDatabase = async () => (await newDatabase(await sharedServer('postgres18'))).url

/** Runs in a folder of its own. */
const runIn = (name: string, args: string[], setting: RunSetting = { env }): Promise<Ended> => {
  mkdirSync(join(folder, name), { recursive: true })
  return tidings(args, { cwd: join(folder, name), ...setting })
}
const figures = async (queue: string) =>
  JSON.parse((await tidings(['queue', 'status', queue, '--json'], { env })).stdout)

describe('the configuration file', () => {
  it('says where the storage is, unless a flag or the environment does', async () => {
    write('urls/tidings.config.toml', 'url = "postgres://file@127.0.0.1:1/db"')
    const storageOf = async (args: string[], env = {}) =>
      (await runIn('urls', ['validate-config', '--json', ...args], { env })).stdout
    const url = (text: string) => JSON.parse(text).settings[0]
    expect(url(await storageOf([]))).toMatchObject({
      value: 'postgres://file@127.0.0.1:1/db',
      source: 'tidings.config.toml',
    })
    const DATABASE_URL = 'postgres://env@h/db'
    expect(url(await storageOf([], { DATABASE_URL }))).toMatchObject({ value: DATABASE_URL, source: 'DATABASE_URL' })
    expect(url(await storageOf(['--url', 'memory:'], { DATABASE_URL }))).toMatchObject({
      value: 'memory:',
      source: '--url',
    })
    const ended = await runIn('urls', ['status'], { env: {} })
    expect(ended).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('(The URL comes from tidings.config.toml.)'),
    })
    expect(await runIn('urls', ['status', '--url', 'memory:'], { env: {} })).toMatchObject({ code: 0 })
  })

  it('gives process its folder, and workers their options: flag, queue, module, process, default', async () => {
    const handle = `export const handle = () => { throw new Error('no') }`
    write('workers/work/from_process.mjs', handle)
    write('workers/work/from_module.mjs', `${handle}\nexport const options = { maxAttempts: 3 }`)
    write('workers/work/from_queue.mjs', `${handle}\nexport const options = { maxAttempts: 3 }`)
    write(
      'workers/tidings.config.json',
      JSON.stringify({
        handlers: 'work',
        process: { maxAttempts: 2, backoff: '0ms' },
        queues: { from_queue: { maxAttempts: 4 } },
      }),
    )
    const names = ['from_process', 'from_module', 'from_queue']
    const attempts = async (args: string[]) => {
      for (const queue of names) await runIn('workers', ['enqueue', queue, '1'])
      const { stdout } = await runIn('workers', ['process', '--once', '--json', ...args])
      const events = stdout
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line))
      return names.map((queue) => events.filter((one) => one.event === 'failed' && one.queue === queue).length)
    }
    expect(await attempts([])).toEqual([2, 3, 4])
    expect(await attempts(['--max-attempts', '1'])).toEqual([1, 1, 1])
  })

  it('decides whether handled messages are kept', async () => {
    write('ending/handlers/gone.mjs', 'export const handle = () => {}')
    write('ending/handlers/kept.mjs', 'export const handle = () => {}')
    write('ending/tidings.config.mjs', `export default { queues: { gone: { onSuccess: 'delete' } } }`)
    for (const queue of ['gone', 'kept']) await runIn('ending', ['enqueue', queue, '1'])
    await runIn('ending', ['process', '--once'])
    expect(await figures('gone')).toMatchObject({ ready: 0, archived: 0 })
    expect(await figures('kept')).toMatchObject({ ready: 0, archived: 1 })
  })

  it('gives queues their options in every command', async () => {
    write(
      'queues/tidings.config.mjs',
      `const schema = { '~standard': { version: 1, vendor: 'test', validate: (value) =>
         typeof value === 'number' ? { value } : { issues: [{ message: 'no number' }] } } }
       export default { queues: {
         small: { maxMessageBytes: 5 }, absent: { create: false }, typed: { schema }, lettered: { deadLetter: 'kept_letters' },
       } }`,
    )
    write('queues/handlers/lettered.mjs', `export const handle = () => { throw new Error('no') }`)
    const failed = async (...args: string[]) => (await runIn('queues', args)).stderr
    expect(await failed('enqueue', 'small', '"too large"')).toContain('5')
    expect(await failed('enqueue', 'absent', '1')).toContain('absent')
    expect(await failed('enqueue', 'typed', '"x"')).toContain('no number')
    expect(await runIn('queues', ['enqueue', 'typed', '1'])).toMatchObject({ code: 0 })
    await runIn('queues', ['enqueue', 'lettered', '1'])
    await runIn('queues', ['process', '--once', '--max-attempts', '1'])
    expect((await runIn('queues', ['dead-letters', 'list', 'lettered'])).stdout).toContain('no')
    expect(await figures('kept_letters')).toMatchObject({ ready: 1 })
  })

  it('has settings that are stored by a command of its own, once', async () => {
    write(
      'applied/tidings.config.json',
      JSON.stringify({
        queues: {
          there: { settings: { delay: '5s', retention: { keepFor: '30d' }, maxAttempts: 7, ttl: null } },
          missing: { settings: { limits: [{ per: 'group', concurrency: 2 }] } },
          other: { concurrency: 1 },
        },
      }),
    )
    const apply = async (...args: string[]) => await runIn('applied', ['queue', 'apply', ...args])
    const settings = async (queue: string) =>
      JSON.parse((await runIn('applied', ['queue', 'show', queue, '--json'])).stdout).settings
    await runIn('applied', ['queue', 'create', 'there'])
    await runIn('applied', ['queue', 'set', 'there', '--ttl', '1d', '--max-length', '10', '--max-attempts', '7'])
    const before = await settings('there')
    const changes = [
      {
        queue: 'there',
        created: false,
        changes: {
          delay: { from: null, to: 5_000 },
          retention: { from: null, to: { keepFor: 2_592_000_000, keep: null } },
          ttl: { from: 86_400_000, to: null },
        },
      },
      {
        queue: 'missing',
        created: true,
        changes: { limits: { from: null, to: [expect.objectContaining({ per: 'group', concurrency: 2 })] } },
      },
    ]
    expect(JSON.parse((await apply('--dry-run', '--json')).stdout)).toEqual(changes)
    expect(await settings('there')).toEqual(before)
    expect(JSON.parse((await apply('--json')).stdout)).toEqual(changes)
    const { ttl: _, ...rest } = before
    expect(await settings('there')).toEqual({ ...rest, delay: 5_000, retention: changes[0]!.changes.retention!.to })
    expect(await settings('missing')).toEqual({ limits: changes[1]!.changes.limits!.to })
    expect((await apply()).stdout).toBe('all is stored already\n')
  })

  it('is refused where settings that are to be stored are wrong', async () => {
    const attempt = async (settings: object) => {
      write('refused/tidings.config.json', JSON.stringify({ queues: { wrong: { settings } } }))
      return await runIn('refused', ['queue', 'apply'])
    }
    const refusals: [object, RegExp][] = [
      [{ attempts: 3 }, /queues\.wrong\.settings has no option "attempts"\nhint: Did you mean 'maxAttempts'/],
      [{ retention: {} }, /queues\.wrong\.settings\.retention has neither keepFor nor keep/],
      [{ deadLetter: 'wrong' }, /queues\.wrong\.settings\.deadLetter: .*circle/],
    ]
    for (const [settings, stderr] of refusals)
      expect(await attempt(settings)).toMatchObject({ stdout: '', stderr: expect.stringMatching(stderr) })
    expect((await tidings(['queue', 'list', '--json'], { env })).stdout).not.toContain('"wrong"')
  })

  it('gives events their pattern, prefix and limit', async () => {
    write(
      'events/tidings.config.toml',
      '[events]\nqueuePattern = "app_(?<namespace>.+)"\nchannelPrefix = "shop"\nmaxPayloadSize = 1000',
    )
    const sqlOf = async (...args: string[]) => {
      const { stdout } = await runIn('events', ['generate-migration', '--json', ...args])
      return readFileSync(join(folder, 'events', JSON.parse(stdout).up), 'utf8')
    }
    const sql = await sqlOf('--name', 'one')
    expect(sql).toContain("SELECT 'shop.'")
    expect(sql).toContain('SELECT 1000')
    expect(sql).toContain('-- Of app_(?<namespace>.+)')
    expect(await sqlOf('--name', 'two', '--channel-prefix', 'other')).toContain("SELECT 'other.'")

    const listening = new Tidings(['events'], { cwd: join(folder, 'events'), env })
    await listening.until(/listening to shop\.pgmq_queue_created, shop\.pgmq_message_ready\n/)
    listening.child.kill('SIGTERM')
    expect(await listening.ended).toMatchObject({ code: 0 })
  })

  it('may lie elsewhere, with --config', async () => {
    write('deploy/production.toml', 'url = "memory:"')
    const args = ['status', '--config', '../deploy/production.toml']
    expect(await runIn('elsewhere', args, { env: {} })).toMatchObject({ code: 0, stdout: 'no queues yet\n' })
    expect(await runIn('elsewhere', ['status', '--config', 'none.toml'])).toMatchObject({
      code: 2,
      stderr:
        "error: the configuration file 'none.toml' cannot be read: there is none\nhint: `tidings init` writes one.\n",
    })
  })

  it('stops a command when it is invalid, except commands that do not need it', async () => {
    write('broken/tidings.config.toml', '[process]\nconcurency = 3')
    expect(await runIn('broken', ['status', '--url', 'memory:'])).toMatchObject({
      code: 2,
      stderr:
        "error: tidings.config.toml: process.concurency is not a setting\nhint: Did you mean 'process.concurrency'?\n",
    })
    expect(await runIn('broken', ['local', 'status'])).toMatchObject({ code: 0 })
  })

  it('must be the only one of its folder', async () => {
    for (const name of ['tidings.config.mjs', 'tidings.config.toml']) write(`two/${name}`, '')
    expect(await runIn('two', ['status', '--url', 'memory:'])).toMatchObject({
      code: 2,
      stderr:
        'error: there are several configuration files: tidings.config.mjs, tidings.config.toml\n' +
        'hint: Keep one of them, or name one with --config.\n',
    })
  })
})

describe('validate-config', () => {
  it('prints the file of tasker-pgmq in our names', async () => {
    write(
      'tasker.toml',
      `queue_naming_pattern = '(?P<namespace>\\w+)_queue'
channels_prefix = "app"
max_payload_size = 8000
include_metadata = false
[migration]
include_rollback = false
name_prefix = "add_x"
`,
    )
    const { code, stdout } = await tidings(['validate-config', 'tasker.toml', '--json'])
    expect(code).toBe(0)
    const { toml } = JSON.parse(stdout)
    expect(toml).toBe(`[events]
queuePattern = '(?P<namespace>\\w+)_queue'
channelPrefix = 'app'
maxPayloadSize = 7800
withMetadata = false
# tidings generate-migration --name add_x --include-rollback false`)
    write('ours.toml', toml)
    expect(await tidings(['validate-config', 'ours.toml'])).toMatchObject({ code: 0 })
    write('tasker-bad.toml', 'channels_prefix = "far too long for a prefix of channels"')
    expect(await tidings(['validate-config', 'tasker-bad.toml'])).toMatchObject({ code: 2 })
  })

  it('shows the effective settings and their sources, without secrets', async () => {
    write(
      'shown/tidings.config.toml',
      'url = "postgres://app:secret@h/db"\n[process]\nlease = 90000\n[queues.orders]\nconcurrency = 1',
    )
    const { code, stdout } = await runIn('shown', ['validate-config'], { env: {} })
    expect(code).toBe(0)
    expect(stdout).toMatch(/^tidings\.config\.toml is valid\n/)
    expect(stdout).toMatch(/^url +postgres:\/\/app:\*\*\*@h\/db$/m)
    expect(stdout).toMatch(/^process\.lease +90s$/m)
    expect(stdout).toMatch(/^process\.concurrency +10 {2}\(default\)$/m)
    expect(stdout).toMatch(/^queues\.orders\.concurrency +1$/m)
    expect(stdout).not.toContain('secret')
    const json = await runIn('shown', ['validate-config', '--json'], { env: {} })
    expect(json.stdout).not.toContain('secret')
    expect(JSON.parse(json.stdout)).toMatchObject({ file: 'tidings.config.toml', valid: true })
  })

  it('tells everything that is wrong, and exits with 1', async () => {
    write('wrong.json', '{"procss": {}, "queues": {"orders": {"concurrency": "x"}}}')
    const ended = await tidings(['validate-config', 'wrong.json'])
    expect(ended).toMatchObject({
      code: 1,
      stdout:
        'wrong.json has 2 errors\n' +
        "  ✗ procss is not a setting\n      Did you mean 'process'?\n" +
        '  ✗ queues.orders.concurrency is "x"; it must be a whole number\n' +
        '      Check the type of this value against the reference.\n',
    })
    const json = await tidings(['validate-config', 'wrong.json', '--json'])
    expect(json.code).toBe(1)
    expect(JSON.parse(json.stdout)).toMatchObject({
      file: 'wrong.json',
      valid: false,
      problems: [
        { path: 'procss', code: 'OPTION_UNKNOWN' },
        { path: 'queues.orders.concurrency', code: 'TYPE' },
      ],
    })
  })

  it('knows the line of a syntax error in JavaScript', async () => {
    write('syntax.mjs', 'export default {\n  a: 1,,\n}')
    expect(await tidings(['validate-config', 'syntax.mjs'])).toMatchObject({
      code: 1,
      stdout: "syntax.mjs has an error\n  ✗ syntax.mjs:2: Unexpected token ','\n",
    })
  })

  it('exits with 2 when it is used wrongly', async () => {
    expect(await runIn('nothing', ['validate-config'])).toMatchObject({
      code: 2,
      stderr: 'error: there is no configuration file in the working directory\nhint: `tidings init` writes one.\n',
    })
    expect(await tidings(['validate-config', 'none.json'])).toMatchObject({ code: 2 })
    expect(await tidings(['validate-config', 'wrong.json', '--config', 'wrong.json'])).toMatchObject({ code: 2 })
  })
})

describe('init', () => {
  it('writes a valid file, and overwrites it only by force', async () => {
    expect(await runIn('fresh', ['init'])).toMatchObject({ code: 0, stdout: 'wrote tidings.config.mjs\n' })
    expect(await runIn('fresh', ['validate-config'])).toMatchObject({ code: 0, stderr: '' })
    write('fresh/tidings.config.mjs', 'export default {}')
    expect(await runIn('fresh', ['init'])).toMatchObject({
      code: 2,
      stderr: 'error: there is a tidings.config.mjs already\nhint: Pass --force to overwrite it.\n',
    })
    expect(readFileSync(join(folder, 'fresh/tidings.config.mjs'), 'utf8')).toBe('export default {}')
    expect(await runIn('fresh', ['init', '--force', '--json'])).toMatchObject({
      code: 0,
      stdout: '{"file":"tidings.config.mjs"}\n',
    })
    expect(readFileSync(join(folder, 'fresh/tidings.config.mjs'), 'utf8')).toContain('// concurrency: 10,')
  })

  it('does not write a second file beside another', async () => {
    write('other/tidings.config.toml', '')
    expect(await runIn('other', ['init', '--force'])).toMatchObject({ code: 2 })
    rmSync(join(folder, 'other'), { recursive: true })
  })
})

describe('migrate', () => {
  let url: string
  const migrate = (...args: string[]) => tidings(['migrate', '--url', url, ...args])
  const query = async (text: string) => {
    const client = new pg.Client({ connectionString: url })
    await client.connect()
    try {
      return (await client.query(text)).rows ?? []
    } finally {
      await client.end()
    }
  }
  const isInstalled = async () => (await query(`SELECT to_regnamespace('tidings') IS NOT NULL AS there`))[0]?.there

  it('shows what it would do, does it, and has nothing more to do', async () => {
    url = await emptyDatabase()
    const plan = await migrate('--dry-run')
    expect(plan.stdout).toMatch(
      /^-- the schema is not installed; would install version \d+: \d+ steps in one transaction/,
    )
    const { dryRun, from, to, steps } = JSON.parse((await migrate('--dry-run', '--json')).stdout)
    expect({ dryRun, from }).toEqual({ dryRun: true, from: 0 })
    expect(steps.map((one: { name: string }) => one.name)).toContain('0001_pgmq')
    expect(await isInstalled()).toBe(false)

    expect(await migrate()).toMatchObject({ code: 0, stdout: `installed the schema: version ${to}\n` })
    expect(await migrate()).toMatchObject({ code: 0, stdout: `up to date: version ${to}\n` })
    expect((await migrate('--dry-run')).stdout).toBe(`-- up to date: version ${to}\n`)
    expect(JSON.parse((await migrate('--json')).stdout)).toEqual({ dryRun: false, from: to, to, steps: [] })

    await query(`UPDATE tidings.migration SET fingerprint = 'other'`)
    expect((await migrate('--dry-run')).stdout).toContain(`-- would replace the functions of version ${to}: `)
    expect((await migrate()).stdout).toBe(`replaced the functions of version ${to}\n`)
  })

  it('shows SQL that does the same', async () => {
    url = await emptyDatabase()
    await query((await migrate('--dry-run')).stdout)
    expect((await migrate()).stdout).toMatch(/^up to date: /)
  })

  it('refuses a schema that is newer', async () => {
    url = await emptyDatabase()
    await migrate()
    await query(`INSERT INTO tidings.migration (version, name, fingerprint) VALUES (99, 'future', '')`)
    for (const args of [[], ['--dry-run']])
      expect(await migrate(...args)).toMatchObject({
        code: 1,
        stderr: expect.stringMatching(
          /^error: the schema has version 99 and works with programs of version 99 or newer; this one is of version \d+\nhint: Update this program/,
        ),
      })
  })

  it('leads back to its own functions from newer ones, and says where there is nothing to do', async () => {
    url = await emptyDatabase()
    await migrate()
    expect((await migrate('--down')).stdout).toMatch(/^up to date: /)
    await query("UPDATE tidings.migration SET fingerprint = '2999-01-01T00:00:00.000Z newer'")
    expect((await migrate()).stdout).toMatch(/^up to date: /)
    expect((await migrate('--down', '--dry-run')).stdout).toMatch(/^-- would replace the functions of version \d+: /)
    expect((await migrate('--down')).stdout).toMatch(/^replaced the functions of version \d+\n$/)
    expect((await migrate('--down')).stdout).toMatch(/^up to date: /)
  })

  it('makes roles by the SQL that it shows, and lets a role use one queue', async () => {
    url = await emptyDatabase()
    const prefix = new URL(url).pathname.slice(1)
    await migrate()
    const { stdout: sql } = await migrate('--roles', prefix, '--dry-run')
    expect(await query(`SELECT FROM pg_roles WHERE rolname LIKE '${prefix}%'`)).toEqual([])
    await query(sql)
    expect(await migrate('--roles', prefix)).toMatchObject({
      code: 0,
      stdout: `${prefix}_owner owns all of it now; GRANT ${prefix}_admin, ${prefix}_producer, ${prefix}_consumer or ${prefix}_monitor to those who connect\n`,
    })

    await query(`CREATE ROLE ${prefix}_web LOGIN`)
    await tidings(['queue', 'create', 'orders', '--url', url])
    const grant = (...args: string[]) =>
      tidings(['queue', 'grant', 'orders', '--role', `${prefix}_web`, '--url', url, ...args])
    expect((await grant('--may', 'send')).stdout).toBe(`role ${prefix}_web may send on queue orders\n`)
    const asWeb = url.replace(/\/\/[^@]*@/, `//${prefix}_web@`)
    expect(await tidings(['enqueue', 'orders', '1', '--url', asWeb])).toMatchObject({ code: 0 })
    expect(await tidings(['read', 'orders', '--url', asWeb])).toMatchObject({
      code: 1,
      stderr: expect.stringContaining(
        `role "${prefix}_web" may not receive from queue "orders": it lacks DELETE on pgmq.q_orders`,
      ),
    })
    expect((await grant('--may', 'send', '--revoke')).stdout).toContain('may no longer send')
    expect(await tidings(['enqueue', 'orders', '1', '--url', asWeb])).toMatchObject({ code: 1 })
    expect(await grant('--may', 'everything')).toMatchObject({ code: 2 })
    await query(`DROP OWNED BY ${prefix}_web; DROP ROLE ${prefix}_web`)
  })

  it.each([
    [['--roles', 'Shop'], '--roles is "Shop"'],
    [['--roles', "x'; DROP"], '--roles is'],
    [['--roles', 'pg_mine'], '--roles is "pg_mine"'],
    [['--roles', 'x'.repeat(52)], '--roles is'],
    [['--roles', '--down'], '--down and --roles cannot be together'],
    [['--adopt', '--hand-over'], '--adopt and --hand-over cannot be together'],
    [['--hand-over', 'missing.sql'], '--hand-over is "missing.sql", which cannot be read'],
  ])('refuses %j', async (args, text) => {
    url = await emptyDatabase()
    expect(await migrate(...args)).toMatchObject({ code: 2, stderr: expect.stringContaining(text) })
    expect(await isInstalled()).toBe(false)
  })

  it('is done once when two processes start it at the same time', async () => {
    url = await emptyDatabase()
    const ended = await Promise.all([migrate(), migrate(), migrate()])
    expect(ended.map(({ code, stderr }) => ({ code, stderr }))).toEqual(Array(3).fill({ code: 0, stderr: '' }))
    const said = ended.map(({ stdout }) => stdout.replace(/version \d+\n/, '')).toSorted()
    expect(said).toEqual(['installed the schema: ', 'up to date: ', 'up to date: '])
  })

  it('says so where the role may not', async () => {
    url = await emptyDatabase()
    const role = `migrates_not_${process.pid}`
    await query(`CREATE ROLE ${role} LOGIN`)
    const asRole = new URL(url)
    asRole.username = role
    try {
      expect(await tidings(['migrate', '--url', asRole.href])).toMatchObject({
        code: 1,
        stderr: expect.stringMatching(/^error: this role may not install the schema of Tidings: .*\nhint: /),
      })
      expect(await isInstalled()).toBe(false)
    } finally {
      await query(`DROP ROLE ${role}`)
    }
  })

  it('has nothing to do for a storage without a schema', async () => {
    expect(await tidings(['migrate', '--url', 'memory:'])).toMatchObject({
      code: 0,
      stdout: 'this storage has no schema: nothing to do\n',
    })
  })
})
