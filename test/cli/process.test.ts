import { describe, expect, it } from 'vitest'
import { type Ended, folder, type RunSetting, spawned, Tidings, tidings, useDatabase, write } from './support.ts'

let env: Record<string, string>
useDatabase((url) => {
  env = { DATABASE_URL: url }
})
/** What runs handlers has a process of its own. */
const run = (args: string[], setting: RunSetting = {}): Promise<Ended> =>
  (args[0] === 'process' ? spawned : tidings)(args, { env, ...setting })
const figures = async (queue: string) => JSON.parse((await run(['queue', 'status', queue, '--json'])).stdout)
const enqueue = (queue: string, ...data: unknown[]) =>
  run(['enqueue', queue, '--file', '-'], { input: data.map((one) => JSON.stringify(one)).join('\n') })
const numbers = (count: number) => Array.from({ length: count }, (_, index) => index + 1)
const jsonLines = (text: string) =>
  text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
const handled = ({ stdout }: Ended) => [...stdout.matchAll(/^did (\d+)$/gm)].map(([, n]) => Number(n))

describe('process', () => {
  it('handles the ready messages and ends, with --once', async () => {
    write('once/ada.ts', 'export const handle = ({ data }: { data: number }) => console.log("did " + data)')
    write('once/bob.mjs', 'export const handle = ({ data }) => console.log("bob did " + data)')
    await enqueue('ada', 1, 2, 3)
    await enqueue('bob', 4)
    const ended = await run(['process', '--handlers', 'once', '--once'])
    expect({ code: ended.code, stderr: ended.stderr }).toEqual({
      code: 0,
      stderr: 'handling ada, bob until there is no more\n',
    })
    expect(handled(ended).toSorted()).toEqual([1, 2, 3])
    // The queues are worked on side by side.
    expect(ended.stdout).toContain('bob did 4\n')
    expect(ended.stdout).toContain(
      'QUEUE  HANDLED  FAILED ATTEMPTS  DEAD-LETTERED  EXPIRED  LEASES LOST\n' +
        'ada          3                0              0        0            0\n' +
        'bob          1                0              0        0            0\n',
    )
    expect(await figures('ada')).toMatchObject({ ready: 0, leased: 0, archived: 3 })
  })

  it('deletes with --delete, and by the options of the module', async () => {
    write('deleting/del.mjs', 'export const handle = () => {}')
    write('deleting/own.mjs', 'export const handle = () => {}\nexport const options = { onSuccess: "delete" }')
    for (const queue of ['del', 'own']) await enqueue(queue, 1)
    await run(['process', '--handlers', 'deleting', '--queue', 'del', '--once', '--delete'])
    await run(['process', '--handlers', 'deleting', '--queue', 'own', '--once'])
    for (const queue of ['del', 'own'])
      expect(await figures(queue)).toMatchObject({ ready: 0, archived: 0, totalSent: 1 })
  })

  it('tries again, then dead-letters with the error; says so', async () => {
    write('failing/fail.mjs', 'export const handle = () => { throw new Error("no luck\\nat all") }')
    await enqueue('fail', 1)
    const args = ['process', '--handlers', 'failing', '--once', '--max-attempts', '2', '--backoff', '0ms']
    const { code, stdout } = await run([...args, '--concurrency', '1'])
    expect({ code, stdout }).toEqual({
      code: 0,
      stdout:
        'fail 1 failed (attempt 1, again in 0.0s): no luck at all\n' +
        'fail 1 failed (attempt 2, the last): no luck at all\n' +
        'fail 1 became a dead letter: no luck at all\n' +
        'QUEUE  HANDLED  FAILED ATTEMPTS  DEAD-LETTERED  EXPIRED  LEASES LOST\n' +
        'fail         0                2              1        0            0\n',
    })
    const listed = await run(['dead-letters', 'list', 'fail'])
    expect(listed.stdout.replace(/\d+s ago/, '0s ago')).toBe(
      'ID  FAILED  ATTEMPTS  ERROR           DATA\n1   0s ago         2  no luck at all  1\n',
    )
  })

  it('dead-letters messages that validate refuses, without handling them', async () => {
    write(
      'validating/check.ts',
      `export async function validate({ data }: { data: unknown }) { if (typeof data !== 'number') throw new Error('no number') }
       export const handle = ({ data }: { data: number }) => console.log('did ' + data)`,
    )
    await enqueue('check', 'x', 1)
    const ended = await run(['process', '--handlers', 'validating', '--once'])
    expect(handled(ended)).toEqual([1])
    expect(ended.stdout).toContain('check 1 became a dead letter: no number\n')
    expect(await figures('check')).toMatchObject({ archived: 1, deadLetters: 1 })
  })

  it('prints JSON Lines with --json', async () => {
    write('json/lines.mjs', 'export const handle = ({ data }) => { if (data < 0) throw new Error("negative") }')
    await enqueue('lines', 1, -1)
    const { stdout, stderr } = await run(['process', '--handlers', 'json', '--once', '--json', '--max-attempts', '1'])
    expect(stderr).toBe('')
    const events = jsonLines(stdout)
    expect(events).toContainEqual(expect.objectContaining({ event: 'succeeded', queue: 'lines', id: '1', attempt: 1 }))
    expect(events).toContainEqual(expect.objectContaining({ event: 'deadLettered', id: '2', error: 'negative' }))
    expect(events.at(-1)).toEqual({
      event: 'summary',
      queues: [{ queue: 'lines', succeeded: 1, failed: 1, deadLettered: 1, expired: 0, leaseLost: 0 }],
    })
  })

  it('stops after --max-messages, and after --max-runtime', async () => {
    write('limits/limit.mjs', 'export const handle = () => {}')
    await enqueue('limit', ...numbers(10))
    const args = ['process', '--handlers', 'limits']
    expect((await run([...args, '--max-messages', '4'])).code).toBe(0)
    expect(await figures('limit')).toMatchObject({ ready: 6, archived: 4 })
    // How far it comes in that time is not said.
    expect((await run([...args, '--max-runtime', '500ms'])).code).toBe(0)
    const { ready, archived, leased } = await figures('limit')
    expect({ handledOrReady: ready + archived, leased }).toEqual({ handledOrReady: 10, leased: 0 })
  })

  it('ends with an error where a handler leaves a promise to fail by itself', async () => {
    write('careless/care.mjs', 'export const handle = () => void Promise.reject(new Error("nobody cares"))')
    await enqueue('care', 1)
    const { code, stderr } = await run(['process', '--handlers', 'careless'])
    expect(code).toBe(1)
    expect(stderr).toContain('error: nobody cares\n')
  })

  it('goes on when its queue is dropped and comes again', async () => {
    write('dropping/dropped.mjs', 'export const handle = ({ data }) => console.log("did " + data)')
    const worker = new Tidings(['process', '--handlers', 'dropping'], { env })
    await worker.until(/handling dropped/)
    await enqueue('dropped', 1)
    await worker.until(/did 1/)
    await run(['queue', 'drop', 'dropped', '--yes'])
    await enqueue('dropped', 2)
    await worker.until(/did 2/)
    worker.child.kill('SIGTERM')
    expect((await worker.ended).code).toBe(0)
  })

  it('ends although a handler module keeps the process alive', async () => {
    write('alive/alive.mjs', 'setInterval(() => {}, 1000)\nexport const handle = () => {}')
    expect((await run(['process', '--handlers', 'alive', '--once'])).code).toBe(0)
  })
})

