import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as wait } from 'node:timers/promises'
import { Bus } from 'tidings/internal/bus/bus'
import { systemClock } from 'tidings/internal/core/clock'
import { TidingsError } from 'tidings/internal/core/errors'
import { Holdings } from 'tidings/internal/engines/http/holdings'
import { HttpEngine } from 'tidings/internal/engines/http/http'
import type { Engine, StoredMessage } from 'tidings/internal/port/engine'
import { LeaseBook } from 'tidings-server/internal/http/lease-book'
import { newMessage } from 'tidings-testkit/internal/scene'
import { describe, onTestFinished, test } from 'vitest'
import { freePort } from '../support/directories.ts'
import { startHttpServer } from '../support/http-server.ts'
import { startLine } from '../support/line.ts'
import { LineProcess } from '../support/line-process.ts'
import { sharedServer } from '../support/shared-servers.ts'
import { ask, bearer, head, makeToken, RawClient, startServer } from './support.ts'

interface Line {
  readonly type: 'claimed' | 'renewed' | 'answered' | 'settled'
  readonly ids?: readonly string[]
  readonly held?: number
  readonly count?: number
}

const queue = 'orders'
const at = `/v1/queues/${queue}`
/** Asked for are 5 s; a busy machine may take longer. Leases are longer by far. */
const soonMs = 20_000
const unheld = { limit: 10, leaseMs: 60_000, ids: null } as const

async function open(url: string): Promise<Engine> {
  const engine = new HttpEngine({ url, token: null })
  onTestFinished(() => engine.close())
  await engine.open()
  return engine
}

async function sendTo(engine: Engine, count: number): Promise<void> {
  await engine.createQueue(queue)
  await engine.send(
    queue,
    Array.from({ length: count }, () => newMessage({})),
    null,
  )
}

async function startHolder(url: string, about: object): Promise<LineProcess<Line>> {
  const holder = new LineProcess<Line>('server/holder-process.mjs', [JSON.stringify({ url, queue, ...about })])
  await holder.untilLine(({ type }) => type === 'claimed')
  return holder
}

/** Another process that the server looks after, so that it knows that it can be reached. */
async function startWitness(url: string): Promise<void> {
  const bus = new Bus(await open(url))
  onTestFinished(() => bus.wakeups.close())
  await bus.wakeups.watch('life', () => {})
}

/** Claims without being held, as soon as there are so many. */
async function claimAll(engine: Engine, count: number): Promise<StoredMessage[]> {
  const bus = new Bus(engine)
  const all: StoredMessage[] = []
  let wakeUp = () => {}
  const watch = await bus.wakeups.watch(`queue:${queue}`, () => wakeUp())
  while (all.length < count) {
    const { messages } = await engine.claim(queue, unheld)
    all.push(...messages)
    if (messages.length === 0)
      await new Promise<void>((resolve) => {
        wakeUp = resolve
      })
  }
  watch.close()
  return all
}

const leasedIn = async (engine: Engine) => (await engine.peek(queue, { ...anywhere, place: 'leased' })).length
const anywhere = { limit: 100, afterId: null, ids: null } as const

describe('a process that is killed', () => {
  test('gives back what it had in hand soon, what was read ahead uncounted, and its subscription', async () => {
    const server = await startServer()
    const engine = await open(server.url)
    await sendTo(engine, 3)
    await engine.topics!.createTopic('news', {})
    await engine.topics!.subscribe('news', 's', 'earliest')
    await engine.topics!.append('news', [newMessage({})], null)
    await startWitness(server.url)
    const holder = await startHolder(server.url, { limit: 3, ahead: 1, topic: 'news' })
    await holder.kill()
    const killedAt = performance.now()
    const back = await claimAll(engine, 3)
    assert(performance.now() - killedAt < soonMs, `${performance.now() - killedAt} ms`)
    assert.deepEqual(
      back.map(({ readCount, meta }) => [readCount, typeof meta.process_lost_at, meta.read_ahead_lost]),
      [
        [2, 'string', undefined],
        [2, 'string', undefined],
        [1, 'string', true],
      ],
    )
    let hold = await engine.topics!.hold('news', 's', 'another', 60_000)
    for (; !hold.held; hold = await engine.topics!.hold('news', 's', 'another', 60_000)) await wait(20)
    assert.equal(hold.vanished, 1)
  })

  test('gives it back where nobody else is there, too', async () => {
    const server = await startServer()
    await sendTo(await open(server.url), 1)
    const holder = await startHolder(server.url, { limit: 1 })
    await holder.kill()
    assert.equal((await server.bus.queue(queue).read({ wait: '20s' })).length, 1)
  })

  test.each(['queue', 'subscription'])('and had a stream of a %s gives back at once', async (of) => {
    const server = await startServer()
    const { bus } = server
    await bus.queue(queue).send(1)
    await bus.topic('news').create()
    await ask(server, 'PUT', '/v1/topics/news/subscriptions/s')
    const path = of === 'queue' ? `${at}/stream` : '/v1/topics/news/subscriptions/s/stream'
    const script = `fetch(process.argv[1]).then(async ({ body }) => { for await (const part of body) console.log(String(part)) })`
    const client = spawn(process.execPath, ['-e', script, server.url + path], { stdio: ['ignore', 'pipe', 'inherit'] })
    await once(client.stdout, 'data')
    client.kill('SIGKILL')
    const killedAt = performance.now()
    if (of === 'queue') {
      const [message] = await bus.queue(queue).read({ wait: '20s' })
      assert.equal(message!.readCount, 1)
    } else while ((await ask(server, 'GET', '/v1/topics/news/subscriptions/s')).body.consumer !== null) await wait(20)
    assert(performance.now() - killedAt < soonMs)
  })
})

