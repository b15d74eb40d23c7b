import pg from 'pg'
import { beforeAll, describe, expect, it } from 'vitest'
import { type Ended, ownDatabase, spawned, Tidings, tidings } from './support.ts'

let env: Record<string, string>
beforeAll(async () => {
  env = { DATABASE_URL: await ownDatabase() }
})
const run = (...args: string[]): Promise<Ended> => tidings(args, { env })
const json = async (...args: string[]) => JSON.parse((await run(...args, '--json')).stdout)
const ok = (stdout: string) => ({ code: 0, stdout, stderr: '' })

describe('queue', () => {
  it('creates, lists and drops', async () => {
    expect(await run('queue', 'create', 'made')).toEqual(ok('created queue made\n'))
    expect(await run('queue', 'create', 'made')).toEqual(ok('queue made was there already\n'))
    expect(await json('queue', 'create', 'made')).toEqual({ queue: 'made', created: false })
    expect((await json('queue', 'list')).map(({ queue }: { queue: string }) => queue)).toContain('made')
    expect((await run('queue', 'list')).stdout).toMatch(/^QUEUE +CREATED\n(.*\n)*made +\d{4}-\d\d-\d\dT/)
    expect(await run('queue', 'drop', 'made', '--yes')).toEqual(ok('removed queue made\n'))
    expect((await run('queue', 'status', 'made')).code).toBe(1)
  })

  it('does not purge or drop unasked where nobody can be asked', async () => {
    await run('enqueue', 'kept', '1')
    expect(await run('queue', 'purge', 'kept')).toEqual({
      code: 2,
      stdout: '',
      stderr:
        'error: not done without an answer: Remove 1 message of queue kept?\n' +
        'hint: Pass --yes, since nobody can be asked here.\n',
    })
    expect(await run('queue', 'drop', 'kept')).toEqual({
      code: 2,
      stdout: '',
      stderr:
        'error: not done without an answer: Remove queue kept with 1 message and 0 archived ones?\n' +
        'hint: Pass --yes, since nobody can be asked here.\n',
    })
    expect(await json('queue', 'status', 'kept')).toMatchObject({ ready: 1 })
    expect(await run('queue', 'purge', 'kept', '--yes')).toEqual(ok('removed 1 message of queue kept\n'))
  })

  it('names the nearest queue', async () => {
    await run('queue', 'create', 'invoices')
    const { code, stderr } = await run('read', 'invoces')
    expect(code).toBe(1)
    expect(stderr).toBe("error: queue 'invoces' does not exist\nhint: Did you mean 'invoices'? Or create it first.\n")
  })
})