describe('process --validate-only', () => {
  it('checks every message that is ready and changes nothing', async () => {
    write(
      'checking/many.mjs',
      `export const validate = ({ data }) => { if (data % 1000 === 0) throw new Error('round: ' + data) }
       export const handle = () => { throw new Error('handled') }`,
    )
    await enqueue('many', ...numbers(2_500))
    const { code, stdout } = await run(['process', '--handlers', 'checking', '--validate-only'])
    expect({ code, stdout }).toEqual({
      code: 1,
      stdout:
        'many 1000 is invalid: round: 1000\nmany 2000 is invalid: round: 2000\n' +
        'many: 2,500 messages checked, 2 invalid\n',
    })
    expect(await figures('many')).toMatchObject({ ready: 2_500 })
    const json = await run(['process', '--handlers', 'checking', '--validate-only', '--json'])
    expect(jsonLines(json.stdout)).toEqual([
      { event: 'invalid', queue: 'many', id: '1000', error: 'round: 1000' },
      { event: 'invalid', queue: 'many', id: '2000', error: 'round: 2000' },
      { event: 'summary', queue: 'many', checked: 2_500, invalid: 2 },
    ])
  })

  it('needs a validator and a queue', async () => {
    write('unchecked/free.mjs', 'export const handle = () => {}')
    expect(await run(['process', '--handlers', 'unchecked', '--validate-only'])).toEqual({
      code: 2,
      stdout: '',
      stderr: 'error: No validator for queue: free\nhint: Export validate(message) from unchecked/free.mjs.\n',
    })
    write('unmade/unmade.mjs', 'export const handle = () => {}\nexport const validate = () => {}')
    const { code, stderr } = await run(['process', '--handlers', 'unmade', '--validate-only'])
    expect(code).toBe(1)
    expect(stderr).toMatch(/^error: queue 'unmade' does not exist\n/)
  })
})

