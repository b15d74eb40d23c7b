import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer as createHttp, type RequestListener } from 'node:http'
import { type AddressInfo, createServer as createTcp, type Socket } from 'node:net'
import { setTimeout as wait } from 'node:timers/promises'
import { connect } from 'tidings'
import { Bus } from 'tidings/internal/bus/bus'
import { isTidingsError, TidingsError } from 'tidings/internal/core/errors'
import { HttpEngine } from 'tidings/internal/engines/http/http'
import type { Interest, Listener } from 'tidings/internal/port/listening'
import type { WorkerEvent } from 'tidings/internal/worker/worker'
import { createServer } from 'tidings-server'
import { newMessage } from 'tidings-testkit/internal/scene'
import { describe, onTestFinished, test } from 'vitest'
import { freePort } from '../support/directories.ts'
import { startHttpServer } from '../support/http-server.ts'
import { watchOn } from '../support/watch-on.ts'
import { makeToken, startServer } from './support.ts'

const about = JSON.stringify({ name: 'tidings', version: '0', engine: 'memory', supports: ['topics'] })
const secret = 'tdg_not-to-be-told'

async function open(url: string, token: string | null = null): Promise<HttpEngine> {
  const engine = new HttpEngine({ url, token })
  onTestFinished(() => engine.close())
  await engine.open()
  return engine
}

/** A server of the test's own making, which says what it is and leaves the rest to the test. */
async function serveBy(listener: RequestListener): Promise<{ url: string; sockets: Set<Socket> }> {
  const server = createHttp((request, response) => {
    if (request.url === '/v1') response.end(about)
    else listener(request, response)
  })
  const sockets = new Set<Socket>()
  server.on('connection', (socket) => sockets.add(socket))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, sockets }
}

const failure = async (call: Promise<unknown>): Promise<TidingsError> => {
  const error = await call.then(
    () => assert.fail('it resolved'),
    (reason: unknown) => reason,
  )
  assert(isTidingsError(error), String(error))
  return error
}

const claimOne = { limit: 1, leaseMs: 60_000, ids: null } as const

test('a server that keeps no history yet is one of an older version', async () => {
  const missing = JSON.stringify({ code: 'ROUTE_NOT_FOUND', message: 'there is no such route' })
  const { url } = await serveBy((_, response) => response.writeHead(404).end(missing))
  const { history } = await open(url)
  const range = { since: 0, until: 60, step: 1 }
  for (const whose of ['orders', null]) assert.equal((await failure(history.read(whose, range))).code, 'UNSUPPORTED')
})

describe('a server that cannot be reached', () => {
  test('is named, the token is not', async () => {
    const port = await freePort()
    const engine = new HttpEngine({ url: `http://127.0.0.1:${port}`, token: secret })
    const error = await failure(engine.open())
    assert.equal(error.code, 'CONNECTION_FAILED')
    assert.match(error.message, new RegExp(`127\\.0\\.0\\.1:${port}.*ECONNREFUSED`))
    assert(!JSON.stringify([error, error.message, error.cause]).includes(secret))
    await engine.close()
  })

  test('is waited for once it was there', async () => {
    const port = await freePort()
    const first = await startServer({ port })
    const engine = await open(first.url)
    await first.stop()
    const creating = engine.createQueue('q')
    await startServer({ port })
    assert.equal(await creating, true)
  })

  test.each(['http://user:hunter2@host', 'http://host/?token=x', 'http://'])('is none in the URL %s', async (url) => {
    const error = await failure(connect(url))
    assert.equal(error.code, 'URL_INVALID')
    assert(!error.message.includes('hunter2'))
  })
})