describe('a process that lives', () => {
  test.each(['SIGKILL', 'SIGTERM'] as const)(
    'keeps what it has when its server ends by %s',
    async (signal) => {
      const storage = await sharedServer('postgres18')
      const port = String(await freePort())
      const first = await startHttpServer(storage, '--port', port)
      onTestFinished(() => first.stop('SIGKILL'))
      const engine = await open(first.url)
      await engine.dropQueue(queue)
      await sendTo(engine, 3)
      await startWitness(first.url)
      const holder = await startHolder(first.url, { limit: 3, ahead: 1 })
      await first.stop(signal)
      const second = await startHttpServer(storage, '--port', port)
      onTestFinished(() => second.stop('SIGKILL'))
      await holder.untilLine(({ type, held }) => type === 'renewed' && held === 3)
      // Longer than any time after which somebody is taken for lost.
      await wait(5_000)
      assert.equal(await leasedIn(engine), 3)
      if (signal === 'SIGTERM') {
        await holder.kill('SIGTERM')
        assert.equal(holder.lines.at(-1)?.count, 3)
        return
      }
      // The new server knows what the process has by now.
      await holder.kill()
      assert.deepEqual(
        (await claimAll(engine, 3)).map(({ readCount }) => readCount),
        [2, 2, 1],
      )
    },
    120_000,
  )

  test('keeps what it has when its server stops, and the application of that goes on', async () => {
    const server = await startServer()
    await sendTo(await open(server.url), 1)
    await startHolder(server.url, { limit: 1 })
    await server.stop()
    // Longer than any time after which somebody is taken for lost.
    await wait(5_000)
    assert.equal((await server.bus.queue(queue).stats()).leased, 1)
  })

  test.each([
    ['that are under way', 100],
    ['that are still to be sent', 0],
  ])(
    'keeps its stream while its event loop is blocked, and requests %s',
    async (_which, sentMs) => {
      const watches: unknown[] = []
      const logger = { debug: (about: object) => void watches.push(about), info() {}, warn() {}, error() {} }
      // What is kept, and waited for, is over before the client can do anything.
      const server = await startServer({ logger, idleTimeout: 4_000, headerTimeout: 4_000 } as object)
      const engine = await open(server.url)
      await sendTo(engine, 2)
      await startWitness(server.url)
      const holder = await startHolder(server.url, { limit: 2, blocksMs: 12_000, sentMs })
      const isWatch = (one: unknown) => (one as { route?: string }).route === '/v1/watch'
      const before = watches.filter(isWatch).length
      holder.signal('SIGUSR2')
      await holder.untilLine(({ type }) => type === 'answered')
      assert.equal(await leasedIn(engine), 2)
      await holder.kill('SIGTERM')
      assert.equal(holder.lines.at(-1)?.count, 2)
      assert.equal(watches.filter(isWatch).length, before)
      assert(!holder.lines.some(({ type }) => type === 'renewed'))
    },
    60_000,
  )

  test('gets a large answer over a slow line, for as long as bytes come', async () => {
    const server = await startServer()
    const line = await startLine(server.url)
    onTestFinished(() => line.close())
    await sendTo(await open(server.url), 0)
    for (let n = 0; n < 4; n++) await server.bus.queue(queue).send('x'.repeat(1_000_000))
    const engine = await open(line.url)
    line.slow(300_000)
    const startedAt = performance.now()
    const { messages } = await engine.claim(queue, unheld)
    assert.equal(messages.length, 4)
    assert(performance.now() - startedAt > 10_000)
  })
})

