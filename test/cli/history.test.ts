import { describe, expect, it } from 'vitest'
import { type Ended, tidings, useDatabase, write } from './support.ts'

let env: Record<string, string>
useDatabase((url) => {
  env = { DATABASE_URL: url }
})
const run = (...args: string[]): Promise<Ended> => tidings(args, { env })
const json = async (...args: string[]) => JSON.parse((await run(...args, '--json')).stdout)
const time = '\\d{4}-\\d\\d-\\d\\dT\\S+Z'

/** Orders of two targets, handled and archived. */
async function archived(queue: string): Promise<void> {
  write(`handlers-${queue}/${queue}.mjs`, 'export const handle = () => {}')
  for (const n of [1, 2, 3])
    await run('enqueue', queue, `{"n":${n}}`, '--target-id', `${queue}-${n % 2}`, '--action-type', 'add')
  await run('process', '--handlers', `handlers-${queue}`, '--once')
}

describe('replay', () => {
  it('shows what it would send, asks, and does not send twice', async () => {
    await archived('orders')
    const where = ['--where', '{"meta":{"targetId":"orders-1"}}']
    const preview = await run('replay', 'orders', ...where, '--dry-run')
    expect(preview).toMatchObject({ code: 0, stdout: 'would send 2 archived messages of queue orders again\n' })
    expect(preview.stderr).toMatch(
      new RegExp(`^ID +SENT +ARCHIVED +TARGET +DATA\\n1 +${time} +${time} +orders-1 +\\{"n":1\\}\\n3 .*\\n$`),
    )
    const unasked = await run('replay', 'orders', ...where)
    expect(unasked.code).toBe(2)
    expect(unasked.stderr).toMatch(/not done without an answer: Send 2 archived messages of queue orders again\?/)
    expect(await json('peek', 'orders')).toEqual([])
    expect(await run('replay', 'orders', ...where, '--yes')).toEqual({
      code: 0,
      stdout: 'sent 2 archived messages of queue orders again\n',
      stderr: '',
    })
    expect((await run('replay', 'orders', '--yes')).stdout).toBe(
      'sent 1 archived message of queue orders again; 2 had been replayed before\n',
    )
    expect(await json('replay', 'orders', '--limit', '1', '--to', 'orders_again', '--yes')).toEqual([
      { archivedId: '1', id: '1', duplicate: false },
    ])
    expect((await json('peek', 'orders_again'))[0].meta).toMatchObject({ replayedFromQueue: 'orders' })
    expect((await run('replay', 'orders', '--until', '2020-01-01', '--yes')).stdout).toBe(
      'sent 0 archived messages of queue orders again\n',
    )
  })

  it.each([
    [['--since', 'yesterday'], '--since is "yesterday"; it must be a Date or an ISO 8601 text'],
    [['--where', '{"targetId":"p"}'], '--where has no option "targetId"'],
    [['--where', '{"meta":{"targetId":7}}'], 'where.meta.targetId is 7; it must be a string'],
    [['--to', 'Upper'], '--to "Upper" has upper-case letters; write "upper"'],
  ])('%j is refused before anything is connected to', async (args, error) => {
    const { code, stderr } = await tidings(['replay', 'orders', ...args])
    expect({ code, stderr: stderr.split('\n')[0] }).toEqual({ code: 2, stderr: `error: ${error}` })
  })
})

describe('trace', () => {
  it('is a timeline', async () => {
    await archived('hires')
    write('failing/payroll.mjs', 'export const handle = () => { throw new Error("no luck") }')
    await run('enqueue', 'payroll', '1', '--target-id', 'hires-1')
    await run('process', '--handlers', 'failing', '--once', '--max-attempts', '1')
    const { code, stdout } = await run('trace', '--target', 'hires-1')
    expect(code).toBe(0)
    const lines = stdout
      .trimEnd()
      .split('\n')
      .map((line) => line.replace(/^\d\S+Z/, 'T').replace(/ {2,}/g, '  '))
    expect(lines[0]).toBe('TIME  QUEUE  ID  EVENT  ERROR')
    expect(lines).toEqual(
      expect.arrayContaining([
        'T  hires  1  sent (add)  -',
        'T  hires  3  read, attempt 1  -',
        'T  hires  3  archived  -',
        'T  payroll  1  sent  -',
        'T  payroll_dlq  1  dead letter of payroll 1 after attempt 1  no luck',
        'T  payroll_dlq  1  ready since then  no luck',
      ]),
    )
    expect(await json('trace', '--target', 'hires-1', '--queue', 'payroll_dlq', '--limit', '1')).toMatchObject([
      { kind: 'waiting', queue: 'payroll_dlq', state: 'ready', errorMessage: 'no luck' },
    ])
    expect((await run('trace', '--target', 'nobody')).stdout).toBe('nothing is known of target nobody\n')
    expect((await run('trace')).code).toBe(2)
  })
})

describe('peek by meta', () => {
  it('finds messages', async () => {
    for (const key of ['e-1', 'e-2']) await run('enqueue', 'events', '1', '--event-key', key)
    expect(await json('peek', 'events', '--meta', '{"eventKey":"e-2"}')).toMatchObject([{ id: '2' }])
  })
})