describe('an answer that is lost', () => {
  test('leaves it open whether something was done, and is asked for again where that does no harm', async () => {
    const asked: string[] = []
    const { url } = await serveBy((request, response) => {
      asked.push(`${request.method} ${request.url}`)
      response.destroy()
    })
    const engine = await open(url)
    const lease = { id: '1', receipt: 'r' }
    const writes = {
      send: () => engine.send('q', [newMessage({})], null),
      publish: () => engine.publish([{ ...newMessage({}), routingKey: 'a' }], null),
      pop: () => engine.pop('q', 1),
      settle: () => engine.settle('q', [{ ...lease, kind: 'delete' }]),
      cancel: () => engine.cancel('q', ['1']),
      purge: () => engine.purgeQueue('q'),
      prune: () => engine.maintain({ kind: 'archive', queue: 'q', archivedForMs: 0, keep: null, limit: 1 }),
      append: () => engine.topics!.append('t', [newMessage({})], null),
      seek: () => engine.topics!.seek('t', null, 'earliest'),
    }
    for (const [name, call] of Object.entries(writes)) {
      assert.equal((await failure(call())).code, 'OUTCOME_UNKNOWN', name)
      assert.equal(asked.splice(0).length, 1, name)
    }
    const reads = {
      stats: () => engine.stats('q'),
      claim: () => engine.claim('q', claimOne),
      extend: () => engine.extend('q', [lease], 1_000),
      createQueue: () => engine.createQueue('q'),
      ack: () => engine.topics!.ack('t', 's', 1, null),
    }
    for (const [name, call] of Object.entries(reads)) {
      assert.equal((await failure(call())).code, 'CONNECTION_LOST', name)
      assert.equal(asked.splice(0).length, 3, name)
    }
  })

  test('in the middle of the body is lost too', async () => {
    const { url } = await serveBy((_request, response) => {
      response.writeHead(201, { 'content-type': 'application/json', 'content-length': '1000' })
      response.write('{"results":[', () => response.destroy())
    })
    const engine = await open(url)
    assert.equal((await failure(engine.send('q', [newMessage({})], null))).code, 'OUTCOME_UNKNOWN')
  })

  test.each([
    [502, 'OUTCOME_UNKNOWN', 'CONNECTION_LOST'],
    [404, 'STORAGE_FAILED', 'STORAGE_FAILED'],
    [200, 'STORAGE_FAILED', 'STORAGE_FAILED'],
  ] as const)('may be the answer of something before the server: %i', async (status, written, read) => {
    const { url } = await serveBy((_request, response) => {
      response.writeHead(status, { 'content-type': 'text/html' }).end('<h1>?</h1>')
    })
    const engine = await open(url)
    assert.equal((await failure(engine.send('q', [newMessage({})], null))).code, written)
    const error = await failure(engine.stats('q'))
    assert.equal(error.code, read)
    assert(!error.message.includes('<h1>'))
  })

  test('of a server that is stopping is not that of a closed engine', async () => {
    const { url } = await serveBy((_request, response) => {
      response.writeHead(409).end(JSON.stringify({ code: 'CLOSED', message: 'the connection was closed' }))
    })
    const engine = await open(url)
    assert.equal((await failure(engine.stats('q'))).code, 'CONNECTION_LOST')
  })
})