describe('a claim whose answer never came', () => {
  test('is given back before the next one of the client, and counts no read', async () => {
    const server = await startServer()
    const line = await startLine(server.url)
    onTestFinished(() => line.close())
    const engine = await open(line.url)
    await sendTo(engine, 3)
    const lost = engine.claim(queue, unheld)
    await line.loseAnswers()
    while ((await server.bus.queue(queue).stats()).leased === 0) await wait(10)
    line.cut()
    // It asks again by itself.
    const { messages } = await lost
    assert.deepEqual(
      messages.map(({ readCount }) => readCount),
      [1, 1, 1],
    )
  })

  test("is told of with the next one, also if it failed otherwise in the end, or was nobody's", async () => {
    const holdings = new Holdings()
    holdings.learned(true)
    const name = holdings.newName()
    const told: unknown[] = []
    const claim = (failure?: TidingsError) =>
      holdings.claim(queue, { ...unheld, held: true }, async (fields) => {
        const { holder, claim, lost_claims, held } = fields as Record<string, unknown>
        told.push([holder === name, claim, lost_claims, held])
        if (failure) throw failure
        return { messages: [] }
      })
    const failing = (code: 'CONNECTION_LOST' | 'CONNECTION_FAILED') =>
      claim(new TidingsError(code, 'away')).catch(() => {})
    holdings.began(name)
    await failing('CONNECTION_LOST')
    // The stream broke, too.
    holdings.ended(name)
    await failing('CONNECTION_FAILED')
    holdings.began(name)
    await claim()
    await claim()
    assert.deepEqual(told, [
      [true, 1, [], true],
      [true, 2, [1], false],
      [true, 3, [1, 2], true],
      [true, 4, [], true],
    ])
  })

  test('and an extension that was carried out once is no loss', async () => {
    const server = await startServer()
    const line = await startLine(server.url)
    onTestFinished(() => line.close())
    const engine = await open(line.url)
    await sendTo(engine, 1)
    const bus = new Bus(engine)
    onTestFinished(() => bus.wakeups.close())
    await bus.wakeups.watch('life', () => {})
    const [message] = (await engine.claim(queue, { ...unheld, held: true })).messages
    const lease = { id: message!.id, receipt: message!.receipt! }
    const extending = engine.extend(queue, [lease], 120_000)
    await line.loseAnswers()
    const isExtended = async () =>
      (await server.bus.engine.peek(queue, { ...anywhere, place: null }))[0]!.visibleAt > message!.visibleAt + 30_000
    while (!(await isExtended())) await wait(10)
    line.cut()
    const [receipt] = await extending
    assert.equal((await engine.settle(queue, [{ id: lease.id, receipt: receipt!, kind: 'delete' }]))[0]?.settled, true)
  })

  const holder = 'h'.repeat(32)
  const read = (more: object) => ({ body: { qty: 10, holder, ...more } })

  test('is known by its number, also where the answer was written as a whole', async () => {
    const server = await startServer()
    await server.bus.queue(queue).send('x'.repeat(100_000))
    const client = new RawClient(server.url)
    client.socket.pause()
    const body = JSON.stringify(read({ claim: 1 }).body)
    client.send(head(`POST ${at}/read`, 'Content-Type: application/json', `Content-Length: ${body.length}`) + body)
    while ((await server.bus.queue(queue).stats()).leased === 0) await wait(10)
    const others = await ask(server, 'POST', `${at}/read`, {
      body: { qty: 10, holder: 'o'.repeat(32), lost_claims: [1] },
    })
    assert.deepEqual(others.body.messages, [], 'it is known to its own holder only')
    const again = await ask(server, 'POST', `${at}/read`, read({ claim: 2, lost_claims: [1] }))
    assert.equal(again.body.messages[0].read_ct, 1)
    const repeated = await ask(server, 'POST', `${at}/read`, read({ claim: 2 }))
    assert.equal(repeated.body.messages[0].read_ct, 1)
    assert.notEqual(repeated.body.messages[0].receipt, again.body.messages[0].receipt)
  })
})

