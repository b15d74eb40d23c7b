import { type Bus, connect } from 'tidings'
import { thisProcess, toWord } from 'tidings/internal/port/processes'
import { expect, onTestFinished, test } from 'vitest'
import { type Answer, ask, bearer, head, makeToken, RawClient, startServer } from './support.ts'

const holder = 'h'.repeat(32)
const about = { host: 'elsewhere', pid: 7, version: '9.9.9' }

type Place = { readonly url: string }

/** Opens the stream of a client that says this of its process, and resolves once it is in force. */
async function attend(server: Place, told: string, headers: Record<string, string> = {}, name = holder) {
  const client = new RawClient(server.url)
  const body = JSON.stringify({ interests: ['life'], holder: name })
  const lines = {
    'tidings-process': told,
    'content-type': 'application/json',
    'content-length': body.length,
    ...headers,
  }
  client.send(head('POST /v1/watch', ...Object.entries(lines).map(([name, value]) => `${name}: ${value}`)) + body)
  await client.until(/event: watching/)
  return client
}

const list = (server: Place, headers: Record<string, string> = {}): Promise<Answer> =>
  ask(server, 'GET', '/v1/processes', { headers })
const soon = <T>(look: () => Promise<T>) => expect.poll(look, { timeout: 20_000, interval: 20 })

async function client(server: Place): Promise<Bus> {
  const bus = await connect(server.url)
  onTestFinished(() => bus.close())
  return bus
}

test('clients are listed with the queues from which they have claimed, beside the processes of the storage', async () => {
  const server = await startServer()
  const [mine, yours] = [server.bus.queue('mine'), (await client(server)).queue('yours')]
  for (const queue of [mine, yours]) await queue.send(1)
  const handled = [mine, yours].map((queue) => new Promise<void>((resolve) => queue.work(() => resolve())))
  await Promise.all(handled)
  const { processes } = (await list(server)).body
  expect(processes.map(({ queues, token }: never) => [queues, token]).sort()).toEqual([
    [['mine'], null],
    [['yours'], null],
  ])
  for (const one of processes) {
    expect(one).toMatchObject(thisProcess)
    expect(Math.abs(Date.parse(one.since) - Date.now())).toBeLessThan(30_000)
  }
  const through = await (await client(server)).processes()
  expect(through.map(({ since, ...one }) => ({ ...one, since: since.toISOString() }))).toEqual(
    processes.map(({ token: _, ...one }: Record<string, unknown>) => one),
  )
})

test('a client that goes is not listed, and its name is in no answer', async () => {
  const server = await startServer()
  const first = await attend(server, toWord(about))
  const { body } = await list(server)
  expect(body.processes).toMatchObject([{ ...about, queues: [], token: null }])
  expect(JSON.stringify(body)).not.toContain(holder)
  // Its next stream has the same id.
  const second = await attend(server, toWord(about))
  expect((await list(server)).body).toEqual(body)
  first.socket.destroy()
  second.socket.destroy()
  await soon(async () => (await list(server)).body.processes).toEqual([])
})

test('what a client says is checked; who says nothing, or nonsense, is served all the same', async () => {
  const server = await startServer()
  const wrong = [{ ...about, host: 'h'.repeat(256) }, { ...about, host: '' }, { ...about, pid: 0.5 }, {}].map((told) =>
    toWord(told as never),
  )
  const words = ['', '%%%', 'x'.repeat(5_000), ...wrong]
  for (const [index, word] of words.entries()) await attend(server, word, {}, `${holder}${index}`)
  expect((await list(server)).body).toEqual({ processes: [] })
  await attend(server, toWord({ ...about, more: 'x'.repeat(500) } as never))
  expect((await list(server)).body.processes).toMatchObject([about])
  expect((await list(server)).body.processes[0]).not.toHaveProperty('more')
})

test('the name of its token is told, and only a token that sees all queues may ask', async () => {
  const worker = makeToken({ name: 'worker', scopes: ['receive'] })
  const all = makeToken({ name: 'all', scopes: ['read'] })
  const some = makeToken({ name: 'some', scopes: ['read'], queues: ['orders'] })
  const server = await startServer({ tokens: [worker.entry, all.entry, some.entry] })
  await attend(server, toWord(about), bearer(worker.secret))
  expect((await list(server, bearer(all.secret))).body.processes).toMatchObject([{ ...about, token: 'worker' }])
  for (const { secret } of [some, worker])
    expect(await list(server, bearer(secret))).toMatchObject({ status: 403, body: { code: 'FORBIDDEN' } })
})
