import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Tidings, tidings, useDatabase, write } from './support.ts'

let env: Record<string, string>
useDatabase(
  (url) => {
    env = { DATABASE_URL: url }
  },
  async () => {
    for (const data of ['1', '2']) await tidings(['enqueue', 'orders', data], { env })
  },
)

/** Takes what webhooks post. */
const posts: { alerts: { state: string; queue: string }[] }[] = []
let posted: () => void = () => {}
const receiver: Server = createServer((request, response) => {
  let body = ''
  request.on('data', (chunk) => (body += chunk))
  request.on('end', () => {
    posts.push(JSON.parse(body))
    response.writeHead(204).end()
    posted()
  })
})
let receiverUrl: string
beforeAll(async () => {
  await new Promise<void>((resolve) => receiver.listen(0, '127.0.0.1', resolve))
  receiverUrl = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/`
})
afterAll(() => receiver.close())

async function untilPosts(count: number): Promise<void> {
  while (posts.length < count) await new Promise<void>((resolve) => (posted = resolve))
}

const config = (name: string, sentinel: object) => write(`${name}.json`, JSON.stringify({ sentinel }))

const rules = [{ queues: 'orders', maxReady: 1 }]

describe('sentinel --once', () => {
  it('shows breaches and exits with 1', async () => {
    const file = config('one', { rules: [{ queues: '*', maxReady: 1, maxOldestReady: '1h' }] })
    const { code, stdout, stderr } = await tidings(['sentinel', '--once', '--config', file], { env })
    expect({ code, stdout, stderr }).toEqual({
      code: 1,
      stdout: 'orders has 2 ready messages; at most 1\n',
      stderr: '',
    })

    const json = await tidings(['sentinel', '--once', '--config', file, '--json'], { env })
    expect(json.code).toBe(1)
    expect(JSON.parse(json.stdout)).toMatchObject({
      alerts: [{ limit: 'maxReady', queue: 'orders', value: 2, max: 1 }],
      queues: [{ queue: 'orders', ready: 2, dead: 0 }],
      subscriptions: [],
    })
  })

  it('exits with 0 without breaches, and says that stalls need more than one check', async () => {
    const file = config('well', { rules: [{ queues: '*', maxReady: 2, stalledAfter: '1h' }] })
    expect(await tidings(['sentinel', '--once', '--config', file], { env })).toEqual({
      code: 0,
      stdout: 'all is within its limits: 1 queue, 0 subscriptions\n',
      stderr: 'whether a queue is stalled takes more than one look, so stalledAfter was left out\n',
    })
  })

  it.each<[what: string, sentinel: object, message: string, hint: string]>([
    ['no rules', {}, 'the configuration has no rules for the sentinel', 'Add `sentinel: { rules: '],
    [
      'a slip',
      { rules: [{ queues: '*', maxRedy: 1 }] },
      'sentinel.rules[0] has no option "maxRedy"',
      "Did you mean 'maxReady'?",
    ],
    [
      'a private webhook',
      { rules, webhook: { url: 'http://169.254.169.254/' } },
      'the private address 169.254.169.254',
      'allowPrivate',
    ],
  ])('refuses a configuration with %s', async (_, sentinel, message, hint) => {
    const file = config('refused', sentinel)
    const { code, stderr } = await tidings(['sentinel', '--once', '--config', file], { env })
    expect(code).toBe(2)
    expect(stderr).toContain(message)
    expect(stderr).toContain(hint)
  })
})

describe('sentinel', () => {
  it('logs for people', async () => {
    const file = config('people', { rules, every: '100ms' })
    const running = new Tidings(['sentinel', '--config', file], { env })
    await running.until(/raised: orders has 2 ready messages; at most 1\n/)
    running.child.kill('SIGTERM')
    const { code, stdout, stderr } = await running.ended
    expect(code).toBe(0)
    expect(stdout.replaceAll(/^\S+Z {2}/gm, '')).toBe(
      'this sentinel is active\nraised: orders has 2 ready messages; at most 1\n',
    )
    expect(stderr).toBe('the sentinel is running; Ctrl-C stops\nstopping\n')
  })

  it('reads the secret of its webhook from a file beside its configuration', async () => {
    const file = config('secret', { rules, webhook: { url: 'https://hooks.example/', secretFile: 'no-such-file' } })
    const { code, stderr } = await tidings(['sentinel', '--config', file], { env })
    expect(code).toBe(2)
    expect(stderr).toContain(file.replace(/secret\.json$/, 'no-such-file'))
  })

  it('of several is active in one process; when that is killed, another takes over soon', async () => {
    const webhook = { url: receiverUrl, allowPrivate: true }
    const file = config('several', { rules, webhook, every: '200ms', repeat: '1s' })
    const start = () => new Tidings(['sentinel', '--config', file, '--json'], { env })
    const running = [start(), start(), start()]
    const activeOnes = running.map(async (one) => {
      await one.until(/"msg":"this sentinel is active"/)
      return one
    })
    const first = await Promise.race(activeOnes)
    // While nothing happens to it, it alone reports: once, and then again every second.
    await untilPosts(4)
    expect(posts.slice(0, 4).map(({ alerts }) => alerts.map(({ state }) => state))).toEqual([
      ['raised'],
      ['repeated'],
      ['repeated'],
      ['repeated'],
    ])

    const killedAt = performance.now()
    first.child.kill('SIGKILL')
    const { stdout } = await first.ended
    const states = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
    expect(states[0]).toMatchObject({ level: 'info', msg: 'this sentinel is active' })
    expect(states[1]).toMatchObject({ level: 'warn', state: 'raised', alert: { queue: 'orders', value: 2, max: 1 } })

    const second = await Promise.race(activeOnes.filter((_, index) => running[index] !== first))
    // After 8 s at most, and what all this takes on a busy machine.
    expect(performance.now() - killedAt).toBeLessThan(20_000)
    // Everything after it stops comes from the third: the one that is active tells of it anew.
    await second.until(/"state":"raised"/)
    second.child.kill('SIGTERM')
    const ended = await second.ended
    const third = await Promise.race(
      activeOnes.filter((_, index) => running[index] !== first && running[index] !== second),
    )
    third.child.kill('SIGTERM')
    const raised = [stdout, ended.stdout, (await third.ended).stdout].map(
      (text) => text.split('"state":"raised"').length - 1,
    )
    expect(raised.slice(0, 2)).toEqual([1, 1])
    expect(raised[2]).toBeLessThanOrEqual(1)
  }, 300_000)
})
