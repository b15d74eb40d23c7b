import { readFileSync } from 'node:fs'
import pg from 'pg'
import { type Bus, connect, isTidingsError } from 'tidings'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { sharedServer } from './support/shared-servers.ts'

const server = await sharedServer('postgres18')
const stamp = `${process.pid}_${Date.now()}`
const database = `role_${stamp}`
const role = `tidings_app_${stamp}`
const ownerRole = `tidings_owner_${stamp}`
const adminUrl = server.replace(/[^/]+$/, database)
const as = (name: string) => adminUrl.replace(/\/\/[^@]*@/, `//${name}@`)
const ownerUrl = as(ownerRole)
const roleUrl = as(role)
const script = readFileSync(new URL('../docs/postgres-role.sql', import.meta.url), 'utf8').replaceAll(
  'tidings_app',
  role,
)

async function run(url: string, sql: string): Promise<pg.QueryResult> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    return await client.query(sql)
  } finally {
    await client.end()
  }
}

let owner: Bus
let bus: Bus

beforeAll(async () => {
  // No superuser anywhere; this one may only create schemas in this database, and the role for the script to find.
  await run(server, `CREATE ROLE ${ownerRole} LOGIN CREATEROLE`)
  await run(server, `CREATE DATABASE ${database}`)
  await run(adminUrl, `GRANT CREATE ON DATABASE ${database} TO ${ownerRole}; CREATE TABLE public.secret ()`)
  owner = await connect(ownerUrl)
  // Queues of the owner: one from before the script was run, one from after it.
  await owner.queue('before').create()
  await run(ownerUrl, script)
  await owner.queue('after').create()
  bus = await connect(roleUrl)
})

afterAll(async () => {
  await bus?.close()
  await owner?.close()
  await run(server, `DROP DATABASE ${database} WITH (FORCE)`)
  await run(server, `DROP ROLE ${role}, ${ownerRole}`)
})

test('the script can be run again', async () => {
  await run(ownerUrl, script)
})

describe.each(['before', 'after', 'its_own'])('as the role of docs/postgres-role.sql, with queue %s', (name) => {
  test('everything that an application does', async () => {
    const queue = bus.queue(name)
    await queue.create()
    const id = await queue.send({ n: 1 }, { dedupId: 'one' })
    await expect(queue.send({ n: 1 }, { dedupId: 'one' })).rejects.toMatchObject({ code: 'DUPLICATE' })
    await queue.sendBatch([
      { data: { n: 2 }, delay: '1h' },
      { data: { n: 3 }, orderingKey: 'a' },
      { data: { n: 4 }, priority: 5 },
      { data: { n: 5 }, meta: { targetId: 't' }, uniqueTarget: true },
      { data: { n: 6 }, delay: '50ms' },
    ])
    expect((await queue.peek({ place: 'delayed' })).map(({ data }) => data)).toContainEqual({ n: 2 })
    expect(await queue.stats()).toMatchObject({ queue: name, delayed: expect.any(Number) })

    const first = (await queue.readById(id))!
    await first.extend('1m')
    await first.archive()
    const messages = await queue.read({ limit: 2 })
    await messages[0]!.release({ delay: '20ms' })
    await messages[1]!.deadLetter('tried')
    expect(await queue.deadLetters.list()).toHaveLength(1)
    expect(await queue.deadLetters.redrive()).toHaveLength(1)

    const handled: unknown[] = []
    const worker = queue.work(({ data }) => void handled.push(data), { maxMessages: 4 })
    await worker.finished
    expect(handled).toHaveLength(4)
    const [delayed] = await queue.peek({ place: 'delayed' })
    expect(await queue.cancel(delayed!.id)).toBe(true)

    await queue.send({ n: 7 })
    expect(await queue.pop()).toHaveLength(1)
    await queue.send({ n: 8 })
    expect(await queue.purge()).toBe(1)
    await bus.engine.maintain()
    expect((await bus.diagnose()).filter(({ level }) => level === 'problem')).toEqual([])
  })

  test('its reader is woken by a send of another process', async () => {
    const other = await connect(roleUrl)
    const queue = bus.queue(name)
    let idle = () => {}
    const waiting = new Promise<void>((resolve) => (idle = resolve))
    const worker = queue.work(() => {}, {
      maxMessages: 1,
      pollInterval: '1h',
      observe: ({ type }) => type === 'idle' && idle(),
    })
    await waiting
    await other.queue(name).send('hello')
    await worker.finished
    await other.close()
  })
})