describe('status', () => {
  it('shows queues of other clients, whatever their names', async () => {
    const database = { DATABASE_URL: await ownDatabase() }
    await tidings(['enqueue', 'plain', '1'], { env: database })
    const client = new pg.Client({ connectionString: database.DATABASE_URL })
    await client.connect()
    const names = ['an odd name', '-x', 'a--b', 'ünï']
    for (const name of names) {
      await client.query(`CREATE TABLE pgmq."q_${name}" (LIKE pgmq.q_plain INCLUDING ALL)`)
      await client.query(`CREATE TABLE pgmq."a_${name}" (LIKE pgmq.a_plain INCLUDING ALL)`)
      await client.query('INSERT INTO pgmq.meta (queue_name, is_partitioned, is_unlogged) VALUES ($1, false, false)', [
        name,
      ])
    }
    await client.end()
    for (const args of [['status'], ['queue', 'list'], ['doctor']]) {
      const { code, stdout, stderr } = await tidings([...args, '--json'], { env: database })
      expect({ args, code, stderr }).toEqual({ args, code: 0, stderr: '' })
      if (args[0] !== 'doctor')
        expect(
          JSON.parse(stdout)
            .map(({ queue }: { queue: string }) => queue)
            .sort(),
        ).toEqual([...names, 'plain'].sort())
    }
  })

  it('shows the figures of queues, in aligned columns', async () => {
    for (const queue of ['aligned', 'a']) await run('queue', 'create', queue)
    await run('enqueue', 'aligned', '1')
    await run('enqueue', 'aligned', '1', '--delay', '1h')
    const { code, stdout } = await run('status', 'aligned', 'a')
    expect(code).toBe(0)
    expect(stdout.replace(/\d+s$/m, '0s')).toBe(
      'QUEUE    READY  DELAYED  LEASED  ARCHIVED  DEAD LETTERS  SENT  OLDEST READY\n' +
        'aligned      1        1       0         0             0     2  0s\n' +
        'a            0        0       0         0             0     0  -\n',
    )
    expect(await json('status', 'aligned')).toMatchObject([{ queue: 'aligned', ready: 1, delayed: 1, deadLetters: 0 }])
  })

  it('goes on with --watch until it is stopped', async () => {
    await run('queue', 'create', 'watched')
    const watching = new Tidings(['status', 'watched', '--watch', '100ms', '--json'], { env })
    await watching.until(/(\[.*\]\n){2}/)
    watching.child.kill('SIGINT')
    expect((await watching.ended).code).toBe(0)
  })

  it('ends quietly when nobody reads on', async () => {
    await run('queue', 'create', 'closed')
    const watching = new Tidings(['status', 'closed', '--watch', '100ms'], { env })
    await watching.until(/closed/)
    watching.child.stdout?.destroy()
    expect(await watching.ended).toMatchObject({ code: 0, stderr: '' })
  })
})

describe('messages', () => {
  it('are read under a lease, with a receipt', async () => {
    await run('enqueue', 'reading', '{"name":"Ada"}', '--target-id', 't')
    expect((await run('read', 'reading', '--lease', '1h')).stdout).toMatch(
      /^1 {2}sent \d+s ago, read 1 time, hidden for 1h\n {2}data \{"name":"Ada"\}\n {2}meta \{"targetId":"t"\}\n {2}receipt \S+\n$/,
    )
    expect(await run('read', 'reading')).toEqual(ok('no message is ready\n'))
    expect(await json('peek', 'reading', '--place', 'leased')).toMatchObject([{ id: '1', readCount: 1 }])
  })

  it('wait for the next one', async () => {
    await run('queue', 'create', 'waiting')
    const waiting = spawned(['read', 'waiting', '--wait', '20s', '--json'], { env })
    await run('enqueue', 'waiting', '1')
    expect(JSON.parse((await waiting).stdout)).toMatchObject([{ data: 1, receipt: expect.any(String) }])
  })

  it('are popped for good', async () => {
    await run('enqueue', 'popping', '1')
    expect(await json('pop', 'popping')).toMatchObject([{ data: 1 }])
    expect(await json('pop', 'popping')).toEqual([])
    expect(await run('peek', 'popping')).toEqual(ok('no messages\n'))
  })

  it('keep large integers of other clients, and are harmless for a terminal', async () => {
    const { default: pg } = await import('pg')
    await run('queue', 'create', 'foreign')
    const client = new pg.Client({ connectionString: env.DATABASE_URL })
    await client.connect()
    await client.query(
      `insert into pgmq.q_foreign (vt, message) values (now(), '{"n": 12345678901234567890, "c": "\u009b2J"}')`,
    )
    await client.end()
    expect((await run('peek', 'foreign', '--json')).stdout).toContain('"n":12345678901234567890')
    expect((await run('peek', 'foreign')).stdout).toContain('"c":"\\u009b2J"')
  })
})

describe('doctor', () => {
  it('prints its findings, without the password', async () => {
    const url = env.DATABASE_URL!.replace('tidings@', 'tidings:s3cret@')
    const { code, stdout } = await tidings(['doctor', '--url', url])
    expect(code).toBe(0)
    expect(stdout).toMatch(/^storage: postgres:\/\/tidings:\*\*\*@\S+ \(from --url\)\nok {7}/)
    expect(stdout).not.toContain('s3cret')
  })
})