describe('a watch', () => {
  test('wakes after the server was away, and goes on', async () => {
    const port = await freePort()
    const first = await startHttpServer('memory:', '--port', String(port))
    onTestFinished(() => first.stop('SIGKILL'))
    const engine = await open(first.url)
    await engine.createQueue('q')
    const wakes = newSignal()
    await watchOn(engine, 'queue:q', wakes.give)
    await first.stop('SIGKILL')
    const second = await startHttpServer('memory:', '--port', String(port))
    onTestFinished(() => second.stop('SIGKILL'))
    await engine.createQueue('q')
    await wakes.next()
    wakes.clear()
    await engine.send('q', [newMessage({})], null)
    await wakes.next()
  })

  test('is one connection for everything that a client waits for', async () => {
    const streams: string[][] = []
    const changed = newSignal()
    const { url } = await serveBy(async (request, response) => {
      const chunks: Buffer[] = []
      for await (const chunk of request) chunks.push(chunk as Buffer)
      const { interests } = JSON.parse(Buffer.concat(chunks).toString()) as { interests: string[] }
      streams.push(interests)
      response.once('close', () => {
        streams.splice(streams.indexOf(interests), 1)
        changed.give()
      })
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.write('event: watching\ndata: {"refused":[]}\n\n')
      for (const interest of interests) response.write(`event: wake\ndata: {"interest":"${interest}","due_ms":7}\n\n`)
    })
    const bus = new Bus(await open(url))
    onTestFinished(() => bus.wakeups.close())
    const woken: string[] = []
    const watch = (interest: Interest) => bus.wakeups.watch(interest, (dueMs) => woken.push(`${interest} ${dueMs}`))
    await Promise.all([watch('queue:a'), watch('topic:b')])
    assert.deepEqual(streams, [['queue:a', 'topic:b']])
    const third = await watch('queue:c')
    await changed.next()
    assert.deepEqual(streams, [['queue:a', 'topic:b', 'queue:c']], 'a wider one took its place')
    third.close()
    changed.clear()
    await changed.next()
    assert.deepEqual(streams, [['queue:a', 'topic:b']], 'nobody wants the third any more')
    assert(woken.includes('queue:a 7') && woken.includes('topic:b 7'))
  })

  test('notices a connection that is only half there', async () => {
    const connections = newSignal()
    const { url } = await serveBy((_request, response) => {
      connections.give()
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      // And then nothing more.
      response.write('event: watching\ndata: {"refused":[]}\n\n')
    })
    const engine = await open(url)
    const wakes = newSignal()
    await watchOn(engine, 'queue:q', wakes.give)
    await connections.next()
    connections.clear()
    const since = performance.now()
    await connections.next()
    await wakes.next()
    assert(performance.now() - since < 15_000)
  })

  test('leaves it to the server to look for what nobody announced, as long as that is told of it', async () => {
    const reads: unknown[] = []
    const note = (about: object) => (about as { route?: string }).route?.endsWith('/read') && reads.push(about)
    const logger = { debug: note, info() {}, warn() {}, error() {} }
    const storage = await connect('memory:')
    const { engine } = storage
    const listen = engine.listen.bind(engine)
    let listener: Listener | undefined
    let isAway = false
    engine.listen = async (one) => {
      listener = one
      const listening = await listen(one)
      return {
        lookMs: 50,
        async listen(interests) {
          if (isAway) throw new TidingsError('CONNECTION_LOST', 'the storage is away')
          return listening.listen(interests)
        },
        unlisten: (interests) => listening.unlisten(interests),
        close: () => listening.close(),
      }
    }
    const server = createServer(storage, { port: 0, stopDeadline: 0, logger })
    onTestFinished(async () => {
      await server.stop()
      await storage.close()
    })
    await server.start()
    const bus = new Bus(await open(server.url))
    const asleep = newSignal()
    const observe = ({ type }: WorkerEvent) => type === 'idle' && asleep.give()
    bus.queue('idle').work(() => {}, { pollInterval: 100, observe })
    await asleep.next()
    onTestFinished(() => bus.close())
    const before = reads.length
    await wait(700)
    assert.equal(reads.length, before)
    isAway = true
    listener!.lost(['queue:idle'], new TidingsError('CONNECTION_LOST', 'the storage is away'))
    while (reads.length < before + 2) await wait(50)
  })

  test('ends on the server when it is closed, and when its engine is', async () => {
    for (const end of ['watch', 'engine'] as const) {
      const gone = newSignal()
      const { url } = await serveBy((_request, response) => {
        response.writeHead(200, { 'content-type': 'text/event-stream' })
        response.write('event: watching\ndata: {"refused":[]}\n\n')
        response.once('close', gone.give)
      })
      const engine = await open(url)
      const watch = await watchOn(engine, 'queue:q', () => {})
      if (end === 'watch') watch.close()
      else await engine.close()
      await gone.next()
    }
  })
})