describe('as the role of docs/postgres-role.sql', () => {
  test('everything that an application does with topics', async () => {
    const { engine } = bus
    const topics = engine.topics!
    const retention = { maxAgeMs: null, maxBytes: null, whenRead: true }
    expect(await topics.createTopic('news', { retention })).toBe(true)
    await topics.link('news', { pattern: 'news.#' })
    await topics.link('news', { queue: 'before' })
    await topics.subscribe('news', 's', 'earliest')
    let wake = () => {}
    const woken = new Promise<void>((resolve) => (wake = resolve))
    const watch = await topics.watchTopic('news', wake)

    const message = (dedup: string) => ({
      ...{ data: '1', meta: {}, headers: {}, delayMs: 0, notBefore: null, priority: 1, orderingKey: null },
      ...{ dedup: { id: dedup, windowMs: 60_000 }, uniqueTarget: null, bare: false },
    })
    await engine.transaction((transaction) => topics.append('news', [message('a')], transaction))
    await woken
    watch.close()
    expect(await topics.append('news', [message('a')], null)).toEqual([{ offset: 1, duplicate: true }])
    expect(await engine.publish([{ ...message('b'), routingKey: 'news.b' }], null)).toMatchObject([
      [{ queue: 'before' }, { topic: 'news', offset: 2 }],
    ])
    const hold = await topics.hold('news', 's', 'consumer', 60_000)
    if (!hold.held) throw new Error('nobody else holds it')
    expect(await topics.read('news', hold.cursor, 10)).toHaveLength(2)
    expect(await topics.ack('news', 's', 1, hold.receipt)).toBe(true)
    expect(await topics.leave('news', 's', hold.receipt)).toBe(true)
    await engine.maintain()
    expect(await topics.listTopics('news')).toMatchObject([{ firstOffset: 2, lastOffset: 2, subscriptions: 1 }])
    expect(await topics.seek('news', null, { time: 0 })).toBe(1)
    expect(await topics.subscriptions('news', 's')).toMatchObject([{ cursor: 1, lag: 1 }])
    expect(await topics.unlink('news', { queue: 'before' })).toBe(true)
    expect(await topics.unsubscribe('news', 's')).toBe(true)
    expect(await topics.dropTopic('news')).toBe(true)
    expect((await bus.diagnose()).filter(({ level }) => level === 'problem')).toEqual([])
  })

  test('its own queue can be dropped, that of another role cannot', async () => {
    expect(await bus.queue('its_own').drop()).toBe(true)
    await expect(bus.queue('before').drop()).rejects.toMatchObject({ code: 'PERMISSION_DENIED' })
  })

  test.each([
    ['read other tables', 'SELECT * FROM public.secret'],
    ['create tables elsewhere', 'CREATE TABLE tidings.mine ()'],
    ['create tables in public', 'CREATE TABLE public.mine ()'],
    ['change the version of the schema', 'UPDATE tidings.migration SET version = 99'],
    ['replace functions', 'CREATE OR REPLACE FUNCTION tidings.maintain() RETURNS void LANGUAGE sql AS $$ SELECT $$'],
    ['create roles', `CREATE ROLE ${role}_2`],
    ['create databases', `CREATE DATABASE ${database}_2`],
  ])('it may not %s', async (_, sql) => {
    await expect(run(roleUrl, sql)).rejects.toMatchObject({ code: '42501' })
  })

  test('without CREATE it can still work on queues that are there, and gets a clear error for others', async () => {
    await run(ownerUrl, `REVOKE CREATE ON SCHEMA pgmq FROM ${role}`)
    await owner.queue('after_dlq').create()
    await bus.queue('after').purge()
    await bus.queue('after').send({ n: 1 })
    const [message] = await bus.queue('after').read()
    expect(await message!.deadLetter('no')).toBe(true)

    const error = await bus
      .queue('another')
      .send({ n: 1 })
      .catch((thrown: unknown) => thrown)
    expect(isTidingsError(error, 'PERMISSION_DENIED') && error.hint).toContain('tidings doctor')
    expect(await bus.diagnose()).toContainEqual(expect.objectContaining({ check: 'permissions', level: 'warning' }))
  })
})
