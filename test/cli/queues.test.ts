import pg from 'pg'
import { connect } from 'tidings'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { startHttpServer } from '../support/http-server.ts'
import { type Ended, ownDatabase, spawned, Tidings, tidings, useDatabase } from './support.ts'

let env: Record<string, string>
useDatabase((url) => {
  env = { DATABASE_URL: url }
})
const run = (...args: string[]): Promise<Ended> => tidings(args, { env })
const json = async (...args: string[]) => JSON.parse((await run(...args, '--json')).stdout)
const ok = (stdout: string) => ({ code: 0, stdout, stderr: '' })

it('prints times as ISO 8601 in JSON, whatever it is asked for', async () => {
  const until = '2099-01-01T00:00:00.000Z'
  await run('enqueue', 'timed', '1', '--target-id', 't')
  await run('queue', 'pause', 'timed', '--until', until)
  await run('bind', 'Timed.#', 'timed')
  await run('topic', 'publish', 'times', '1')
  await run('subscribe', 'times', '--name', 'reader')
  await run('schedule', 'add', 'timed', '0 2 * * *', '--queue', 'timed', '--end-at', until)
  const asked = [
    ...[['status'], ['queue', 'list'], ['queue', 'status', 'timed'], ['queue', 'show', 'timed'], ['bindings']],
    ...[
      ['peek', 'timed'],
      ['trace', '--target', 't'],
      ['topic', 'list'],
      ['topic', 'info', 'times'],
    ],
    ...[
      ['topic', 'subscriptions', 'times'],
      ['schedule', 'list'],
    ],
  ]
  for (const args of asked) {
    const times = timesIn(await json(...args))
    expect(times.length, args.join(' ')).toBeGreaterThan(0)
    expect(times.filter((time) => !/^\d{4}-\d\d-\d\dT[\d:]{8}\.\d{3}Z$/.test(String(time)))).toEqual([])
  }
})