describe('tokens', () => {
  test('are sent, and what is wrong with them is said without them', async () => {
    const { secret: good, entry } = makeToken({ name: 'ci', scopes: ['send'] })
    const server = await startServer({ tokens: [entry] })
    await server.bus.queue('q').create()
    const none = await failure(connect(server.url))
    assert.equal(none.code, 'UNAUTHORIZED')
    const wrong = await failure(connect(server.url, { token: secret }))
    assert.equal(wrong.code, 'UNAUTHORIZED')
    assert(!JSON.stringify(wrong).includes(secret))
    const bus = await connect(server.url, { token: good })
    onTestFinished(() => bus.close())
    assert.equal(await bus.queue('q').send(1), '1')
    assert.equal((await failure(bus.queue('q').read())).code, 'FORBIDDEN')
  })

  test('are for servers only', async () => {
    assert.equal((await failure(connect('memory:', { token: 'x' }))).code, 'OPTION_CONFLICT')
    assert.equal((await failure(connect('http://localhost', { token: 'a b' }))).code, 'TYPE')
  })
})

describe('the whole bus', () => {
  test('works through a server: a worker, a subscriber, routing and dead letters', async () => {
    const server = await startServer()
    const bus = await connect(server.url)
    onTestFinished(() => bus.close())
    const handled = newSignal()
    const failing = bus.queue('bad').work(() => Promise.reject(new Error('no')), { maxAttempts: 1 })
    const worker = bus.queue('good').work(() => handled.give())
    await bus.topic('news').create()
    const heard = newSignal()
    const subscriber = bus.topic('news').subscribe('me', () => heard.give(), { from: 'earliest' })
    await bus.queue('good').create()
    await bus.bind('a.*', 'good')
    await bus.publish('a.b', { n: 1 })
    await bus.topic('news').publish(1)
    await handled.next()
    await heard.next()
    await bus.queue('bad_dlq').create()
    const dead = bus.queue('bad_dlq').read({ wait: '20s' })
    await bus.queue('bad').send({ n: 2 })
    const [letter] = await dead
    assert.equal(letter?.meta.errorMessage, 'no')
    await letter?.release()
    await Promise.all([failing.stop(), worker.stop(), subscriber.stop()])
    assert.equal((await bus.queue('bad').deadLetters.list()).length, 1)
  })
})

test('a connection that is refused at once by something else is no endless wait', async () => {
  const tcp = createTcp((socket) => socket.destroy())
  tcp.listen(0, '127.0.0.1')
  await once(tcp, 'listening')
  onTestFinished(() => void tcp.close())
  const engine = new HttpEngine({ url: `http://127.0.0.1:${(tcp.address() as AddressInfo).port}`, token: null })
  assert.equal((await failure(engine.open())).code, 'CONNECTION_LOST')
  await engine.close()
  await engine.close()
  assert.equal((await failure(engine.stats('q'))).code, 'CLOSED')
})

/** Something that happens again and again. */
function newSignal() {
  let count = 0
  let seen = () => {}
  return {
    give: () => {
      count++
      seen()
    },
    clear: () => {
      count = 0
    },
    async next(): Promise<void> {
      while (count === 0)
        await new Promise<void>((resolve) => {
          seen = resolve
        })
      count--
    },
  }
}

test('what has to be on disk is asked of the storage of the server, and refused with its reason', async () => {
  const server = await startHttpServer('memory:')
  onTestFinished(() => server.stop())
  const bus = await connect(server.url)
  onTestFinished(() => bus.close())
  const [strict, lax] = [bus.queue('strict', { durability: 'fsync' }), bus.queue('strict')]
  await lax.create()
  for (const send of [() => strict.send(1), () => strict.sendBatch([{ data: 2 }])]) {
    const error = await failure(send())
    assert.equal(error.code, 'DURABILITY_UNAVAILABLE')
    assert.match(error.message, /memory: keeps nothing on disk/)
  }
  assert.equal((await lax.stats()).ready, 0)
  const body = JSON.stringify({ message: 3, durability: 'fsync' })
  const headers = { 'content-type': 'application/json' }
  const answer = await fetch(`${server.url}/v1/queues/strict/messages`, { method: 'POST', headers, body })
  assert.equal(answer.status, 501)
})
