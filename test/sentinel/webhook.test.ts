import { createHmac } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingHttpHeaders, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createServer as createTlsServer } from 'node:tls'
import { FakeClock } from 'tidings/internal/core/fake-clock'
import * as option from 'tidings/internal/core/options'
import type { Resolve } from 'tidings/internal/sentinel/addresses'
import type { AlertReport } from 'tidings/internal/sentinel/alerts'
import { sentinelOptions, type WebhookSettings } from 'tidings/internal/sentinel/options'
import { Webhook } from 'tidings/internal/sentinel/webhook'
import { afterAll, afterEach, describe, expect, test } from 'vitest'
import { refusal } from '../queue/support.ts'
import { listeningLogger } from './support.ts'

interface Received {
  readonly headers: IncomingHttpHeaders
  readonly method: string
  readonly body: string
}

/** A receiver that answers with the statuses in turn, the last one for ever; 0 is no answer at all. */
class Receiver {
  readonly received: Received[] = []
  readonly #server: Server
  readonly #statuses: number[]
  #seen: () => void = () => {}

  constructor(...statuses: number[]) {
    this.#statuses = statuses.length > 0 ? statuses : [204]
    this.#server = createServer((request, response) => {
      let body = ''
      request.on('data', (chunk) => (body += chunk))
      request.on('end', () => {
        this.received.push({ headers: request.headers, method: request.method ?? '', body })
        const status = this.#statuses.length > 1 ? this.#statuses.shift()! : this.#statuses[0]!
        if (status !== 0) response.writeHead(status, { location: 'http://127.0.0.1:1/elsewhere' }).end('ok')
        this.#seen()
      })
    })
  }

  async listen(): Promise<this> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve))
    receivers.push(this)
    return this
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}/hook?key=1`
  }

  async until(count: number): Promise<void> {
    while (this.received.length < count) await new Promise<void>((resolve) => (this.#seen = resolve))
  }

  close(): void {
    this.#server.closeAllConnections()
    this.#server.close()
  }
}

const receivers: Receiver[] = []
afterEach(() => {
  for (const one of receivers.splice(0)) one.close()
})

const folder = mkdtempSync(join(tmpdir(), 'tidings-webhook-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const report = (queue = 'orders', state: AlertReport['state'] = 'raised'): AlertReport => ({
  limit: 'maxReady',
  queue,
  topic: null,
  subscription: null,
  value: 3,
  max: 2,
  message: `${queue} has 3 ready messages; at most 2`,
  since: new Date(0),
  at: new Date(60_000),
  state,
})

function settings(given: object): WebhookSettings {
  return option.parseOptions(sentinelOptions, { webhook: given }, 'sentinel').webhook!
}

async function newWebhook(given: object, resolve?: Resolve) {
  const clock = new FakeClock(1_700_000_000_000)
  const { said, logger } = listeningLogger()
  const webhook = new Webhook(settings({ allowPrivate: true, ...given }), { clock, logger, resolve })
  await webhook.start()
  return { clock, said, webhook }
}

/** Resolves when the webhook has nothing more to do but wait for its clock. */
async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setImmediate(resolve))
}

describe('a webhook', () => {
  test('takes reports as JSON', async () => {
    const receiver = await new Receiver().listen()
    const { webhook } = await newWebhook({ url: receiver.url })
    webhook.add([report(), report('mails', 'resolved')])
    await until(() => webhook.figures.delivered === 2)
    const [{ method, headers, body }] = receiver.received as [Received]
    expect(method).toBe('POST')
    expect(headers).toMatchObject({
      'content-type': 'application/json',
      'user-agent': 'tidings',
      host: `127.0.0.1:${receiver.port}`,
    })
    expect(headers['x-tidings-signature']).toBeUndefined()
    expect(JSON.parse(body)).toEqual({
      alerts: [
        {
          limit: 'maxReady',
          queue: 'orders',
          topic: null,
          subscription: null,
          value: 3,
          max: 2,
          message: 'orders has 3 ready messages; at most 2',
          since: '1970-01-01T00:00:00.000Z',
          at: '1970-01-01T00:01:00.000Z',
          state: 'raised',
        },
        expect.objectContaining({ queue: 'mails', state: 'resolved' }),
      ],
    })
    await webhook.stop()
  })

  test('is not called without reports', async () => {
    const receiver = await new Receiver().listen()
    const { webhook } = await newWebhook({ url: receiver.url })
    webhook.add([])
    await webhook.stop()
    expect(receiver.received).toEqual([])
  })

  test.each<[where: string, given: object]>([
    ['in the options', { secret: 'topsecret' }],
    ['in a file', { secretFile: join(folder, 'secret') }],
  ])('signs the body and the time with a secret %s', async (_, given) => {
    writeFileSync(join(folder, 'secret'), 'topsecret\n')
    const receiver = await new Receiver().listen()
    const { webhook } = await newWebhook({ url: receiver.url, ...given })
    webhook.add([report()])
    await until(() => webhook.figures.delivered === 1)
    const [{ headers, body }] = receiver.received as [Received]
    const code = createHmac('sha256', 'topsecret').update(`1700000000.${body}`).digest('hex')
    expect(headers['x-tidings-signature']).toBe(`t=1700000000,v1=${code}`)
    await webhook.stop()
  })

  test.each([
    ['missing', 'cannot be read'],
    ['empty', 'names an empty file'],
  ])('does not start with a secret file that is %s', async (name, why) => {
    writeFileSync(join(folder, 'empty'), ' \n')
    const webhook = new Webhook(settings({ url: 'https://a.example', secretFile: join(folder, name) }), {
      clock: new FakeClock(),
      ...listeningLogger(),
    })
    const error = await refusal(() => webhook.start(), 'CONFIG_INVALID')
    expect(error.message).toContain(why)
  })

  test.each([500, 503, 429, 408])('that answers %i is tried again, with growing pauses', async (status) => {
    const receiver = await new Receiver(status, status, 204).listen()
    const { webhook, clock, said } = await newWebhook({ url: receiver.url })
    webhook.add([report()])
    await until(() => webhook.figures.failures === 1 && clock.pending === 1)
    await clock.advance(999)
    expect(receiver.received).toHaveLength(1)
    await clock.advance(1)
    await until(() => webhook.figures.failures === 2 && clock.pending === 1)
    await clock.advance(2_000)
    await until(() => webhook.figures.delivered === 1)
    expect(new Set(receiver.received.map(({ body }) => body)).size).toBe(1)
    expect(said.map(({ level, details }) => [level, details.retryMs])).toEqual([
      ['warn', 1_000],
      ['warn', 2_000],
    ])
    await webhook.stop()
  })

  test.each([400, 401, 404, 410])('that answers %i is not tried again', async (status) => {
    const receiver = await new Receiver(status).listen()
    const { webhook, clock, said } = await newWebhook({ url: receiver.url })
    webhook.add([report()])
    await until(() => webhook.figures.dropped === 1)
    expect(clock.pending).toBe(0)
    expect(said).toMatchObject([{ level: 'error', details: { alerts: [`raised: ${report().message}`] } }])
    await webhook.stop()
    expect(receiver.received).toHaveLength(1)
  })

  test('that stays away is given up and logged, and the next reports are tried', async () => {
    const receiver = await new Receiver(500).listen()
    const { webhook, clock, said } = await newWebhook({ url: receiver.url })
    webhook.add([report()])
    for (let failures = 1; failures < 10; failures++) {
      await until(() => webhook.figures.failures === failures && clock.pending === 1)
      await clock.advance(60_000)
    }
    await until(() => webhook.figures.dropped === 1)
    expect(said.filter(({ level }) => level === 'error')).toHaveLength(1)
    webhook.add([report()])
    await receiver.until(11)
    await webhook.stop()
  })

  test.each([301, 302, 307, 308])('is not followed along a redirect (%i)', async (status) => {
    const receiver = await new Receiver(status).listen()
    const { webhook, said } = await newWebhook({ url: receiver.url })
    webhook.add([report()])
    await until(() => webhook.figures.dropped === 1)
    expect(said[0]!.details.err).toMatchObject({ code: 'URL_NOT_ALLOWED' })
    expect(receiver.received).toHaveLength(1)
    await webhook.stop()
  })

  test('that does not answer in time is tried again', async () => {
    const receiver = await new Receiver(0, 204).listen()
    const { webhook, clock, said } = await newWebhook({ url: receiver.url, timeout: '100ms' })
    webhook.add([report()])
    await until(() => webhook.figures.failures === 1 && clock.pending === 1)
    expect(String(said[0]!.details.err)).toContain('no answer within 100 ms')
    // On a slow machine the next answer may come too late as well.
    while (webhook.figures.delivered === 0) {
      await clock.advance(1_000)
      await new Promise((resolve) => setImmediate(resolve))
    }
    await webhook.stop()
  })

  test('that is away blocks nothing; the oldest reports are dropped when too many wait', async () => {
    const receiver = await new Receiver(503, 204).listen()
    const { webhook, clock, said } = await newWebhook({ url: receiver.url })
    webhook.add([report('first')])
    await until(() => webhook.figures.failures === 1 && clock.pending === 1)
    webhook.add(Array.from({ length: 1_100 }, (_, index) => report(`q${index}`)))
    expect(webhook.figures).toMatchObject({ waiting: 1_000, dropped: 100 })
    expect(said.filter(({ level }) => level === 'error')).toHaveLength(1)
    await clock.advance(1_000)
    await until(() => webhook.figures.delivered === 1_001)
    const queues = receiver.received
      .slice(1)
      .map(({ body }) => JSON.parse(body).alerts.map((one: AlertReport) => one.queue))
    expect(queues[0]).toEqual(['first'])
    expect(queues.flat().slice(1)).toEqual(Array.from({ length: 1_000 }, (_, index) => `q${index + 100}`))
    expect(Math.max(...queues.map((batch) => batch.length))).toBe(100)
    await webhook.stop()
  })

  test('is tried once more when the sentinel stops', async () => {
    const receiver = await new Receiver(503, 204).listen()
    const { webhook, clock } = await newWebhook({ url: receiver.url })
    webhook.add([report()])
    await until(() => webhook.figures.failures === 1 && clock.pending === 1)
    await webhook.stop()
    expect(webhook.figures).toMatchObject({ delivered: 1, waiting: 0, dropped: 0 })
    expect(clock.pending).toBe(0)
  })

  test('is called by its name, at the checked address', async () => {
    const receiver = await new Receiver().listen()
    let asked = 0
    const resolve: Resolve = async () => {
      asked++
      return [{ address: '127.0.0.1', family: 4 }]
    }
    const { webhook } = await newWebhook({ url: `http://hooks.example:${receiver.port}/` }, resolve)
    webhook.add([report()])
    await until(() => webhook.figures.delivered === 1)
    expect(receiver.received[0]!.headers.host).toBe(`hooks.example:${receiver.port}`)
    expect(asked).toBe(1)
    await webhook.stop()
  })

  test('by https needs a valid certificate for its name', async () => {
    const asked: string[] = []
    const server = createTlsServer({
      SNICallback: (name, answer) => {
        asked.push(name)
        answer(new Error('no certificate'))
      },
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const url = `https://hooks.example:${(server.address() as AddressInfo).port}/`
    const { webhook, clock } = await newWebhook({ url }, async () => [{ address: '127.0.0.1', family: 4 }])
    webhook.add([report()])
    await until(() => webhook.figures.failures === 1 && clock.pending === 1)
    expect(asked).toEqual(['hooks.example'])
    expect(webhook.figures.delivered).toBe(0)
    await webhook.stop()
    server.close()
  })

  test('is looked up at every attempt, and never called at a private address', async () => {
    const receiver = await new Receiver(204).listen()
    const url = `http://hooks.example:${receiver.port}/`
    const { webhook, said } = await newWebhook({ url, allowPrivate: false }, async () => [
      { address: '127.0.0.1', family: 4 },
    ])
    webhook.add([report()])
    await until(() => webhook.figures.dropped === 1)
    expect(said[0]!.details.err).toMatchObject({ code: 'URL_NOT_ALLOWED' })
    expect(receiver.received).toEqual([])
    await webhook.stop()
  })

  test('on this machine is refused by its name, too', async () => {
    const receiver = await new Receiver(204).listen()
    const { webhook, said } = await newWebhook({ url: `http://localhost:${receiver.port}/`, allowPrivate: false })
    webhook.add([report()])
    await until(() => webhook.figures.dropped === 1)
    expect(said[0]!.details.err).toMatchObject({ code: 'URL_NOT_ALLOWED' })
    expect(receiver.received).toEqual([])
    await webhook.stop()
  })
})