/** The values of fields that are named as times, but for those that are null. */
function timesIn(value: unknown): unknown[] {
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value).flatMap(([name, one]) =>
    /^(?:at|since|until)$|At$/.test(name) ? (one === null ? [] : [one]) : timesIn(one),
  )
}

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

  it('sets limits and weights, and says what is wrong with one', async () => {
    await run('queue', 'create', 'limited')
    const set = (...args: string[]) => run('queue', 'set', 'limited', ...args)
    await set('--limit', 'concurrency=20', '--limit', 'per=group,rate=100/min,burst=5', '--weight', 'gold=3,free=0.5')
    const settings = {
      limits: [
        { per: 'queue', concurrency: 20 },
        { per: 'group', rate: { count: 100, periodMs: 60_000 }, burst: 5 },
      ],
      weights: { gold: 3, free: 0.5 },
    }
    expect(await json('queue', 'show', 'limited')).toEqual({ queue: 'limited', settings })
    expect(await set('--limit', 'concurrency=0')).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('--limit[0].concurrency is 0'),
    })
    expect(await set('--limit', 'twenty')).toMatchObject({ code: 2, stderr: expect.stringContaining("'twenty'") })
    await set('--unset', 'limits', 'weights')
    expect(await json('queue', 'show', 'limited')).toEqual({ queue: 'limited', settings: {} })
  })

  it('sets what holds for senders, readers and workers in other processes', async () => {
    await run('queue', 'create', 'stored')
    const set = (...args: string[]) => run('queue', 'set', 'stored', ...args)
    await set('--max-length', '2', '--max-message-bytes', '10', '--ttl', '1h', '--lease', '2h', '--delay', '0s')
    await set('--max-attempts', '3', '--backoff', 'exponential,first=1s,max=10m', '--dead-letter', 'none')
    await set('--retention', 'keepFor=30d,keep=5')
    const settings = {
      ...{ maxLength: 2, maxMessageBytes: 10, ttl: 3_600_000, lease: 7_200_000, delay: 0, maxAttempts: 3 },
      backoff: { curve: 'exponential', first: 1_000, factor: 2, max: 600_000, jitter: 0.1 },
      deadLetter: false,
      retention: { keepFor: 2_592_000_000, keep: 5 },
    }
    expect(await json('queue', 'show', 'stored')).toEqual({ queue: 'stored', settings })
    expect((await run('queue', 'show', 'stored')).stdout).toMatch(/^max-message-bytes +10$/m)
    expect((await run('enqueue', 'stored', '"long enough"')).stderr).toContain('at most 10')
    for (const body of ['1', '2']) expect((await run('enqueue', 'stored', body)).code).toBe(0)
    expect((await run('enqueue', 'stored', '3')).stderr).toContain('maxLength')
    const [{ visibleAt, lastReadAt, meta }] = await json('read', 'stored')
    expect(Date.parse(visibleAt) - Date.parse(lastReadAt)).toBe(7_200_000)
    expect(meta.ttlMs).toBe(3_600_000)
    expect(await set('--backoff', 'soon')).toMatchObject({ code: 2, stderr: expect.stringContaining('--backoff') })
    expect(await set('--retention', '30d')).toMatchObject({ code: 2, stderr: expect.stringContaining("'30d'") })
    await set('--unset', ...Object.keys(settings).map((name) => name.replace(/[A-Z]/g, (at) => `-${at.toLowerCase()}`)))
    expect(await json('queue', 'show', 'stored')).toEqual({ queue: 'stored', settings: {} })
  })

  it('sets nothing where one of its settings cannot be', async () => {
    await run('queue', 'create', 'whole')
    const set = (...args: string[]) => run('queue', 'set', 'whole', ...args)
    await set('--max-length', '7')
    for (const [flag, value, named] of [
      ['--lease', '0', '--lease'],
      ['--backoff', 'linear,factor=2', '--backoff'],
      ['--dead-letter', 'whole', 'the dead-letter queues form a circle'],
      ['--retention', 'keepFor=0', '--retention'],
    ] as const)
      expect(await set('--max-length', '5', '--ttl', '1h', flag, value)).toMatchObject({
        code: 2,
        stderr: expect.stringContaining(named),
      })
    expect(await json('queue', 'show', 'whole')).toEqual({ queue: 'whole', settings: { maxLength: 7 } })
  })

  it('shows the history of a queue, to which two processes add at once', async () => {
    const bus = await connect(env.DATABASE_URL)
    await bus.queue('counted').sendBatch(Array.from({ length: 40 }, (_, data) => ({ data })))
    await bus.close()
    const popped = await Promise.all([1, 2].map(() => json('pop', 'counted', '--limit', '20')))
    expect(popped.flat()).toHaveLength(40)
    const { queue, points, latency } = await json('queue', 'history', 'counted')
    const sum = (values: number[]) => values.reduce((all, one) => all + one, 0)
    expect([queue, points.length]).toEqual(['counted', 61])
    expect(sum(points.map(({ done }: { done: number }) => done))).toBe(40)
    expect(sum(latency.map(({ count }: { count: number }) => count))).toBe(40)
    const { stdout } = await run('queue', 'history', 'counted')
    expect(stdout).toMatch(/^counted: \d{4}-\S+Z to \d{4}-\S+Z, 1 minute a step\nFIGURE +LAST +MOST +ALL *\n/)
    expect(stdout).toMatch(/^done +\d+ +\d+ +40 +\S/m)
    expect(stdout).toMatch(/^from being sent to a reader: p50 ≤ \S+, p95 ≤ \S+, p99 ≤ \S+$/m)
    expect((await run('queue', 'history')).stdout).toMatch(/^all queues: /)
    expect(await run('queue', 'history', 'counted', '--since', 'yesterday')).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('--since'),
    })
    expect((await run('queue', 'history', 'missing')).code).toBe(1)
  })

  it('cancels what waits and what somebody has in hand, and says so', async () => {
    for (const body of ['1', '2', '3']) await run('enqueue', 'cancelled', body, '--correlation-id', 'import-7')
    await run('read', 'cancelled', '--lease', '1h')
    expect(await json('cancel', 'cancelled', '2')).toEqual({ queue: 'cancelled', removed: ['2'], running: [] })
    const told = await run('cancel', 'cancelled', '--correlation', 'import-7')
    expect(told).toEqual(ok('removed 1 message, told the readers of 1\n'))
    expect(await run('cancel', 'cancelled', '2')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('has no message 2 to be cancelled'),
    })
    expect(await run('cancel', 'cancelled')).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('nothing to cancel'),
    })
  })

  it('shows, finds, hastens, copies, moves and ends single messages', async () => {
    await run('enqueue', 'single', '{"n":1}', '--delay', '1h')
    await run('enqueue', 'single', '{"n":2}')
    await run('queue', 'create', 'others')
    expect(await json('message', 'show', 'single', '1')).toMatchObject({ id: '1', data: { n: 1 }, state: 'delayed' })
    expect((await run('message', 'show', 'single', '1')).stdout).toMatch(/"n": ?1(.*\n)*.*will be ready/)
    const found = await run('message', 'search', 'single', '--where', '{"data":{"n":2}}', '--json')
    expect(JSON.parse(found.stdout)).toMatchObject([{ id: '2' }])
    expect(await run('message', 'retry', 'single', '1', '99')).toEqual(ok('1 of 2 messages ready\n'))
    expect(await json('message', 'retry', 'single', '1')).toEqual({ queue: 'single', ready: ['1'] })
    expect(await run('message', 'retry', 'single', '99')).toMatchObject({ code: 1 })
    expect(await json('message', 'copy', 'single', '1', '--to', 'others', '--data', '{"n":3}')).toEqual({
      queue: 'others',
      id: '1',
    })
    expect(await run('message', 'move', 'single', '1', '--to', 'others')).toEqual(ok('moved to others as message 2\n'))
    expect(await run('message', 'dead-letter', 'single', '2', '--reason', 'gone')).toEqual(
      ok('it is in single_dlq as message 1\n'),
    )
    expect((await json('peek', 'others')).map(({ data }: { data: unknown }) => data)).toEqual([{ n: 3 }, { n: 1 }])
    expect((await json('dead-letters', 'list', 'single'))[0].meta.errorMessage).toBe('gone')
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

  it('leaves out those that Tidings made for itself, unless it is asked for them', async () => {
    const own = await ownDatabase()
    const server = await startHttpServer(own, '--sentinel')
    onTestFinished(() => server.stop())
    const client = new pg.Client({ connectionString: own })
    await client.connect()
    onTestFinished(() => client.end())
    const isThere = async () =>
      (await client.query("SELECT FROM pgmq.meta WHERE queue_name = 'tidings_sentinel'")).rowCount
    await vi.waitUntil(isThere)
    for (const url of [own, server.url]) {
      const list = async (...args: string[]) =>
        JSON.parse((await tidings([...args, '--json', '--url', url])).stdout).map(
          ({ queue }: { queue: string }) => queue,
        )
      expect(await list('queue', 'list')).toEqual([])
      expect(await list('status')).toEqual([])
      expect(await list('queue', 'list', '--internal')).toEqual(['tidings_sentinel'])
      expect(await list('status', '--internal')).toEqual(['tidings_sentinel'])
    }
    for (const path of ['queues', 'metrics']) {
      const ask = async (query: string) =>
        ((await (await fetch(`${server.url}/v1/${path}${query}`)).json()) as { queues: unknown[] }).queues
      expect(await ask('')).toEqual([])
      expect(await ask('?internal=true')).toMatchObject([{ queue_name: 'tidings_sentinel' }])
    }
    expect(await (await fetch(`${server.url}/metrics`)).text()).not.toContain('queue="tidings_sentinel"')
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