describe('several at once', () => {
  it('two processes share a queue that a third one fills: each message is handled once', async () => {
    write('sharing/shared.mjs', 'export const handle = ({ data }) => console.log("did " + data)')
    await run(['queue', 'create', 'shared'])
    const args = ['process', '--handlers', 'sharing', '--concurrency', '20']
    const workers = [new Tidings(args, { env }), new Tidings(args, { env })]
    await Promise.all(workers.map((worker) => worker.until(/handling shared; Ctrl-C stops/)))
    const file = write('shared.jsonl', numbers(4_000).join('\n'))
    expect((await run(['enqueue', 'shared', '--file', file])).stdout).toBe('enqueued 4,000 messages in shared\n')
    while ((await figures('shared')).archived < 4_000) await new Promise((resolve) => setTimeout(resolve, 200))
    for (const { child } of workers) child.kill('SIGTERM')
    const ended = await Promise.all(workers.map((worker) => worker.ended))
    expect(ended.map(({ code }) => code)).toEqual([0, 0])
    const all = ended.flatMap(handled).toSorted((a, b) => a - b)
    expect(all).toEqual(numbers(4_000))
  })
})

describe('a signal', () => {
  const slow = (ms: number) => `import { setTimeout as sleep } from 'node:timers/promises'
    export async function handle({ data, readCount }) {
      console.log('began ' + data + ' at attempt ' + readCount)
      await sleep(${ms})
      console.log('did ' + data)
    }`

  it('lets the handlers finish; nothing is delivered again', async () => {
    write('slow/slow.mjs', slow(500))
    await enqueue('slow', ...numbers(12))
    const worker = new Tidings(['process', '--handlers', 'slow', '--concurrency', '4'], { env })
    await worker.until(/began/)
    worker.child.kill('SIGTERM')
    const first = await worker.ended
    expect(first.code).toBe(0)
    expect(first.stderr).toContain('stopping; once more stops without waiting for the handlers\n')
    expect(handled(first).length).toBe([...first.stdout.matchAll(/began/g)].length)
    expect(await figures('slow')).toMatchObject({ leased: 0, ready: 12 - handled(first).length })
    const second = await run(['process', '--handlers', 'slow', '--once'])
    expect([...handled(first), ...handled(second)].toSorted((a, b) => a - b)).toEqual(numbers(12))
    expect(second.stdout).not.toContain('attempt 2')
  })

  it('the second does not wait for the handlers, whose messages come back', async () => {
    write('stuck/stuck.mjs', slow(3_600_000))
    await enqueue('stuck', 1)
    const worker = new Tidings(['process', '--handlers', 'stuck'], { env })
    await worker.until(/began/)
    worker.child.kill('SIGINT')
    await worker.until(/stopping/)
    worker.child.kill('SIGINT')
    const { code, stdout } = await worker.ended
    expect(code).toBe(0)
    expect(stdout).toContain('stuck 1 failed (attempt 1, again in 0.0s): the worker was stopped')
    expect(await figures('stuck')).toMatchObject({ ready: 1, leased: 0 })
  })

  it('does not wait longer than --stop-deadline', async () => {
    write('late/late.mjs', slow(3_600_000))
    await enqueue('late', 1)
    const worker = new Tidings(['process', '--handlers', 'late', '--stop-deadline', '200ms'], { env })
    await worker.until(/began/)
    worker.child.kill('SIGTERM')
    expect((await worker.ended).code).toBe(0)
    expect(await figures('late')).toMatchObject({ ready: 1, leased: 0 })
  })

  it('a closed output stops the process as well', async () => {
    write('unread/unread.mjs', 'export const handle = ({ data }) => console.log("did " + data)')
    await enqueue('unread', ...numbers(10))
    const worker = new Tidings(['process', '--handlers', 'unread', '--concurrency', '1'], { env })
    await worker.until(/did 1\n/)
    worker.child.stdout?.destroy()
    await enqueue('unread', ...numbers(10))
    const { code, stderr } = await worker.ended
    expect({ code, stderr }).toEqual({ code: 0, stderr: 'handling unread; Ctrl-C stops\n' })
    expect(await figures('unread')).toMatchObject({ leased: 0 })
  })
})

describe('the examples', () => {
  it('work as their comments say', async () => {
    const examples = new URL('../../examples/handlers', import.meta.url).pathname
    await run(['enqueue', 'hires', '{"name":"Ada"}'])
    await run(['enqueue', 'invoices', '{"number":"2026-17","total":120}', '--target-id', '2026-17'])
    const { code, stdout } = await run(['process', '--handlers', examples, '--once'], { cwd: folder })
    expect(code).toBe(0)
    expect(stdout).toContain('welcome, Ada: ada@example.com is ready\n')
    expect(stdout).toContain('invoice 2026-17 over 120 (attempt 1): set ACCOUNTING_URL\n')
  })
})