test('what is in hand belongs to the process again when it listens again at once', async () => {
  const server = await startServer()
  const engine = await open(server.url)
  await sendTo(engine, 1)
  const bus = new Bus(await open(server.url))
  for (let round = 0; round < 2; round++) {
    const watch = await bus.wakeups.watch('life', () => {})
    if (round === 0) watch.close()
  }
  await bus.engine.claim(queue, { ...unheld, held: true })
  await bus.close()
  await bus.engine.close()
  await claimAll(engine, 1)
})

test('the book of leases forgets the oldest first, with whose they are', () => {
  const book = new LeaseBook(systemClock, 2)
  const owner = { holder: 'me', held: true, ahead: false, claim: null }
  for (const id of ['1', '2', '3'])
    book.given(queue, [{ ...({} as StoredMessage), id, receipt: `r${id}` }], 60_000, () => owner)
  assert.deepEqual(
    book.of('me').map(({ id }) => id),
    ['2', '3'],
  )
  book.extended(queue, [{ id: '2', receipt: 'r2' }], ['s2'], 60_000)
  book.ended(queue, [{ id: '3', receipt: 'r3' }])
  assert.deepEqual(book.of('me'), [])
  assert.equal(book.receiptOf(queue, '2'), 's2')
})

describe('who speaks for a holder', () => {
  const holder = 'h'.repeat(32)
  const life = { body: { interests: ['life'], holder } }

  test('needs its token: another caller gives nothing back', async () => {
    const [mine, yours] = ['mine', 'yours'].map((name) => makeToken({ name, scopes: ['receive'], queues: ['*'] }))
    const server = await startServer({ tokens: [mine!.entry, yours!.entry] })
    await server.bus.queue(queue).send(1)
    const stream = async (secret: string) => {
      const client = new RawClient(server.url)
      const body = JSON.stringify(life.body)
      const headers = [
        'Content-Type: application/json',
        `Content-Length: ${body.length}`,
        `Authorization: Bearer ${secret}`,
      ]
      client.send(head('POST /v1/watch', ...headers) + body)
      await client.until(/event: watching/)
      return client
    }
    const own = await stream(mine!.secret)
    const read = { headers: bearer(mine!.secret), body: { holder, held: true, claim: 1 } }
    assert.equal((await ask(server, 'POST', `${at}/read`, read)).body.messages.length, 1)
    const foreign = await stream(yours!.secret)
    foreign.socket.destroy()
    const claim = { headers: bearer(yours!.secret), body: { holder, lost_claims: [1] } }
    assert.deepEqual((await ask(server, 'POST', `${at}/read`, claim)).body.messages, [])
    await wait(5_000)
    assert.equal((await server.bus.queue(queue).stats()).leased, 1)
    own.socket.destroy()
    await server.bus.queue(queue).read({ wait: '20s' })
  })

  test.each([
    ['/v1/watch', { interests: ['life'] }, 'OPTION_CONFLICT', 'life is given without holder'],
    ['/v1/watch', { interests: ['queue:orders'], holder }, 'OPTION_CONFLICT', /'life' is not among the interests/],
    ['/v1/watch', { interests: ['life'], holder: 'short' }, 'TYPE', /^holder is not 22 to 128/],
    [`${at}/read`, { held: true }, 'OPTION_CONFLICT', 'held is given without holder'],
    [`${at}/read`, { claim: 1 }, 'OPTION_CONFLICT', 'claim is given without holder'],
    [`${at}/read`, { lost_claims: [1] }, 'OPTION_CONFLICT', 'lost_claims is given without holder'],
    [`${at}/read`, { holder, ahead: 1 }, 'OPTION_CONFLICT', "'ahead' is given, but 'held' is not"],
    [`${at}/read`, { max_bytes: 0 }, 'RANGE', /^max_bytes is 0/],
    [`${at}/read`, { max_bytes: 1, conditional: { a: 1 } }, 'OPTION_CONFLICT', /both given/],
    [
      `${at}/extend`,
      { lease_ms: 1_000, leases: [{ id: '1', receipt: 'r', held: true }] },
      'OPTION_CONFLICT',
      /without holder/,
    ],
    [
      `${at}/extend`,
      { lease_ms: 1_000, leases: [{ id: '1', receipt: 'r' }], extension: 1 },
      'OPTION_CONFLICT',
      'extension is given without holder',
    ],
  ] as const)('must say so: %s %j', async (path, body, code, message) => {
    const server = await startServer()
    await server.bus.queue(queue).create()
    const answer = await ask(server, 'POST', path, { body })
    assert.deepEqual([answer.status, answer.body.code], [400, code])
    if (typeof message === 'string') assert.equal(answer.body.message, message)
    else assert.match(answer.body.message, message)
  })
})
