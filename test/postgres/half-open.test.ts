import { Bus } from 'tidings/internal/bus/bus'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type Line, startLine } from '../support/line.ts'
import { sharedServer } from '../support/shared-servers.ts'
import { message, migratedDatabase, newName, openEngine, queryAlone as query, until } from './support.ts'

/** What is asked for; a busy machine notices later, so the best of three counts. */
const soonMs = 5_000

let database: { url: string; drop(): Promise<void> }
let line: Line
let bus: Bus

beforeAll(async () => {
  database = await migratedDatabase(await sharedServer('postgres18'))
})
afterAll(() => database?.drop())
beforeEach(async () => {
  line = await startLine(database.url)
  bus = new Bus(await openEngine(line.url))
})
afterEach(async () => {
  line.thaw()
  await bus.close()
  line.close()
})

/** Measures how long it takes until the call is answered, well or not. */
async function noticed(freeze: () => Promise<void> | void, call: () => Promise<unknown>): Promise<unknown> {
  for (let round = 1; ; round++) {
    await freeze()
    const startedAt = performance.now()
    const answer = await call().catch((error: unknown) => error)
    if (performance.now() - startedAt < soonMs) return answer
    if (round === 3) throw new Error(`took ${Math.round(performance.now() - startedAt)} ms`, { cause: answer })
  }
}

describe.each([
  ['the server can be reached anew', 'pass'],
  ['nothing passes any more', 'frozen'],
] as const)('a connection that falls silent, where %s', (_where, newOnes) => {
  const calls = [
    ['send', (name: string) => bus.queue(name).send(1)],
    ['publish', (name: string) => bus.publish(`Of.${name}`, 1)],
    ['stats', (name: string) => bus.queue(name).stats()],
    ['read', (name: string) => bus.queue(name).read({ limit: 1 })],
    ['create', (name: string) => bus.queue(`${name}_more`).create()],
  ] as const

  test.each(calls)('%s notices within 5 s', async (what, call) => {
    const name = newName('silent')
    await bus.queue(name).send(0)
    await bus.bind(`Of.${name}`, name)
    const answer = await noticed(
      async () => {
        line.thaw()
        await bus.queue(name).stats()
        line.freeze(newOnes)
      },
      () => call(name),
    )
    const mustNotBeRepeated = what === 'send' || what === 'publish'
    if (newOnes === 'pass' && !mustNotBeRepeated) expect(answer).not.toBeInstanceOf(Error)
    else
      expect(answer).toMatchObject({ code: mustNotBeRepeated ? 'OUTCOME_UNKNOWN' : 'CONNECTION_LOST', retryable: true })
    // No other connection is taken that is silent, too.
    line.thaw()
    expect((await bus.queue(name).stats()).ready).toBeGreaterThanOrEqual(0)
  })
})

test('a worker goes on soon, and handles nothing twice', async () => {
  const queue = bus.queue<number>(newName('silent'))
  const handled: number[] = []
  const worker = queue.work(({ data }) => void handled.push(data), { concurrency: 5 })
  await queue.sendBatch(Array.from({ length: 20 }, (_, data) => ({ data })))
  await until(() => handled.length === 20, 'all were handled')
  await queue.send(20)
  line.freeze('pass')
  const outside = new Bus(await openEngine(database.url))
  await outside.queue(queue.name).send(21)
  const startedAt = performance.now()
  await until(() => handled.includes(21), 'the message was handled that was sent in the silence')
  expect(performance.now() - startedAt).toBeLessThan(15_000)
  await worker.stop()
  await outside.close()
  expect(handled.filter((data) => data < 20)).toHaveLength(20)
})

test('a stop ends at its deadline, and so does the process', async () => {
  const queue = bus.queue(newName('silent'))
  let isHandling = false
  const worker = queue.work(async (_message, { signal }) => {
    isHandling = true
    line.freeze('frozen')
    await new Promise((resolve) => signal.addEventListener('abort', resolve))
  })
  await queue.send(1)
  await until(() => isHandling, 'the message is handled')
  const startedAt = performance.now()
  await worker.stop({ deadline: '500ms' })
  // The last release is tried for one second more.
  expect(performance.now() - startedAt).toBeLessThan(4_000)
  await bus.close()
  expect(performance.now() - startedAt).toBeLessThan(12_000)
})

test('a statement that takes long is not given up', async () => {
  const queue = bus.queue(newName('slow'))
  await queue.create()
  await query(
    database.url,
    `CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(6); RETURN NEW; END';
    CREATE TRIGGER slowly BEFORE INSERT ON pgmq.q_${queue.name} FOR EACH ROW EXECUTE FUNCTION slowly()`,
  )
  await queue.send(1)
  expect(await queue.stats()).toMatchObject({ ready: 1 })
})

test('nor by a process that was busy while it asked what has become of it', async () => {
  const queue = bus.queue(newName('slow'))
  await queue.create()
  await query(
    database.url,
    `CREATE FUNCTION slowly_too() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(6); RETURN NEW; END';
    CREATE TRIGGER slowly BEFORE INSERT ON pgmq.q_${queue.name} FOR EACH ROW EXECUTE FUNCTION slowly_too()`,
  )
  // It asks for longer than a moment.
  line.slow(Number.POSITIVE_INFINITY, 50)
  const sending = queue.send(1)
  await new Promise((resolve) => setTimeout(resolve, 1_100))
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2_600)
  await sending
  expect(await queue.stats()).toMatchObject({ ready: 1 })
})

test('nor where the session gets no processor for a moment', async () => {
  const engine = await openEngine(database.url)
  const queue = newName('still')
  await engine.createQueue(queue)
  const attempt = () =>
    engine.transaction(async (transaction) => {
      const sessions = await query(
        database.url,
        `SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle in transaction'`,
      )
      const signal = (name: NodeJS.Signals) => sessions.forEach(({ pid }) => void process.kill(Number(pid), name))
      signal('SIGSTOP')
      setTimeout(signal, 1_900, 'SIGCONT')
      await engine.send(queue, [message()], transaction)
    })
  // On a busy machine the moment may be longer than that.
  await attempt().catch(attempt).catch(attempt)
  expect((await engine.stats(queue)).ready).toBe(1)
  await engine.close()
})

test('what is on its way for longer than its lease is not claimed twice', async () => {
  const queue = bus.queue(newName('slow'))
  await queue.sendBatch(Array.from({ length: 12 }, () => ({ data: 'x'.repeat(250_000) })))
  await queue.read({ limit: 2 })
  line.slow(1_000_000)
  const found = await queue.read({ limit: 20, lease: '1s' })
  expect(found.map(({ readCount }) => readCount)).toEqual(Array(10).fill(1))
})
