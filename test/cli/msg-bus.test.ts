import { join } from 'node:path'
import { connect } from 'tidings'
import { loadHandlers, processQueues } from 'tidings-cli'
import { runMsgBus } from 'tidings-cli/internal/msg-bus'
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest'
import { migratedDatabase } from '../postgres/support.ts'
import { sharedServer } from '../support/shared-servers.ts'
import { folder, write } from './support.ts'

let url: string
let drop: () => Promise<void>
beforeAll(async () => {
  ;({ url, drop } = await migratedDatabase(await sharedServer('postgres18')))
})
afterAll(() => drop())

/** Runs a command of msg_bus in this process. */
async function msgBus(name: Parameters<typeof runMsgBus>[0], ...args: string[]) {
  const printed = { stdout: '', stderr: '' }
  const spies = (['stdout', 'stderr'] as const).map((stream) =>
    vi.spyOn(process[stream], 'write').mockImplementation((text) => {
      printed[stream] += String(text)
      return true
    }),
  )
  try {
    return { code: await runMsgBus(name, args), ...printed }
  } finally {
    for (const spy of spies) spy.mockRestore()
    process.exitCode = undefined
  }
}

const dsn = () => ['--dsn', url]

describe('the commands of msg_bus', () => {
  test('send, tell, handle and remove, by their old flags', async () => {
    const message = ['--queue-name', 'mb_test', '--message', '{"name":"Ada"}']
    const meta = ['--correlation-id', '7', '--target-id', 'p-1', '--version', '2']
    const sent = await msgBus('enqueue', ...message, ...meta, ...dsn())
    expect(sent).toEqual({ code: 0, stdout: 'Message enqueued with ID: 1\n', stderr: '' })
    await using bus = await connect(url)
    expect((await bus.queue('mb_test').peek())[0]).toMatchObject({
      data: { name: 'Ada' },
      meta: { correlationId: '7', targetId: 'p-1', version: '2' },
    })
    expect((await msgBus('status', '--queue-name', 'mb_test', ...dsn())).stdout).toMatch(/READY[\s\S]*mb_test +1 /)
    write(
      'msg_bus/mb_test.mjs',
      `export class Handler {
        constructor() { this.prefix = 'hello ' }
        validate({ data }) { if (!data.name) throw new Error('no name') }
        handle({ data }) { console.error(this.prefix + data.name) }
      }`,
    )
    write('msg_bus/exception_test.mjs', `export class Handler { handle() { throw new Error('always') } }`)
    await msgBus('enqueue', '--queue-name', 'exception_test', '--message', '1', ...dsn())
    const queues = ['--queue-names', 'mb_test', '--queue-names', 'exception_test']
    const process = await msgBus('process', ...queues, '--handlers-path', join(folder, 'msg_bus'), ...dsn())
    expect(process.code).toBe(0)
    expect(await bus.queue('mb_test').stats()).toMatchObject({ ready: 0, archived: 1 })
    // It comes back in the next run, after the 601 seconds of the old default.
    const [failed] = await bus.queue('exception_test').peek()
    expect(failed?.meta.errorMessage).toBe('always')
    expect(failed!.visibleAt.getTime() - Date.now()).toBeGreaterThan(500_000)
    expect((await msgBus('queue', '--queue-name', 'mb_test', '--action', 'destroy', ...dsn())).code).toBe(0)
    expect((await bus.queues()).map(({ queue }) => queue)).toEqual(['exception_test'])
  })

  test('refuse in the old words', async () => {
    const words = async (name: Parameters<typeof runMsgBus>[0], ...args: string[]) => {
      const { code, stderr } = await msgBus(name, ...args)
      expect(code).toBe(2)
      return stderr
    }
    const action = ['--queue-name', 'a', '--action', 'drop', ...dsn()]
    const valid = 'Valid actions are: create, status, destroy, purge'
    expect(await words('queue', ...action)).toContain(`Invalid action: drop. ${valid}`)
    expect(await words('enqueue', '--queue-name', 'a', '--message', '{', ...dsn())).toContain('Invalid JSON: ')
    for (const name of ['TIDINGS_URL', 'PGMQ_DSN', 'DATABASE_URL', 'REDIS_URL', 'PGHOST', 'PGDATABASE', 'PGUSER'])
      vi.stubEnv(name, undefined)
    onTestFinished(() => void vi.unstubAllEnvs())
    expect(await words('status', '--queue-name', 'a')).toContain('No DSN provided and .env file not found')
  })
})

test('programs load handlers and process queues as the command does', async () => {
  write('api/orders.mjs', `export class Handler { handle({ data }) { if (data === 'bad') throw new Error('bad') } }`)
  write('api/bills.mjs', 'export const handle = () => {}; export const options = { onSuccess: "delete" }')
  await using bus = await connect('memory:')
  await bus.queue('orders').sendBatch([{ data: 'good' }, { data: 'bad' }])
  await bus.queue('bills').send(1)
  const { handlers } = await loadHandlers([join(folder, 'api')])
  const counts = await processQueues(bus, handlers, { maxRuntime: '50s' }, { maxAttempts: 1 })
  expect(counts).toMatchObject({ orders: { succeeded: 1, deadLettered: 1 }, bills: { succeeded: 1 } })
  expect(await bus.queue('orders').stats()).toMatchObject({ ready: 0, archived: 1 })
  expect((await bus.queue('bills').stats()).archived).toBe(0)
  const ending = new AbortController()
  const processing = processQueues(bus, handlers, { once: false, signal: ending.signal })
  ending.abort()
  await processing
})

test('a class whose constructor throws is no handler', async () => {
  write(
    'broken/orders.mjs',
    `export class Handler { constructor() { throw new Error('no configuration') } handle() {} }`,
  )
  await expect(loadHandlers([join(folder, 'broken')])).rejects.toMatchObject({
    code: 'HANDLERS_INVALID',
    message: expect.stringContaining('the constructor of Handler threw: no configuration'),
  })
})
